"""Opportunities: their stage, how far each got on its way to Odoo, and the history of stages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from ..contract.event import Event
from ..contract.fields import normalize_label
from ..contract.opportunity_state import Actor
from ..contract.outcomes import EventOutcome
from ..contract.payloads import Opportunity
from ..results import Done, Failure
from . import opportunity_states
from .batch_update import BatchUpdate
from .campaigns import ensure_advisors
from .contacts import complete_from_opportunities
from .last_write_wins import merge, said_by
from .opportunity_states import ensure_opportunities
from .rows import OpportunityRow
from .schema import opportunities

#: ``odoo_sync_status`` of opportunities that Odoo may lack. Listed, because an index cannot serve "not success".
UNSYNCED = ("error", "pending")

_O = opportunities.c
FIELDS = ("summary", "entry_date", "commercial_advisor_id", "medical_advisor_id", "extra")
_NOW = bindparam("now", type_=_O.updated_at.type)


def _of_newest_event(new: Any) -> sa.Update:
    """The row has the status of its newest event. An older event that succeeds or fails later does not change it."""
    return opportunities.update().where(_O.manychat_id == new.manychat_id, _O.event_id == new.event_id)


def _try_again(new: Any) -> sa.Update:
    return _of_newest_event(new).values(odoo_sync_status="pending", attempts=_O.attempts + 1, updated_at=_NOW)


def _set_lead(new: Any) -> sa.Update:
    # An older addon sends no states. What it once was in Odoo must not replace what it is there.
    return (
        opportunities.update()
        .where(_O.manychat_id == new.manychat_id, _O.odoo_as_of.is_(None))
        .values(lead_id=new.lead_id, updated_at=_NOW)
    )


def _succeed(new: Any) -> sa.Update:
    return _of_newest_event(new).values(
        odoo_sync_status="success",
        stage=sa.case((_O.odoo_as_of.is_(None), sa.func.coalesce(new.stage, _O.stage)), else_=_O.stage),
        last_error=sa.null(),
        odoo_synced_at=_NOW,
        updated_at=_NOW,
    )


def _fail(new: Any) -> sa.Update:
    return _of_newest_event(new).values(odoo_sync_status="error", last_error=new.last_error, updated_at=_NOW)


def _types(*names: str) -> dict[str, sa.types.TypeEngine[Any]]:
    return {name: _O[name].type for name in names}


_TRY_AGAIN = BatchUpdate(_try_again, **_types("manychat_id", "event_id"))
_SET_LEAD = BatchUpdate(_set_lead, **_types("manychat_id", "lead_id"))
_SUCCEED = BatchUpdate(_succeed, **_types("manychat_id", "event_id", "stage"))
_FAIL = BatchUpdate(_fail, **_types("manychat_id", "event_id", "last_error"))


def record(connection: sa.Connection, events: Collection[Event], now: datetime | None = None) -> None:
    """Store opportunity events before they go to Odoo. Each row gets its newest event, as ``pending``."""
    now = now or datetime.now(timezone.utc)
    payloads = [(event, _payload(event)) for event in sorted(events, key=lambda event: event.order)]
    contact_ids = complete_from_opportunities(connection, events, now)
    ensure_advisors(connection, (payload.commercial_advisor_id for _, payload in payloads), "commercial", now)
    ensure_advisors(connection, (payload.medical_advisor_id for _, payload in payloads), "medical", now)
    ids = ensure_opportunities(connection, contact_ids, "pending", now)
    said = [
        said_by(
            event,
            ids[event.manychat_id],
            {
                "summary": payload.state.summary,
                "entry_date": payload.entry_date,
                "commercial_advisor_id": payload.commercial_advisor_id,
                "medical_advisor_id": payload.medical_advisor_id,
            },
            # The two columns name one stage together, so both are replaced.
            if_newest={
                "manychat_stage_id": payload.state.stage_id,
                "manychat_stage": payload.state.stage,
                "odoo_sync_status": "pending",
                "attempts": 1,
                "last_error": None,
            },
        )
        for event, payload in payloads
    ]
    tries = [{"manychat_id": event.manychat_id, "event_id": event.id} for event, _ in payloads]
    # In this order: after the merge the event would be the row's newest, and its attempt would count twice.
    _TRY_AGAIN.execute(connection, sorted(tries, key=itemgetter("manychat_id")), now=now)
    merge(connection, opportunities, FIELDS, said, now)


def finish(connection: sa.Connection, done: Mapping[str, tuple[Event, Done]], now: datetime | None = None) -> None:
    """Store what Odoo did: the opportunity's state, the event's status, and one history row for each move.

    :param done: by event id
    """
    now = now or datetime.now(timezone.utc)
    if not done:
        return
    items = sorted(done.values(), key=lambda item: item[0].order)
    rows = [
        {"manychat_id": event.manychat_id, "event_id": event.id, "stage": outcome.stage_after}
        for event, outcome in items
    ]
    opportunity_states.write(
        connection, ((event.manychat_id, outcome.state) for event, outcome in items if outcome.state), now
    )
    # Of several events of a person, the lead of the newest.
    leads = {event.manychat_id: outcome.lead_id for event, outcome in items if outcome.lead_id and not outcome.state}
    with_lead = [{"manychat_id": manychat_id, "lead_id": lead_id} for manychat_id, lead_id in sorted(leads.items())]
    if with_lead:
        _SET_LEAD.execute(connection, with_lead, now=now)
    _SUCCEED.execute(connection, sorted(rows, key=itemgetter("manychat_id")), now=now)
    opportunity_states.append_moves(
        connection,
        [
            _move(event, outcome, now)
            for event, outcome in items
            if outcome.status in (EventOutcome.CREATED, EventOutcome.MOVED)
        ],
    )


def fail(connection: sa.Connection, failures: Collection[tuple[Event, Failure]], now: datetime | None = None) -> None:
    """Store that this attempt of these events failed in Odoo."""
    now = now or datetime.now(timezone.utc)
    if failures:
        rows = [
            {
                "manychat_id": event.manychat_id,
                "event_id": event.id,
                "last_error": f"{failure.code}: {failure.message}",
            }
            for event, failure in failures
        ]
        _FAIL.execute(connection, sorted(rows, key=itemgetter("manychat_id")), now=now)


def unsynced(connection: sa.Connection, cutoff: datetime) -> list[OpportunityRow]:
    """Opportunities whose newest event may be missing in Odoo, and whose row was last written before ``cutoff``."""
    statement = sa.select(opportunities).where(_O.odoo_sync_status.in_(UNSYNCED), _O.updated_at < cutoff)
    return [OpportunityRow._make(row) for row in connection.execute(statement.order_by(_O.id))]


def _move(event: Event, outcome: Done, now: datetime) -> opportunity_states.Move:
    state = outcome.state
    # The state is that of the end of Odoo's transaction: later events of the batch may have moved it on.
    rests_there = state is not None and normalize_label(state.stage or "") == normalize_label(outcome.stage_after or "")
    return opportunity_states.Move(
        event.manychat_id,
        outcome.lead_id,
        outcome.stage_before,
        outcome.stage_after,
        event.occurred_at,
        now,
        event.id,
        Actor.CHAT.value,
        None,
        state.status.value if state is not None and state.status and rests_there else None,
    )


def _payload(event: Event) -> Opportunity:
    assert isinstance(event.payload, Opportunity)
    return event.payload
