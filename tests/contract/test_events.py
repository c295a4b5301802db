"""What real ManyChat bots send must pass; what means nothing must not; and an event keeps its identity."""

from __future__ import annotations

import ast
import base64
import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import contract
from bridge.contract.dates import MAX_CLOCK_SKEW
from bridge.contract.errors import ContractError
from bridge.contract.event import Event, accept, decode, from_envelope
from bridge.contract.fields import MAX_BODY_BYTES, format_datetime, normalize_label
from bridge.contract.payloads import CAMPAIGN_QUEUE, CONTACT_QUEUE, EventType
from bridge.contract.reading import MAX_MESSAGE_CHARS
from bridge.contract.strict_json import parse_json

NOW = datetime(2025, 7, 11, 17, 20, tzinfo=timezone.utc)


def contact(**payload: Any) -> Any:
    return parse(EventType.CONTACT, **payload)


def opportunity(**payload: Any) -> Any:
    return parse(EventType.OPPORTUNITY, **{"state": {"stage_id": 17}, **payload})


def parse(event_type: EventType, **payload: Any) -> Any:
    return make(event_type, **payload).payload


def make(event_type: EventType = EventType.CONTACT, received_at: datetime = NOW, **payload: Any) -> Event:
    return accept(event_type, {"manychat_id": "MC1", **payload}, received_at=received_at, source="odoo")


def fields_at_fault(event_type: EventType, payload: dict[str, Any]) -> set[str]:
    with pytest.raises(ContractError) as caught:
        accept(event_type, payload, received_at=NOW, source="odoo")
    assert caught.value.code == "invalid"
    assert all(error["message"] for error in caught.value.errors)
    return {error["field"] for error in caught.value.errors}


# --- oddities that must pass -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [12345, "12345", 12345.0, " 12345 ", "\u200b12345\ufeff", "123\u200e45", "1\x8d2345"])
def test_an_id_may_be_a_number_or_text(given: Any) -> None:
    assert contact(manychat_id=given).manychat_id == "12345"


@pytest.mark.parametrize("given", [85, "85", " 85 ", "+85", 85.0, "85.0"])
def test_a_number_may_come_as_text(given: Any) -> None:
    assert parse(EventType.CAMPAIGN_ASSIGNMENT, campaign_id=given).campaign_id == 85


@pytest.mark.parametrize("given", ["", "   ", None, "{{first_name}}", " {{cuf_12345}} ", "{{ }}"])
def test_an_empty_field_has_many_shapes(given: Any) -> None:
    assert contact(nombre_lead=given).nombre_lead is None
    assert contact(datetime_actual=given).datetime_actual is None
    assert opportunity(medical_advisor_id=given).medical_advisor_id is None


@pytest.mark.parametrize("given", [0, "0", "00", 0.0])
def test_zero_is_no_adviser(given: Any) -> None:
    assert opportunity(commercial_advisor_id=given).commercial_advisor_id is None


def test_unknown_fields_are_kept_beside_the_payload() -> None:
    event = make(favourite_colour="blue", nombre_lead="Ana")
    assert event.payload.canonical() == {"manychat_id": "MC1", "nombre_lead": "Ana"}
    assert event.extra == {"favourite_colour": "blue"}
    assert event.id == make(nombre_lead="Ana").id


def test_a_phone_number_sent_as_a_number_keeps_its_digits() -> None:
    assert contact(whatsapp=521234567891).whatsapp == "521234567891"


def test_a_number_beyond_all_numbers_is_no_person() -> None:
    # JSON has no largest number, Python's floats have: this one becomes infinity.
    assert fields_at_fault(EventType.CONTACT, parse_json('{"manychat_id": 1e400}')) == {"manychat_id"}


def test_a_stage_comes_by_id_or_by_label() -> None:
    assert opportunity(state={"stage_id": "17"}).state.stage_id == 17
    assert opportunity(state={"stage": " Comienza Cotización "}).state.stage == "Comienza Cotización"
    both = opportunity(state={"stage_id": 17, "stage": "Comienza Cotización"}).state
    assert (both.stage_id, both.stage) == (17, "Comienza Cotización")


