"""Spans of OpenTelemetry: what happened to an event, and for how long, as one trace. Off, unless it is switched on.

It is on if the extra ``otel`` is installed and the environment names a collector in OpenTelemetry's own variable,
``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``. Off, nothing of OpenTelemetry is imported.

A span says which event it is about, and never who: :data:`ATTRIBUTES` is all that it may hold.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .contract import traceparent
from .contract.event import Event

if TYPE_CHECKING:
    from .span_export import Exporter

#: OpenTelemetry's variables for the address of a collector.
ADDRESSES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: What a span may say. None of it is about a person.
ATTRIBUTES = frozenset(
    {"event_id", "type", "queue", "source", "outcome", "code", "attempts", "events", "database", "method", "result"}
)
#: What a program is called in traces, unless ``OTEL_SERVICE_NAME`` says it.
BRIDGE, ODOO = "miasalud-bridge", "miasalud-odoo"

_logger = logging.getLogger(__name__)
_local = threading.local()


@functools.cache
def _exporter() -> Exporter | None:
    if not any(os.environ.get(name) for name in ADDRESSES) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from .span_export import Exporter
    except ImportError:
        _logger.warning("No spans are exported: install the extra miasalud-bridge[otel].")
        return None
    return Exporter()


def are_on() -> bool:
    """Whether spans are exported."""
    return _exporter() is not None


def flush() -> None:
    """Send what waits for the next export."""
    if exporter := _exporter():
        exporter.flush()


def record(
    name: str,
    event: Event,
    started: datetime,
    ended: datetime | None = None,
    *,
    kind: str = "internal",
    service: str = BRIDGE,
    failed: bool = False,
    **attributes: Any,
) -> None:
    """Export a span of an event.

    :param name: the step, such as ``queue``
    :param started: with time zone
    :param ended: default: now
    :param kind: ``server``, ``client``, ``producer``, ``consumer`` or ``internal``
    :param attributes: of :data:`ATTRIBUTES`
    """
    exporter = _exporter()
    if exporter is None:
        return
    span = exporter.start(name, event.traceparent, started, kind, service, _about(event) | attributes)
    span.end(max(ended or datetime.now(timezone.utc), started), failed=failed)


@contextmanager
def webhook(event: Event, started: datetime, *, service: str = BRIDGE) -> Iterator[Event]:
    """Export the span of the request that brought ``event``. All further spans of the event follow from this one.

    :param started: when the request arrived, with time zone
    :return: the event to store: ``event``, with this span in its traceparent
    """
    exporter = _exporter()
    if exporter is None:
        yield event
        return
    # Without a trace of its sender, the event's own trace begins here.
    is_first = event.traceparent == traceparent.of_event(event.id)
    span = exporter.start("webhook", event.traceparent, started, "server", service, _about(event), is_first=is_first)
    failed = True
    try:
        yield replace(event, traceparent=span.traceparent)
        failed = False
    finally:
        span.end(datetime.now(timezone.utc), failed=failed)


@contextmanager
def in_hand(events: Iterable[Event]) -> Iterator[None]:
    """While this lasts, what this thread asks of SQL and Odoo is about ``events``: see :func:`record_step`."""
    if _exporter() is None:
        yield
        return
    before = getattr(_local, "events", ())
    _local.events = tuple(events)
    try:
        yield
    finally:
        _local.events = before


def record_step(name: str, started: datetime, *, kind: str = "client", failed: bool = False, **attributes: Any) -> None:
    """Export a span of each event in hand: one call serves a batch, and is part of the trace of each of its events."""
    events = getattr(_local, "events", ())
    ended = datetime.now(timezone.utc)
    for event in events:
        record(name, event, started, ended, kind=kind, failed=failed, events=len(events), **attributes)


def _about(event: Event) -> dict[str, Any]:
    return {"event_id": event.id, "type": event.type.value, "source": event.source}
