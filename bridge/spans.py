"""Spans of OpenTelemetry: what happened to an event, and for how long, as one trace. Off, unless it is switched on.

It is on if the extra ``otel`` is installed and the environment names a collector in OpenTelemetry's own variable,
``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``. Off, nothing of OpenTelemetry is imported.

The trace of an event is a tree. A program that receives an event hangs its spans under the one that the event's
traceparent names, and puts its own there before it passes the event on. A call that serves a batch is in the tree of
each of its events, and its spans lead to one another by links.

A span says which event it is about, and never who: :data:`ATTRIBUTES` is all that it may hold.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .contract import traceparent
from .contract.event import Event

if TYPE_CHECKING:
    from .span_export import Exporter, Span

#: OpenTelemetry's variables for the address of a collector.
ADDRESSES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: What a span may say. None of it is about a person.
ATTRIBUTES = frozenset(
    {"event_id", "type", "queue", "source", "outcome", "code", "attempts", "events", "database", "method", "result"}
)
#: What a program is called in traces, unless ``OTEL_SERVICE_NAME`` says it.
BRIDGE, ODOO = "miasalud-bridge", "miasalud-odoo"
#: Other events that a span is linked with, at most: the SDK keeps no more.
MOST_LINKS = 128

_logger = logging.getLogger(__name__)
_local = threading.local()


@dataclass(frozen=True)
class Subject:
    """What a span needs of an event, where the whole event is not at hand."""

    id: str
    traceparent: str


class Step:
    """A step of an event that has begun. It is exported when it ends.

    :ivar traceparent: what follows from this step
    """

    def __init__(self, subject: Subject, span: Span | None):
        self._span = span
        self._said: dict[str, Any] = {}
        self._failed = False
        self.subject = subject
        self.traceparent = span.traceparent if span else subject.traceparent

    def say(self, *, failed: bool = False, **attributes: Any) -> None:
        """Add what is known by now, of :data:`ATTRIBUTES`."""
        self._said |= attributes
        self._failed = self._failed or failed

    def end(self, *, failed: bool = False) -> None:
        """The step ends now. Later calls do nothing."""
        if self._span:
            self._span.end(datetime.now(timezone.utc), self._said, failed=failed or self._failed)
            self._span = None


@functools.cache
def _exporter() -> Exporter | None:
    if not any(os.environ.get(name) for name in ADDRESSES) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from .span_export import Exporter

        return Exporter()
    except ImportError:
        _logger.warning("No spans are exported: install the extra miasalud-bridge[otel].")
    except Exception as error:  # the SDK raises many kinds; no event may fail of it
        _logger.error("No spans are exported: OpenTelemetry does not take one of its variables OTEL_…: %s", error)
    return None


def are_on() -> bool:
    """Whether spans are exported."""
    return _exporter() is not None


def flush() -> None:
    """Send what waits for the next export."""
    if exporter := _exporter():
        exporter.flush()


def begin(name: str, event: Event, started: datetime, *, kind: str, service: str = BRIDGE, **attributes: Any) -> Step:
    """Begin a step of a program that passes the event on, see :func:`passing_on`.

    Without a trace of its sender, the event's own trace begins with the first of them.

    :param name: the step, such as ``outbox``
    :param started: with time zone
    :param kind: ``server``, ``client``, ``producer``, ``consumer`` or ``internal``
    :param attributes: of :data:`ATTRIBUTES`
    """
    return _start(name, event, started, kind, service, is_first=_begins_trace(event), **attributes)


def passing_on(event: Event, step: Step) -> Event:
    """``event`` for the next program: what that one does follows from ``step``."""
    return event if event.traceparent == step.traceparent else replace(event, traceparent=step.traceparent)


@contextmanager
def webhook(event: Event, started: datetime, *, service: str = BRIDGE) -> Iterator[Event]:
    """Export the span of the request that brought ``event``. All further spans of the event follow from this one.

    :param started: when the request arrived, with time zone
    :return: the event to store: ``event``, with this span in its traceparent
    """
    step = begin("webhook", event, started, kind="server", service=service)
    failed = True
    try:
        yield passing_on(event, step)
        failed = False
    finally:
        step.end(failed=failed)


def waited(event: Event | Subject, queue: str, since: datetime) -> None:
    """Export the span of an event's time on a queue, or of what follows from it, which ends now.

    :param since: when its message was put there: whole seconds, by the clock of the queue
    """
    if are_on():
        # If no program before has exported a span, the trace begins here. The further ones follow from the span that
        # the event's id names, so this one is that span.
        own = isinstance(event, Event) and _begins_trace(event)
        started = min(since, datetime.now(timezone.utc))
        _start("queue", event, started, "consumer", is_first=own, takes_id=own, queue=queue).end()


@contextmanager
def in_hand(events: Iterable[Event | Subject], name: str = "bridge") -> Iterator[None]:
    """While this lasts, what this thread asks of other systems is about ``events``: see :func:`record_step`.

    Each event that is not in hand already has a step of that name until then. Within it, a call may be about some of
    the events only.
    """
    if _exporter() is None:
        yield
        return
    before: dict[str, Step] = getattr(_local, "steps", {})
    now = datetime.now(timezone.utc)
    steps = {each.id: before.get(each.id) or _start(name, each, now, "consumer") for each in events}
    _local.steps = steps
    failed = True
    try:
        yield
        failed = False
    finally:
        _local.steps = before
        for event_id, step in steps.items():
            if event_id not in before:
                step.end(failed=failed)


def say(event_id: str, *, failed: bool = False, **attributes: Any) -> None:
    """Add to the step of an event in hand what it came to, of :data:`ATTRIBUTES`."""
    if step := getattr(_local, "steps", {}).get(event_id):
        step.say(failed=failed, **attributes)


def record_step(name: str, started: datetime, *, kind: str = "client", failed: bool = False, **attributes: Any) -> None:
    """Export a call that ends now, about the events in hand: a span in the trace of each of them.

    That of the first event is linked with the others' steps, and theirs with that of the first: a person who looks at
    one event finds those with which it shared the call.
    """
    steps = list(getattr(_local, "steps", {}).values())
    links = [step.traceparent for step in steps[1 : MOST_LINKS + 1]]
    for step in steps:
        after = Subject(step.subject.id, step.traceparent)
        call = _start(name, after, started, kind, links=links, **attributes, events=len(steps))
        if step is steps[0]:
            links = [call.traceparent]
        call.end(failed=failed)


def _start(
    name: str,
    event: Event | Subject,
    started: datetime,
    kind: str,
    service: str = BRIDGE,
    *,
    is_first: bool = False,
    takes_id: bool = False,
    links: Sequence[str] = (),
    **attributes: Any,
) -> Step:
    """A step; one that does nothing while spans are off."""
    subject, exporter = Subject(event.id, event.traceparent), _exporter()
    if exporter is None:
        return Step(subject, None)
    said = {"event_id": event.id, **attributes}
    if isinstance(event, Event):
        said |= {"type": event.type.value, "source": event.source}
    return Step(
        subject,
        exporter.start(
            name, event.traceparent, started, kind, service, said, is_first=is_first, takes_id=takes_id, links=links
        ),
    )


def _begins_trace(event: Event) -> bool:
    return event.traceparent == traceparent.of_event(event.id)
