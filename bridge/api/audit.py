"""``/api/v1/audit/``: what came, when, and what became of it. Read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path, Request
from pydantic import BaseModel, Field

from ..store.listing import AUDIT
from .fields import Extra, JsonObject, ManyChatId, MomentFilter, Warnings
from .paging import ListQuery, get_one
from .resource import NOT_FOUND, add_list, authenticated_router

router = authenticated_router("/api/v1/audit", "audit")
EventId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
#: The outcomes of :class:`bridge.contract.outcomes.EventOutcome`, and "open" for none yet. A test compares the two.
Outcome = Literal[
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


class AuditEntry(BaseModel):
    """One event: what came, when, and what became of it."""

    id: int
    event_id: str
    type: str
    queue: str
    source: str
    manychat_id: str
    payload: JsonObject
    extra: Extra
    warnings: Warnings
    occurred_at: datetime
    clock_is_wrong: bool
    received_at: datetime
    enqueued_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    attempts: int
    outcome: str | None = Field(description="`null` while the event is open.")
    error_code: str | None
    error: str | None
    lead_id: int | None
    stage_before: str | None
    stage_after: str | None
    traceparent: str | None = Field(
        description="The trace that the event belongs to, as W3C's header says it; `null`: the first 32 characters of "
        "`event_id` are the trace's id."
    )


class AuditQuery(ListQuery):
    sort: Literal["received_at", "-received_at", "id", "-id"] = "-received_at"
    event_id: EventId | None = None
    manychat_id: ManyChatId | None = None
    outcome: Outcome | None = None
    received_since: MomentFilter = None
    received_until: Annotated[MomentFilter, Field(description="Before that moment.")] = None


add_list(
    router,
    "/",
    AUDIT,
    model=AuditEntry,
    query=AuditQuery,
    name="list_audit",
    summary="List events and what became of them",
)


@router.get("/{event_id}", responses=NOT_FOUND, summary="Get one event")
def get_audit_entry(request: Request, event_id: Annotated[EventId, Path()]) -> AuditEntry:
    return get_one(request, AUDIT, AuditEntry, event_id=event_id)
