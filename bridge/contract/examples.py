"""One payload of each type, for the API's description and for tests.

The first three are those of the user's document. Its opportunity has "string" in every text; here it has real texts.
"""

from __future__ import annotations

from typing import Any

CONTACT: dict[str, Any] = {
    "manychat_id": "MC99999",
    "nombre_lead": "Ana",
    "apellido_lead": "García",
    "whatsapp": "+521234567891",
    "datetime_suscripcion": "2025-06-10T10:00:00Z",
    "datetime_actual": "2025-06-10T10:05:00Z",
    "ultimo_estado": "Nuevo Lead",
    "canal_entrada": "Facebook",
    "estado_inicial": "Nuevo",
}
CAMPAIGN_ASSIGNMENT: dict[str, Any] = {
    "manychat_id": "MC99999",
    "campaign_id": 85,
    "comercial_id": "700",
    "medico_id": "101",
    "datetime_actual": "2025-06-10T10:10:00Z",
    "ultimo_estado": "Asignado a campaña",
    "tipo_asignacion": "medico",
    "summary": "El cliente preguntó por el producto X y mostró interés en agendar una cita.",
}
CAMPAIGN_CONTACT: dict[str, Any] = {
    "manychat_id": "MC99999",
    "campaign_id": 85,
    "medical_advisor_id": 101,
    "medical_assignment_date": "2025-06-10T11:00:00Z",
    "last_state": "Asignado a médico",
    "summary": "Conversación finalizada, cliente agendó consulta.",
}
OPPORTUNITY: dict[str, Any] = {
    "manychat_id": "MC99999",
    "first_name": "Ana",
    "last_name": "García",
    "phone": "+521234567891",
    "channel": "Facebook",
    "entry_date": "2025-07-11T17:14:31.220Z",
    "medical_advisor_id": 0,
    "commercial_advisor_id": 0,
    "state": {"stage_id": 17, "summary": "Pidió precios.", "date": "2025-07-11T17:14:31.220Z"},
}
DECISION: dict[str, Any] = {
    "manychat_id": "MC99999",
    "decided": ["stage", "won"],
    "by": "person",
    "user_id": 7,
    "stage_before_id": 24,
    "stage_before": "Seguimiento",
    "state": {
        "lead_id": 42,
        "as_of": "2025-07-12T09:30:00.000001Z",
        "status": "won",
        "stage_id": 26,
        "stage": "Orden de Venta Confirmada",
        "manychat_stage_id": 26,
        "manychat_stage": "Orden de Venta Confirmada",
        "salesperson_id": 7,
        "salesperson": "Laura Prueba",
        "team_id": 2,
        "team": "Ventas",
        "expected_revenue": 1200.0,
        "currency": "EUR",
        "closed_at": "2025-07-12T09:30:00Z",
    },
}
