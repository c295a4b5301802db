"""The checks that a request passes before its route: the key, the key's scope, and the form of the body."""

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

from ..contract import webhook
from ..contract.errors import ContractError
from ..contract.fields import MAX_BODY_BYTES
from ..contract.keys import Scope, found_in
from ..contract.payloads import WEBHOOKS, EventType
from ..contract.request_headers import RequestHeaders
from ..contract.strict_json import parse_json
from ..contract.webhook import WebhookError
from ..errors import Outage
from . import request_metrics
from .context import Context
from .key_cache import Key

log = structlog.get_logger()

#: For OpenAPI only: :class:`AuthenticatedRoute` checks the key itself, before it reads the body.
DOCUMENTED_KEY = APIKeyHeader(
    name="X-API-KEY", auto_error=False, description="`python -m bridge key create NAME --scope read|write|webhook|ask`"
)
_WITH_BODY = {"POST", "PUT", "PATCH"}
_TYPES = {event_type.spec.path: event_type for event_type in WEBHOOKS}


class AuthenticatedRoute(APIRoute):
    """A route that needs a key: of scope ``read`` for GET and HEAD, of scope ``write`` otherwise."""

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

        async def authenticated(request: Request) -> Response:
            authenticate(request, self.scope_for(request.method))
            try:
                if request.method in _WITH_BODY:
                    request.state.body = await _read_body(request)
                    self.check_body(request.state.body)
                response = await handle(request)
            except WebhookError as error:
                # For the bot builder. Odoo stores such requests; the API logs and counts them, without their body.
                if request.method in _WITH_BODY:
                    about = {"trace_id": request.state.trace_id, "path": request.url.path}
                    log.info("request_refused", **about, code=error.code, key=request.state.key.name)
                raise
            except (HTTPException, RequestValidationError, Outage):
                raise
            except Exception as error:
                about = {"trace_id": request.state.trace_id, "path": request.url.path}
                log.error("request_failed", **about, exc_info=error)
                raise webhook.unavailable() from None
            # Personal data: forbid caching.
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return authenticated


class AskRoute(AuthenticatedRoute):
    """A route on which bots ask about a person. Their keys have the scope ``ask``, which opens nothing else."""

    def scope_for(self, method: str) -> Scope:
        return Scope.ask


class WebhookRoute(AuthenticatedRoute):
    """A route for bots. Their keys have the scope ``webhook``, which opens nothing else."""

    def scope_for(self, method: str) -> Scope:
        return Scope.webhook

    def check_body(self, body: bytes) -> None:
        """Nothing: the contract checks the body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        event_type = _TYPES[self.path]

        async def counted(request: Request) -> Response:
            answer = "unavailable"
            try:
                response = await handle(request)
                answer = "valid" if headers_of(request).is_dry_run else "accepted"
            except WebhookError as error:
                answer = error.code
                _count_refusal(request, event_type, error)
                raise
            finally:
                request_metrics.count_webhook(event_type, answer)
            return response

        return counted


def _count_refusal(request: Request, event_type: EventType, error: WebhookError) -> None:
    """Count a refused request for people to see. A dry run loses no event, and 503 is not the bot's fault."""
    if error.status >= 500:
        return
    headers, path, refusals = headers_of(request), event_type.spec.path, Context.of(request).refusals
    key: Key | None = getattr(request.state, "key", None)
    if key:
        if not headers.is_dry_run:
            refusals.note(path, error.code, key_id=key.id)
        return
    code, text = error.code, request.scope["query_string"]
    if code != "key_in_address":
        code, text = "wrong_key" if headers.api_key else "missing_key", headers.api_key.encode()
    address = request.client.host if request.client else ""
    refusals.note(path, code, address=address, prefix=found_in(text))


def headers_of(request: Request) -> RequestHeaders:
    """The product's own headers of ``request``."""

    def joined(name: str) -> str | None:
        values = request.headers.getlist(name)
        return ",".join(values) if values else None

    return RequestHeaders(joined)


def authenticate(request: Request, needed: Scope) -> None:
    """Find the key of the request's ``X-API-KEY``, and set it as ``request.state.key``.

    :raises WebhookError: 401 or 429, as from Odoo's webhook; 403; 503 if no key is known yet
    """
    context = Context.of(request)
    webhook.check_address(request.scope["query_string"])
    if not context.keys.are_known:
        raise webhook.unavailable()
    key = context.keys.find(headers_of(request).api_key)
    if key is None:
        if seconds := context.throttle.wrong_key(request.client.host if request.client else ""):
            raise webhook.too_many_wrong_keys(seconds)
        raise webhook.no_valid_key()
    request.state.key = key
    if not key.scope.allows(needed):
        raise webhook.wrong_scope(key.scope.value, needed.value)


async def _read_body(request: Request) -> bytes:
    """The body. Reading stops as soon as it is too large.

    :raises WebhookError: 413 or 415
    """
    length = request.headers.get("Content-Length", "")
    content_type = request.headers.getlist("Content-Type") or [""]
    webhook.check_headers(int(length) if length.isdecimal() else None, content_type[-1])
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise webhook.too_large()
    except ClientDisconnect:
        # The caller has gone. A 400 in the metrics, because this is no failure of the API.
        raise webhook.incomplete() from None
    # The framework looks here for a body that was read already.
    request._body = bytes(body)
    return bytes(body)
