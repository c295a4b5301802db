"""Decisions that people made in Odoo: SQL only. Odoo has applied them before it sends them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sqlalchemy as sa
import structlog

from ...contract.event import Event
from ...contract.payloads import Decision
from ...results import Done, Outcome
from ...store import audit, manychat_wishes, opportunity_states
from ...store.refusal import write_events
from ..write_back import wishes

log = structlog.get_logger()


def handle(engine: sa.Engine, events: Sequence[Event]) -> dict[str, Outcome]:
    """Write the states and moves, and close the events' audit rows, in one transaction."""
    done = {event.id: _done(event) for event in events}

    def work(connection: sa.Connection) -> None:
        opportunity_states.apply_decisions(connection, events)
        manychat_wishes.want(connection, wishes.of_decisions(events))
        audit.finish(connection, done)

    write_events(engine, work)
    for event in events:
        for warning in event.warnings:
            _warn_once(warning["field"], warning["message"])
    return dict(done)


@lru_cache(maxsize=256)
def _warn_once(field: str, message: str) -> None:
    """Log what was left out of decisions: a newer addon tells more than this bridge knows. The audit has each case."""
    log.warning("decision_partly_read", field=field, reason=message)


def _done(event: Event) -> Done:
    assert isinstance(event.payload, Decision)
    decision = event.payload
    return Done(audit.STORED, decision.state.lead_id, decision.stage_before, decision.state.stage)
