"""The names under which bots send a field: ManyChat's own, those of a sister route, and those of another webhook."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from bridge.contract import examples
from bridge.contract.errors import ContractError
from bridge.contract.event import accept, decode
from bridge.contract.payloads import WEBHOOKS, EventType
from bridge.contract.strict_json import parse_json

from .test_reading import ASSIGNMENT, CONTACT, NOW, OPPORTUNITY, UPDATE, refusal, take, warned

# --- Full Contact Data -----------------------------------------------------------------------------------------------

FULL = {
    "key": "user:1234567890123456789",
    "id": "1234567890123456789",
    "page_id": "107000000000001",
    "user_refs": [],
    "status": "active",
    "first_name": "Ana",
    "last_name": "García",
    "name": "Ana García",
    "gender": None,
    "profile_pic": "https://ejemplo.co/ana.jpg",
    "locale": "es_CO",
    "language": "Spanish",
    "timezone": "UTC-05",
    "live_chat_url": "https://app.manychat.com/fb107/chat/123",
    "last_input_text": "¿Cuánto cuesta?",
    "optin_phone": True,
    "phone": None,
    "optin_email": True,
    "email": "ana@ejemplo.co",
    "subscribed": "2025-06-10T10:00:00-05:00",
    "last_interaction": "2025-07-11T12:14:31-05:00",
    "whatsapp_phone": "573001112233",
    "optin_whatsapp": True,
    "last_growth_tool": None,
    "custom_fields": {"ciudad": "Bogotá", "Ultimo estado": "Cotiza", "Etapa": "Comienza Cotización"},
}


def _of(body: dict[str, Any]) -> dict[str, Any]:
    return parse_json(json.dumps(body))


def test_full_contact_data_is_a_contact_as_it_is() -> None:
    event = accept(CONTACT, _of(FULL), received_at=NOW, source="odoo")
    assert event.payload.canonical() == {
        "manychat_id": "1234567890123456789",
        "nombre_lead": "Ana",
        "apellido_lead": "García",
        "whatsapp": "573001112233",
        "email_lead": "ana@ejemplo.co",
        "datetime_suscripcion": "2025-06-10T15:00:00.000000Z",
        "ultimo_estado": "Cotiza",
    }
    assert not event.warnings
    assert event.extra["custom_fields"] == FULL["custom_fields"]
    assert event.extra["live_chat_url"] == FULL["live_chat_url"]
    assert not {"id", "first_name", "email", "subscribed"} & event.extra.keys()


def test_full_contact_data_is_an_opportunity_if_a_custom_field_has_the_stage() -> None:
    event = accept(OPPORTUNITY, _of(FULL), received_at=NOW, source="odoo")
    assert event.payload.canonical() == {
        "manychat_id": "1234567890123456789",
        "first_name": "Ana",
        "last_name": "García",
        "phone": "573001112233",
        "state": {"stage": "Comienza Cotización", "summary": "¿Cuánto cuesta?"},
    }
    assert not event.warnings
    assert event.extra["email"] == "ana@ejemplo.co"


@pytest.mark.parametrize("spelling", ["stage_id", "Stage ID", "etapa", "manychat-stage-id"])
@pytest.mark.parametrize("as_list", [True, False])
def test_custom_fields_come_as_an_object_or_as_a_list(spelling: str, as_list: bool) -> None:
    fields: Any = {spelling: "19"}
    if as_list:
        fields = [{"id": 1, "name": spelling, "type": "number", "value": 19}, {"id": 2}, "x"]
    event = accept(OPPORTUNITY, _of({**FULL, "custom_fields": fields}), received_at=NOW, source="odoo")
    assert event.payload.canonical()["state"]["stage_id"] == 19


@pytest.mark.parametrize("fields", [None, {}, [], "x", {"ciudad": "Cali"}, {"stage": ""}, {"stage": ["x"]}])
def test_full_contact_data_without_a_stage_is_no_opportunity(fields: Any) -> None:
    error = refusal(OPPORTUNITY, {**FULL, "custom_fields": fields})
    assert error.code == "invalid"
    assert {each["field"] for each in error.errors} & {"state", "state.stage_id"}


def test_fields_beside_full_contact_data_count_for_more() -> None:
    body = {**FULL, "manychat_id": "MC7", "phone": "1", "state": {"stage": "Pagó", "summary": "Escrito"}}
    event = accept(OPPORTUNITY, _of(body), received_at=NOW, source="odoo")
    assert event.payload.canonical() == {
        "manychat_id": "MC7",
        "first_name": "Ana",
        "last_name": "García",
        "phone": "1",
        "state": {"stage": "Pagó", "summary": "Escrito"},
    }
    assert warned(event) == ["id"]  # another person than manychat_id
    contact = accept(CONTACT, _of({**FULL, "nombre_lead": "Anita"}), received_at=NOW, source="odoo")
    assert contact.payload.canonical()["nombre_lead"] == "Anita"
    assert contact.extra["first_name"] == "Ana"
    assert not contact.warnings


def test_a_stage_that_cannot_be_read_leaves_that_of_the_custom_fields() -> None:
    for state in ({"stage_id": "abc"}, {"stage": []}, "x", [], {"stage_id": 0}):
        event = accept(OPPORTUNITY, {**FULL, "state": state}, received_at=NOW, source="odoo")
        assert event.payload.canonical()["state"]["stage"] == "Comienza Cotización", state


def test_the_id_of_manychat_is_the_person_where_no_other_is() -> None:
    for manychat_id in (None, "", "{{user_id}}", 0, "undefined"):
        body = {"manychat_id": manychat_id, "id": 123, "state": {"stage_id": 17}}
        assert accept(OPPORTUNITY, body, received_at=NOW, source="odoo").manychat_id == "123"
    assert refusal(CONTACT, {**FULL, "id": "undefined"}).errors[0]["field"] == "manychat_id"
    assert take(CONTACT, id=123).manychat_id == "MC1"
    for event_type, body in ((ASSIGNMENT, {"campaign_id": 85}), (UPDATE, {"last_state": "x"})):
        assert accept(event_type, {**FULL, **body}, received_at=NOW, source="odoo").manychat_id == FULL["id"]


def test_a_name_in_one_piece_is_a_name() -> None:
    body = {key: value for key, value in FULL.items() if key not in ("first_name", "last_name")}
    assert accept(CONTACT, body, received_at=NOW, source="odoo").payload.canonical()["nombre_lead"] == "Ana García"


def test_what_cannot_be_read_of_full_contact_data_is_warned_of_too() -> None:
    fields = {"Fecha etapa": "03/04/2025", "etapa": "Cotiza"}
    body = {**FULL, "subscribed": "nunca", "email": ["x"], "custom_fields": fields}
    assert warned(accept(CONTACT, body, received_at=NOW, source="odoo")) == ["email", "subscribed"]
    event = accept(OPPORTUNITY, body, received_at=NOW, source="odoo")
    assert warned(event) == ["custom_fields.fecha_etapa"]
    assert "as of its receipt" in event.warnings[0]["message"]
    assert event.payload.canonical()["state"]["stage"] == "Cotiza"


# --- the wrong address, and the sister route's names -----------------------------------------------------------------

_BODIES = {
    CONTACT: examples.CONTACT,
    ASSIGNMENT: examples.CAMPAIGN_ASSIGNMENT,
    UPDATE: examples.CAMPAIGN_CONTACT,
    OPPORTUNITY: examples.OPPORTUNITY,
}
_MISDIRECTED = [(sent, to) for sent in WEBHOOKS for to in WEBHOOKS if sent.queue != to.queue]


@pytest.mark.parametrize(("sent", "to"), _MISDIRECTED)
def test_a_body_at_the_wrong_address_is_told_the_right_one(sent: EventType, to: EventType) -> None:
    error = refusal(to, _BODIES[sent])
    assert error.code == "wrong_endpoint"
    assert any(" ".join(other.route) in error.message for other in WEBHOOKS if other.queue == sent.queue)
    assert error.errors
    for field in sent.spec.telling:
        least = {"manychat_id": "1", field: {"stage_id": 17} if field == "state" else "2025-01-01"}
        assert refusal(to, least).code == "wrong_endpoint"


@pytest.mark.parametrize(
    ("to", "body", "belongs"),
    [
        (CONTACT, {**examples.OPPORTUNITY, "state": None}, OPPORTUNITY),
        (CONTACT, {key: examples.OPPORTUNITY[key] for key in examples.OPPORTUNITY if key != "state"}, OPPORTUNITY),
        (CONTACT, examples.CAMPAIGN_CONTACT, UPDATE),
        (OPPORTUNITY, examples.CAMPAIGN_CONTACT, UPDATE),
        (OPPORTUNITY, examples.CAMPAIGN_ASSIGNMENT, ASSIGNMENT),
        (OPPORTUNITY, {"ultimo_estado": "x", "datetime_actual": "2025-06-10"}, CONTACT),
        (UPDATE, {"nombre_lead": "Ana", "whatsapp": "1", "state": {"stage_id": 17}}, CONTACT),
    ],
)
def test_the_right_address_is_that_of_most_fields(to: EventType, body: Any, belongs: EventType) -> None:
    error = refusal(to, {"manychat_id": "1", **body})
    assert error.code == "wrong_endpoint"
    assert error.message.endswith(f"Send them to {' '.join(belongs.route)}.")
    assert error.errors
    assert {each["field"] for each in error.errors} <= body.keys()


@pytest.mark.parametrize(("sent", "to"), _MISDIRECTED)
def test_a_bare_body_on_the_wrong_queue_is_a_dead_letter_that_says_so(sent: EventType, to: EventType) -> None:
    with pytest.raises(ContractError) as caught:
        decode(json.dumps(_BODIES[sent]), queue=to.queue, inserted_at=NOW)
    assert caught.value.code == "wrong_queue"
    assert caught.value.queue == sent.queue
    assert sent.queue in caught.value.message


def test_a_field_of_another_type_beside_its_own_is_only_unknown() -> None:
    event = take(CONTACT, nombre_lead="Ana", state={"stage_id": 17}, campaign_id=3)
    assert event.extra == {"state": {"stage_id": 17}, "campaign_id": 3}
    assert take(CONTACT, ultimo_estado="x", summary="y").extra == {"summary": "y"}
    assert take(CONTACT).payload.canonical() == {"manychat_id": "MC1"}


def test_the_campaign_routes_take_each_others_names() -> None:
    shared = {"campaign_id": 85, "summary": "Hola", "datetime_actual": "2025-06-10T10:10:00Z"}
    english = {"medical_advisor_id": 101, "commercial_advisor_id": 700, "last_state": "Asignado"}
    spanish = {"medico_id": 101, "comercial_id": 700, "ultimo_estado": "Asignado"}
    for event_type in (ASSIGNMENT, UPDATE):
        one, other = (take(event_type, **shared, **names) for names in (english, spanish))
        assert one.payload == other.payload
        assert one.id == other.id
        assert one.occurred_at == datetime(2025, 6, 10, 10, 10, tzinfo=timezone.utc)
        assert [one.warnings, other.warnings, one.extra, other.extra] == [(), (), {}, {}]
        assert take(event_type, **shared, **english, **spanish).id == one.id


@pytest.mark.parametrize(
    ("own", "theirs", "kept", "warnings"),
    [
        (7, 8, 7, ["medico_id"]),
        (7, "7", 7, []),
        (0, 8, 8, []),
        ("", 8, 8, []),
        ("N/A", 8, 8, ["medical_advisor_id"]),
        (7, "N/A", 7, ["medico_id"]),
        (7, 0, 7, []),
    ],
)
def test_the_routes_own_name_counts(own: Any, theirs: Any, kept: int, warnings: list[str]) -> None:
    event = take(UPDATE, medical_advisor_id=own, medico_id=theirs)
    assert event.payload.canonical() == {"manychat_id": "MC1", "medical_advisor_id": kept}
    assert warned(event) == warnings
