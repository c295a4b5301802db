"""``/api/v1/opportunities/``: where each person's opportunity stands, and the stages it went through. Read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field

from ..contract.opportunity_state import Actor
from ..store.listing import OPPORTUNITIES, OPPORTUNITY_STAGES
from .fields import Extra, IdFilter, LabelFilter, ManyChatId, MomentFilter
from .paging import ListQuery, Page, UpdatedListQuery, get_one, list_page
from .resource import NOT_FOUND, RowIdPath, add_list, authenticated_router

_MOVERS = ", ".join(f"`{each}`" for each in Actor)

router = authenticated_router("/api/v1/opportunities", "opportunities")


class Opportunity(BaseModel):
    """A person's opportunity as SQL has it, and how far its newest event got on its way to Odoo."""

    id: int
    manychat_id: str
    contact_id: int
    lead_id: int | None = Field(description="Odoo's `crm.lead`.")
    stage: str | None = Field(description="Odoo's stage, moved there last by the chat or by a user.")
    stage_id: int | None = Field(description="Odoo's id of that stage.")
    status: str | None = Field(description="`open`, `won`, `lost` or `deleted`; `null`: not known yet.")
    lost_reason: str | None
    salesperson_id: int | None = Field(description="Odoo's id of the user.")
    salesperson: str | None
    team_id: int | None
    team: str | None
    expected_revenue: float | None = Field(description="In `currency`.")
    currency: str | None
    closed_at: datetime | None = Field(description="When it was won or lost.")
    first_answered_at: datetime | None = Field(description="When a user of Odoo first answered the customer.")
    merged_into: int | None = Field(description="`lead_id`, if the person's own opportunity was merged into it.")
    stage_by: str | None = Field(description=f"What made the last move: {_MOVERS}.")
    decided_at: datetime | None = Field(description="When a person last changed it in Odoo.")
    odoo_as_of: datetime | None = Field(description="When Odoo had this state.")
    manychat_stage_id: int | None
    manychat_stage: str | None
    summary: str | None
    entry_date: datetime | None
    commercial_advisor_id: int | None
    medical_advisor_id: int | None
    extra: Extra
    odoo_sync_status: str = Field(description="`pending`, `success` or `error`.")
    odoo_synced_at: datetime | None
    attempts: int
    last_error: str | None
    event_at: datetime | None
    event_id: str | None
    created_at: datetime
    updated_at: datetime


class OpportunityQuery(UpdatedListQuery):
    manychat_id: ManyChatId | None = None
    odoo_sync_status: Literal["pending", "success", "error"] | None = None
    stage: LabelFilter = None
    status: Literal["open", "won", "lost", "deleted"] | None = None
    lead_id: IdFilter = None
    updated_since: MomentFilter = None


class StageMove(BaseModel):
    """One move of an opportunity."""

    id: int
    lead_id: int | None
    stage_from: str | None
    stage_to: str | None = Field(description="`null`: it was lost or deleted.")
    event_at: datetime = Field(description="When it happened, in the chat or in Odoo.")
    applied_at: datetime = Field(description="When Odoo applied it, or when it reached SQL.")
    event_id: str
    moved_by: str = Field(description=f"What made the move: {_MOVERS}.")
    user_id: int | None = Field(description="Odoo's id of the user who made it.")
    status: str | None = Field(description="Of the opportunity after the move; `null`: not known.")


class StageMoveQuery(ListQuery):
    sort: Literal["event_at", "-event_at"] = "event_at"


add_list(
    router,
    "/",
    OPPORTUNITIES,
    model=Opportunity,
    query=OpportunityQuery,
    name="list_opportunities",
    summary="List opportunities",
)


@router.get("/{row_id}", responses=NOT_FOUND, summary="Get an opportunity")
def get_opportunity(request: Request, row_id: RowIdPath) -> Opportunity:
    return get_one(request, OPPORTUNITIES, Opportunity, id=row_id)


@router.get("/{row_id}/stages/", responses=NOT_FOUND, summary="List an opportunity's moves")
def list_stage_moves(request: Request, row_id: RowIdPath, query: Annotated[StageMoveQuery, Query()]) -> Page[StageMove]:
    get_one(request, OPPORTUNITIES, Opportunity, id=row_id)
    return list_page(request, OPPORTUNITY_STAGES, StageMove, query, opportunity_id=row_id)
