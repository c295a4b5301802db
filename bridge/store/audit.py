"""One row per event: its contents, its times, its attempts and its outcome."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import func, not_, or_

from ..contract import traceparent
from ..contract.event import Event
from ..contract.outcomes import EventOutcome
from ..results import Done, Failure
from . import audit_updates as updates
from . import dead_letters
from .rows import AuditRow
from .schema import audit
from .upsert import chunks, find, to_json

#: Outcome of an event that only SQL needs, and not Odoo.
STORED = EventOutcome.STORED.value
#: Outcome of an event that was given up. If the event comes again, its attempts start at one.
DEAD_LETTERED = EventOutcome.DEAD_LETTERED.value
#: Outcomes of an event that an operator or Odoo user discarded, and of one whose person was erased. Neither is tried
#: again. Only an Odoo user can retry a discarded event.
DISCARDED = EventOutcome.DISCARDED.value
ERASED = EventOutcome.ERASED.value

_A = audit.c


@dataclass(frozen=True)
class ReceivedEvent:
    """An event as it came off a queue."""

    event: Event
    queue: str
    enqueued_at: datetime | None


@dataclass(frozen=True)
class AttemptState:
    """The state of an event after its earlier attempts.

    :ivar attempt_in_progress: its last attempt has not ended: a bridge is working on it, or was killed by it
    :ivar retries: how often an Odoo user had it sent again, as far as the bridge has seen
    :ivar tried_at: when its newest attempt began
    """

    attempts: int
    attempt_in_progress: bool
    outcome: str | None
    error_code: str | None
    error: str | None
    started_at: datetime
    retries: int
    tried_at: datetime | None

    @property
    def begun_at(self) -> datetime:
        """When its newest attempt began; of rows of early releases, the first one."""
        return self.tried_at or self.started_at

    @property
    def is_untried(self) -> bool:
        """Whether the standby API accepted the event, and no bridge has received it yet."""
        return self.attempts == 0 and self.tried_at is None

    @property
    def is_done(self) -> bool:
        return self.outcome is not None and self.outcome != DEAD_LETTERED

    @property
    def is_dead(self) -> bool:
        return self.outcome == DEAD_LETTERED

    def is_overruled_by(self, event: Event) -> bool:
        """Whether an Odoo user sent ``event`` again since. Then a new round begins, even after a discard."""
        return event.retries > self.retries and self.outcome in (None, DEAD_LETTERED, DISCARDED)


def attempt_states(connection: sa.Connection, event_ids: Collection[str]) -> dict[str, AttemptState]:
    """The states of those events that were received before, by event id."""
    columns = (_A.attempts, _A.attempt_in_progress, _A.outcome, _A.error_code, _A.error, _A.started_at, _A.retries)
    statement = sa.select(_A.event_id, *columns, _A.tried_at)
    return {row[0]: AttemptState(*row[1:]) for row in find(connection, statement, _A.event_id, event_ids)}


def done(connection: sa.Connection, event_ids: Collection[str]) -> dict[str, str]:
    """The outcomes of those events that are finished and were not given up, by event id."""
    states = attempt_states(connection, event_ids)
    return {event_id: state.outcome for event_id, state in states.items() if state.outcome and state.is_done}


def begin_new(
    connection: sa.Connection, received: Sequence[ReceivedEvent], now: datetime | None = None
) -> dict[str, AttemptState]:
    """Look the events up, and count the first attempt of each that is new. See :func:`begin`.

    :return: the states of the others, by event id: their attempts are not counted yet
    """
    before = attempt_states(connection, [item.event.id for item in received])
    _insert(connection, [item for item in received if item.event.id not in before], now)
    return before


def begin(
    connection: sa.Connection,
    received: Sequence[ReceivedEvent],
    now: datetime | None = None,
    *,
    dead: Mapping[str, AttemptState] | None = None,
) -> dict[str, AttemptState]:
    """Count an attempt of each event, *before* it is made, so that an event that kills the process is given up in time.

    :param dead: those that are tried although they were given up, as they were looked up: their attempts start at one.
        One that was given up since then stays so: its message is deleted by now. ``None``: all that were given up
    :return: the states before this attempt, by event id, without new events
    """
    now = now or datetime.now(timezone.utc)
    before = attempt_states(connection, [item.event.id for item in received])
    dead = before if dead is None else dead
    again = [
        {
            "event_id": item.event.id,
            "retries": item.event.retries,
            "enqueued_at": item.enqueued_at,
            "begun_at": dead[item.event.id].begun_at if item.event.id in dead else None,
        }
        for item in received
        if item.event.id in before
    ]
    if again:
        updates.BEGIN_AGAIN.execute(connection, sorted(again, key=itemgetter("event_id")), now=now)
    _insert(connection, [item for item in received if item.event.id not in before], now)
    return before


def _insert(connection: sa.Connection, received: Sequence[ReceivedEvent], now: datetime | None) -> None:
    now = now or datetime.now(timezone.utc)
    if received:
        rows = [_row(item, now) for item in received]
        connection.execute(audit.insert(), sorted(rows, key=itemgetter("event_id")))


def accept(connection: sa.Connection, event: Event, now: datetime | None = None) -> None:
    """Note that the standby API has put ``event`` on its queue, so that it is missed if the queue loses it.

    An event that is known already stays as it is: a bridge may have been faster.
    """
    if not attempt_states(connection, [event.id]):
        row = _row(ReceivedEvent(event, event.type.queue, None), now or datetime.now(timezone.utc))
        connection.execute(audit.insert(), [{**row, "tried_at": None, "attempts": 0, "attempt_in_progress": False}])


def finish(connection: sa.Connection, done: Mapping[str, Done], now: datetime | None = None) -> None:
    """Store the outcomes of applied events, and resolve their dead letters, if any.

    :param done: by event id
    """
    now = now or datetime.now(timezone.utc)
    if done:
        updates.FINISH.execute(
            connection,
            [
                {
                    "event_id": event_id,
                    "outcome": outcome.status,
                    "lead_id": outcome.lead_id,
                    "stage_before": outcome.stage_before,
                    "stage_after": outcome.stage_after,
                    # Odoo knows the outcomes of its own.
                    "reported_at": None if outcome.status == STORED else now,
                }
                for event_id, outcome in sorted(done.items())
            ],
            now=now,
        )
        dead_letters.resolve(connection, done, now)


def fail(
    connection: sa.Connection, failures: Mapping[str, Failure], *, dead: bool, now: datetime | None = None
) -> None:
    """Store a failed attempt of each event.

    :param failures: by event id
    :param dead: the events are given up; else they will be tried again
    """
    now = now or datetime.now(timezone.utc)
    if failures:
        updates.FAIL.execute(
            connection,
            [
                {
                    "event_id": event_id,
                    "error_code": failure.code,
                    "error": failure.message,
                    "outcome": DEAD_LETTERED if dead else None,
                    "finished_at": now if dead else None,
                }
                for event_id, failure in sorted(failures.items())
            ],
        )


def release_attempt(connection: sa.Connection, event_ids: Collection[str]) -> None:
    """Undo the counting of attempts that an outage or a conflict ended."""
    for some in chunks(event_ids):
        connection.execute(updates.RELEASE_ATTEMPT.where(_A.event_id.in_(some)))


def claim(connection: sa.Connection, event_id: str, cutoff: datetime, now: datetime | None = None) -> bool:
    """Begin an attempt of an unfinished event whose last one began before ``cutoff``.

    :return: ``False`` if it is finished, or another process began an attempt meanwhile
    """
    now = now or datetime.now(timezone.utc)
    return connection.execute(updates.CLAIM, {"this_event_id": event_id, "cutoff": cutoff, "now": now}).rowcount == 1


def discard(connection: sa.Connection, event_id: str, now: datetime | None = None) -> None:
    """Discard an event that was given up: it will not be applied, unless an Odoo user sends it again."""
    connection.execute(updates.DISCARD, {"this_event_id": event_id, "now": now or datetime.now(timezone.utc)})


def unreported(connection: sa.Connection, limit: int, after: int = 0) -> list[AuditRow]:
    """Rows whose outcome Odoo does not know yet, oldest first.

    :param after: only those whose id is greater, for reading page by page
    """
    statement = sa.select(audit).where(_A.outcome.is_not(None), _A.reported_at.is_(None), _A.id > after)
    return [AuditRow._make(row) for row in connection.execute(statement.order_by(_A.id).limit(limit))]


def mark_reported(connection: sa.Connection, rows: Sequence[AuditRow], now: datetime | None = None) -> None:
    """Note that Odoo knows the outcomes of these rows, as they were read."""
    now = now or datetime.now(timezone.utc)
    if rows:
        updates.MARK_REPORTED.execute(
            connection,
            [
                {"event_id": row.event_id, "outcome": row.outcome, "retries": row.retries, "attempts": row.attempts}
                for row in sorted(rows, key=lambda row: row.event_id)
            ],
            now=now,
        )


def report_again(connection: sa.Connection, event_ids: Collection[str]) -> None:
    """Report the outcomes of these events to Odoo once more."""
    for some in chunks(event_ids):
        connection.execute(updates.REPORT_AGAIN.where(_A.event_id.in_(some)))


def unfinished(connection: sa.Connection, cutoff: datetime, types: Collection[str]) -> list[AuditRow]:
    """Audit rows, oldest first, of events without an outcome whose last attempt began before ``cutoff``.

    Without those that no bridge has received: see :func:`untried`.
    """
    statement = sa.select(audit).where(
        updates.OPEN,
        not_(updates.UNTRIED),
        func.coalesce(_A.tried_at, _A.started_at) < cutoff,
        _A.type.in_(sorted(types)),
    )
    return [AuditRow._make(row) for row in connection.execute(statement.order_by(_A.id))]


def untried(connection: sa.Connection, queue: str, before: datetime, limit: int) -> list[AuditRow]:
    """Audit rows, oldest first, of events that the standby API accepted before then and no bridge has received."""
    statement = sa.select(audit).where(updates.OPEN, updates.UNTRIED, _A.queue == queue, _A.started_at < before)
    return [AuditRow._make(row) for row in connection.execute(statement.order_by(_A.id).limit(limit))]


def finished_since(
    connection: sa.Connection, since: datetime, outcomes: Collection[str], after_id: int, limit: int
) -> list[AuditRow]:
    """Rows of events that ended so since then, in the order in which they ended.

    :param after_id: of those that ended at that very moment, only rows whose id is greater. The moment and the id of a
        page's last row lead to the next page.
    """
    statement = sa.select(audit).where(
        _A.finished_at >= since,
        or_(_A.finished_at > since, _A.id > after_id),
        _A.outcome.in_(sorted(outcomes)),
    )
    ordered = statement.order_by(_A.finished_at, _A.id).limit(limit)
    return [AuditRow._make(row) for row in connection.execute(ordered)]


def newest_begun(connection: sa.Connection, queue: str, since: datetime, cutoff: datetime) -> datetime | None:
    """When a webhook received the newest of those events whose newest attempt began before ``cutoff``.

    :param since: only events received then or later, so that little is read
    """
    statement = sa.select(_A.received_at).where(_A.queue == queue, _A.received_at >= since, _A.tried_at < cutoff)
    return connection.execute(statement.order_by(_A.received_at.desc()).limit(1)).scalar()


def rows(connection: sa.Connection, event_ids: Collection[str]) -> dict[str, AuditRow]:
    """Whole audit rows, by event id."""
    return {row.event_id: AuditRow._make(row) for row in find(connection, sa.select(audit), _A.event_id, event_ids)}


def wrong_clocks(connection: sa.Connection, since: datetime) -> int:
    """The number of events received since then whose date was too far ahead to be used."""
    statement = (
        sa.select(func.count()).select_from(audit).where(_A.received_at >= since, _A.clock_is_wrong == sa.true())
    )
    return connection.execute(statement).scalar_one()


def _row(item: ReceivedEvent, now: datetime) -> dict[str, Any]:
    event = item.event
    return {
        "event_id": event.id,
        "type": event.type.value,
        "queue": item.queue,
        "source": event.source,
        "manychat_id": event.manychat_id,
        "payload": json.dumps(event.payload.canonical(), ensure_ascii=False),
        "extra": to_json(event.extra),
        "warnings": to_json(event.warnings),
        "occurred_at": event.occurred_at,
        "clock_is_wrong": event.clock_is_wrong,
        "received_at": event.received_at,
        "retries": event.retries,
        "enqueued_at": item.enqueued_at,
        "started_at": now,
        "tried_at": now,
        "attempts": 1,
        "attempt_in_progress": True,
        "traceparent": None if event.traceparent == traceparent.of_event(event.id) else event.traceparent,
    }