def test_control_characters_and_half_an_emoji_do_not_get_through() -> None:
    assert contact(nombre_lead="A\x00n\x1ba\ud83d").nombre_lead == "Ana\ufffd"
    assert contact(nombre_lead="Ana 👩🏽‍⚕️").nombre_lead == "Ana 👩🏽‍⚕️"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Recién suscrito Pendiente de AC", "RECIÉN SUSCRITO  pendiente de ac"),
        ("Terminó Asesoría Médica", "Termino\u0301 Asesori\u0301a Me\u0301dica"),
        ("  Comienza\u00a0Cotización\t", "comienza cotización"),
        ("STRASSE", "straße"),
        ("Comienza\u200b Cotización\ufeff", "\u2066comienza cotizacio\u0301n\u2069"),
        ("Coti\u00adzación", "cotización"),
        ("Cotización \u3164", "cotización"),
        ("Cerrado ❤\ufe0f", "cerrado ❤"),
    ],
)
def test_labels_match_whatever_their_case_spaces_and_unicode_form(one: str, other: str) -> None:
    assert normalize_label(one) == normalize_label(other)


def test_labels_that_differ_in_an_accent_do_not_match() -> None:
    assert normalize_label("Retornó en AC") != normalize_label("Retorno en AC")


# --- what must not pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        *(None, "", "{{user_id}}", "MC-{{user_id}}", "{{a}}7", [], {}, True, False, "x" * 65),
        *("null", "Undefined", "None", "NaN", "nil", "N/A", "na", "[object Object]", "true", "(null)"),
        *("inf", "null null", "undefined-undefined", "None_None"),
        *(0, -0.0, "0", "00", "0.0", "-0", "+0", "0,00", "0e0", "0x0", "00000000-0000-0000", "٠"),
        *("-", "--", "?", "…", "+", "\u200b", "\u3164", " \u2800\ufeff ", "\u200b0\u200b", "\x85", "null\u200d"),
    ],
)
def test_without_a_manychat_id_there_is_no_event(given: Any) -> None:
    assert fields_at_fault(EventType.CONTACT, {"manychat_id": given}) == {"manychat_id"}
    assert fields_at_fault(EventType.CONTACT, {}) == {"manychat_id"}


@pytest.mark.parametrize("given", [-1, "abc", 1.5, "1_000", "１７", True, 2**31, "9" * 30, [17], "1e3", "1.000"])
def test_a_number_that_is_none(given: Any) -> None:
    assert fields_at_fault(EventType.OPPORTUNITY, {"manychat_id": "1", "state": {"stage_id": given}}) == {
        "state.stage_id"
    }


def test_an_opportunity_needs_a_stage() -> None:
    for state in ({}, {"stage_id": 0, "stage": ""}, {"summary": "x"}, {"stage": "\u3164"}, {"stage": ["x"]}):
        faults = fields_at_fault(EventType.OPPORTUNITY, {"manychat_id": "1", "state": state})
        assert faults & {"state.stage_id", "state.stage"}
    assert fields_at_fault(EventType.OPPORTUNITY, {"manychat_id": "1"}) == {"state"}
    assert fields_at_fault(EventType.OPPORTUNITY, {"manychat_id": "1", "state": "17"}) == {"state"}


def test_an_assignment_needs_a_campaign() -> None:
    assert fields_at_fault(EventType.CAMPAIGN_ASSIGNMENT, {"manychat_id": "1"}) == {"campaign_id"}
    assert fields_at_fault(EventType.CAMPAIGN_ASSIGNMENT, {"manychat_id": "1", "campaign_id": 0}) == {"campaign_id"}


def test_all_faults_are_told_at_once_and_no_value_is_quoted() -> None:
    with pytest.raises(ContractError) as caught:
        accept(
            EventType.OPPORTUNITY,
            {"manychat_id": "Anastasia" * 100, "state": "Anastasia"},
            received_at=NOW,
            source="odoo",
        )
    assert {error["field"] for error in caught.value.errors} == {"manychat_id", "state"}
    assert "Anastasia" not in str(caught.value.errors) + caught.value.message


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"17",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"state": {"date": 1, "date": 2}}',
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": 1} {"b": 2}',
        b'{"a": {{first_name}',
        b'{"a": {{first_name}} Lopez}',
        b'{"a": "say "hello" twice"}',
    ],
)
def test_json_that_parsers_disagree_about_is_refused(body: bytes) -> None:
    with pytest.raises(ContractError) as caught:
        parse_json(body)
    assert caught.value.code == "not_json"


