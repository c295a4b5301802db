"""Export of spans by OpenTelemetry's SDK, over OTLP/HTTP. Imported only if :mod:`.spans` is on.

The SDK's own variables (``OTEL_…``) set addresses, headers, time-outs, sampling and resource. Its thread sends the
spans; while the collector is away, they are dropped, and no event waits, nor does the end of the process for long.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from . import __version__
from .spans import ATTRIBUTES, BRIDGE

_EPOCH = datetime.fromtimestamp(0, timezone.utc)
#: At its end a process waits so long (seconds) for a collector that does not answer. The SDK would wait 30.
_LAST_SECONDS = 3
#: What the SDK calls a service without a name.
_UNNAMED = "unknown_service"


class _EventIds(RandomIdGenerator):
    """Gives the first span of an event's own trace the ids that follow from the event."""

    def __init__(self) -> None:
        self.local = threading.local()

    def generate_trace_id(self) -> int:
        wanted: int | None = getattr(self.local, "trace_id", None)
        return super().generate_trace_id() if wanted is None else wanted

    def generate_span_id(self) -> int:
        wanted: int | None = getattr(self.local, "span_id", None)
        return super().generate_span_id() if wanted is None else wanted


class Span:
    """A span that has begun."""

    def __init__(self, span: trace.Span):
        self._span = span

    @property
    def traceparent(self) -> str:
        """What later spans follow from."""
        own = self._span.get_span_context()
        return f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags & trace.TraceFlags.SAMPLED:02x}"

    def end(self, at: datetime, attributes: Mapping[str, Any], *, failed: bool) -> None:
        """:param attributes: what has become known since it began"""
        self._span.set_attributes(_allowed(attributes))
        if failed:
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._span.end(_nanoseconds(at))


class Exporter:
    """Makes spans and exports them. Used by many threads.

    :raises Exception: a variable of the SDK has a value that the SDK does not take
    """

    def __init__(self) -> None:
        self._ids = _EventIds()
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._tracers: dict[str, trace.Tracer] = {}
        self._lock = threading.Lock()
        # Some variables are first read with the first tracer. An event must not be what finds a fault in them.
        self._tracer(BRIDGE)
        atexit.register(self._end)

    def start(
        self,
        name: str,
        parent: str,
        at: datetime,
        kind: str,
        service: str,
        attributes: Mapping[str, Any],
        *,
        is_first: bool = False,
        takes_id: bool = False,
        links: Iterable[str] = (),
    ) -> Span:
        """Begin a span.

        :param parent: traceparent that it follows from
        :param service: what the program is called, if no variable says it
        :param is_first: of the parent only the trace exists
        :param takes_id: it becomes the span that ``parent`` names
        :param links: traceparents of what it has to do with, besides
        """
        of_parent, before, ids = _context(parent), context.Context(), self._ids.local
        if is_first:
            ids.trace_id, ids.span_id = of_parent.trace_id, of_parent.span_id if takes_id else None
        else:
            before = trace.set_span_in_context(trace.NonRecordingSpan(of_parent), before)
        try:
            return Span(
                self._tracer(service).start_span(
                    name,
                    before,
                    trace.SpanKind[kind.upper()],
                    _allowed(attributes),
                    [trace.Link(_context(each)) for each in links],
                    _nanoseconds(at),
                )
            )
        finally:
            ids.trace_id = ids.span_id = None

    def flush(self) -> None:
        self._processor.force_flush()

    def _end(self) -> None:
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(_LAST_SECONDS)

    def _tracer(self, service: str) -> trace.Tracer:
        with self._lock:
            if service not in self._tracers:
                resource = Resource.create()
                if str(resource.attributes.get(SERVICE_NAME, "")).startswith(_UNNAMED):
                    resource = resource.merge(Resource({SERVICE_NAME: service}))
                provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
                provider.add_span_processor(self._processor)
                self._tracers[service] = provider.get_tracer("miasalud-bridge", __version__)
            return self._tracers[service]


def _context(traceparent: str) -> trace.SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    trace_flags = trace.TraceFlags(int(flags, 16))
    return trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace_flags)


def _allowed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"miasalud.{key}": value for key, value in attributes.items() if key in ATTRIBUTES}


def _nanoseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
