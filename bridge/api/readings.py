"""What became of people and events, read-only: ``campaign-contacts``, ``opportunities``, ``audit``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path, Request
from fastapi import Query as Parameters
from pydantic import BaseModel, Field, field_validator

from ..store.listing import AUDIT, CAMPAIGN_CONTACTS, OPPORTUNITIES, OPPORTUNITY_STAGES, Listing
from .errors import not_found
from .fields import IdFilter, LabelFilter, ManyChatId, MomentFilter
from .paging import Page, Query, WrittenQuery, listed
from .resource import NOT_FOUND, Row, add_list, guarded

router = guarded("/api/v1", "readings")
EventId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CampaignContact(BaseModel):
    """Who looks after whom in which campaign."""

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
    created_at: datetime
    updated_at: datetime


class CampaignContactQuery(WrittenQuery):
    manychat_id: ManyChatId | None = None
    campaign_id: IdFilter = None
    commercial_advisor_id: IdFilter = None
    medical_advisor_id: IdFilter = None
    state: Annotated[LabelFilter, Field(description="`last_state`, exactly.")] = None
    updated_since: MomentFilter = None


class Opportunity(BaseModel):
    """A person's opportunity as SQL knows it: how far its newest event got on its way to Odoo."""

    id: int
    manychat_id: str
    contact_id: int
    lead_id: int | None = Field(description="Odoo's `crm.lead`.")
    stage: str | None = Field(description="Odoo's stage after the newest event.")
    manychat_stage_id: int | None
    manychat_stage: str | None
    summary: str | None
    entry_date: datetime | None
    commercial_advisor_id: int | None
    medical_advisor_id: int | None
    odoo_sync_status: str = Field(description="`pending`, `success` or `error`.")
    odoo_synced_at: datetime | None
    attempts: int
    last_error: str | None
    event_at: datetime | None
    event_id: str | None
    created_at: datetime
    updated_at: datetime


class OpportunityQuery(WrittenQuery):
    manychat_id: ManyChatId | None = None
    odoo_sync_status: Literal["pending", "success", "error"] | None = None
    stage: LabelFilter = None
    lead_id: IdFilter = None
    updated_since: MomentFilter = None


class StageMove(BaseModel):
    """One move of an opportunity."""

    id: int
    lead_id: int | None
    stage_from: str | None
    stage_to: str | None
    event_at: datetime = Field(description="When it happened in the chat.")
    applied_at: datetime = Field(description="When Odoo had it.")
    event_id: str


class StageMoveQuery(Query):
    sort: Literal["event_at", "-event_at"] = "event_at"


class AuditEntry(BaseModel):
    """One event: what came, when, and what became of it."""

    id: int
    event_id: str
    type: str
    queue: str
    source: str
    manychat_id: str
    payload: dict[str, Any]
    occurred_at: datetime
    clock_is_wrong: bool
    received_at: datetime
    enqueued_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    attempts: int
    outcome: str | None = Field(description="`null` while it is open.")
    error_code: str | None
    error: str | None
    lead_id: int | None
    stage_before: str | None
    stage_after: str | None

    @field_validator("payload", mode="before")
    @classmethod
    def _from_text(cls, payload: Any) -> Any:
        return json.loads(payload) if isinstance(payload, str) else payload


class AuditQuery(Query):
    sort: Literal["received_at", "-received_at", "id", "-id"] = "-received_at"
    event_id: EventId | None = None
    manychat_id: ManyChatId | None = None
    outcome: (
        Literal[
            "open",
            "stored",
            "created",
            "moved",
            "updated",
            "unchanged",
            "stale",
            "dead_lettered",
            "discarded",
            "erased",
        ]
        | None
    ) = None
    received_since: MomentFilter = None
    received_until: Annotated[MomentFilter, Field(description="Before that moment.")] = None


add_list(
    router,
    "/campaign-contacts/",
    CAMPAIGN_CONTACTS,
    model=CampaignContact,
    query=CampaignContactQuery,
    name="list_campaign_contacts",
    summary="List campaign assignments",
)
add_list(
    router,
    "/opportunities/",
    OPPORTUNITIES,
    model=Opportunity,
    query=OpportunityQuery,
    name="list_opportunities",
    summary="List opportunities",
)
add_list(
    router,
    "/audit/",
    AUDIT,
    model=AuditEntry,
    query=AuditQuery,
    name="list_audit",
    summary="List events and what became of them",
)


@router.get("/campaign-contacts/{row_id}", responses=NOT_FOUND, summary="Get a campaign assignment")
def get_campaign_contact(request: Request, row_id: Row) -> CampaignContact:
    return _one(request, CAMPAIGN_CONTACTS, CampaignContact, id=row_id)


@router.get("/opportunities/{row_id}", responses=NOT_FOUND, summary="Get an opportunity")
def get_opportunity(request: Request, row_id: Row) -> Opportunity:
    return _one(request, OPPORTUNITIES, Opportunity, id=row_id)


@router.get("/opportunities/{row_id}/stages/", responses=NOT_FOUND, summary="List an opportunity's moves")
def list_stage_moves(request: Request, row_id: Row, query: Annotated[StageMoveQuery, Parameters()]) -> Page[StageMove]:
    _one(request, OPPORTUNITIES, Opportunity, id=row_id)
    return listed(request, OPPORTUNITY_STAGES, StageMove, query, opportunity_id=row_id)


@router.get("/audit/{event_id}", responses=NOT_FOUND, summary="Get one event")
def get_audit_entry(request: Request, event_id: Annotated[EventId, Path()]) -> AuditEntry:
    return _one(request, AUDIT, AuditEntry, event_id=event_id)


Item = TypeVar("Item", bound=BaseModel)


def _one(request: Request, listing: Listing, model: type[Item], **filters: Any) -> Item:
    """:raises bridge.contract.webhook.WebhookError: 404"""
    rows = listed(request, listing, model, Query(limit=1), **filters).items
    if not rows:
        raise not_found("There is no such row.")
    return rows[0]
