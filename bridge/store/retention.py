"""Purge of old data: payloads and audit rows of settled events, dead letters that are resolved or discarded, counts of
requests that the standby refused, and what was noted of calls to ManyChat.

Unfinished events and open letters stay, and so does everything that ``reconcile`` may need. A person's contacts,
states, campaigns and opportunities are the purpose of the product and stay until the person is erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from .audit import DEAD_LETTERED
from .dead_letters import DISCARDED, RESOLVED
from .erasure import NO_PAYLOAD
from .opportunities import UNSYNCED
from .schema import audit, dead_letters, manychat_echoes, manychat_flows, opportunities, standby_refusals
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
    # The first is the condition of an index, which has no row that an earlier purge has emptied.
    return [audit.c.purged_at.is_(None), *_settled(before)]


# One status each, so that an index has the rows in the order of deletion.


def _resolved(before: datetime) -> list[sa.ColumnElement[bool]]:
    return [dead_letters.c.status == RESOLVED, dead_letters.c.resolved_at < before]


def _discarded(before: datetime) -> list[sa.ColumnElement[bool]]:
    return [dead_letters.c.status == DISCARDED, dead_letters.c.discarded_at < before]


def _refused(before: datetime) -> list[sa.ColumnElement[bool]]:
    return [standby_refusals.c.last_at < before]


#: A flow that was noted so long ago cannot be due any more, and no event is an echo of what was written then.
_NOTED_FOR = timedelta(days=7)


def _noted(moment: sa.Column[datetime], before: datetime) -> list[sa.ColumnElement[bool]]:
    return [moment < min(before, datetime.now(timezone.utc) - _NOTED_FOR)]


def due(connection: sa.Connection, before: datetime) -> dict[str, int]:
    """The number of rows to purge, by kind."""

    def count(table: sa.Table, conditions: list[sa.ColumnElement[bool]]) -> int:
        return connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()

    return {
        "audit payloads": count(audit, _with_payload(before)),
        "audit rows": count(audit, _settled(before)),
        "dead letters": count(dead_letters, _resolved(before)) + count(dead_letters, _discarded(before)),
        "refusal counts": count(standby_refusals, _refused(before)),
        "calls to ManyChat": count(manychat_flows, _noted(manychat_flows.c.started_at, before))
        + count(manychat_echoes, _noted(manychat_echoes.c.written_at, before)),
    }


@dataclass(frozen=True)
class Part:
    """The result of one step of a purge.

    :ivar count: number of rows; 0: nothing is left
    :ivar end: where the next step continues. Without it each step would read again what the steps before it read
    """

    count: int
    end: tuple[datetime, int] | None


#: Before the first step.
START = Part(0, None)


# Each of these does one step: a short transaction, which delays no bridge.


def empty_payloads(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Empty some payloads of settled events. The rows stay and guard against applying an event twice."""
    ids, part = _some(connection, audit, _with_payload(before), last)
    if ids:
        emptied = {"payload": NO_PAYLOAD, "extra": None, "warnings": None, "error": None}
        purged_at = datetime.now(timezone.utc)
        connection.execute(audit.update().where(audit.c.id.in_(ids)).values(**emptied, purged_at=purged_at))
    return part


def delete_rows(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some audit rows of settled events."""
    return _delete(connection, audit, _settled(before), last)


def delete_resolved(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some dead letters whose events were applied after all."""
    return _delete(connection, dead_letters, _resolved(before), last)


def delete_discarded(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some discarded dead letters."""
    return _delete(connection, dead_letters, _discarded(before), last)


def delete_refusals(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some counts of requests that the standby refused."""
    return _delete(connection, standby_refusals, _refused(before), last)


def delete_flows(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some notes of flows that were started. They stay for a week at least, or a flow could start twice."""
    return _delete(connection, manychat_flows, _noted(manychat_flows.c.started_at, before), last)


def delete_echoes(connection: sa.Connection, before: datetime, last: Part = START) -> Part:
    """Delete some notes of stages that were written."""
    return _delete(connection, manychat_echoes, _noted(manychat_echoes.c.written_at, before), last)


def _delete(connection: sa.Connection, table: sa.Table, conditions: list[sa.ColumnElement[bool]], last: Part) -> Part:
    ids, part = _some(connection, table, conditions, last)
    if ids:
        connection.execute(table.delete().where(table.c.id.in_(ids)))
    return part


def _some(
    connection: sa.Connection, table: sa.Table, conditions: list[sa.ColumnElement[bool]], last: Part
) -> tuple[list[int], Part]:
    # In the order of the index that serves the conditions. Ordered by id, a database would read the whole table.
    moment = {
        audit: audit.c.finished_at,
        dead_letters: dead_letters.c.last_tried_at,
        standby_refusals: standby_refusals.c.last_at,
        manychat_flows: manychat_flows.c.started_at,
        manychat_echoes: manychat_echoes.c.written_at,
    }[table]
    if last.end:
        moment_then, id_then = last.end
        conditions = [*conditions, moment >= moment_then, sa.or_(moment > moment_then, table.c.id > id_then)]
    statement = sa.select(table.c.id, moment).where(*conditions).order_by(moment, table.c.id).limit(CHUNK)
    rows = list(connection.execute(statement))
    return sorted(row[0] for row in rows), Part(len(rows), (rows[-1][1], rows[-1][0]) if rows else last.end)
