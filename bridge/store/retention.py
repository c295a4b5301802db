"""What may go after a time: payloads and rows of events that are settled, and dead letters that are done with.

Never anything unfinished or open, nor what ``reconcile`` may still need. What is known of a person (contacts, states,
campaigns, opportunities) is the product's purpose and stays until the person is erased.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from .audit import DEAD_LETTERED
from .dead_letters import DISCARDED, RESOLVED
from .erasure import NO_PAYLOAD
from .opportunities import UNSYNCED
from .schema import audit, dead_letters, opportunities
from .upsert import CHUNK


def _settled(before: datetime) -> list[sa.ColumnElement[bool]]:
    unsynced = sa.exists().where(
        opportunities.c.event_id == audit.c.event_id, opportunities.c.odoo_sync_status.in_(UNSYNCED)
    )
    return [
        audit.c.finished_at < before,
        audit.c.outcome.is_not(None),
        audit.c.outcome != DEAD_LETTERED,
        ~unsynced,
    ]


def _with_payload(before: datetime) -> list[sa.ColumnElement[bool]]:
    return [*_settled(before), audit.c.payload != NO_PAYLOAD]


def _done_with(before: datetime) -> list[sa.ColumnElement[bool]]:
    # Resolved comes last of all: a letter that was discarded, and applied nonetheless, has both.
    ended = sa.func.coalesce(dead_letters.c.resolved_at, dead_letters.c.discarded_at)
    return [dead_letters.c.status.in_([RESOLVED, DISCARDED]), ended < before]


def due(connection: sa.Connection, before: datetime) -> dict[str, int]:
    """How much there is to purge of each kind."""

    def count(table: sa.Table, conditions: list[sa.ColumnElement[bool]]) -> int:
        return connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()

    return {
        "audit payloads": count(audit, _with_payload(before)),
        "audit rows": count(audit, _settled(before)),
        "dead letters": count(dead_letters, _done_with(before)),
    }


# Each of these does a part and says how much that was, 0 when nothing is left: short transactions, which hold up no
# bridge.


def empty_payloads(connection: sa.Connection, before: datetime) -> int:
    """Empty some payloads of settled events; the rows stay, as the guard against applying twice."""
    ids = _some(connection, audit, _with_payload(before))
    if ids:
        connection.execute(audit.update().where(audit.c.id.in_(ids)).values(payload=NO_PAYLOAD, error=None))
    return len(ids)


def delete_rows(connection: sa.Connection, before: datetime) -> int:
    """Delete some audit rows of settled events."""
    return _delete(connection, audit, _settled(before))


def delete_letters(connection: sa.Connection, before: datetime) -> int:
    """Delete some dead letters that are resolved or discarded."""
    return _delete(connection, dead_letters, _done_with(before))


def _delete(connection: sa.Connection, table: sa.Table, conditions: list[sa.ColumnElement[bool]]) -> int:
    ids = _some(connection, table, conditions)
    if ids:
        connection.execute(table.delete().where(table.c.id.in_(ids)))
    return len(ids)


def _some(connection: sa.Connection, table: sa.Table, conditions: list[sa.ColumnElement[bool]]) -> list[int]:
    # In the order of an index that the conditions use: by id a database would rather read the whole table.
    order = {audit: audit.c.finished_at, dead_letters: dead_letters.c.last_tried_at}[table]
    statement = sa.select(table.c.id).where(*conditions).order_by(order).limit(CHUNK)
    return sorted(connection.execute(statement).scalars())