@pytest.mark.parametrize("unread", [b"9" * 10_000, b"-" + b"9" * 10_000, b"1e400", b"[" * 90 + b"]" * 90])
def test_a_number_or_a_nesting_that_no_field_takes_refuses_no_event(unread: bytes) -> None:
    body = b'{"manychat_id": "1", "whatsapp": %b, "datetime_actual": %b, "unknown": %b}' % ((unread,) * 3)
    event = accept(EventType.CONTACT, parse_json(body), received_at=NOW, source="odoo")
    assert event.payload.canonical() == {"manychat_id": "1"}
    assert {"whatsapp", "datetime_actual"} <= {each["field"] for each in event.warnings}
    assert decode(event.encode(), queue=EventType.CONTACT.queue, inserted_at=NOW) == event


def test_an_unresolved_placeholder_without_quotation_marks_is_an_empty_field() -> None:
    body = b'{"manychat_id": "1", "first_name": {{first_name|fallback:""|to_json:true}}, "a": "{{b}}: {{c}}"}'

    assert parse_json(body) == {"manychat_id": "1", "first_name": None, "a": "{{b}}: {{c}}"}


def test_a_line_break_within_a_text_is_forgiven() -> None:
    assert parse_json(b'{"summary": "first line\nsecond \\"line\\""}') == {"summary": 'first line\nsecond "line"'}


def test_a_byte_order_mark_is_forgiven() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


# --- identity and order ----------------------------------------------------------------------------------------------


def test_the_same_event_sent_again_later_has_the_same_id() -> None:
    first = make(datetime_actual="2025-07-11T17:14:31Z", nombre_lead="Ana")
    again = make(datetime_actual="2025-07-11T12:14:31-05:00", nombre_lead=" Ana ", received_at=NOW + timedelta(days=1))
    assert first.id == again.id


def test_another_type_another_payload_or_another_key_is_another_event() -> None:
    date = "2025-07-11T17:14:31Z"
    same = {"manychat_id": "1", "datetime_actual": date}
    ids = {
        accept(EventType.CONTACT, same, received_at=NOW, source="odoo").id,
        accept(EventType.CONTACT, {**same, "nombre_lead": "x"}, received_at=NOW, source="odoo").id,
        accept(EventType.CAMPAIGN_ASSIGNMENT, {**same, "campaign_id": 1}, received_at=NOW, source="odoo").id,
        accept(EventType.CONTACT, same, received_at=NOW, source="odoo", idempotency_key="k").id,
        accept(EventType.CONTACT, same, received_at=NOW, source="odoo", idempotency_key="l").id,
    }
    assert len(ids) == 5


def test_a_constant_idempotency_key_does_not_swallow_other_events() -> None:
    one, two = ({"manychat_id": "1", "nombre_lead": name} for name in ("Ana", "Eva"))
    ids = {
        accept(EventType.CONTACT, each, received_at=NOW, source="odoo", idempotency_key="constant").id
        for each in (one, two)
    }
    assert len(ids) == 2


def test_a_to_b_to_a_stays_three_events_where_there_is_no_date() -> None:
    updates = [
        make(EventType.CAMPAIGN_CONTACT, NOW + timedelta(seconds=second), last_state=state)
        for second, state in enumerate(["A", "B", "A"])
    ]
    assert len({update.id for update in updates}) == 3


def test_a_date_far_ahead_of_its_receipt_is_not_believed() -> None:
    within = make(datetime_actual=format_datetime(NOW + MAX_CLOCK_SKEW))
    beyond = make(datetime_actual=format_datetime(NOW + MAX_CLOCK_SKEW + timedelta(seconds=1)))
    assert (within.occurred_at, within.clock_is_wrong) == (NOW + MAX_CLOCK_SKEW, False)
    assert (beyond.occurred_at, beyond.clock_is_wrong) == (NOW, True)


