"""The OpenAPI description: what FastAPI derives from the routes, and the contract of the events."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..contract.payloads import WEBHOOKS, EventType

_REFERENCE = "#/components/schemas/{model}"


def body_of(event_type: EventType) -> dict[str, Any]:
    """The ``requestBody`` of an event's webhook. FastAPI cannot derive it: the webhook reads the body itself."""
    schema = {"$ref": _REFERENCE.format(model=_name(event_type))}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": event_type.spec.example}}}


def _name(event_type: EventType) -> str:
    # In Python an event's payload and a row are both called Contact. In the description each name must be unique.
    return f"{event_type.model.__name__}Event"


def describe(app: FastAPI) -> None:
    """Add the events' payloads to the description of ``app``."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for event_type in WEBHOOKS:
                payload = event_type.model.model_json_schema(ref_template=_REFERENCE)
                added = {**payload.pop("$defs", {}), _name(event_type): payload}
                assert not added.keys() & schemas.keys()
                schemas.update(added)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
