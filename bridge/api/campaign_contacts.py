"""``/api/v1/campaign-contacts/``: which advisers look after which contact in which campaign. Read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, Field

from ..store.listing import CAMPAIGN_CONTACTS
from .fields import Extra, IdFilter, LabelFilter, ManyChatId, MomentFilter
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
