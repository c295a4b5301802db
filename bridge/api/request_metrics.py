"""The API's own metrics, beside those of :mod:`bridge.metrics`, which every process has.

Each label that a caller could fill has a closed list of values here: all unknown addresses are one series, and so are
all unknown methods. (The ready-made middlewares make a series of each method.) A route's label is its template, so it
contains no person's id.
"""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contract.payloads import WEBHOOKS, EventType
from ..metrics import CALL, REGISTRY

#: A supervisor asks for these every few seconds.
UNCOUNTED = {"/health", "/metrics"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
OTHER = "other"
#: The answers of a webhook: an accepted event, a valid dry run, or the ``code`` of an error.
ANSWERS = (
    "accepted",
    "valid",
    "forbidden",
    "invalid",
    "key_in_address",
    "not_json",
    "too_large",
    "too_many_wrong_keys",
    "unauthorized",
    "unavailable",
    "unsupported_media_type",
)

REQUESTS = Histogram(
    "miasalud_http_request_seconds",
    "Requests to the API, by route, method and status, without /health and /metrics.",
    ["route", "method", "status"],
    buckets=CALL,
    registry=REGISTRY,
)
WEBHOOK_REQUESTS = Counter(
    "miasalud_webhook_requests",
    "Requests to the standby webhooks, by the event's type and the answer: accepted, valid (a dry run), or the error's "
    "code. unavailable: the event was not stored.",
    ["type", "answer"],
    registry=REGISTRY,
)
for _type in WEBHOOKS:
    for _answer in (*ANSWERS, OTHER):
        WEBHOOK_REQUESTS.labels(_type.value, _answer)


def count_webhook(event_type: EventType, answer: str) -> None:
    """Count one answer of a webhook.

    :param answer: one of :data:`ANSWERS`; any other counts as :data:`OTHER`
    """
    WEBHOOK_REQUESTS.labels(event_type.value, answer if answer in ANSWERS else OTHER).inc()


class RequestMetrics:
    """Middleware that times every request until its answer is sent."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note_status)
        finally:
            labels = (_route(scope.get("route")), _method(scope["method"]), str(status))
            REQUESTS.labels(*labels).observe(time.monotonic() - started)


def _route(route: Any) -> str:
    # The framework sets it when it finds a route.
    return getattr(route, "path", OTHER)


def _method(method: str) -> str:
    return method if method in METHODS else OTHER
