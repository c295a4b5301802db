"""``/api/v1/campaigns/``: what people are assigned to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response, Security
from fastapi import Query as QueryParameters
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..store.listing import CAMPAIGNS
from ..store.schema import campaigns
from . import writing
from .answers import ALWAYS, WITH_BODY, documented
from .fields import Id, IdFilter, LabelFilter, Moment, MomentFilter, Money, Name, RowId, ShortLabel
from .guard import DOCUMENTED_KEY, Guarded
from .paging import Page, Query, listed
from .writing import Body

router = APIRouter(
    prefix="/api/v1/campaigns",
    tags=["campaigns"],
    route_class=Guarded,
    responses=ALWAYS,
    dependencies=[Security(DOCUMENTED_KEY)],
)
Row = Annotated[RowId, Path()]
_WRITING = WITH_BODY | documented(409)
_NOT_FOUND = documented(404)


class CampaignFields(Body):
    name: Name = None
    date_start: Moment = None
    date_end: Moment = None
    budget: Money = None
    status: ShortLabel = None
    channel_id: Id = None

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> CampaignFields:
        if self.date_start and self.date_end and self.date_end < self.date_start:
            raise ValueError("date_end must not be before date_start")
        return self


class NewCampaign(CampaignFields):
    """A campaign. Its `id` is what events name as `campaign_id`; without one it gets the next free number."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "Campaña Invierno 2025",
                "date_start": "2025-06-12T14:49:28.163Z",
                "date_end": "2025-12-31T23:59:59.000Z",
                "budget": 50000,
                "status": "Activa",
                "channel_id": 1,
            }
        }
    )

    id: Id = None


class CampaignChange(CampaignFields):
    """The fields to change. What it leaves out stays; `null` empties."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "Terminada"}})

    id: Id = None


class Campaign(BaseModel):
    """A campaign. One that an event named first has nothing but its id until somebody completes it here."""

    id: int
    name: str | None
    date_start: datetime | None
    date_end: datetime | None
    budget: Money
    status: str | None
    channel_id: int | None
    created_at: datetime
    updated_at: datetime


class CampaignQuery(Query):
    sort: Literal["id", "-id", "updated_at", "-updated_at"] = "id"
    updated_since: MomentFilter = None
    status: LabelFilter = None
    channel: Annotated[LabelFilter, Field(description="The channel's name, as events give it.")] = None
    channel_id: IdFilter = None


@router.get("/", summary="List campaigns")
def list_campaigns(request: Request, query: Annotated[CampaignQuery, QueryParameters()]) -> Page[Campaign]:
    return listed(request, CAMPAIGNS, Campaign, query, query.sort)


@router.post("/", status_code=201, response_model=Campaign, responses=_WRITING, summary="Create a campaign")
def create_campaign(request: Request, body: NewCampaign, response: Response) -> Any:
    row = writing.create(request, campaigns, body)
    response.headers["Location"] = f"/api/v1/campaigns/{row.id}"
    return row._mapping


@router.get("/{row_id}", response_model=Campaign, responses=_NOT_FOUND, summary="Get a campaign")
def get_campaign(request: Request, row_id: Row) -> Any:
    return writing.get(request, campaigns, row_id)._mapping


@router.put("/{row_id}", response_model=Campaign, responses=_WRITING | _NOT_FOUND, summary="Replace a campaign")
def replace_campaign(request: Request, row_id: Row, body: NewCampaign) -> Any:
    return writing.replace(request, campaigns, row_id, body)._mapping


@router.patch("/{row_id}", response_model=Campaign, responses=_WRITING | _NOT_FOUND, summary="Change some fields")
def change_campaign(request: Request, row_id: Row, body: CampaignChange) -> Any:
    return writing.change(request, campaigns, row_id, body)._mapping


@router.delete("/{row_id}", status_code=204, responses=documented(404, 409), summary="Delete a campaign")
def delete_campaign(request: Request, row_id: Row) -> None:
    writing.delete(request, campaigns, row_id)
