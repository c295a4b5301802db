"""``/api/v1/channels/``: where people come from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response, Security
from fastapi import Query as QueryParameters
from pydantic import BaseModel, ConfigDict

from ..store.listing import CHANNELS
from ..store.schema import channels
from . import writing
from .answers import ALWAYS, WITH_BODY, documented
from .fields import Id, LabelFilter, MomentFilter, RequiredName, RowId, Text
from .guard import DOCUMENTED_KEY, Guarded
from .paging import Page, Query, listed
from .writing import Body

router = APIRouter(
    prefix="/api/v1/channels",
    tags=["channels"],
    route_class=Guarded,
    responses=ALWAYS,
    dependencies=[Security(DOCUMENTED_KEY)],
)
Row = Annotated[RowId, Path()]
_WRITING = WITH_BODY | documented(409)
_NOT_FOUND = documented(404)


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


class ChannelQuery(Query):
    sort: Literal["id", "-id", "updated_at", "-updated_at"] = "id"
    name: LabelFilter = None
    updated_since: MomentFilter = None


@router.get("/", summary="List channels")
def list_channels(request: Request, query: Annotated[ChannelQuery, QueryParameters()]) -> Page[Channel]:
    return listed(request, CHANNELS, Channel, query, query.sort)


@router.post("/", status_code=201, response_model=Channel, responses=_WRITING, summary="Create a channel")
def create_channel(request: Request, body: NewChannel, response: Response) -> Any:
    row = writing.create(request, channels, body)
    response.headers["Location"] = f"/api/v1/channels/{row.id}"
    return row._mapping


@router.get("/{row_id}", response_model=Channel, responses=_NOT_FOUND, summary="Get a channel")
def get_channel(request: Request, row_id: Row) -> Any:
    return writing.get(request, channels, row_id)._mapping


@router.put("/{row_id}", response_model=Channel, responses=_WRITING | _NOT_FOUND, summary="Replace a channel")
def replace_channel(request: Request, row_id: Row, body: NewChannel) -> Any:
    return writing.replace(request, channels, row_id, body)._mapping


@router.patch("/{row_id}", response_model=Channel, responses=_WRITING | _NOT_FOUND, summary="Change some fields")
def change_channel(request: Request, row_id: Row, body: ChannelChange) -> Any:
    return writing.change(request, channels, row_id, body)._mapping


@router.delete("/{row_id}", status_code=204, responses=documented(404, 409), summary="Delete a channel")
def delete_channel(request: Request, row_id: Row) -> None:
    writing.delete(request, channels, row_id)
