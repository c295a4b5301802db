"""Campaigns, advisers, and the assignments of contacts to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, or_

from ..contract.event import Event
from ..contract.fields import format_datetime
from ..contract.newest import order_key
from ..contract.payloads import CampaignAssignment, CampaignContact
from .contacts import append_states, ensure_contacts
from .last_write_wins import Said, carried, lock, merge, said_by
from .schema import advisors, campaign_contacts, campaigns, contacts
from .upsert import ensure, find

_C = campaign_contacts.c
_ROW = _C.id == bindparam("row_id")
_NOW = bindparam("now", type_=_C.updated_at.type)
#: Each adviser and the date of their assignment, by role.
_ADVISERS = {
    "commercial": ("commercial_advisor_id", "commercial_assignment_date"),
    "medical": ("medical_advisor_id", "medical_assignment_date"),
}
FIELDS = ("type", "last_state", "summary", "extra", *_ADVISERS["commercial"], *_ADVISERS["medical"])
_DATES = {name: pair[1] for pair in _ADVISERS.values() for name in pair}

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
    lock(connection, contacts, contact_ids.values())
    ensure_campaigns(connection, (change.campaign_id for change in changes), now)
    ensure_advisors(connection, (change.commercial_advisor_id for change in changes), "commercial", now)
    ensure_advisors(connection, (change.medical_advisor_id for change in changes), "medical", now)

    row_ids = _rows_of(connection, changes, contact_ids, now)
    said = [each for change, row_id in zip(changes, row_ids, strict=True) for each in _said(change, row_id)]
    merge(connection, campaign_contacts, FIELDS, said, now, assigned_order)
    append_states(
        connection,
        [
            (contact_ids[change.event.manychat_id], change.state, "campaign", change.event)
            for change in changes
            if change.state
        ],
    )


def _said(change: _Change, row_id: int) -> Iterator[Said]:
    """What an event says: each adviser at the date of the assignment, everything else at the event's own."""
    event = change.event
    own = {"type": change.type, "last_state": change.state, "summary": change.summary}
    yield said_by(event, row_id, own)
    for role, advisor_id, date in (
        ("commercial", change.commercial_advisor_id, change.commercial_date),
        ("medical", change.medical_advisor_id, change.medical_date),
    ):
        if date is not None:
            values = carried(dict(zip(_ADVISERS[role], (advisor_id, date), strict=True)))
            yield Said(row_id, order_key(date, event.received_at, event.id), values)


def assigned_order(row: Any, name: str) -> str | None:
    """Order of an adviser without a version: the date of the assignment, unless that is the row's newest event."""
    date = getattr(row, _DATES[name]) if name in _DATES else None
    return format_datetime(date) if date and date != row.event_at else None


def newest_assignments(connection: sa.Connection, manychat_ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The columns of each person's newest assignment, by ManyChat id."""
    person = contacts.c.manychat_id
    found: dict[str, Mapping[str, Any]] = {}
    statement = sa.select(campaign_contacts, person).join(contacts)
    for row in find(connection, statement, person, manychat_ids):
        other = found.get(row.manychat_id)
        if other is None or _age(row._mapping) > _age(other):
            found[row.manychat_id] = row._mapping
    return found


def _age(row: Mapping[str, Any]) -> tuple[datetime, int]:
    return row["assigned_at"] or datetime.min.replace(tzinfo=timezone.utc), row["id"]


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