def test_events_are_ordered_by_their_date_then_receipt_then_id() -> None:
    early = make(datetime_actual="2025-07-11T10:00:00Z", received_at=NOW + timedelta(hours=1))
    late = make(datetime_actual="2025-07-11T11:00:00Z")
    tied = make(datetime_actual="2025-07-11T11:00:00Z", nombre_lead="x", received_at=NOW + timedelta(seconds=1))
    assert sorted([tied, late, early], key=lambda event: event.order) == [early, late, tied]


# --- the envelope ----------------------------------------------------------------------------------------------------


def test_the_envelope_has_the_agreed_form() -> None:
    event = make(EventType.OPPORTUNITY, state={"stage_id": 17, "date": "2025-07-11T17:14:31.220Z"})
    assert json.loads(base64.b64decode(event.encode())) == {
        "v": 1,
        "id": event.id,
        "type": "opportunity",
        "received_at": "2025-07-11T17:20:00.000000Z",
        "source": "odoo",
        "payload": {"manychat_id": "MC1", "state": {"stage_id": 17, "date": "2025-07-11T17:14:31.220000Z"}},
        "traceparent": f"00-{event.id[:32]}-{event.id[32:48]}-01",
    }


def test_the_largest_body_fits_on_a_queue() -> None:
    # The worst case: as much text as a body holds, of characters that JSON and Base64 make no longer than they are.
    room = MAX_BODY_BYTES - 200
    event = make(EventType.OPPORTUNITY, state={"stage_id": 17, "summary": "x" * room}, first_name="n" * 90)
    assert len(event.encode()) <= MAX_MESSAGE_CHARS


@pytest.mark.parametrize("change", [{"v": 2}, {"id": "short"}, {"type": "x"}, {"received_at": None}, {"source": ""}])
def test_a_damaged_envelope_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        from_envelope({**make().envelope(), **change})


def test_an_envelope_is_validated_again() -> None:
    envelope = make().envelope()
    with pytest.raises(ContractError) as caught:
        from_envelope({**envelope, "payload": {"manychat_id": ""}})
    assert caught.value.errors[0]["field"] == "manychat_id"


@pytest.mark.parametrize("plain", [True, False], ids=["plain JSON", "Base64"])
def test_a_bare_payload_on_a_queue_is_an_event_received_when_it_was_put_there(plain: bool) -> None:
    body = '{"manychat_id": "MC1", "nombre_lead": "Ana"}'
    content = body if plain else base64.b64encode(body.encode()).decode()
    event = decode(content, queue=CONTACT_QUEUE, inserted_at=NOW)
    assert (event.source, event.received_at, event.manychat_id) == ("queue", NOW, "MC1")
    assert event.id == decode(content, queue=CONTACT_QUEUE, inserted_at=NOW).id


def test_a_bare_update_and_a_bare_assignment_share_a_queue() -> None:
    update = decode('{"manychat_id": 1, "last_state": "x"}', queue=CAMPAIGN_QUEUE, inserted_at=NOW)
    assignment = decode(
        '{"manychat_id": 1, "campaign_id": 2, "comercial_id": 3}', queue=CAMPAIGN_QUEUE, inserted_at=NOW
    )
    assert (update.type, assignment.type) == (EventType.CAMPAIGN_CONTACT, EventType.CAMPAIGN_ASSIGNMENT)
    for body, event_type in (
        ('{"manychat_id": 1, "campaign_id": 2, "datetime_actual": "2025-07-11"}', EventType.CAMPAIGN_ASSIGNMENT),
        ('{"manychat_id": 1, "last_state": "x", "datetime_actual": "2025-07-11"}', EventType.CAMPAIGN_CONTACT),
    ):
        assert decode(body, queue=CAMPAIGN_QUEUE, inserted_at=NOW).type is event_type


def test_a_bare_payload_on_an_unknown_queue_has_no_type() -> None:
    with pytest.raises(ContractError) as refused:
        decode('{"manychat_id": 1}', queue="some-queue", inserted_at=NOW)
    assert refused.value.code == "invalid"


