"""Error answers: the one shape of :class:`bridge.contract.webhook.WebhookError`, and its description in OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ..contract import webhook
from ..contract.payloads import field_error
from ..contract.webhook import WebhookError
from ..errors import Outage


class FieldError(BaseModel):
    """The fault of one field."""

    field: str = Field(description="Path into the body, or name of a parameter.")
    message: str


class Error(BaseModel):
    """Every answer other than success."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "error",
                "code": "invalid",
                "message": "state.stage_id: must be a whole number",
                "errors": [{"field": "state.stage_id", "message": "must be a whole number"}],
            }
        }
    )

    status: Literal["error"]
    code: str
    message: str
    errors: list[FieldError]


_DESCRIPTIONS = {
    400: "`not_json`: the body is not a JSON object",
    401: "`unauthorized`: no valid key · `key_in_address`: the address contains a key",
    403: "`forbidden`: the scope of the key does not allow this",
    404: "`not_found`",
    405: "`method_not_allowed`: the header `Allow` lists the allowed methods",
    409: "`duplicate`: such a row exists, `errors` names the field · `in_use`: other rows refer to it",
    413: "`too_large`: more than 32 KiB",
    415: "`unsupported_media_type`: not `application/json`",
    422: "`invalid`: `errors` names the fields that break a rule",
    429: "`too_many_wrong_keys`: never with a valid key",
    503: "`unavailable`: a dependency is down, try again after `Retry-After` seconds",
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that may answer these errors, for OpenAPI."""
    return {status: {"model": Error, "description": _DESCRIPTIONS[status]} for status in statuses}


#: Errors of every route with a key.
ALWAYS = error_responses(401, 403, 422, 429, 503)
#: Further errors of a route with a body.
WITH_BODY = error_responses(400, 413, 415)


def json_response(status: int, body: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:
    content = json.dumps(body, ensure_ascii=False).encode()
    all_headers = {**dict(headers), "Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return Response(content, status, all_headers)


def not_found(message: str = "There is nothing at this address.") -> WebhookError:
    return WebhookError(404, "not_found", message)


def invalid(field: str, message: str) -> WebhookError:
    """422: one field breaks a rule."""
    return _of_fields(422, "invalid", [{"field": field, "message": message}])


def duplicate(field: str, row_id: int) -> WebhookError:
    """409: another row has the same value in a field that must be unique."""
    return _of_fields(409, "duplicate", [{"field": field, "message": f"is already that of id {row_id}"}])


def _of_fields(status: int, code: str, errors: Sequence[dict[str, str]]) -> WebhookError:
    message = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors)
    return WebhookError(status, code, message, errors)


async def on_webhook_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WebhookError)
    return _error_response(error)


async def on_outage(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Outage)
    return _error_response(webhook.unavailable())


async def on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The first part of `loc` is "body", "query" or "path".
    errors = [field_error({**item, "loc": item["loc"][1:]}) for item in error.errors()]
    return _error_response(_of_fields(422, "invalid", errors))


async def on_http_error(request: Request, error: Exception) -> Response:
    """The framework's own errors: unknown addresses and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _error_response(webhook.wrong_method(", ".join(_methods(request))))
    if error.status_code == 404:
        return _error_response(not_found())
    return _error_response(WebhookError(error.status_code, webhook.malformed().code, webhook.malformed().message))


def _error_response(error: WebhookError) -> Response:
    return json_response(error.status, error.body, error.headers)


def _methods(request: Request) -> Sequence[str]:
    """All methods of the address. The framework names only those of the first route that it finds."""
    routes = [route for route in request.app.state.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in route.methods} - {"HEAD"})
