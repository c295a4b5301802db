"""Campaigns, advisers, and the assignments of contacts to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import and_, bindparam, or_

from ..contract.event import Event
from ..contract.payloads import CampaignAssignment, CampaignContact
from .contacts import append_states, ensure_contacts, lock
from .last_write_wins import is_newer, set_version, superseded, version_params
from .schema import advisors, campaign_contacts, campaigns
from .upsert import coalesce_new, coalesce_old, ensure, find, to_json

_C = campaign_contacts.c
_ROW = _C.id == bindparam("row_id")
_NOW = bindparam("now", type_=_C.updated_at.type)
_FIELDS = (_C.type, _C.last_state, _C.summary, _C.extra)

_UPDATE = (
    campaign_contacts.update()
    .where(_ROW, is_newer(campaign_contacts))
    .values(
        {
            **{field.name: coalesce_new(field) for field in _FIELDS},
            **set_version(campaign_contacts),
            "updated_at": _NOW,
        }
    )
)
_COMPLETE_FROM_OLDER = (
    campaign_contacts.update()
    .where(_ROW, ~is_newer(campaign_contacts), _C.event_id != bindparam("new_event_id"))
    .values({**{field.name: coalesce_old(field) for field in _FIELDS}, "updated_at": _NOW})
)
_ASSIGNED = (
    campaign_contacts.update()
    .where(_ROW, or_(_C.assigned_at.is_(None), _C.assigned_at < bindparam("new_assigned_at")))
    .values(assigned_at=bindparam("new_assigned_at", type_=_C.assigned_at.type), updated_at=_NOW)
)
_TAKE_OVER = (
    campaign_contacts.update()
    .where(_ROW, _C.campaign_id.is_(None))
    .values(campaign_id=bindparam("new_campaign_id"), updated_at=_NOW)
)


def _assign(advisor: sa.Column[Any], date: sa.Column[Any]) -> sa.Update:
    """The adviser with the newest assignment date wins. On equal dates the adviser of the newest event wins."""
    new_date = bindparam("new_date", type_=date.type)
    return (
        campaign_contacts.update()
        .where(
            _ROW,
            or_(date.is_(None), date < new_date, and_(date == new_date, is_newer(campaign_contacts))),
        )
        .values(
            {
                advisor.name: sa.func.coalesce(bindparam("new_advisor_id", type_=advisor.type), advisor),
                date.name: new_date,
                "updated_at": _NOW,
            }
        )
    )


_ASSIGN_COMMERCIAL = _assign(_C.commercial_advisor_id, _C.commercial_assignment_date)
_ASSIGN_MEDICAL = _assign(_C.medical_advisor_id, _C.medical_assignment_date)


@dataclass(frozen=True)
class _Change:
    """The values of one assignment in an event of either type."""

    event: Event
    campaign_id: int | None
    is_assignment: bool
    type: str | None
    state: str | None
    summary: str | None
    commercial_advisor_id: int | None
    commercial_date: datetime | None
    medical_advisor_id: int | None
    medical_date: datetime | None


def apply_campaign_events(connection: sa.Connection, events: Collection[Event], now: datetime | None = None) -> None:
    """Write campaign assignments and campaign-contact updates, and their states.

    Missing contacts, campaigns and advisers get rows with only their ids. Applying an event again changes nothing.
    """
    now = now or datetime.now(timezone.utc)
    changes = [_change(event) for event in sorted(events, key=lambda event: event.order)]
    contact_ids = ensure_contacts(connection, {event.manychat_id for event in events}, now)
    # An update without a campaign belongs to a row that depends on the contact's other rows. So the contact is locked.
    lock(connection, contact_ids.values())
    ensure_campaigns(connection, (change.campaign_id for change in changes), now)
    ensure_advisors(connection, (change.commercial_advisor_id for change in changes), "commercial", now)
    ensure_advisors(connection, (change.medical_advisor_id for change in changes), "medical", now)

    row_ids = _rows_of(connection, changes, contact_ids, now)
    rows = [
        {
            "row_id": row_id,
            "now": now,
            "new_type": change.type,
            "new_last_state": change.state,
            "new_summary": change.summary,
            "new_extra": to_json(change.event.extra),
            **version_params(change.event),
        }
        for change, row_id in zip(changes, row_ids, strict=True)
    ]
    # Advisers first: on equal dates their statements compare the event with the row's newest, which _UPDATE replaces.
    for statement, assigned in (
        (_ASSIGN_COMMERCIAL, [(change.commercial_advisor_id, change.commercial_date) for change in changes]),
        (_ASSIGN_MEDICAL, [(change.medical_advisor_id, change.medical_date) for change in changes]),
    ):
        dated = [
            {**row, "new_advisor_id": advisor_id, "new_date": date}
            for row, (advisor_id, date) in zip(rows, assigned, strict=True)
            if date is not None
        ]
        if dated:
            connection.execute(statement, dated)
    connection.execute(_UPDATE, rows)
    if older := superseded(connection, campaign_contacts, rows):
        connection.execute(_COMPLETE_FROM_OLDER, older)
    append_states(
        connection,
        [
            (contact_ids[change.event.manychat_id], change.state, "campaign", change.event)
            for change in changes
            if change.state
        ],
    )


def ensure_campaigns(connection: sa.Connection, ids: Iterable[int | None], now: datetime) -> None:
    """Create missing campaigns, with only their ids, which the senders of events choose."""
    rows = {id_: {"id": id_, "created_at": now, "updated_at": now} for id_ in ids if id_ is not None}
    if rows:
        ensure(connection, campaigns.c.id, rows)


def ensure_advisors(connection: sa.Connection, ids: Iterable[int | None], role: str, now: datetime) -> None:
    """Create missing advisers, with only their ids, which the senders of events choose, and their role.

    :param role: ``commercial`` or ``medical``
    """
    rows = {id_: {"id": id_, "role": role, "created_at": now, "updated_at": now} for id_ in ids if id_ is not None}
    if rows:
        ensure(connection, advisors.c.id, rows)


def _change(event: Event) -> _Change:
    payload = event.payload
    if isinstance(payload, CampaignAssignment):
        at = event.occurred_at
        return _Change(
            event,
            payload.campaign_id,
            True,
            payload.tipo_asignacion,
            payload.ultimo_estado,
            payload.summary,
            payload.comercial_id,
            at if payload.comercial_id else None,
            payload.medico_id,
            at if payload.medico_id else None,
        )
    assert isinstance(payload, CampaignContact)
    at = event.occurred_at
    return _Change(
        event,
        payload.campaign_id,
        False,
        None,
        payload.last_state,
        payload.summary,
        payload.commercial_advisor_id,
        payload.commercial_assignment_date or (at if payload.commercial_advisor_id else None),
        payload.medical_advisor_id,
        payload.medical_assignment_date or (at if payload.medical_advisor_id else None),
    )


def _rows_of(
    connection: sa.Connection, changes: Sequence[_Change], contact_ids: dict[str, int], now: datetime
) -> list[int]:
    """Ids of the ``campaign_contacts`` row of each change. Missing rows are created."""
    known: dict[int, dict[int | None, tuple[int, datetime | None]]] = {}
    statement = sa.select(_C.contact_id, _C.campaign_id, _C.id, _C.assigned_at)
    for row in find(connection, statement, _C.contact_id, contact_ids.values()):
        known.setdefault(row.contact_id, {})[row.campaign_id] = (row.id, row.assigned_at)

    result = []
    for change in changes:
        contact_id = contact_ids[change.event.manychat_id]
        by_campaign = known.setdefault(contact_id, {})
        campaign_id = change.campaign_id or _most_recent(by_campaign, change.event.occurred_at)
        if campaign_id not in by_campaign:
            if change.is_assignment and None in by_campaign:
                # Updates came before any assignment. This is the assignment that they belong to.
                row_id, assigned_at = by_campaign.pop(None)
                connection.execute(_TAKE_OVER, {"row_id": row_id, "new_campaign_id": campaign_id, "now": now})
            else:
                values = {"contact_id": contact_id, "campaign_id": campaign_id, "created_at": now, "updated_at": now}
                inserted = connection.execute(campaign_contacts.insert().values(values)).inserted_primary_key
                assert inserted is not None
                row_id, assigned_at = inserted[0], None
            by_campaign[campaign_id] = (row_id, assigned_at)
        row_id, assigned_at = by_campaign[campaign_id]
        if change.is_assignment:
            at = change.event.occurred_at
            connection.execute(_ASSIGNED, {"row_id": row_id, "new_assigned_at": at, "now": now})
            by_campaign[campaign_id] = (row_id, max(assigned_at or at, at))
        result.append(row_id)
    return result


def _most_recent(rows: dict[int | None, tuple[int, datetime | None]], at: datetime) -> int | None:
    """The campaign of the most recent assignment at ``at``; ``None`` for the row without a campaign."""

    def rank(item: tuple[int | None, tuple[int, datetime | None]]) -> tuple[bool, float, int]:
        _, (row_id, assigned_at) = item
        if assigned_at is None:
            return (False, float("-inf"), row_id)
        # A later assignment than the update is the best guess only if there is no other.
        seconds = assigned_at.timestamp()
        return (True, seconds, row_id) if assigned_at <= at else (False, -seconds, row_id)

    return max(rows.items(), key=rank)[0] if rows else None
