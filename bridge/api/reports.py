"""``/api/v1/reports/health`` and ``/metrics``: how everything is doing, for people and for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from .. import metrics
from ..contract.fields import format_datetime
from ..monitoring import health
from ..monitoring.exporter import GOOD_FOR, Looks
from ..monitoring.probes import Watch
from .context import Context
from .resource import guarded

#: Seconds within which the report answers, whatever hangs.
TIMEOUT = 5.0

router = guarded("/api/v1/reports", "health")
#: Without a key: Prometheus has none, and nothing in it is about people.
open_router = APIRouter(tags=["health"])


@router.get("/health", summary="How queue, SQL, Odoo, the bridges and each path are doing")
def report(request: Request) -> dict[str, Any]:
    """`status` is `ok` or `degraded`; `problems` says why, in words. What could not be found out is `null`."""
    told = health.report(_watch(request).look(TIMEOUT, GOOD_FOR))
    keys = Context.of(request).keys
    read_at = format_datetime(keys.read_at) if keys.read_at else None
    told["api_keys"] = {"source": "file" if keys.are_from_file else "sql", "read_at": read_at}
    if keys.are_from_file:
        told["notices"].append(
            f"The API's keys are those of {read_at}, from its file. What was made or revoked since counts once SQL is "
            "back."
        )
    return told


@open_router.get("/metrics", include_in_schema=False)
def expose(request: Request) -> Response:
    looks = CollectorRegistry()
    looks.register(Looks(_watch(request)))
    return Response(generate_latest(metrics.REGISTRY) + generate_latest(looks), media_type=CONTENT_TYPE_LATEST)


def _watch(request: Request) -> Watch:
    """One for all requests, so that they share what was seen a moment ago."""
    state = request.app.state
    if not hasattr(state, "watch"):
        state.watch = health.open_watch(Context.of(request).settings)
    watch = state.watch
    assert isinstance(watch, Watch)
    return watch
