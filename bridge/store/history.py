"""The tables' view of one event, or of a person's events, for ``trace``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .rows import AuditSummary, DeadLetterSummary, OpportunitySummary, StageMoveRow
from .schema import audit, dead_letters, manychat_flows, manychat_writes, opportunities, opportunity_stages

#: Events, and moves, at most: a person reads them on a terminal.
LIMIT = 50


@dataclass(frozen=True)
class EventDetails:
    """The traces of an event beside its audit row.

    :ivar opportunity: the person's, as it is now
    :ivar moves: the newest moves of that opportunity, in the order in which they happened
    :ivar write: what became of it in ManyChat, if it brought the person's newest state: ``refused_code``,
        ``result_at``, ``sent_as_of`` of ``manychat_writes``
    :ivar flow: that it started: ``flow_ns``, ``started_at``, ``result`` of ``manychat_flows``
    """

    dead_letter: DeadLetterSummary | None
    opportunity: OpportunitySummary | None
    moves: list[StageMoveRow]
    write: sa.Row[Any] | None = None
    flow: sa.Row[Any] | None = None


def events_with_prefix(connection: sa.Connection, prefix: str) -> list[AuditSummary]:
    """Audit rows of the events whose id begins with ``prefix``, by id.

    :param prefix: hexadecimal
    """
    statement = _columns(audit, AuditSummary._fields).where(_begins_with(audit.c.event_id, prefix))
    return [AuditSummary._make(row) for row in connection.execute(statement.order_by(audit.c.event_id).limit(LIMIT))]


def events_of_trace(connection: sa.Connection, trace_id: str) -> list[str]:
    """Ids of the events of a trace that does not follow from their id: the sender named it, or its span began it.

    :param trace_id: 32 hexadecimal digits
    """
    named = audit.c.traceparent.is_not(None) & _begins_with(audit.c.traceparent, f"00-{trace_id}-")
    statement = sa.select(audit.c.event_id).where(named).order_by(audit.c.traceparent)
    return [row[0] for row in connection.execute(statement.limit(LIMIT))]


def events_of(connection: sa.Connection, manychat_id: str) -> list[AuditSummary]:
    """Audit rows of a person's newest events, newest first."""
    statement = _columns(audit, AuditSummary._fields).where(audit.c.manychat_id == manychat_id)
    newest = connection.execute(statement.order_by(audit.c.occurred_at.desc()).limit(LIMIT))
    return [AuditSummary._make(row) for row in newest]


def dead_lettered_with_prefix(connection: sa.Connection, prefix: str) -> list[str]:
    """Ids, beginning with ``prefix``, of events that left a dead letter: their audit row may be purged.

    :param prefix: hexadecimal
    """
    column = dead_letters.c.event_id
    statement = sa.select(column).where(_begins_with(column, prefix))
    return [row[0] for row in connection.execute(statement.order_by(column).limit(LIMIT))]


def details(connection: sa.Connection, event_id: str, manychat_id: str | None) -> EventDetails:
    """The traces of an event beside its audit row.

    :param manychat_id: the event's person; ``None``: that of its dead letter
    """
    letter = connection.execute(
        _columns(dead_letters, DeadLetterSummary._fields).where(dead_letters.c.event_id == event_id)
    ).first()
    # No person has the id "". With None SQLAlchemy would write IS NULL, for which the database reads the whole table.
    manychat_id = manychat_id or (letter.manychat_id if letter else None) or ""
    opportunity = connection.execute(
        _columns(opportunities, OpportunitySummary._fields).where(opportunities.c.manychat_id == manychat_id)
    ).first()
    return EventDetails(
        DeadLetterSummary._make(letter) if letter else None,
        OpportunitySummary._make(opportunity) if opportunity else None,
        _moves(connection, opportunity.id) if opportunity else [],
        *_in_manychat(connection, event_id, manychat_id),
    )


def _in_manychat(connection: sa.Connection, event_id: str, manychat_id: str) -> tuple[Any, Any]:
    writes, flows = manychat_writes.c, manychat_flows.c
    write = sa.select(writes.refused_code, writes.result_at, writes.sent_as_of).where(
        writes.manychat_id == manychat_id, writes.event_id == event_id
    )
    flow = sa.select(flows.flow_ns, flows.started_at, flows.result).where(flows.event_id == event_id)
    return connection.execute(write).first(), connection.execute(flow).first()


def _moves(connection: sa.Connection, opportunity_id: int) -> list[StageMoveRow]:
    statement = sa.select(opportunity_stages).where(opportunity_stages.c.opportunity_id == opportunity_id)
    newest = connection.execute(statement.order_by(opportunity_stages.c.event_at.desc()).limit(LIMIT))
    return [StageMoveRow._make(row) for row in newest][::-1]


def _columns(table: sa.Table, names: tuple[str, ...]) -> sa.Select[tuple[object, ...]]:
    return sa.select(*(table.c[name] for name in names))


def _begins_with(column: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    # A range, which an index serves whatever the collation: "g" comes after all hexadecimal digits.
    return sa.and_(column >= prefix, column < prefix + "g")
