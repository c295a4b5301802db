"""What every request with a key passes before it is looked at: the key, what it opens, and the body's form."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..contract import keys, webhook
from ..contract.errors import ContractError
from ..contract.fields import MAX_BODY_BYTES
from ..contract.keys import Scope
from ..contract.payloads import EventType
from ..contract.strict_json import parse_json
from ..contract.webhook import WebhookError
from ..errors import Outage
from . import request_metrics
from .context import Context
from .key_cache import Key

log = structlog.get_logger()

#: For OpenAPI alone: :class:`Guarded` looks at the key itself, before anything of the body is read.
DOCUMENTED_KEY = APIKeyHeader(
    name="X-API-KEY", auto_error=False, description="`python -m bridge key create NAME --scope read|write|webhook`"
)
_WITH_BODY = {"POST", "PUT", "PATCH"}
_TYPES = {event_type.spec.path: event_type for event_type in EventType}


class Guarded(APIRoute):
    """A route that needs a key: of scope ``read`` for GET, ``write`` for all else."""

    def scope_for(self, method: str) -> Scope:
        return Scope.read if method in ("GET", "HEAD") else Scope.write

    def check_body(self, body: bytes) -> None:
        """Read the body strictly, before the framework does: it would accept ``NaN`` and duplicate keys.

        :raises WebhookError: 400
        """
        try:
            parse_json(body)
        except ContractError as error:
            raise webhook.of_contract(error) from None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.key = authenticate(request, self.scope_for(request.method))
            try:
                if request.method in _WITH_BODY:
                    request.state.body = await _read_body(request)
                    self.check_body(request.state.body)
                response = await handle(request)
            except WebhookError as refusal:
                # For the bot's builder. Odoo keeps such requests; here the log must do, without what was sent.
                if request.method in _WITH_BODY:
                    log.info("request_refused", path=request.url.path, code=refusal.code, key=request.state.key.name)
                raise
            except (HTTPException, RequestValidationError, Outage):
                raise
            except Exception as error:
                log.error("request_failed", path=request.url.path, exc_info=error)
                raise webhook.unavailable() from None
            # People's data: nobody on the way shall keep it.
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded


class Webhook(Guarded):
    """A route for bots, whose keys open nothing else."""

    def scope_for(self, method: str) -> Scope:
        return Scope.webhook

    def check_body(self, body: bytes) -> None:
        """The contract does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        event_type = _TYPES[self.path]

        async def counted(request: Request) -> Response:
            answer = "unavailable"
            try:
                response = await handle(request)
                answer = "accepted" if response.status_code == 202 else "valid"
            except WebhookError as refusal:
                answer = refusal.code
                raise
            finally:
                request_metrics.webhook(event_type, answer)
            return response

        return counted


def authenticate(request: Request, needed: Scope) -> Key:
    """The key of the request's ``X-API-KEY``.

    :raises WebhookError: 401, 403 or 429, as Odoo's webhook; 503 if no key is known yet
    """
    context = Context.of(request)
    if keys.TAG in request.url.query:
        raise webhook.key_in_address()
    if not context.keys.are_known:
        raise webhook.unavailable()
    key = context.keys.find(request.headers.get("X-API-KEY", ""))
    if key is None:
        if seconds := context.throttle.wrong_key(request.client.host if request.client else ""):
            raise webhook.too_many_wrong_keys(seconds)
        raise webhook.no_valid_key()
    if not key.scope.allows(needed):
        raise WebhookError(
            403, "forbidden", f"This key opens “{key.scope.value}”; here one for “{needed.value}” is needed."
        )
    return key


async def _read_body(request: Request) -> bytes:
    """The body, of which no more is kept in memory than may be.

    :raises WebhookError: 413 or 415
    """
    length = request.headers.get("Content-Length", "")
    media_type = request.headers.get("Content-Type", "").partition(";")[0]
    webhook.check_headers(int(length) if length.isdecimal() else None, media_type)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise webhook.too_large()
    except ClientDisconnect:
        # Nobody is there to hear it; but this is no failure of ours, which would wake somebody up.
        raise WebhookError(400, "not_json", "The body ended before it was whole.") from None
    # Where the framework looks for what was read already.
    request._body = bytes(body)
    return bytes(body)
