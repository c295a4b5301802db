"""The metrics of one bridge process, for Prometheus.

Depths, dead letters and pauses are the same for all processes: :mod:`bridge.monitoring.exporter` looks them up at each
scrape.

All labels have closed lists of values (types, queues, outcomes, reasons). So the number of series is bounded, and no
personal data or id becomes a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector

from . import __version__
from .contract.outcomes import APPLIED, ErrorCode, EventOutcome
from .contract.payloads import QUEUES, EventType
from .results import DESCRIPTIONS

#: Own registry, so that importing us adds nothing to another program's metrics.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

#: Seconds. A hop takes milliseconds, waiting for a service that is down takes hours: the buckets cover both.
_LONG = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600)
#: Seconds of one call to a service, up to its timeout.
CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Info("miasalud_bridge", "The running version.", registry=REGISTRY).info({"version": __version__})

OPPORTUNITY_OUTCOMES = (*APPLIED, EventOutcome.DISCARDED)

EVENTS = Counter(
    "miasalud_events",
    "Events that ended, by outcome: stored, created, moved, updated, unchanged, stale, discarded, dead_lettered; "
    "duplicate: delivered again after its end.",
    ["type", "outcome"],
    registry=REGISTRY,
)
RETRIES = Counter(
    "miasalud_event_retries",
    "Attempts that failed and will be repeated, by reason; conflict: a concurrent transaction held the opportunity.",
    ["type", "reason"],
    registry=REGISTRY,
)
DEAD_LETTERED = Counter("miasalud_dead_lettered", "Messages given up, by reason.", ["reason"], registry=REGISTRY)
RECONCILED = Counter(
    "miasalud_reconciled",
    "Unfinished events and opportunities that `reconcile` found, by result.",
    ["result"],
    registry=REGISTRY,
)
LATENCY = Histogram(
    "miasalud_event_latency_seconds",
    "From the receipt by the webhook until the event is applied.",
    ["type"],
    buckets=_LONG,
    registry=REGISTRY,
)
HOPS = Histogram(
    "miasalud_event_hop_seconds",
    "Parts of the latency of an event: outbox (receipt to queue), queue (until a bridge receives it), bridge (until it "
    "is applied). The queue has whole seconds, so the first two are exact to a second.",
    ["queue", "hop"],
    buckets=_LONG,
    registry=REGISTRY,
)
BATCHES = Histogram(
    "miasalud_batch_messages",
    "Messages received from a queue at once.",
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
    "Calls to Odoo, by method and result: ok, refused (Odoo raised an exception), unavailable.",
    ["method", "result"],
    buckets=CALL,
    registry=REGISTRY,
)
MANYCHAT = Histogram(
    "miasalud_manychat_request_seconds",
    "Calls to ManyChat, by method and result: ok, refused, stopped (too many calls), unavailable.",
    ["method", "result"],
    buckets=CALL,
    registry=REGISTRY,
)
WRITE_BACKS = Counter(
    "miasalud_manychat_writes",
    "People whose decisions were sent to ManyChat, by result: written, dropped (a newer one follows), equal (ManyChat "
    "has it), refused.",
    ["result"],
    registry=REGISTRY,
)
FLOWS = Counter(
    "miasalud_manychat_flows", "Flows for decisions, by result: started, refused, unknown.", ["result"],
    registry=REGISTRY,
)  # fmt: skip
SQL = Histogram(
    "miasalud_sql_transaction_seconds",
    "SQL transactions with all their runs, by result: ok, failed.",
    ["result"],
    buckets=CALL,
    registry=REGISTRY,
)
SQL_REPEATS = Counter(
    "miasalud_sql_transaction_repeats",
    "Runs that a transaction repeated after a conflict with another one.",
    registry=REGISTRY,
)
PROGRESS_AGE = Gauge(
    "miasalud_consumer_progress_age_seconds",
    "Time since the consumer of the queue last began a step; it stands still after two minutes.",
    ["queue"],
    registry=REGISTRY,
)
UP = Gauge(
    "miasalud_dependency_up",
    "1 if this bridge can use the dependency; 0 while it waits for it and receives no messages.",
    ["dependency"],
    registry=REGISTRY,
)
OUTAGES = Counter("miasalud_outages", "Outages that began.", ["dependency"], registry=REGISTRY)
OUTAGE_SECONDS = Counter(
    "miasalud_outage_seconds", "Time spent waiting for a dependency that was down.", ["dependency"], registry=REGISTRY
)


def _create_series() -> None:
    """Make the series that may stay at 0 for long: Prometheus sees no rise in a series that appears with 1."""
    for kind in EventType:
        applied = OPPORTUNITY_OUTCOMES if kind is EventType.OPPORTUNITY else (EventOutcome.STORED,)
        for outcome in (*applied, "duplicate", EventOutcome.DEAD_LETTERED):
            EVENTS.labels(kind.value, outcome)
        for code in (ErrorCode.REFUSED, ErrorCode.SQL_REFUSED, ErrorCode.FAILED, "conflict", "other"):
            RETRIES.labels(kind.value, code)
    for code in (*DESCRIPTIONS, "other"):
        DEAD_LETTERED.labels(code)
    for result in ("written", "dropped", "equal", "refused"):
        WRITE_BACKS.labels(result)
    for result in ("started", "refused", "unknown"):
        FLOWS.labels(result)
    for dependency in ("queue", *QUEUES.values(), "sql", "odoo", "manychat"):
        OUTAGES.labels(dependency)
        OUTAGE_SECONDS.labels(dependency)


_create_series()


def reason(code: str) -> str:
    """Label for an error code: ``other`` for a code of Odoo's, since each code would be a series for ever."""
    return code if code in DESCRIPTIONS else "other"
