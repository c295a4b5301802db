"""The rows that the store hands out, typed. A test compares their fields with the tables' columns."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple


class AuditRow(NamedTuple):
    """A whole row of ``audit``; see :mod:`bridge.store.schema` for its columns."""

    id: int
    event_id: str
    type: str
    queue: str
    source: str
    manychat_id: str
    payload: str
    extra: str | None
    warnings: str | None
    occurred_at: datetime
    clock_is_wrong: bool
    received_at: datetime
    enqueued_at: datetime | None
    started_at: datetime
    tried_at: datetime | None
    finished_at: datetime | None
    attempts: int
    attempt_in_progress: bool
    outcome: str | None
    error_code: str | None
    error: str | None
    lead_id: int | None
    stage_before: str | None
    stage_after: str | None
    retries: int
    reported_at: datetime | None
    purged_at: datetime | None
    traceparent: str | None


class AuditSummary(NamedTuple):
    """A row of ``audit`` without personal data: neither the payload nor an error's text."""

    event_id: str
    type: str
    queue: str
    source: str
    manychat_id: str
    occurred_at: datetime
    clock_is_wrong: bool
    received_at: datetime
    enqueued_at: datetime | None
    started_at: datetime
    tried_at: datetime | None
    finished_at: datetime | None
    attempts: int
    attempt_in_progress: bool
    outcome: str | None
    error_code: str | None
    lead_id: int | None
    stage_before: str | None
    stage_after: str | None
    retries: int
    reported_at: datetime | None
    traceparent: str | None


class DeadLetterRow(NamedTuple):
    """A whole row of ``dead_letters``."""

    id: int
    event_id: str | None
    message_id: str
    queue: str
    type: str | None
    manychat_id: str | None
    body: str
    enqueued_at: datetime | None
    code: str
    message: str
    attempts: int
    first_tried_at: datetime
    last_tried_at: datetime
    status: str
    notified_at: datetime | None
    notice_id: str | None
    notice_receipt: str | None
    replayed_at: datetime | None
    resolved_at: datetime | None
    discarded_at: datetime | None


class DeadLetterSummary(NamedTuple):
    """A row of ``dead_letters`` without personal data: neither the body nor an error's text."""

    id: int
    event_id: str | None
    queue: str
    type: str | None
    manychat_id: str | None
    enqueued_at: datetime | None
    code: str
    attempts: int
    first_tried_at: datetime
    last_tried_at: datetime
    status: str
    notified_at: datetime | None
    replayed_at: datetime | None
    resolved_at: datetime | None
    discarded_at: datetime | None


class OpportunityRow(NamedTuple):
    """A whole row of ``opportunities``."""

    id: int
    manychat_id: str
    contact_id: int
    lead_id: int | None
    stage: str | None
    stage_id: int | None
    status: str | None
    lost_reason: str | None
    salesperson_id: int | None
    salesperson: str | None
    team_id: int | None
    team: str | None
    expected_revenue: Decimal | None
    currency: str | None
    closed_at: datetime | None
    first_answered_at: datetime | None
    merged_into: int | None
    stage_by: str | None
    decided_at: datetime | None
    odoo_as_of: datetime | None
    manychat_stage_id: int | None
    manychat_stage: str | None
    summary: str | None
    entry_date: datetime | None
    commercial_advisor_id: int | None
    medical_advisor_id: int | None
    extra: str | None
    odoo_sync_status: str
    odoo_synced_at: datetime | None
    attempts: int
    last_error: str | None
    event_at: datetime | None
    event_received_at: datetime | None
    event_id: str | None
    field_versions: str | None
    created_at: datetime
    updated_at: datetime


class OpportunitySummary(NamedTuple):
    """The state of an opportunity, without personal data."""

    id: int
    lead_id: int | None
    stage: str | None
    status: str | None
    stage_by: str | None
    decided_at: datetime | None
    odoo_as_of: datetime | None
    odoo_sync_status: str
    odoo_synced_at: datetime | None
    attempts: int
    event_id: str | None
    updated_at: datetime


class StageMoveRow(NamedTuple):
    """A whole row of ``opportunity_stages``."""

    id: int
    opportunity_id: int
    lead_id: int | None
    stage_from: str | None
    stage_to: str | None
    event_at: datetime
    applied_at: datetime
    event_id: str
    moved_by: str
    user_id: int | None
    status: str | None


class ApiKeyRow(NamedTuple):
    """A whole row of ``api_keys``."""

    id: int
    name: str
    prefix: str
    digest: str
    scope: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    zone: str | None
    in_odoo: bool | None


class StandbyRefusalRow(NamedTuple):
    """A whole row of ``standby_refusals``."""

    id: int
    digest: str
    key_name: str
    key_prefix: str
    address: str
    path: str
    code: str
    requests: int
    reported_requests: int
    first_at: datetime
    last_at: datetime
