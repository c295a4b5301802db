"""``/api/v1/channels/``: the ways by which people come."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from ..store.listing import CHANNELS
from ..store.schema import channels
from .crud import Body
from .fields import Id, LabelFilter, MomentFilter, RequiredName, Text
from .paging import UpdatedListQuery
from .resource import crud_router


class NewChannel(Body):
    """A channel. Names are compared as in events: “Facebook” and “ facebook” are the same channel."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "Facebook Messenger", "description": "Canal oficial de Facebook"}}
    )

    id: Id = None
    name: RequiredName
    description: Text = None


class ChannelChange(Body):
    """The fields to change. A field left out stays as it is; `null` empties it."""

    model_config = ConfigDict(json_schema_extra={"example": {"description": "Desde 2024"}})

    id: Id = None
    name: RequiredName = None
    description: Text = None


class Channel(BaseModel):
    """A channel. One that an event named first has no description until a client adds it here."""

    id: int
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class ChannelQuery(UpdatedListQuery):
    name: LabelFilter = None
    updated_since: MomentFilter = None


router = crud_router(
    channels,
    CHANNELS,
    model=Channel,
    new=NewChannel,
    change=ChannelChange,
    query=ChannelQuery,
    one="a channel",
    many="channels",
)
