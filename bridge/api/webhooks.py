"""The standby webhooks: the same four routes as Odoo's, with the same answers, straight onto the queues.

A proxy may send ManyChat here while Odoo restarts or is upgraded. Accepting an event needs only the queue. A 202 means
that the event is on it.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from typing import Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Security
from fastapi.responses import Response

from ..contract import webhook
from ..contract.event import Event
from ..contract.payloads import EventType
from ..errors import Outage
from ..store import audit
from ..store.engine import read
from .auth import DOCUMENTED_KEY, WebhookRoute
from .context import Context
from .errors import ALWAYS, WITH_BODY, json_response
from .openapi import body_of

log = structlog.get_logger()

router = APIRouter(
    route_class=WebhookRoute, tags=["webhooks"], responses=ALWAYS | WITH_BODY, dependencies=[Security(DOCUMENTED_KEY)]
)

_HEADERS = [
    {
        "name": "X-Dry-Run",
        "in": "header",
        "description": "`1`: answer what would happen, and store nothing.",
        "schema": {"type": "string", "enum": ["1", "true", "yes"]},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Distinguishes events with equal contents. With the same key again it is the same event.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    },
]
_ACCEPTED = {
    "description": "The event is on its queue and will be applied.",
    "content": {"application/json": {"example": {"status": "accepted", "event_id": "0f3a…"}}},
}
_VALID = {"description": "A dry run: the event would be accepted.", "content": {"application/json": {}}}


def _add(event_type: EventType) -> None:
    method, path = event_type.route

    async def receive(request: Request) -> Response:
        is_dry_run = webhook.is_dry_run(request.headers.get("X-Dry-Run"))
        # A dry run reads SQL, so it uses the threads of all requests that do.
        limiter = None if is_dry_run else Context.of(request).threads
        return await to_thread.run_sync(_receive, request, event_type, is_dry_run, limiter=limiter)

    router.add_api_route(
        path,
        receive,
        methods=[method],
        status_code=202,
        summary=event_type.spec.title,
        operation_id=f"send_{event_type.value}",
        response_class=Response,
        responses={200: _VALID, 202: _ACCEPTED},
        openapi_extra={"requestBody": body_of(event_type), "parameters": _HEADERS},
    )


for _event_type in EventType:
    _add(_event_type)


def _receive(request: Request, event_type: EventType, is_dry_run: bool) -> Response:
    event = webhook.read_event(
        event_type,
        request.state.body,
        received_at=datetime.now(timezone.utc),
        source="api",
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    context = Context.of(request)
    if is_dry_run:
        return json_response(200, _forecast(context, event))
    context.queues[event_type].send_or_create(event.encode())
    context.accepted.note(event)
    log.info("event_accepted", event_id=event.id, manychat_id=event.manychat_id, type=event.type.value)
    return json_response(202, webhook.accepted(event))


def _forecast(context: Context, event: Event) -> dict[str, Any]:
    """The answer to a dry run of ``event``. Only Odoo knows which of its stages a ManyChat stage means."""
    known: bool | None = None
    with contextlib.suppress(Outage):
        known = bool(read(context.engine, audit.attempt_states, [event.id]))
    forecast = webhook.forecast(event, duplicate=known)
    if event.type is EventType.OPPORTUNITY:
        forecast["stage"] = None
        forecast["message"] = "Odoo decides which stage the opportunity would enter. This standby does not ask it."
    return forecast
