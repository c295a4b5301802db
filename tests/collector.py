"""A collector of OpenTelemetry's spans: a small OTLP/HTTP server that decodes what the real SDK sends, and keeps it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """One span, ids in hexadecimal, times in nanoseconds; links as pairs of trace and span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]]


class Collector:
    """What was exported so far.

    :ivar bodies: of the requests, as they were decoded from
    """

    def __init__(self, url: str):
        self.url = url
        self.bodies: list[bytes] = []
        self._spans: list[Span] = []

    def keep(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self._spans.append(
                    Span(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code == span.status.STATUS_CODE_ERROR,
                        _attributes(span.attributes),
                        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    )
                )

    def spans(self, trace_id: str | None = None) -> list[Span]:
        """In the order in which they began."""
        found = [span for span in self._spans if trace_id in (None, span.trace_id)]
        return sorted(found, key=lambda span: span.started)


def tree(spans: Iterable[Span]) -> dict[str, list[str]]:
    """The names of the spans under each, by its name, in alphabetical order; under "" those that follow from no span
    among them.
    """
    spans = list(spans)
    names = {span.span_id: span.name for span in spans}
    assert len(names) == len(spans), "a span's id is there twice"
    found: dict[str, list[str]] = {}
    for span in spans:
        found.setdefault(names.get(span.parent_id, ""), []).append(span.name)
    return {name: sorted(below) for name, below in found.items()}


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            collector.keep(gzip.decompress(body) if packed else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
