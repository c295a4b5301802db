"""The API's description: what FastAPI finds out by itself, and the events' contract."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ..events import EventType

_REFERENCE = "#/components/schemas/{model}"


def body_of(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """A ``requestBody`` for a route that reads the body itself."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def describe(app: FastAPI) -> None:
    """Have ``app`` describe the events' payloads too."""

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
            for event_type in EventType:
                payload = event_type.model.model_json_schema(ref_template=_REFERENCE)
                schemas.update(payload.pop("$defs", {}))
                schemas[event_type.model.__name__] = payload
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
