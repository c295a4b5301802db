"""``/api/v1/campaigns/``: the campaigns to which contacts are assigned."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..store.listing import CAMPAIGNS
from ..store.schema import campaigns
from .crud import Body
from .fields import Id, IdFilter, LabelFilter, Moment, MomentFilter, Money, Name, ShortLabel
from .paging import UpdatedListQuery
from .resource import crud_router


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
    """A campaign. Events name its `id` as `campaign_id`. Without an `id` it gets the next free number."""

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
    """The fields to change. A field left out stays as it is; `null` empties it."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "Terminada"}})

    id: Id = None


class Campaign(BaseModel):
    """A campaign. One that an event named first has only its id until a client completes it here."""

    id: int
    name: str | None
    date_start: datetime | None
    date_end: datetime | None
    budget: Money
    status: str | None
    channel_id: int | None
    created_at: datetime
    updated_at: datetime


class CampaignQuery(UpdatedListQuery):
    updated_since: MomentFilter = None
    status: LabelFilter = None
    channel: Annotated[LabelFilter, Field(description="The channel's name, as in events.")] = None
    channel_id: IdFilter = None


router = crud_router(
    campaigns,
    CAMPAIGNS,
    model=Campaign,
    new=NewCampaign,
    change=CampaignChange,
    query=CampaignQuery,
    one="a campaign",
    many="campaigns",
)
