"""A snapshot of the events' progress, for health reports, metrics and `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
from sqlalchemy import func

from . import audit as audit_rows
from . import dead_letters, manychat_slots, manychat_writes, pauses, standby_refusals
from .dead_letters import Filter
from .rows import StandbyRefusalRow
from .schema import audit

#: The time that counts as "lately".
WINDOW = timedelta(minutes=5)
#: Maximum number of events whose latency is read: enough for a median.
SAMPLE = 1000

_A = audit.c


@dataclass(frozen=True)
class QueueSnapshot:
    """The events of one queue.

    :ivar unfinished: number of events that a bridge took from the queue and that have no outcome
    :ivar oldest_unfinished: when the oldest of them was received
    :ivar received: number of events received lately that a bridge took from the queue
    :ivar given_up: number of events received lately that became dead letters
    :ivar latencies: seconds from receipt to outcome of events received lately, ascending
    """

    unfinished: int = 0
    oldest_unfinished: datetime | None = None
    received: int = 0
    given_up: int = 0
    latencies: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class StoreSnapshot:
    """The state of the store.

    :ivar paths: by queue; a queue without such events is missing
    :ivar paused: when each paused queue was paused, by queue
    :ivar letters: number of open dead letters, by code
    :ivar wrong_clocks: number of events of the last 24 hours whose date was not used
    :ivar undeliverable: since when a queue holds messages that it cannot deliver, by queue
    :ivar refusals: requests of the last 24 hours that the standby API refused, counted
    :ivar manychat_stopped: ManyChat takes no calls at present
    :ivar write_back: what goes back to ManyChat
    """

    paths: Mapping[str, QueueSnapshot]
    paused: Mapping[str, datetime]
    letters: Mapping[str, int]
    wrong_clocks: int
    undeliverable: Mapping[str, datetime] = field(default_factory=dict)
    refusals: Sequence[StandbyRefusalRow] = ()
    manychat_stopped: manychat_slots.Pause | None = None
    write_back: manychat_writes.Summary = field(default_factory=lambda: manychat_writes.Summary(enabled=False))


def take(connection: sa.Connection, now: datetime | None = None) -> StoreSnapshot:
    """Take a snapshot, by a few queries that indices serve."""
    now = now or datetime.now(timezone.utc)
    since = now - WINDOW
    unfinished = {
        row[0]: (row[1], row[2])
        for row in connection.execute(
            sa.select(_A.queue, func.count(), func.min(_A.received_at)).where(_A.outcome.is_(None)).group_by(_A.queue)
        )
    }
    received: dict[str, int] = {}
    given_up: dict[str, int] = {}
    for queue, outcome, count in connection.execute(
        sa.select(_A.queue, _A.outcome, func.count()).where(_A.received_at >= since).group_by(_A.queue, _A.outcome)
    ):
        received[queue] = received.get(queue, 0) + count
        if outcome == audit_rows.DEAD_LETTERED:
            given_up[queue] = given_up.get(queue, 0) + count
    latencies: dict[str, list[float]] = {}
    for queue, received_at, finished_at in connection.execute(
        sa.select(_A.queue, _A.received_at, _A.finished_at)
        .where(_A.received_at >= since, _A.finished_at.is_not(None), _A.outcome != audit_rows.DEAD_LETTERED)
        .order_by(_A.received_at.desc())
        .limit(SAMPLE)
    ):
        latencies.setdefault(queue, []).append(max((finished_at - received_at).total_seconds(), 0.0))
    return StoreSnapshot(
        paths={
            queue: QueueSnapshot(
                *unfinished.get(queue, (0, None)),
                received=received.get(queue, 0),
                given_up=given_up.get(queue, 0),
                latencies=sorted(latencies.get(queue, [])),
            )
            for queue in sorted(unfinished.keys() | received.keys())
        },
        paused=pauses.paused(connection),
        letters=dead_letters.counts(connection, Filter()),
        wrong_clocks=audit_rows.wrong_clocks(connection, now - timedelta(days=1)),
        undeliverable=dead_letters.undeliverable(connection),
        refusals=standby_refusals.lately(connection, now - timedelta(days=1)),
        manychat_stopped=manychat_slots.paused(connection),
        write_back=manychat_writes.summary(connection),
    )
