"""Opportunities as Odoo has them: the latest state of each, and who moved it when.

A state may come by three ways (see :mod:`bridge.contract.opportunity_state`) and in any order: the row keeps the one
that Odoo read last. Each move is kept once, by its event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam, case, or_

from ..contract.event import Event
from ..contract.opportunity_state import OpportunityState, Status
from ..contract.payloads import Decided, Decision
from ..contract.text import cut
from .batch_update import BatchUpdate
from .campaigns import ensure_advisors
from .contacts import ensure_contacts
from .last_write_wins import lock
from .schema import opportunities, opportunity_stages
from .upsert import chunks, ensure, find

_O = opportunities.c
_M = opportunity_stages.c
_NOW = bindparam("now", type_=_O.updated_at.type)
#: The columns that a state fills.
STATE = (
    *("lead_id", "stage", "stage_id", "status", "lost_reason", "salesperson_id", "salesperson", "team_id", "team"),
    "medical_advisor_id",
    *("expected_revenue", "currency", "closed_at", "decided_at", "first_answered_at", "merged_into"),
    *("manychat_stage_id", "manychat_stage", "odoo_as_of"),
)
#: Characters of a currency, at most.
_CURRENCY = 8
#: The opportunity is in no stage: it is lost or deleted.
_IN_NO_STAGE = (Status.LOST, Status.DELETED)
#: Decisions that leave an opportunity in another status than before, even if it stays in its stage.
_CHANGES_STATUS = {Decided.WON, Decided.RESTORED, Decided.DELETED}
_CHANGES_STAGE = {*_CHANGES_STATUS, Decided.STAGE, Decided.LOST, Decided.MERGED}


class Move(NamedTuple):
    """A move of a person's opportunity to another stage, or to another status.

    :ivar applied_at: when Odoo applied it, or when it came here
    :ivar moved_by: value of :class:`bridge.contract.opportunity_state.Actor`
    :ivar status: of the opportunity after the move; ``None``: not known
    """

    manychat_id: str
    lead_id: int | None
    stage_from: str | None
    stage_to: str | None
    event_at: datetime
    applied_at: datetime
    event_id: str
    moved_by: str
    user_id: int | None
    status: str | None


#: The columns that a move fills.
_MOVE = tuple(name for name in Move._fields if name != "manychat_id")


def _write(new: Any) -> sa.Update:
    is_later = or_(_O.odoo_as_of.is_(None), _O.odoo_as_of < new.odoo_as_of)
    values = {name: getattr(new, name) for name in STATE}
    return opportunities.update().where(_O.manychat_id == new.manychat_id, is_later).values(**values, updated_at=_NOW)


_WRITE = BatchUpdate(_write, manychat_id=_O.manychat_id.type, **{name: _O[name].type for name in STATE})

#: When a move took effect. A bot's clock may be ahead; Odoo has applied its move by then.
_TOOK_EFFECT = case((_M.applied_at < _M.event_at, _M.applied_at), else_=_M.event_at)
#: Who made the latest move of the opportunity.
_MOVER = (
    sa.select(_M.moved_by)
    .where(_M.opportunity_id == _O.id)
    .order_by(_TOOK_EFFECT.desc(), _M.id.desc())
    .limit(1)
    .scalar_subquery()
)


def columns_of(state: OpportunityState) -> dict[str, Any]:
    """The values of the columns :data:`STATE`."""
    revenue = state.expected_revenue
    return {
        **{name: getattr(state, name) for name in STATE if name != "odoo_as_of"},
        "status": state.status and state.status.value,
        "expected_revenue": None if revenue is None else round(revenue, 2),
        "currency": state.currency and cut(state.currency, _CURRENCY),
        "odoo_as_of": state.as_of,
    }


def write(connection: sa.Connection, states: Iterable[tuple[str, OpportunityState]], now: datetime) -> None:
    """Keep each person's latest state. A person without a row gets none.

    :param states: pairs of ManyChat id and state, in any order
    """
    latest: dict[str, OpportunityState] = {}
    for manychat_id, state in states:
        if manychat_id not in latest or latest[manychat_id].as_of < state.as_of:
            latest[manychat_id] = state
    if latest:
        ensure_advisors(connection, (state.medical_advisor_id for state in latest.values()), "medical", now)
        rows = [{"manychat_id": manychat_id, **columns_of(state)} for manychat_id, state in sorted(latest.items())]
        _WRITE.execute(connection, rows, now=now)


def ensure_opportunities(
    connection: sa.Connection, contact_ids: Mapping[str, int], sync_status: str, now: datetime
) -> dict[str, int]:
    """Ids of the opportunities, by ManyChat id. A missing one gets a bare row.

    :param contact_ids: by ManyChat id
    :param sync_status: ``odoo_sync_status`` of a new row
    """
    return ensure(
        connection,
        _O.manychat_id,
        {
            manychat_id: {
                "manychat_id": manychat_id,
                "contact_id": contact_id,
                "odoo_sync_status": sync_status,
                "attempts": 0,
                "created_at": now,
                "updated_at": now,
            }
            for manychat_id, contact_id in contact_ids.items()
        },
    )


def apply_decisions(connection: sa.Connection, events: Collection[Event], now: datetime | None = None) -> None:
    """Write decisions: each person's latest state, and the moves.

    A decision may be the first that is known of a person. Of a deleted opportunity that is not known, nothing is kept.
    Applying an event again changes nothing.
    """
    now = now or datetime.now(timezone.utc)
    decisions = [(event, _decision(event)) for event in sorted(events, key=lambda event: event.order)]
    states = [(event.manychat_id, decision.state) for event, decision in decisions]
    ensure_known(connection, states, now)
    write(connection, states, now)
    append_moves(connection, [move for event, _ in decisions if (move := _move(event, now))])


def ensure_known(connection: sa.Connection, states: Iterable[tuple[str, OpportunityState]], now: datetime) -> None:
    """Create the missing rows of the persons whose opportunity is in Odoo.

    :param states: pairs of ManyChat id and state
    """
    existing = {manychat_id for manychat_id, state in states if state.status is not Status.DELETED}
    if existing:
        # There is no event of theirs that Odoo may lack.
        ensure_opportunities(connection, ensure_contacts(connection, existing, now), "success", now)


def append_moves(connection: sa.Connection, moves: Collection[Move]) -> int:
    """Append to the history, once per event, and note who made the latest move of each opportunity.

    Moves of persons who have no row are left out.

    :return: how many were appended
    """
    if not moves:
        return 0
    statement = sa.select(_O.manychat_id, _O.id)
    ids = {row[0]: row[1] for row in find(connection, statement, _O.manychat_id, [move.manychat_id for move in moves])}
    # Who made the latest move depends on the moves that another transaction may be writing.
    lock(connection, opportunities, ids.values())
    existing = {
        row[0] for row in find(connection, sa.select(_M.event_id), _M.event_id, [move.event_id for move in moves])
    }
    rows = [
        {"opportunity_id": ids[move.manychat_id], **{name: getattr(move, name) for name in _MOVE}}
        for move in moves
        if move.event_id not in existing and move.manychat_id in ids
    ]
    if not rows:
        return 0
    # In the order that they came in: it is what tells moves of one second apart.
    connection.execute(opportunity_stages.insert(), rows)
    for mover in sorted({str(row["moved_by"]) for row in rows}):
        # Another move by the same one changes nothing.
        is_other = or_(_O.stage_by.is_(None), _O.stage_by != mover)
        for some in chunks(row["opportunity_id"] for row in rows if row["moved_by"] == mover):
            # Also of a row whose state is later than the move: a load of what is new must find it.
            change = {"stage_by": _MOVER, "updated_at": max(row["applied_at"] for row in rows)}
            connection.execute(opportunities.update().where(_O.id.in_(some), is_other).values(change))
    return len(rows)


def _move(event: Event, now: datetime) -> Move | None:
    """The move that a decision made; ``None`` if it left the opportunity in its stage and status."""
    decision = _decision(event)
    state, decided = decision.state, {*decision.decided}
    stage_to = None if state.status in _IN_NO_STAGE else state.stage
    if not decided & _CHANGES_STAGE or (decision.stage_before == stage_to and not decided & _CHANGES_STATUS):
        return None
    return Move(
        event.manychat_id,
        state.lead_id,
        decision.stage_before,
        stage_to,
        event.occurred_at,
        now,
        event.id,
        decision.by.value,
        decision.user_id,
        state.status and state.status.value,
    )


def _decision(event: Event) -> Decision:
    assert isinstance(event.payload, Decision)
    return event.payload
