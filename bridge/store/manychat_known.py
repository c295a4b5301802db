"""What SQL knows of people, to be compared with what ManyChat shows: opportunity, newest event, newest write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..contract.opportunity_state import Actor, OpportunityState
from . import audit, manychat_wishes, manychat_writes
from .manychat_wishes import Wish
from .opportunities import UNSYNCED
from .rows import AuditRow
from .schema import contacts, opportunities, opportunity_stages
from .schema import manychat_writes as writes
from .upsert import find

_C = contacts.c
_O = opportunities.c
_W = writes.c
_M = opportunity_stages.c


@dataclass(frozen=True)
class Known:
    """What SQL knows of one person.

    :ivar has_opportunity: whether SQL has one; all that follows is empty otherwise
    :ivar heard_at: when the contact was last heard of
    :ivar stage_id: Odoo's id of the opportunity's stage
    :ivar stage: name of it in Odoo
    :ivar status: value of :class:`bridge.contract.opportunity_state.Status`; ``None``: not known
    :ivar is_pending: an event is on its way to Odoo
    :ivar event: the newest event of the conversation
    :ivar sent: what we wrote to ManyChat last, by key (see :mod:`bridge.write_back`)
    :ivar sent_at: when ManyChat last answered to that
    :ivar is_unsent: something waits to be written
    :ivar decided_at: when an opportunity was last moved by something other than the chat
    """

    manychat_id: str
    has_opportunity: bool = False
    heard_at: datetime | None = None
    stage_id: int | None = None
    stage: str | None = None
    status: str | None = None
    is_pending: bool = False
    event: AuditRow | None = None
    sent: Mapping[str, Any] | None = None
    sent_at: datetime | None = None
    is_unsent: bool = False
    decided_at: datetime | None = None


def page(connection: sa.Connection, after: int, limit: int, since: datetime | None) -> Sequence[Any]:
    """People in the order of their contacts' ids: ``id`` and ``manychat_id`` of each. Each opportunity has a contact.

    :param after: id of the last one of the page before; 0 for the first page
    :param since: only those of whom SQL has something new since then
    """
    columns = sa.select(_C.id, _C.manychat_id).where(_C.id > after, *_changed(since))
    return connection.execute(columns.order_by(_C.id).limit(limit)).all()


def count(connection: sa.Connection, after: int, since: datetime | None) -> int:
    """How many people such pages have."""
    statement = sa.select(sa.func.count()).select_from(contacts).where(_C.id > after, *_changed(since))
    return connection.scalar(statement) or 0


def _changed(since: datetime | None) -> list[sa.ColumnElement[bool]]:
    if since is None:
        return []
    of_opportunity = sa.exists().where(_O.contact_id == _C.id, _O.updated_at >= since)
    return [sa.or_(_C.updated_at >= since, of_opportunity)]


def look_up(connection: sa.Connection, manychat_ids: Collection[str]) -> dict[str, Known]:
    """What is known of people, by ManyChat id. People who were erased meanwhile are missing."""
    heard = sa.select(_C.manychat_id, _C.event_at, _C.event_received_at, _C.created_at)
    known = {
        row.manychat_id: Known(
            row.manychat_id, heard_at=max(filter(None, (row.event_at, row.event_received_at, row.created_at)))
        )
        for row in find(connection, heard, _C.manychat_id, manychat_ids)
    }
    rows = {row.manychat_id: row for row in find(connection, sa.select(opportunities), _O.manychat_id, known)}
    events = audit.rows(connection, [row.event_id for row in rows.values() if row.event_id])
    decided = _decided(connection, [row.id for row in rows.values()])
    for manychat_id, row in rows.items():
        event = events.get(row.event_id or "")
        known[manychat_id] = replace(
            known[manychat_id],
            has_opportunity=True,
            stage_id=row.stage_id,
            stage=row.stage,
            status=row.status,
            is_pending=row.odoo_sync_status in UNSYNCED and (event is None or event.outcome is None),
            event=event,
            decided_at=decided.get(row.id),
        )
    for write in find(connection, sa.select(writes), _W.manychat_id, known):
        known[write.manychat_id] = replace(
            known[write.manychat_id],
            sent=json.loads(write.sent) if write.sent else {},
            sent_at=write.result_at,
            is_unsent=write.sent_as_of is None,
        )
    return known


def _decided(connection: sa.Connection, opportunity_ids: Collection[int]) -> dict[int, datetime]:
    """When opportunities were last moved by something other than the chat, by their id."""
    statement = (
        sa.select(_M.opportunity_id, sa.func.max(_M.event_at, type_=_M.event_at.type).label("at"))
        .where(_M.moved_by != Actor.CHAT.value)
        .group_by(_M.opportunity_id)
    )
    return {row.opportunity_id: row.at for row in find(connection, statement, _M.opportunity_id, opportunity_ids)}


def write_again(connection: sa.Connection, manychat_ids: Collection[str]) -> None:
    """Have the states of people written to ManyChat, whatever was written before. No flow starts.

    Nothing happens while write-back is off, and to people of whose opportunity no state is known.
    """
    if not manychat_writes.rules(connection).enabled:
        return
    wishes = []
    for row in find(connection, sa.select(opportunities), _O.manychat_id, manychat_ids):
        if row.odoo_as_of is not None and row.lead_id is not None and row.status is not None:
            state = OpportunityState(
                lead_id=row.lead_id,
                as_of=row.odoo_as_of,
                status=row.status,
                stage_id=row.stage_id,
                stage=row.stage,
                manychat_stage=row.manychat_stage,
                manychat_stage_id=row.manychat_stage_id,
                salesperson_id=row.salesperson_id,
                salesperson=row.salesperson,
            )
            # As of the chat, so that no flow starts.
            event_id = row.event_id or hashlib.sha256(f"{row.manychat_id} {row.odoo_as_of}".encode()).hexdigest()
            wishes.append(Wish(row.manychat_id, state, Actor.CHAT, event_id, overruled=True))
    # A state that came while write-back was off, or that has no row yet.
    manychat_wishes.want(connection, wishes, whenever=True)
    for wish in wishes:
        manychat_writes.write_again(connection, wish.manychat_id)