@pytest.mark.parametrize("content", ["", "   ", "%%%", "é", "AAA", base64.b64encode(b"\xff").decode()])
def test_a_message_that_is_none_is_refused(content: str) -> None:
    with pytest.raises(ContractError) as caught:
        decode(content, queue=CONTACT_QUEUE, inserted_at=NOW)
    assert caught.value.code == "not_json"


# --- whatever is sent ------------------------------------------------------------------------------------------------

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.datetimes().map(lambda moment: moment.isoformat())
    | st.sampled_from(["", "{{x}}", "0", "17", "2025-07-11T17:14:31.220Z"])
)


def _payloads(event_type: EventType) -> st.SearchStrategy[dict[str, Any]]:
    names = {name: _scalars for name in event_type.model.model_fields if name not in ("manychat_id", "state")}
    state = st.fixed_dictionaries({"stage_id": st.integers(1, 99)}, optional={"date": _scalars, "summary": _scalars})
    required = {"manychat_id": st.text(min_size=1, max_size=70) | st.integers()}
    if event_type is EventType.OPPORTUNITY:
        required["state"] = state
    return st.fixed_dictionaries(required, optional=names)


_any_event = st.sampled_from(list(EventType)).flatmap(lambda kind: st.tuples(st.just(kind), _payloads(kind)))


def test_an_envelope_received_in_the_future_is_damaged() -> None:
    """Whoever can write to a queue could otherwise put an event after all others for ever."""
    tomorrow = datetime.now(timezone.utc) + MAX_CLOCK_SKEW
    for moment, accepted in ((tomorrow - timedelta(hours=1), True), (tomorrow + timedelta(hours=1), False)):
        envelope = accept(EventType.CONTACT, {"manychat_id": "MC-1"}, received_at=moment, source="odoo").envelope()
        event = _or_none(lambda envelope=envelope: from_envelope(envelope), "invalid")
        assert (event is not None) is accepted


@given(_any_event, st.timedeltas(timedelta(days=1), timedelta(days=20_000)))
def test_whatever_is_accepted_survives_the_queue(
    kind_and_payload: tuple[EventType, dict[str, Any]], since_1970: timedelta
) -> None:
    kind, payload = kind_and_payload
    received = datetime(1970, 1, 1, tzinfo=timezone.utc) + since_1970
    event = _or_none(lambda: accept(kind, payload, received_at=received, source="odoo"), "invalid")
    if event is None:
        return
    assert decode(event.encode(), queue=kind.queue, inserted_at=NOW) == event
    # What was made canonical is the same event when it comes as a payload again.
    assert accept(kind, event.payload.canonical(), received_at=received, source="odoo").id == event.id
    assert event.occurred_at <= received + MAX_CLOCK_SKEW


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps({"a": text}).encode()))
def test_whatever_bytes_come_they_are_an_object_or_refused(body: bytes) -> None:
    assert isinstance(_or_none(lambda: parse_json(body), "not_json"), dict | None)


@given(st.text(max_size=400))
def test_whatever_message_comes_it_is_an_event_or_refused(content: str) -> None:
    decoded = _or_none(lambda: decode(content, queue=CONTACT_QUEUE, inserted_at=NOW), "not_json", "invalid")
    assert isinstance(decoded, Event | None)


def _or_none(work: Callable[[], Any], *codes: str) -> Any:
    """What ``work`` returns, or ``None`` if it refuses with one of ``codes``; any other failure is a failure."""
    try:
        return work()
    except ContractError as error:
        if error.code not in codes:
            raise
        return None


@given(st.text(max_size=100))
def test_normalising_a_label_twice_changes_nothing(label: str) -> None:
    assert normalize_label(normalize_label(label)) == normalize_label(label)


def test_the_contract_imports_nothing_but_itself_and_pydantic() -> None:
    for module in Path(contract.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                imported = {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level != 1:
                imported = {".." * (node.level > 1) + (node.module or "").split(".")[0]}
            else:
                continue
            assert imported <= sys.stdlib_module_names | {"pydantic"}, module.name
