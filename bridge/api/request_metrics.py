"""What the API counts and times, beside what :mod:`bridge.metrics` has for every process.

Both labels that a caller could fill are closed lists here: an address that we do not know is one series, and so is a
method that nobody has heard of. (The ready-made middlewares take any method as it comes, a series each.) A route's
label is its template, so that no person's id is in it.
"""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contract.payloads import EventType
from ..metrics import CALL, REGISTRY

#: Asked by whoever supervises, every few seconds, for ever.
UNCOUNTED = {"/health", "/metrics"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
OTHER = "other"
#: What a webhook answers: an event is taken in, a dry run was in order, or the ``code`` of the error.
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
    "Requests to the API, by route, method and status; without /health and /metrics.",
    ["route", "method", "status"],
    buckets=CALL,
    registry=REGISTRY,
)
WEBHOOKS = Counter(
    "miasalud_webhook_requests",
    "Requests to the standby webhooks, by the event's type and the answer: accepted, valid (a dry run), or the error's "
    "code. unavailable: an event that was not kept.",
    ["type", "answer"],
    registry=REGISTRY,
)
for _type in EventType:
    for _answer in (*ANSWERS, OTHER):
        WEBHOOKS.labels(_type.value, _answer)


def webhook(event_type: EventType, answer: str) -> None:
    """:param answer: one of :data:`ANSWERS`"""
    WEBHOOKS.labels(event_type.value, answer if answer in ANSWERS else OTHER).inc()


class Measured:
    """Times every request, from before it is looked at until its answer is sent."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            labels = (_route(scope.get("route")), _method(scope["method"]), str(status))
            REQUESTS.labels(*labels).observe(time.monotonic() - started)


def _route(route: Any) -> str:
    # Put there by the framework once it has found one.
    return getattr(route, "path", OTHER)


def _method(method: str) -> str:
    return method if method in METHODS else OTHER
