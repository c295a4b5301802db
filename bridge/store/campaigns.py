"""Campaigns, advisers, and the assignments of contacts to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, or_

from ..contract.event import Event
from ..contract.fields import format_datetime
from ..contract.newest import order_key
from ..contract.payloads import CampaignAssignment, CampaignContact
from .batch_update import BatchUpdate
from .contacts import append_states, ensure_contacts
from .last_write_wins import Said, carried, lock, merge, said_by
from .schema import advisors, campaign_contacts, campaigns, contacts
from .upsert import ensure, find

_C = campaign_contacts.c
_NOW = bindparam("now", type_=_C.updated_at.type)
#: Each adviser and the date of their assignment, by role.
_ADVISERS = {
    "commercial": ("commercial_advisor_id", "commercial_assignment_date"),
    "medical": ("medical_advisor_id", "medical_assignment_date"),
}
FIELDS = ("type", "last_state", "summary", "extra", *_ADVISERS["commercial"], *_ADVISERS["medical"])
_DATES = {name: pair[1] for pair in _ADVISERS.values() for name in pair}


def _assign(new: Any) -> sa.Update:
    is_newer = or_(_C.assigned_at.is_(None), _C.assigned_at < new.assigned_at)
    return (
        campaign_contacts.update().where(_C.id == new.id, is_newer).values(assigned_at=new.assigned_at, updated_at=_NOW)
    )


def _take_over(new: Any) -> sa.Update:
    return (
        campaign_contacts.update()
        .where(_C.id == new.id, _C.campaign_id.is_(None))
        .values(campaign_id=new.campaign_id, updated_at=_NOW)
    )


_ASSIGNED = BatchUpdate(_assign, id=_C.id.type, assigned_at=_C.assigned_at.type)
_TAKE_OVER = BatchUpdate(_take_over, id=_C.id.type, campaign_id=_C.campaign_id.type)

#: Ids of rows that are not inserted yet are greater, in the order in which they will be inserted.
_NOT_YET = 1 << 62


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


@dataclass
class _Row:
    """A row of ``campaign_contacts``, and what the events of a batch change in it.

    :ivar new_campaign_id: ``None``: the campaign stays
    :ivar is_assigned_now: ``assigned_at`` is of an event of this batch
    """

    contact_id: int
    id: int
    assigned_at: datetime | None = None
    new_campaign_id: int | None = None
    is_assigned_now: bool = False

    def assign(self, at: datetime) -> None:
        if self.assigned_at is None or self.assigned_at < at:
            self.assigned_at, self.is_assigned_now = at, True


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
    connection: sa.Connection, changes: Sequence[_Change], contact_ids: Mapping[str, int], now: datetime
) -> list[int]:
    """Ids of the ``campaign_contacts`` row of each change. Missing rows are created."""
    known: dict[int, dict[int | None, _Row]] = {}
    for row in _rows_in_sql(connection, contact_ids.values()):
        known.setdefault(row.contact_id, {})[row.campaign_id] = _Row(row.contact_id, row.id, row.assigned_at)

    new: list[_Row] = []
    chosen: list[_Row] = []
    for change in changes:
        contact_id = contact_ids[change.event.manychat_id]
        by_campaign = known.setdefault(contact_id, {})
        campaign_id = change.campaign_id or _most_recent(by_campaign, change.event.occurred_at)
        if campaign_id not in by_campaign:
            if change.is_assignment and None in by_campaign:
                # Updates came before any assignment. This is the assignment that they belong to.
                by_campaign[campaign_id] = by_campaign.pop(None)
            else:
                new.append(_Row(contact_id, _NOT_YET + len(new)))
                by_campaign[campaign_id] = new[-1]
            by_campaign[campaign_id].new_campaign_id = campaign_id
        if change.is_assignment:
            by_campaign[campaign_id].assign(change.event.occurred_at)
        chosen.append(by_campaign[campaign_id])
    _write_rows(connection, new, [row for row in chosen if row.id < _NOT_YET], now)
    return [row.id for row in chosen]


def _rows_in_sql(connection: sa.Connection, contact_ids: Iterable[int]) -> Iterator[Any]:
    return find(connection, sa.select(_C.contact_id, _C.campaign_id, _C.id, _C.assigned_at), _C.contact_id, contact_ids)


def _write_rows(connection: sa.Connection, new: Sequence[_Row], old: Iterable[_Row], now: datetime) -> None:
    """Insert the new rows, which get their ids, and write what is new in the old ones."""
    changed = {row.id: row for row in old}
    taken_over = [
        {"id": row.id, "campaign_id": row.new_campaign_id}
        for row in changed.values()
        if row.new_campaign_id is not None
    ]
    assigned = [{"id": row.id, "assigned_at": row.assigned_at} for row in changed.values() if row.is_assigned_now]
    for update, rows in ((_TAKE_OVER, taken_over), (_ASSIGNED, assigned)):
        if rows:
            update.execute(connection, sorted(rows, key=itemgetter("id")), now=now)
    if new:
        times = {"created_at": now, "updated_at": now}
        values = [
            {"contact_id": row.contact_id, "campaign_id": row.new_campaign_id, "assigned_at": row.assigned_at, **times}
            for row in new
        ]
        connection.execute(campaign_contacts.insert(), values)
        rows_now = _rows_in_sql(connection, [row.contact_id for row in new])
        ids = {(row.contact_id, row.campaign_id): row.id for row in rows_now}
        for row in new:
            row.id = ids[row.contact_id, row.new_campaign_id]


def _most_recent(rows: Mapping[int | None, _Row], at: datetime) -> int | None:
    """The campaign of the most recent assignment at ``at``; ``None`` for the row without a campaign."""

    def rank(item: tuple[int | None, _Row]) -> tuple[bool, float, int]:
        _, row = item
        if row.assigned_at is None:
            return (False, float("-inf"), row.id)
        # A later assignment than the update is the best guess only if there is no other.
        seconds = row.assigned_at.timestamp()
        return (True, seconds, row.id) if row.assigned_at <= at else (False, -seconds, row.id)

    return max(rows.items(), key=rank)[0] if rows else None
