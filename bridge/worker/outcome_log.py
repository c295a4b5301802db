"""The metrics and the log line of each outcome of an event, in one place, for the consumer and for ``reconcile``."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import structlog

from .. import metrics, spans
from ..contract import traceparent
from ..contract.event import Event
from ..contract.outcomes import EventOutcome
from ..results import Done, Failure
from .repair import SKIPPED, Repair

log = structlog.get_logger()


def batch_received(queue: str, messages: int) -> None:
    """A batch of messages came off a queue."""
    metrics.BATCHES.labels(queue).observe(messages)


def first_attempt(event: Event, queue: str, enqueued_at: datetime) -> None:
    """The first attempt of an event begins.

    :param enqueued_at: when its message was put on the queue
    """
    now = datetime.now(timezone.utc)
    metrics.HOPS.labels(queue, "outbox").observe(_seconds(event.received_at, enqueued_at))
    metrics.HOPS.labels(queue, "queue").observe(_seconds(enqueued_at, now))
    spans.waited(event, queue, enqueued_at)


def applied(event: Event, done: Done, *, attempts: int, first_tried_at: datetime) -> None:
    """An event is applied, or settled in another way."""
    now = datetime.now(timezone.utc)
    took = _seconds(event.received_at, now)
    metrics.EVENTS.labels(event.type.value, done.status).inc()
    metrics.LATENCY.labels(event.type.value).observe(took)
    metrics.HOPS.labels(event.type.queue, "bridge").observe(_seconds(first_tried_at, now))
    metrics.LAST_SUCCESS.labels(event.type.queue).set(now.timestamp())
    spans.say(event.id, attempts=attempts)
    fields: dict[str, Any] = {"outcome": done.status, "attempts": attempts, "ms": round(took * 1000)}
    if done.lead_id:
        fields["lead_id"] = done.lead_id
    log.info("event_applied", **_about(event), **fields)


def duplicate(event: Event, outcome: str | None) -> None:
    """An event was delivered again after its end.

    :param outcome: what it came to before
    """
    metrics.EVENTS.labels(event.type.value, "duplicate").inc()
    spans.say(event.id, outcome="duplicate")
    log.info("event_duplicate", **_about(event), outcome=outcome)


def conflict(event: Event) -> None:
    """A concurrent transaction held the event's opportunity. It is tried again soon, and no attempt is counted."""
    metrics.RETRIES.labels(event.type.value, "conflict").inc()
    log.info("event_conflict", **_about(event))


def retried(event: Event, failure: Failure, *, attempts: int, retry_in: int | None) -> None:
    """An attempt failed, and there will be another.

    :param retry_in: seconds until then; ``None``: the next ``reconcile`` tries again
    """
    metrics.RETRIES.labels(event.type.value, metrics.reason(failure.code)).inc()
    spans.say(event.id, failed=True, code=failure.code, attempts=attempts)
    fields = {} if retry_in is None else {"retry_in": retry_in}
    log.warning("event_retried", **_about(event), code=failure.code, attempts=attempts, **fields)


def dead_lettered(event: Event, failure: Failure, *, attempts: int) -> None:
    """An event is given up."""
    spans.say(event.id, failed=True, code=failure.code, attempts=attempts)
    metrics.EVENTS.labels(event.type.value, EventOutcome.DEAD_LETTERED).inc()
    metrics.DEAD_LETTERED.labels(metrics.reason(failure.code)).inc()
    log.error("event_dead_lettered", **_about(event), code=failure.code, attempts=attempts)


def unreadable(queue: str, message_id: str, code: str) -> None:
    """A message that is not an event is given up."""
    metrics.EVENTS.labels("unreadable", EventOutcome.DEAD_LETTERED).inc()
    metrics.DEAD_LETTERED.labels(metrics.reason(code)).inc()
    log.error("message_unreadable", queue=queue, message_id=message_id, code=code)


def reconciled(repair: Repair) -> None:
    """A round of ``reconcile`` dealt with something unfinished."""
    metrics.RECONCILED.labels(repair.result).inc()
    if repair.result == SKIPPED:
        return  # each round would log it again
    about = {"event_id": repair.event_id}
    if repair.event_id:  # the newest event of an opportunity may be unknown
        about["trace_id"] = repair.trace_id or traceparent.trace_id(traceparent.of_event(repair.event_id))
    log.warning("reconciled", **about, manychat_id=repair.manychat_id, outcome=repair.result)


def _about(event: Event) -> dict[str, Any]:
    about = {
        "event_id": event.id,
        "trace_id": event.trace_id,
        "manychat_id": event.manychat_id,
        "type": event.type.value,
    }
    # A bot builder must set the bot's clock right: until then its events are ordered by their receipt.
    return {**about, "clock_is_wrong": True} if event.clock_is_wrong else about


def _seconds(start: datetime, end: datetime) -> float:
    # The clocks of two machines differ: never below zero.
    return max((end - start).total_seconds(), 0.0)
