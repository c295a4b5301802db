"""``/api/v1/campaign-contacts/``: which advisers look after which contact in which campaign.

Events create assignments. The API corrects them: an adviser, the date of their assignment, the state.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from ..store.listing import CAMPAIGN_CONTACTS
from ..store.schema import campaign_contacts
from . import crud
from .crud import Body
from .errors import WITH_BODY, error_responses
from .fields import Extra, Id, IdFilter, Label, LabelFilter, ManyChatId, MomentFilter, PastMoment, Text
from .paging import UpdatedListQuery, get_one
from .resource import NOT_FOUND, RowIdPath, add_list, authenticated_router

router = authenticated_router("/api/v1/campaign-contacts", "campaign-contacts")


class CampaignContact(BaseModel):
    """A contact's assignment to a campaign and to advisers."""

    id: int
    contact_id: int
    manychat_id: str
    campaign_id: int | None
    type: str | None
    commercial_advisor_id: int | None
    commercial_assignment_date: datetime | None
    medical_advisor_id: int | None
    medical_assignment_date: datetime | None
    assigned_at: datetime | None
    last_state: str | None
    summary: str | None
    extra: Extra
    created_at: datetime
    updated_at: datetime


class CampaignContactChange(Body):
    """The fields to correct. A field left out stays as it is; `null` empties it.

    The change is newer than all events that happened before it, whatever dates they gave.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "medical_advisor_id": 101,
                "medical_assignment_date": "2026-03-02T09:00:00Z",
                "last_state": "Cotiza",
            }
        }
    )

    type: Label = None
    commercial_advisor_id: Id = None
    commercial_assignment_date: PastMoment = None
    medical_advisor_id: Id = None
    medical_assignment_date: PastMoment = None
    last_state: Label = None
    summary: Text = None


class CampaignContactQuery(UpdatedListQuery):
    manychat_id: ManyChatId | None = None
    campaign_id: IdFilter = None
    commercial_advisor_id: IdFilter = None
    medical_advisor_id: IdFilter = None
    state: Annotated[LabelFilter, Field(description="`last_state`, exactly.")] = None
    updated_since: MomentFilter = None


add_list(
    router,
    "/",
    CAMPAIGN_CONTACTS,
    model=CampaignContact,
    query=CampaignContactQuery,
    name="list_campaign_contacts",
    summary="List campaign assignments",
)


@router.get("/{row_id}", responses=NOT_FOUND, summary="Get a campaign assignment")
def get_campaign_contact(request: Request, row_id: RowIdPath) -> CampaignContact:
    return get_one(request, CAMPAIGN_CONTACTS, CampaignContact, id=row_id)


@router.patch(
    "/{row_id}",
    responses=WITH_BODY | error_responses(404, 409),
    name="change_campaign_contact",
    summary="Correct a campaign assignment",
)
def change_campaign_contact(request: Request, row_id: RowIdPath, body: CampaignContactChange) -> CampaignContact:
    crud.change(request, campaign_contacts, row_id, body)
    return get_one(request, CAMPAIGN_CONTACTS, CampaignContact, id=row_id)
