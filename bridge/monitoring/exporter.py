"""``/metrics`` for Prometheus: what was counted, and what has to be looked up when somebody asks.

A scrape never hangs: each look has a short time, and is shared by all who ask within some seconds. What did not answer
in time is left out, and ``miasalud_probe_success`` says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import metrics
from ..results import DESCRIPTIONS
from .probes import PATHS, Seen, Watch, age

log = structlog.get_logger()

#: Seconds that a scrape waits for a look. Prometheus gives up after 10.
TIMEOUT = 2.0
#: Seconds that a look is good for: several may scrape, each every 15 seconds.
GOOD_FOR = 5.0
#: Ports tried, from the one that is set: several bridges on one machine share one setting.
PORTS = 10


class Looks(Collector):
    """Depths, dead letters, pauses and lag, as they are at the moment of the scrape.

    All bridges see the same: where several are scraped, take ``max()`` of these, never ``sum()``.
    """

    def __init__(self, watch: Watch):
        self._watch = watch

    def describe(self) -> Iterable[Any]:
        # Registering must not look at anything.
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        seen = self._watch.look(TIMEOUT, GOOD_FOR)
        now = datetime.now(timezone.utc)
        yield _probes(seen)
        yield from _queues(seen, now)
        if seen.sql.seen and seen.sql.seen.store:
            store = seen.sql.seen.store
            letters = _gauge("miasalud_dead_letters_open", "Dead letters that nobody has dealt with.", "reason")
            known = dict.fromkeys([*DESCRIPTIONS, "other"], 0)
            for code, count in store.letters.items():
                known[metrics.reason(code)] += count
            for reason, count in known.items():
                letters.add_metric([reason], count)
            yield letters
            paused = _gauge("miasalud_queue_paused", "1 while `pause` keeps bridges from taking messages.", "queue")
            unfinished = _gauge(
                "miasalud_events_unfinished", "Events taken and neither applied nor given up yet.", "queue"
            )
            for queue in PATHS:
                paused.add_metric([queue], queue in store.paused)
                path = store.paths.get(queue)
                unfinished.add_metric([queue], path.unfinished if path else 0)
            yield paused
            yield unfinished


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=labels)


def _probes(seen: Seen) -> GaugeMetricFamily:
    success = _gauge("miasalud_probe_success", "1 if the look at it succeeded, for this scrape.", "dependency")
    success.add_metric(["queue"], all(answer.ok for answer in seen.queues.values()))
    success.add_metric(["sql"], seen.sql.ok)
    return success


def _queues(seen: Seen, now: datetime) -> Iterator[GaugeMetricFamily]:
    depth = _gauge("miasalud_queue_messages", "Messages on the queue, about, those in hand included.", "queue")
    oldest = _gauge(
        "miasalud_queue_oldest_message_age_seconds",
        "How long the first message in line has been on the queue; 0 if none waits.",
        "queue",
    )
    lag = _gauge(
        "miasalud_path_lag_seconds",
        "Age of the oldest event that waits on the queue or is not finished; 0 if there is none.",
        "queue",
    )
    for queue, answer in seen.queues.items():
        if answer.seen:
            depth.add_metric([queue], answer.seen.depth)
            oldest.add_metric([queue], age(answer.seen.first_at, now))
        if queue in PATHS and (waited := seen.lag(queue, now)) is not None:
            lag.add_metric([queue], waited)
    yield depth
    yield oldest
    yield lag


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    # A scraper that connects and then says nothing must not hold a thread for ever (seconds).
    timeout = 10

    def log_message(self, *_: Any) -> None:
        pass


def serve(watch: Watch, host: str, port: int) -> Callable[[], None]:
    """Answer ``/metrics``, and ``/health`` for whoever supervises the process, until what is returned is called.

    Metrics are never worth a bridge that does not work: without a free port it goes on, and says so.

    :param port: the first of :data:`PORTS` that are tried
    """
    collector = Looks(watch)
    metrics.REGISTRY.register(collector)
    expose = make_wsgi_app(metrics.REGISTRY)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return expose(environ, start_response)  # type: ignore[no-any-return]
        found = environ["PATH_INFO"] == "/health"
        start_response("200 OK" if found else "404 Not Found", [("Content-Type", "application/json")])
        return [b'{"status": "ok"}' if found else b'{"status": "error", "code": "not_found"}']

    server = _bind(host, port, answer)
    if server:
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        log.info("metrics_served", port=server.server_port)
    else:
        log.warning("metrics_not_served", port=port, reason=f"none of {PORTS} ports from here on is free")

    def close() -> None:
        if server:
            server.shutdown()
            server.server_close()
        metrics.REGISTRY.unregister(collector)

    return close


def _bind(host: str, port: int, answer: Callable[..., Iterable[bytes]]) -> WSGIServer | None:
    for candidate in range(port, min(port + PORTS, 65536)):
        try:
            return make_server(host, candidate, answer, _Server, _Handler)
        except OSError:
            continue
    return None
