"""The application: every router, the one shape of errors, and addresses with or without a slash at the end."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__
from ..contract.webhook import WebhookError
from ..errors import Outage
from . import advisors, campaigns, channels, contacts, errors, openapi, readings, reports, webhooks
from .context import Context
from .request_metrics import Measured

health = APIRouter(tags=["health"])


@health.get("/health", summary="Whether this process answers; asks nothing of anything else")
async def _health() -> dict[str, str]:
    return {"status": "ok"}


@health.head("/health", include_in_schema=False)
async def _head_health() -> Response:
    return Response()


#: Whoever adds a module with routes names its router here.
ROUTERS = (
    health,
    webhooks.router,
    contacts.router,
    campaigns.router,
    channels.router,
    advisors.router,
    readings.router,
    reports.router,
    reports.open_router,
)
_DESCRIPTION = """
Standby webhooks for ManyChat, and what is known of people, campaigns and events.

Every request but `/health` needs the header `X-API-KEY`. Keys are made by `python -m bridge key create`: scope
`webhook` opens the webhooks, `read` reads, `write` opens everything.

Every answer other than success has one shape:
`{"status": "error", "code", "message", "errors": [{"field", "message"}]}`.

Lists come in pages: pass `next_cursor` back as `cursor` until it is `null`.
"""


def create_app(context: Context) -> FastAPI:
    """The API over ``context``."""

    app = FastAPI(
        title="MiaSalud bridge",
        version=__version__,
        description=_DESCRIPTION,
        # A redirect would lose a bot's POST. _EitherSlash does it instead.
        redirect_slashes=False,
        exception_handlers={
            WebhookError: errors.on_refusal,
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
    app.add_middleware(_EitherSlash, routes=app.state.routes)
    app.add_middleware(Measured)  # the last one added is the outermost
    return app


class _EitherSlash:
    """``/api/v1/contacts`` is ``/api/v1/contacts/``, and ``/api/v1/contacts/1/`` is ``/api/v1/contacts/1``.

    Not so for the webhooks, whose addresses are exact in Odoo too.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[APIRoute]):
        self._app = app
        self._collections = [route.path_regex for route in routes if route.path.endswith("/")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = self._canonical(scope["path"])
        await self._app(scope, receive, send)

    def _canonical(self, path: str) -> str:
        if not path.startswith("/api/v1/") or path.startswith("/api/v1/manychat/"):
            return path
        bare = path.rstrip("/") if path.endswith("/") and not path.endswith("//") else path
        return f"{bare}/" if any(pattern.match(f"{bare}/") for pattern in self._collections) else bare
