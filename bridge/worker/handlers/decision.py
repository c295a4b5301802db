"""Decisions that people made in Odoo: SQL only."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ...contract.event import Event
from ...results import Done, Outcome
from ...store import audit, manychat_writes
from ...store.refusal import write_events
from .. import wishes


def handle(engine: sa.Engine, events: Sequence[Event]) -> dict[str, Outcome]:
    """Write the states and moves, and close the events' audit rows, in one transaction."""
    done = {event.id: Done(audit.STORED) for event in events}

    def work(connection: sa.Connection) -> None:
        manychat_writes.want(connection, wishes.of_decisions(events))
        audit.finish(connection, done)

    write_events(engine, work)
    return dict(done)
