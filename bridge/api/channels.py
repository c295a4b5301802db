"""``/api/v1/channels/``: where people come from."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from ..store.listing import CHANNELS
from ..store.schema import channels
from .crud import Body
from .fields import Id, LabelFilter, MomentFilter, RequiredName, Text
from .paging import WrittenQuery
from .resource import writable


class NewChannel(Body):
    """A channel. Names are compared as events' are: “Facebook” and “ facebook” are one."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "Facebook Messenger", "description": "Canal oficial de Facebook"}}
    )

    id: Id = None
    name: RequiredName
    description: Text = None


class ChannelChange(Body):
    """The fields to change. What it leaves out stays; `null` empties."""

    model_config = ConfigDict(json_schema_extra={"example": {"description": "Desde 2024"}})

    id: Id = None
    name: RequiredName = None
    description: Text = None


class Channel(BaseModel):
    """A channel. One that an event named first has no description until somebody gives it one."""

    id: int
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class ChannelQuery(WrittenQuery):
    name: LabelFilter = None
    updated_since: MomentFilter = None


router = writable(
    channels,
    CHANNELS,
    model=Channel,
    new=NewChannel,
    change=ChannelChange,
    query=ChannelQuery,
    one="a channel",
    many="channels",
)
