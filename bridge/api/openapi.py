"""The API's description: what FastAPI finds out by itself, and the events' contract."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ..events import EventType

_REFERENCE = "#/components/schemas/{model}"

#: As in the user's own document.
EXAMPLES: dict[EventType, dict[str, Any]] = {
    EventType.CONTACT: {
        "manychat_id": "MC99999",
        "nombre_lead": "Ana",
        "apellido_lead": "García",
        "whatsapp": "+521234567891",
        "datetime_suscripcion": "2025-06-10T10:00:00Z",
        "datetime_actual": "2025-06-10T10:05:00Z",
        "ultimo_estado": "Nuevo Lead",
        "canal_entrada": "Facebook",
        "estado_inicial": "Nuevo",
    },
    EventType.CAMPAIGN_ASSIGNMENT: {
        "manychat_id": "MC99999",
        "campaign_id": 85,
        "comercial_id": "700",
        "medico_id": "101",
        "datetime_actual": "2025-06-10T10:10:00Z",
        "ultimo_estado": "Asignado a campaña",
        "tipo_asignacion": "medico",
        "summary": "El cliente preguntó por el producto X y mostró interés en agendar una cita.",
    },
    EventType.CAMPAIGN_CONTACT: {
        "manychat_id": "MC99999",
        "campaign_id": 85,
        "medical_advisor_id": 101,
        "medical_assignment_date": "2025-06-10T11:00:00Z",
        "last_state": "Asignado a médico",
        "summary": "Conversación finalizada, cliente agendó consulta.",
    },
    EventType.OPPORTUNITY: {
        "manychat_id": "MC99999",
        "first_name": "Ana",
        "last_name": "García",
        "phone": "+521234567891",
        "channel": "Facebook",
        "entry_date": "2025-07-11T17:14:31.220Z",
        "medical_advisor_id": 0,
        "commercial_advisor_id": 0,
        "state": {"stage_id": 17, "summary": "Pidió precios.", "date": "2025-07-11T17:14:31.220Z"},
    },
}


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
