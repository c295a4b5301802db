"""The standby webhooks: the same four routes as Odoo's, with the same answers, straight onto the queues.

A proxy may send ManyChat here while Odoo restarts or is upgraded. Accepting an event needs only the queue. The
answer `accepted` means that the event is on it.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone
from typing import Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Security
from fastapi.responses import Response

from .. import spans
from ..contract import webhook
from ..contract.event import Event
from ..contract.payloads import WEBHOOKS, EventType
from ..contract.sentences import sentence
from ..errors import Outage
from ..store import audit
from ..store.engine import read
from .auth import DOCUMENTED_KEY, WebhookRoute, headers_of
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
        "description": "Tells events with equal contents apart. Equal contents with the same key are one event, "
        "even if they are sent several times. Use a new key for each event.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    },
]
_WARNING = {"field": "first_name", "message": "was cut to 256 characters"}
_SUCCESS = {
    "description": "`accepted`: the event is on its queue and will be applied. `warnings` names each field that was "
    "left out, cut or not understood. · `valid`, for a dry run: the event would be accepted; nothing is stored.",
    "content": {
        "application/json": {"example": {"status": "accepted", "event_id": "0f3a…", "warnings": [_WARNING]}},
    },
}


def _add(event_type: EventType) -> None:
    method, path = event_type.route

    async def receive(request: Request) -> Response:
        # A dry run reads SQL, so it uses the threads of all requests that do.
        limiter = None if headers_of(request).is_dry_run else Context.of(request).threads
        return await to_thread.run_sync(_receive, request, event_type, limiter=limiter)

    router.add_api_route(
        path,
        receive,
        methods=[method],
        summary=event_type.spec.title,
        operation_id=f"send_{event_type.value}",
        response_class=Response,
        responses={200: _SUCCESS},
        openapi_extra={"requestBody": body_of(event_type), "parameters": _HEADERS},
    )


for _event_type in WEBHOOKS:
    _add(_event_type)


def _receive(request: Request, event_type: EventType) -> Response:
    headers, received_at = headers_of(request), datetime.now(timezone.utc)
    event = webhook.read_event(
        event_type,
        request.state.body,
        headers,
        received_at=received_at,
        source="api",
        zone=request.state.key.tzinfo,
    )
    request.state.trace_id = event.trace_id
    context = Context.of(request)
    if headers.is_dry_run:
        return json_response(200, _forecast(context, event))
    with spans.webhook(event, received_at) as event:
        context.queues[event_type].send_or_create(event.encode())
        context.accepted.note(event)
    log.info(
        "event_accepted",
        event_id=event.id,
        trace_id=event.trace_id,
        manychat_id=event.manychat_id,
        type=event.type.value,
    )
    return json_response(200, webhook.accepted(event))


def _forecast(context: Context, event: Event) -> dict[str, Any]:
    """The answer to a dry run of ``event``. Only Odoo knows which of its stages a ManyChat stage means."""
    known: bool | None = None
    with contextlib.suppress(Outage):
        known = bool(read(context.engine, audit.attempt_states, [event.id]))
    forecast = webhook.forecast(event, duplicate=known)
    if event.type is EventType.OPPORTUNITY:
        forecast["stage"] = None
        forecast["message"] = sentence(
            "Odoo decides which stage the opportunity would enter. This standby does not ask it."
        )
    return forecast
