"""The one shape of answers and errors, the same as Odoo's."""

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
from ..contract.webhook import WebhookError
from ..errors import Outage


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="As a path into the body, or the name of a parameter.")
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


_MEANINGS = {
    400: "`not_json`: the body is not a JSON object",
    401: "`unauthorized`: no valid key · `key_in_address`: a key stands in the address",
    403: "`forbidden`: the key does not open this",
    404: "`not_found`",
    405: "`method_not_allowed`: the header `Allow` says which are",
    409: "`duplicate`: there is one already, `errors` names the field · `in_use`: others refer to it",
    413: "`too_large`: more than 32 KiB",
    415: "`unsupported_media_type`: not `application/json`",
    422: "`invalid`: `errors` names the fields that break a rule",
    429: "`too_many_wrong_keys`: never with a valid one",
    503: "`unavailable`: nothing was kept, try again after `Retry-After` seconds",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that may answer these errors, for OpenAPI."""
    return {status: {"model": Error, "description": _MEANINGS[status]} for status in statuses}


#: What any route with a key may answer.
ALWAYS = documented(401, 403, 422, 429, 503)
#: … and one that takes a body.
WITH_BODY = documented(400, 413, 415)


def answer(status: int, body: Any, headers: Iterable[tuple[str, str]] = ()) -> Response:
    content = json.dumps(body, ensure_ascii=False).encode()
    made = {**dict(headers), "Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return Response(content, status, made)


def refuse(refusal: WebhookError) -> Response:
    return answer(refusal.status, refusal.body, refusal.headers)


def not_found(what: str = "There is nothing at this address.") -> WebhookError:
    return WebhookError(404, "not_found", what)


def invalid(field: str, message: str) -> WebhookError:
    return WebhookError(422, "invalid", f"{field}: {message}", [{"field": field, "message": message}])


async def on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WebhookError)
    return refuse(error)


async def on_outage(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Outage)
    return refuse(webhook.unavailable())


async def on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(item) for item in error.errors()]
    message = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors)
    return refuse(WebhookError(422, "invalid", message, errors))


async def on_http_error(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown addresses and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return refuse(webhook.wrong_method(", ".join(_methods(request))))
    if error.status_code == 404:
        return refuse(not_found())
    return refuse(WebhookError(error.status_code, "invalid", "The request is malformed."))


def _methods(request: Request) -> Sequence[str]:
    """All methods that the address knows; the framework only names those of the first route that it finds."""
    routes = [route for route in request.app.state.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in route.methods} - {"HEAD"})


def _field_error(item: Any) -> dict[str, str]:
    """One of pydantic's errors; never the value itself, which may be a person's data."""
    # The first part says where: body, query or path.
    field = ".".join(str(part) for part in item["loc"][1:])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        message = "must not be empty"
    elif item["type"] == "extra_forbidden":
        message = "is not known here"
    return {"field": field, "message": message}
