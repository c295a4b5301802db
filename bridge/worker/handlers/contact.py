"""Contact events: SQL only. Odoo gets opportunities, never contacts."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ...contract.event import Event
from ...results import Done, Outcome
from ...store import audit, contacts
from ...store.refusal import write_events


def handle(engine: sa.Engine, events: Sequence[Event]) -> dict[str, Outcome]:
    """Write the contacts and their states, and close the events' audit rows, in one transaction."""
    done = {event.id: Done(audit.STORED) for event in events}

    def work(connection: sa.Connection) -> None:
        contacts.apply_contacts(connection, events)
        audit.finish(connection, done)

    write_events(engine, work)
    return dict(done)
