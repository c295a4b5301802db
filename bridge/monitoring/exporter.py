"""``/metrics`` for Prometheus: the metrics of the process, and the health checks at the moment of the scrape.

A scrape never hangs: the checks have a short timeout, and several scrapers share their results. A dependency that did
not answer in time is left out, and ``miasalud_probe_success`` says so.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import metrics
from ..contract.payloads import OUTBOUND_QUEUE
from ..progress import Watch
from ..results import DESCRIPTIONS
from ..store.snapshot import StoreSnapshot
from .probes import PATHS, HealthChecks, HealthSnapshot, age

log = structlog.get_logger()

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Seconds that a scrape waits for the checks. Prometheus gives up after 10.
TIMEOUT = 2.0
#: Seconds that results of the checks are used again: there may be several scrapers, each every 15 seconds.
MAX_AGE = 5.0
#: Ports tried, from the one that is set: several bridges on one machine share one setting.
PORTS = 10
#: Seconds after which a connection that sends no request is closed.
IDLE_SECONDS = 10


class HealthCollector(Collector):
    """Depths, dead letters, pauses and lag at the moment of the scrape.

    All bridges export the same values: take ``max()`` over several of them, never ``sum()``.
    """

    def __init__(self, checks: HealthChecks):
        self._checks = checks

    def describe(self) -> Iterable[Any]:
        # Registering must not run the checks.
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        snapshot = self._checks.run(TIMEOUT, MAX_AGE)
        now = datetime.now(timezone.utc)
        yield _probes(snapshot)
        yield from _queues(snapshot, now)
        if snapshot.sql.value and snapshot.sql.value.store:
            store = snapshot.sql.value.store
            letters = _gauge("miasalud_dead_letters_open", "Open dead letters, by reason.", "reason")
            known = dict.fromkeys([*DESCRIPTIONS, "other"], 0)
            for code, count in store.letters.items():
                known[metrics.reason(code)] += count
            for reason, count in known.items():
                letters.add_metric([reason], count)
            yield letters
            paused = _gauge("miasalud_queue_paused", "1 while `pause` keeps bridges from receiving messages.", "queue")
            unfinished = _gauge(
                "miasalud_events_unfinished", "Events received and neither applied nor given up yet.", "queue"
            )
            paused.add_metric([OUTBOUND_QUEUE], OUTBOUND_QUEUE in store.paused)
            for queue in PATHS:
                paused.add_metric([queue], queue in store.paused)
                path = store.paths.get(queue)
                unfinished.add_metric([queue], path.unfinished if path else 0)
            yield paused
            yield unfinished
            yield from _write_back(store, now)


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=labels)


def _write_back(store: StoreSnapshot, now: datetime) -> Iterator[GaugeMetricFamily]:
    found, stop = store.write_back, store.manychat_stopped
    for name, about, value in (
        ("miasalud_manychat_waiting", "People whose decisions are not written to ManyChat yet.", found.waiting),
        ("miasalud_manychat_wait_seconds", "How long the first of them has waited.", age(found.waits_since, now)),
        ("miasalud_manychat_refused", "People of whom ManyChat refused the newest decision.", found.refused),
        (
            "miasalud_manychat_stopped_seconds",
            "How long ManyChat takes no calls from now on, because there were too many; 0: it takes them.",
            max((stop.until - now).total_seconds(), 0.0) if stop else 0.0,
        ),
    ):
        gauge = _gauge(name, about)
        gauge.add_metric([], value)
        yield gauge


def _probes(snapshot: HealthSnapshot) -> GaugeMetricFamily:
    success = _gauge(
        "miasalud_probe_success", "1 if the check of the dependency succeeded at this scrape.", "dependency"
    )
    success.add_metric(["queue"], all(result.ok for result in snapshot.queues.values()))
    success.add_metric(["sql"], snapshot.sql.ok)
    return success


def _queues(snapshot: HealthSnapshot, now: datetime) -> Iterator[GaugeMetricFamily]:
    depth = _gauge(
        "miasalud_queue_messages",
        "Approximate number of messages on the queue, those that a bridge holds included.",
        "queue",
    )
    oldest = _gauge(
        "miasalud_queue_oldest_message_age_seconds",
        "How long the first message in line has been on the queue; 0 if none waits.",
        "queue",
    )
    invisible = _gauge(
        "miasalud_queue_invisible_messages",
        "Approximate number of messages under a lease, delayed for a retry, or that the queue cannot deliver.",
        "queue",
    )
    undeliverable = _gauge(
        "miasalud_queue_undeliverable_seconds",
        "How long the queue has held a message that it cannot deliver; 0 if it delivers all.",
        "queue",
    )
    store = snapshot.sql.value.store if snapshot.sql.value else None
    lag = _gauge(
        "miasalud_path_lag_seconds",
        "Age of the oldest event that waits on the queue or is unfinished; 0 without one.",
        "queue",
    )
    for queue, result in snapshot.queues.items():
        if result.value:
            depth.add_metric([queue], result.value.depth)
            oldest.add_metric([queue], age(result.value.first_at, now))
            if result.value.invisible is not None:
                invisible.add_metric([queue], result.value.invisible)
        if store and queue in PATHS:
            undeliverable.add_metric([queue], age(store.undeliverable.get(queue), now))
        if queue in PATHS and (waited := snapshot.lag(queue, now)) is not None:
            lag.add_metric([queue], waited)
    yield depth
    yield oldest
    yield invisible
    yield undeliverable
    yield lag


def serve(checks: HealthChecks, watch: Watch, host: str, port: int) -> Callable[[], None]:
    """Answer ``/metrics``, and ``/health`` for a supervisor of the process, in the background.

    Without a free port the bridge works nevertheless, and logs that it serves no metrics.

    :param watch: the consumers: ``/health`` is 503 while one stands still
    :param port: the first of :data:`PORTS` that are tried
    :return: ends the server
    """
    collector = HealthCollector(checks)
    metrics.REGISTRY.register(collector)
    server, reason = _start(watch, host, port)
    if server:
        log.info("metrics_served", port=server.server_port)
    else:
        log.warning("metrics_not_served", port=port, reason=reason)

    def close() -> None:
        if server:
            server.shutdown()
            server.server_close()
        metrics.REGISTRY.unregister(collector)

    return close


def _start(watch: Watch, host: str, port: int) -> tuple[WSGIServer | None, str]:
    """The library's server on the first free port, with ``/health`` added; or why there is none."""
    for candidate in range(port, min(port + PORTS, 65536)):
        try:
            server, _thread = start_http_server(candidate, host, metrics.REGISTRY)
        except socket.gaierror:
            return None, "BRIDGE_METRICS_HOST is no address of this machine"
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return None, "BRIDGE_METRICS_HOST is no address of this machine"
            if error.errno == errno.EACCES:
                return None, "only root may take a port below 1024: BRIDGE_METRICS_PORT"
            continue
        server.set_app(_with_health(make_wsgi_app(metrics.REGISTRY), watch))
        server.RequestHandlerClass = _RequestHandler
        return server, ""
    return None, f"none of {PORTS} ports from here on is free"


class _RequestHandler(WSGIRequestHandler):
    # A scraper that connects and sends no request must not hold a thread for ever.
    timeout = IDLE_SECONDS

    def log_message(self, *_: Any) -> None:
        pass


_NOT_FOUND = {"status": "error", "code": "not_found", "message": "There are /metrics and /health here."}


def _health(watch: Watch) -> tuple[str, dict[str, str]]:
    stuck = watch.standing_still()
    if not stuck:
        return "200 OK", {"status": "ok"}
    message = " ".join(
        f"The consumer of {queue} has stood still for {seconds:.0f} seconds." for queue, seconds in stuck.items()
    )
    return "503 Service Unavailable", {"status": "error", "code": "stuck", "message": message}


def _with_health(expose: WsgiApplication, watch: Watch) -> WsgiApplication:
    """``/metrics`` by the library, which would answer any path with the metrics."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return expose(environ, start_response)
        status, body = _health(watch) if environ["PATH_INFO"] == "/health" else ("404 Not Found", _NOT_FOUND)
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    return answer
