"""Every payload of the user's document, verbatim."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from bridge.contract.event import accept, decode
from bridge.contract.payloads import (
    CAMPAIGN_QUEUE,
    CONTACT_QUEUE,
    OPPORTUNITY_QUEUE,
    WEBHOOKS,
    CampaignAssignment,
    CampaignContact,
    Contact,
    EventType,
    Opportunity,
)
from bridge.contract.strict_json import parse_json

RECEIVED = datetime(2025, 7, 12, tzinfo=timezone.utc)

CONTACT, ASSIGNMENT, UPDATE = (
    json.dumps(each.spec.example, ensure_ascii=False)
    for each in (EventType.CONTACT, EventType.CAMPAIGN_ASSIGNMENT, EventType.CAMPAIGN_CONTACT)
)
MIGRATION_CONTACT = """{
  "manychat_id": "string",
  "nombre_lead": "string",
  "apellido_lead": "string",
  "whatsapp": "string",
  "email_lead": "string",
  "datetime_suscripcion": "2025-07-11T17:14:31.220Z",
  "datetime_actual": "2025-07-11T17:14:31.220Z",
  "ultimo_estado": "string",
  "canal_entrada": "string",
  "estado_inicial": "string"
}"""
OPPORTUNITY = """{
  "manychat_id": "string",
  "first_name": "string",
  "last_name": "string",
  "phone": "string",
  "channel": "string",
  "entry_date": "2025-07-11T17:14:31.220Z",
  "medical_advisor_id": 0,
  "commercial_advisor_id": 0,
  "state": {
    "stage_id": 17,
    "summary": "string",
    "date": "2025-07-11T17:14:31.220Z"
  }
}"""
JULY = datetime(2025, 7, 11, 17, 14, 31, 220000, tzinfo=timezone.utc)


def test_contact() -> None:
    payload = accept(EventType.CONTACT, parse_json(CONTACT), received_at=RECEIVED, source="odoo").payload

    assert isinstance(payload, Contact)
    assert (payload.manychat_id, payload.nombre_lead, payload.apellido_lead) == ("MC99999", "Ana", "García")
    assert (payload.whatsapp, payload.email_lead) == ("+521234567891", None)
    assert payload.datetime_suscripcion == datetime(2025, 6, 10, 10, 0, tzinfo=timezone.utc)
    assert payload.date == datetime(2025, 6, 10, 10, 5, tzinfo=timezone.utc)
    assert (payload.ultimo_estado, payload.canal_entrada, payload.estado_inicial) == ("Nuevo Lead", "Facebook", "Nuevo")


def test_campaign_assignment() -> None:
    payload = accept(EventType.CAMPAIGN_ASSIGNMENT, parse_json(ASSIGNMENT), received_at=RECEIVED, source="odoo").payload

    assert isinstance(payload, CampaignAssignment)
    assert (payload.campaign_id, payload.comercial_id, payload.medico_id) == (85, 700, 101)
    assert (payload.tipo_asignacion, payload.ultimo_estado) == ("medico", "Asignado a campaña")
    assert payload.summary is not None
    assert payload.summary.endswith("agendar una cita.")


def test_campaign_contact_update() -> None:
    payload = accept(EventType.CAMPAIGN_CONTACT, parse_json(UPDATE), received_at=RECEIVED, source="odoo").payload

    assert isinstance(payload, CampaignContact)
    assert (payload.campaign_id, payload.medical_advisor_id, payload.commercial_advisor_id) == (85, 101, None)
    assert payload.medical_assignment_date == datetime(2025, 6, 10, 11, tzinfo=timezone.utc)
    assert payload.last_state == "Asignado a médico"


def test_contact_of_the_migration() -> None:
    payload = accept(EventType.CONTACT, parse_json(MIGRATION_CONTACT), received_at=RECEIVED, source="odoo").payload

    assert isinstance(payload, Contact)
    assert payload.email_lead == "string"
    assert payload.date == payload.datetime_suscripcion == JULY


def test_opportunity() -> None:
    event = accept(EventType.OPPORTUNITY, parse_json(OPPORTUNITY), received_at=RECEIVED, source="odoo")

    assert isinstance(event.payload, Opportunity)
    assert event.payload.state.stage_id == 17
    # 0 is how the document says "no adviser".
    assert (event.payload.medical_advisor_id, event.payload.commercial_advisor_id) == (None, None)
    assert event.occurred_at == event.payload.entry_date == JULY


def test_each_type_of_the_chat_travels_on_the_documents_queue() -> None:
    assert {each.value: each.queue for each in WEBHOOKS} == {
        "contact": "manychat-contact-queue",
        "campaign_assignment": "manychat-campaign-queue",
        "campaign_contact": "manychat-campaign-queue",
        "opportunity": "manychat-crm-opportunities-queue",
    }


def test_the_old_producers_messages_are_told_apart_by_queue_and_fields() -> None:
    kinds = {
        (CONTACT_QUEUE, CONTACT): EventType.CONTACT,
        (CAMPAIGN_QUEUE, ASSIGNMENT): EventType.CAMPAIGN_ASSIGNMENT,
        (CAMPAIGN_QUEUE, UPDATE): EventType.CAMPAIGN_CONTACT,
        (OPPORTUNITY_QUEUE, OPPORTUNITY): EventType.OPPORTUNITY,
    }
    for (queue, body), kind in kinds.items():
        assert decode(body, queue=queue, inserted_at=RECEIVED).type is kind
