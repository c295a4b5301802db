"""What the bridge counts and measures, for Prometheus.

Here is what happens inside one process, noted where it happens. What a process can only know by looking (depths,
dead letters, pauses) is looked up when somebody asks: see ``bridge.monitoring.exporter``.

No label's values come from outside: types, queues, outcomes and reasons are closed lists, so that the number of series
is bounded, and no person's data or id ever becomes one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector

from . import __version__
from .contract.event import Event
from .contract.payloads import EventType
from .results import DESCRIPTIONS

#: Not the library's global one: whoever imports a module of ours into a program with metrics of its own mixes nothing.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

#: Seconds. A hop takes milliseconds, waiting for a service that is away takes hours, and both must be told apart.
_LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600)
#: One call to a service, up to its timeout.
CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Info("miasalud_bridge", "Which version runs.", registry=REGISTRY).info({"version": __version__})

OPPORTUNITY_OUTCOMES = ("created", "moved", "updated", "unchanged", "stale", "discarded")

EVENTS = Counter(
    "miasalud_events",
    "Events that ended, by what became of them: stored, created, moved, updated, unchanged, stale, discarded, "
    "dead_lettered; known: delivered again after it had ended.",
    ["type", "outcome"],
    registry=REGISTRY,
)
RETRIES = Counter(
    "miasalud_event_retries",
    "Attempts that failed and will be repeated, by reason; postponed: others worked on the same opportunity.",
    ["type", "reason"],
    registry=REGISTRY,
)
DEAD_LETTERED = Counter("miasalud_dead_lettered", "Messages given up, by reason.", ["reason"], registry=REGISTRY)
RECONCILED = Counter(
    "miasalud_reconciled", "Unfinished events that the reconcile took up, by result.", ["result"], registry=REGISTRY
)
LATENCY = Histogram(
    "miasalud_event_latency_seconds",
    "From the receipt by the webhook to the event being applied.",
    ["type"],
    buckets=_LONG,
    registry=REGISTRY,
)
HOPS = Histogram(
    "miasalud_event_hop_seconds",
    "The parts of an event's way: outbox (receipt to queue), queue (until a bridge has it), bridge (until it is "
    "applied). The queue tells its time in whole seconds, so the first two are right to a second.",
    ["queue", "hop"],
    buckets=_LONG,
    registry=REGISTRY,
)
BATCHES = Histogram(
    "miasalud_batch_messages",
    "Messages taken off a queue at once.",
    ["queue"],
    buckets=(1, 2, 4, 8, 16, 32),
    registry=REGISTRY,
)
LAST_SUCCESS = Gauge(
    "miasalud_last_success_timestamp_seconds",
    "When this bridge last applied an event, in Unix time.",
    ["queue"],
    registry=REGISTRY,
)
RPC = Histogram(
    "miasalud_odoo_request_seconds",
    "Calls to Odoo, by method and result: ok, refused (Odoo said no), unavailable.",
    ["method", "result"],
    buckets=CALL,
    registry=REGISTRY,
)
SQL = Histogram(
    "miasalud_sql_transaction_seconds",
    "SQL transactions with all their repeats, by result: ok, failed.",
    ["result"],
    buckets=CALL,
    registry=REGISTRY,
)
SQL_REPEATS = Counter(
    "miasalud_sql_transaction_repeats",
    "Times that a transaction ran again because another was in its way.",
    registry=REGISTRY,
)
UP = Gauge(
    "miasalud_dependency_up",
    "Whether this bridge can use it: 1, or 0 while it waits for it and takes no messages.",
    ["dependency"],
    registry=REGISTRY,
)
OUTAGES = Counter("miasalud_outages", "Times that something was found away.", ["dependency"], registry=REGISTRY)
OUTAGE_SECONDS = Counter(
    "miasalud_outage_seconds", "Time spent waiting for something that was away.", ["dependency"], registry=REGISTRY
)


def _begin() -> None:
    """Series that may stay at 0 for long exist from the start: what appears with 1 has, to Prometheus, never risen."""
    for kind in EventType:
        applied = OPPORTUNITY_OUTCOMES if kind is EventType.OPPORTUNITY else ("stored",)
        for outcome in (*applied, "known", "dead_lettered"):
            EVENTS.labels(kind.value, outcome)
        for code in ("refused", "sql_refused", "failed", "postponed", "other"):
            RETRIES.labels(kind.value, code)
    for code in (*DESCRIPTIONS, "other"):
        DEAD_LETTERED.labels(code)
    for dependency in ("queue", "sql", "odoo"):
        OUTAGES.labels(dependency)
        OUTAGE_SECONDS.labels(dependency)


_begin()


def taken(queue: str, messages: int) -> None:
    """A batch came off a queue."""
    BATCHES.labels(queue).observe(messages)


def begun(event: Event, queue: str, enqueued_at: datetime) -> None:
    """An event's first attempt begins.

    :param enqueued_at: when its message was put on the queue
    """
    now = datetime.now(timezone.utc)
    HOPS.labels(queue, "outbox").observe(_seconds(event.received_at, enqueued_at))
    HOPS.labels(queue, "queue").observe(_seconds(enqueued_at, now))


def applied(event: Event, outcome: str, began_at: datetime) -> None:
    """:param began_at: when its first attempt began"""
    now = datetime.now(timezone.utc)
    EVENTS.labels(event.type.value, outcome).inc()
    LATENCY.labels(event.type.value).observe(_seconds(event.received_at, now))
    HOPS.labels(event.type.queue, "bridge").observe(_seconds(began_at, now))
    LAST_SUCCESS.labels(event.type.queue).set(now.timestamp())


def known(event: Event) -> None:
    """An event came again that had ended before."""
    EVENTS.labels(event.type.value, "known").inc()


def retried(event: Event, code: str) -> None:
    """An attempt failed, and there will be another."""
    RETRIES.labels(event.type.value, reason(code)).inc()


def dead_lettered(event: Event | None, code: str) -> None:
    """:param event: ``None`` if the message could not be read as one"""
    EVENTS.labels(event.type.value if event else "unreadable", "dead_lettered").inc()
    DEAD_LETTERED.labels(reason(code)).inc()


def reason(code: str) -> str:
    """``code`` if it is one of ours. Odoo may say others, and each would be a series for ever."""
    return code if code in DESCRIPTIONS or code == "postponed" else "other"


def went_down(dependency: str) -> None:
    UP.labels(dependency.lower()).set(0)
    OUTAGES.labels(dependency.lower()).inc()


def came_up(dependency: str, down_seconds: float) -> None:
    """:param down_seconds: how long it was away; 0 if it was not"""
    UP.labels(dependency.lower()).set(1)
    OUTAGE_SECONDS.labels(dependency.lower()).inc(down_seconds)


@contextmanager
def rpc(method: str, refused: type[Exception]) -> Iterator[None]:
    """Times a call to Odoo.

    :param refused: the exception by which Odoo's own no is told from its being away
    """
    started, result = time.monotonic(), "unavailable"
    try:
        yield
        result = "ok"
    except refused:
        result = "refused"
        raise
    finally:
        RPC.labels(method, result).observe(time.monotonic() - started)


@contextmanager
def sql_transaction() -> Iterator[None]:
    """Times a transaction with its repeats."""
    started, result = time.monotonic(), "failed"
    try:
        yield
        result = "ok"
    finally:
        SQL.labels(result).observe(time.monotonic() - started)


def _seconds(start: datetime, end: datetime) -> float:
    # Two machines' clocks: a little backwards is none at all.
    return max((end - start).total_seconds(), 0.0)
