"""The application: its routers, its error handlers, and the forms of an address that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__
from ..contract import person
from ..contract.webhook import WebhookError
from ..errors import Outage
from . import (
    advisors,
    audit,
    campaign_contacts,
    campaigns,
    channels,
    contacts,
    errors,
    gone,
    openapi,
    opportunities,
    people,
    reports,
    webhooks,
)
from .context import Context
from .errors import json_response
from .request_ids import RequestIds
from .request_metrics import RequestMetrics

health = APIRouter(tags=["health"])


@health.head("/health", include_in_schema=False)
@health.get("/health", summary="Whether this process answers; it asks no other system")
async def _health() -> Response:
    return json_response(200, {"status": "ok"})


#: Every module with routes has its router here.
ROUTERS = (
    health,
    webhooks.router,
    people.router,
    contacts.router,
    campaigns.router,
    channels.router,
    advisors.router,
    campaign_contacts.router,
    opportunities.router,
    audit.router,
    reports.router,
    reports.open_router,
    gone.router,
)
_DESCRIPTION = """
Standby webhooks for ManyChat, and the data of contacts, campaigns, opportunities and events.

Every request except `/health` needs the header `X-API-KEY`. `python -m bridge key create` creates a key. Its scope
`webhook` allows the webhooks, `ask` allows asking how far one person is, `read` allows reading, `write` allows
everything.

The webhooks are those of Odoo. An event that both servers received is applied once. What makes it one event is its own
date; without one, the header `Idempotency-Key`; without that, the proxy's stamp of the request, `X-Request-Stamp`. An
event without a date counts as of the stamp, or else as of its receipt.

If an opportunity has both `state.stage_id` and `state.stage`, the id wins over the label.

Every answer other than success has the shape of the schema `Error`.

Every answer has the header `X-Request-Id`: that of the request, if it sent one, else the id of the event's trace, which
the log has. A request may name its trace in the header `traceparent` (W3C Trace Context).

Lists come in pages: send `next_cursor` back as `cursor` until it is `null`.
"""


def create_app(context: Context) -> FastAPI:
    """The API over ``context``."""

    app = FastAPI(
        title="MiaSalud bridge",
        version=__version__,
        description=_DESCRIPTION,
        # A redirect would lose a bot's POST. _Canonical takes its place.
        redirect_slashes=False,
        exception_handlers={
            WebhookError: errors.on_webhook_error,
            Outage: errors.on_outage,
            RequestValidationError: errors.on_invalid,
            HTTPException: errors.on_http_error,
        },
    )
    app.state.bridge = context
    for router in ROUTERS:
        app.include_router(router)
    openapi.describe(app)
    app.state.routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    app.add_middleware(_Canonical, routes=app.state.routes)
    app.add_middleware(RequestMetrics)
    app.add_middleware(RequestIds)  # the last one added is the outermost
    return app


class _Canonical:
    """Take an address in each form that Odoo and proxies take it in.

    With or without a slash at its end, with doubled slashes, as a whole URL (RFC 9112, 3.2.2), and with its method in
    small letters.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[APIRoute]):
        self._app = app
        self._collections = [route.path_regex for route in routes if route.path.endswith("/")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = self._path(scope["path"])
            scope["method"] = scope["method"].upper()
        await self._app(scope, receive, send)

    def _path(self, path: str) -> str:
        bare = re.sub(r"/+", "/", re.sub(r"^https?://[^/]*", "", path))
        if f"{bare}/".startswith(person.PATH):
            # Whatever the id is, or if there is none: its route reads it from the address as it was sent.
            return f"{person.PATH}id"
        if bare != "/":
            bare = bare.removesuffix("/")
        return f"{bare}/" if any(pattern.match(f"{bare}/") for pattern in self._collections) else bare
