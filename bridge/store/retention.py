"""What may go after a time: payloads and rows of events that are settled, and dead letters that are done with.

Never anything unfinished or open, nor what ``reconcile`` may still need. What is known of a person (contacts, states,
campaigns, opportunities) is the product's purpose and stays until the person is erased.
"""

from __future__ import annotations

from dataclasses import dataclass
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


# By one status each: so an index has them in the order in which they are deleted.


def _resolved(before: datetime) -> list[sa.ColumnElement[bool]]:
    return [dead_letters.c.status == RESOLVED, dead_letters.c.resolved_at < before]


def _discarded(before: datetime) -> list[sa.ColumnElement[bool]]:
    return [dead_letters.c.status == DISCARDED, dead_letters.c.discarded_at < before]


def due(connection: sa.Connection, before: datetime) -> dict[str, int]:
    """How much there is to purge of each kind."""

    def count(table: sa.Table, conditions: list[sa.ColumnElement[bool]]) -> int:
        return connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()

    return {
        "audit payloads": count(audit, _with_payload(before)),
        "audit rows": count(audit, _settled(before)),
        "dead letters": count(dead_letters, _resolved(before)) + count(dead_letters, _discarded(before)),
    }


@dataclass(frozen=True)
class Part:
    """What one step of a purge did.

    :ivar count: rows; 0: nothing is left
    :ivar end: where the next step goes on. Without it, each would pass over all that were before it once more
    """

    count: int
    end: tuple[datetime, int] | None


#: Before the first step.
START = Part(0, None)


# Each of these does a part: short transactions, which hold up no bridge.


def empty_payloads(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Empty some payloads of settled events; the rows stay, as the guard against applying twice."""
    ids, part = _some(connection, audit, _with_payload(before), last)
    if ids:
        connection.execute(audit.update().where(audit.c.id.in_(ids)).values(payload=NO_PAYLOAD, error=None))
    return part


def delete_rows(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some audit rows of settled events."""
    return _delete(connection, audit, _settled(before), last)


def delete_resolved(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some dead letters whose events were applied after all."""
    return _delete(connection, dead_letters, _resolved(before), last)


def delete_discarded(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some dead letters that nobody wanted any more."""
    return _delete(connection, dead_letters, _discarded(before), last)


def _delete(connection: sa.Connection, table: sa.Table, conditions: list[sa.ColumnElement[bool]], last: Part) -> Part:
    ids, part = _some(connection, table, conditions, last)
    if ids:
        connection.execute(table.delete().where(table.c.id.in_(ids)))
    return part


def _some(
    connection: sa.Connection, table: sa.Table, conditions: list[sa.ColumnElement[bool]], last: Part
) -> tuple[list[int], Part]:
    # In the order of an index that the conditions use: by id a database would rather read the whole table.
    moment = {audit: audit.c.finished_at, dead_letters: dead_letters.c.last_tried_at}[table]
    if last.end:
        moment_then, id_then = last.end
        conditions = [*conditions, moment >= moment_then, sa.or_(moment > moment_then, table.c.id > id_then)]
    statement = sa.select(table.c.id, moment).where(*conditions).order_by(moment, table.c.id).limit(CHUNK)
    rows = list(connection.execute(statement))
    return sorted(row[0] for row in rows), Part(len(rows), (rows[-1][1], rows[-1][0]) if rows else last.end)
