"""``/api/v1/reports/health`` and ``/metrics``: the state of the whole system, for people and for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from .. import metrics
from ..contract.fields import format_datetime
from ..monitoring import health
from ..monitoring.exporter import MAX_AGE, HealthCollector
from ..monitoring.probes import HealthChecks
from .context import Context
from .resource import authenticated_router

#: Seconds until the report answers, even if a dependency hangs.
TIMEOUT = 5.0

router = authenticated_router("/api/v1/reports", "health")
#: Without a key: Prometheus has none, and the metrics hold no personal data.
open_router = APIRouter(tags=["health"])


@router.get("/health", summary="State of the queue, SQL, Odoo, the bridges and each path")
def report(request: Request) -> dict[str, Any]:
    """`status` is `ok` or `degraded`. `problems` says why. A value that could not be read is `null`."""
    answer = health.report(_checks(request).run(TIMEOUT, MAX_AGE))
    keys = Context.of(request).keys
    read_at = format_datetime(keys.read_at) if keys.read_at else None
    answer["api_keys"] = {"source": "file" if keys.are_cached else "sql", "read_at": read_at}
    if keys.are_cached:
        answer["notices"].append(
            f"The API uses the keys of {read_at}, from its file. It learns of new and revoked keys when SQL is up."
        )
    return answer


@open_router.get("/metrics", include_in_schema=False)
def expose(request: Request) -> Response:
    checks = CollectorRegistry()
    checks.register(HealthCollector(_checks(request)))
    return Response(generate_latest(metrics.REGISTRY) + generate_latest(checks), media_type=CONTENT_TYPE_LATEST)


def _checks(request: Request) -> HealthChecks:
    """The same for all requests, so that they share recent results."""
    state = request.app.state
    if not hasattr(state, "health_checks"):
        state.health_checks = health.open_checks(Context.of(request).settings)
    checks = state.health_checks
    assert isinstance(checks, HealthChecks)
    return checks
