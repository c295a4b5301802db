"""From a bot's body to a payload: only what cannot be applied is refused, and nothing is left out without a word."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.contract.dates import MAX_CLOCK_SKEW
from bridge.contract.errors import ContractError
from bridge.contract.event import Event, accept, decode, from_envelope
from bridge.contract.extra import MAX_EXTRA_BYTES
from bridge.contract.fields import format_datetime
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE, WEBHOOKS, EventType
from bridge.contract.reading import MAX_MESSAGE_CHARS
from bridge.contract.strict_json import parse_json

NOW = datetime(2025, 7, 11, 17, 20, tzinfo=timezone.utc)
CONTACT, ASSIGNMENT, UPDATE, OPPORTUNITY = WEBHOOKS


def take(event_type: EventType, **body: Any) -> Event:
    needed = {OPPORTUNITY: {"state": {"stage_id": 17}}, ASSIGNMENT: {"campaign_id": 85}}.get(event_type, {})
    return accept(event_type, {"manychat_id": "MC1", **needed, **body}, received_at=NOW, source="odoo")


def refusal(event_type: EventType, body: Any) -> ContractError:
    with pytest.raises(ContractError) as caught:
        accept(event_type, body, received_at=NOW, source="odoo")
    return caught.value


def warned(event: Event) -> list[str]:
    return [each["field"] for each in event.warnings]


# --- an optional field refuses nothing -------------------------------------------------------------------------------

_NO_TEXT: list[Any] = [[], ["Ana"], {}, {"a": "Ana"}, True, False]
_NO_ID = ["N/A", "Ana", -1, 1.5, "1_000", "１７", True, False, 2**31, "9" * 30, [17], {}, "1e3", "7 {{x}}"]
_NO_DATE = ["yesterday", "03/04/2025", "2025-02-30", 17, True, [], {}, "1969-12-31", "2025-10-20 {{t}}"]
#: Fields that may be missing, with their types' unreadable values.
_UNREADABLE = {
    **dict.fromkeys(("first_name", "last_name", "phone", "channel", "state.summary"), _NO_TEXT),
    **dict.fromkeys(("medical_advisor_id", "commercial_advisor_id"), _NO_ID),
    **dict.fromkeys(("entry_date", "state.date"), _NO_DATE),
}


@pytest.mark.parametrize(("path", "value"), [(path, each) for path, values in _UNREADABLE.items() for each in values])
def test_what_cannot_be_read_is_left_out_with_a_warning(path: str, value: Any) -> None:
    outer, _, inner = path.partition(".")
    field = {outer: {"stage_id": 17, inner: value}} if inner else {outer: value}
    event = take(OPPORTUNITY, **field)
    assert event.payload.canonical() == {"manychat_id": "MC1", "state": {"stage_id": 17}}
    [warning] = event.warnings
    assert warning["field"] == path
    assert warning["message"].startswith("left out")
    assert "Ana" not in warning["message"]


@pytest.mark.parametrize(
    ("event_type", "field", "limit"),
    [
        (CONTACT, "nombre_lead", 256),
        (CONTACT, "whatsapp", 64),
        (CONTACT, "email_lead", 320),
        (ASSIGNMENT, "tipo_asignacion", 256),
        (UPDATE, "last_state", 256),
        (OPPORTUNITY, "channel", 256),
    ],
)
def test_too_long_a_text_is_cut_with_a_warning(event_type: EventType, field: str, limit: int) -> None:
    for sent, kept in (("x" * (limit + 1), "x" * limit), ("x" * (limit - 1) + "😀", "x" * (limit - 1))):
        event = take(event_type, **{field: sent})
        assert event.payload.canonical()[field] == kept
        assert event.warnings == ({"field": field, "message": f"cut to {limit} characters"},)
    assert take(event_type, **{field: "x" * limit}).warnings == ()


def test_a_number_that_is_too_long_for_its_text_is_cut() -> None:
    assert take(CONTACT, whatsapp=10**70).payload.canonical()["whatsapp"] == "1" + "0" * 63


def test_an_event_without_a_readable_date_is_one_of_its_receipt() -> None:
    event = take(OPPORTUNITY, state={"stage_id": 17, "date": "03/04/2025"})
    assert event.occurred_at == NOW
    assert "as of its receipt" in event.warnings[0]["message"]


def test_many_faults_are_many_warnings_and_the_rest_is_taken() -> None:
    event = take(
        OPPORTUNITY,
        first_name="Ana" * 100,
        phone=[],
        entry_date="1752254071",
        medical_advisor_id="N/A",
        state={"stage_id": "17", "date": "20 Oct 2024, 05:41pm", "summary": {}},
    )
    assert event.payload.canonical() == {
        "manychat_id": "MC1",
        "first_name": ("Ana" * 100)[:256],
        "entry_date": "2025-07-11T17:14:31.000000Z",
        "state": {"stage_id": 17, "date": "2024-10-20T17:41:00.000000Z"},
    }
    assert sorted(warned(event)) == ["first_name", "medical_advisor_id", "phone", "state.summary"]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage_id", ["abc", -1, 1.5, True, [], "9" * 30])
def test_a_stage_is_read_from_its_label_where_its_number_cannot_be(stage_id: Any) -> None:
    event = take(OPPORTUNITY, state={"stage_id": stage_id, "stage": "Comienza Cotización"})
    assert event.payload.canonical()["state"] == {"stage": "Comienza Cotización"}
    assert warned(event) == ["state.stage_id"]
    error = refusal(OPPORTUNITY, {"manychat_id": "1", "state": {"stage_id": stage_id}})
    assert (error.code, [each["field"] for each in error.errors]) == ("invalid", ["state.stage_id"])
    assert "must be" in error.message


@pytest.mark.parametrize("state", [{"stage_id": 17, "stage": []}, {"stage_id": 17, "stage": "x" * 300}])
def test_a_stage_is_read_from_its_number_where_its_label_cannot_be(state: Any) -> None:
    event = take(OPPORTUNITY, state=state)
    assert event.payload.canonical()["state"]["stage_id"] == 17
    assert warned(event) == ["state.stage"]


@pytest.mark.parametrize("campaign", [None, "", 0, "0", "abc", [], "{{campaign}}"])
def test_an_assignment_needs_a_campaign_and_an_update_does_not(campaign: Any) -> None:
    error = refusal(ASSIGNMENT, {"manychat_id": "1", "campaign_id": campaign, "comercial_id": 1})
    assert (error.code, [each["field"] for each in error.errors]) == ("invalid", ["campaign_id"])
    assert take(UPDATE, campaign_id=campaign, last_state="x").payload.canonical() == {
        "manychat_id": "MC1",
        "last_state": "x",
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"campaign_id": 85},
        {"datetime_actual": "2025-07-11"},
        {"medical_advisor_id": 0, "last_state": ""},
        {"medical_advisor_id": "N/A", "summary": "{{summary}}"},
        {"unknown": "x"},
    ],
)
def test_an_update_that_says_nothing_is_refused(body: dict[str, Any]) -> None:
    error = refusal(UPDATE, {"manychat_id": "1", **body})
    assert error.code == "invalid"
    assert error.errors


def test_an_update_that_said_nothing_and_was_accepted_once_goes_on() -> None:
    envelope = {**take(UPDATE, last_state="x").envelope(), "payload": {"manychat_id": "1", "campaign_id": 85}}
    assert from_envelope(envelope).payload.canonical() == {"manychat_id": "1", "campaign_id": 85}


# --- dates that are not believed -------------------------------------------------------------------------------------

_LATE = format_datetime(NOW + MAX_CLOCK_SKEW + timedelta(seconds=1))
_IN_TIME = format_datetime(NOW + MAX_CLOCK_SKEW)


@pytest.mark.parametrize(
    ("event_type", "field"),
    [
        (CONTACT, "datetime_suscripcion"),
        (UPDATE, "medical_assignment_date"),
        (UPDATE, "commercial_assignment_date"),
        (OPPORTUNITY, "entry_date"),
    ],
)
def test_a_date_of_the_future_is_left_out_whatever_it_dates(event_type: EventType, field: str) -> None:
    for late in (_LATE, "9999-12-31", "31 Dec 9999", 9999999999):
        event = take(event_type, **{field: late, "last_state": "x"})
        assert field not in event.payload.canonical()
        assert {"field": field, "message": "left out: is more than 24 hours in the future"} in event.warnings
    event = take(event_type, **{field: _IN_TIME})
    assert event.payload.canonical()[field] == _IN_TIME
    assert not event.warnings


def test_an_events_own_date_of_the_future_is_not_believed_and_said() -> None:
    for event in (
        take(CONTACT, datetime_actual="2099-01-01"),
        take(UPDATE, datetime_actual="2099-01-01", last_state="x"),
        take(OPPORTUNITY, state={"stage_id": 17, "date": "2099-01-01"}),
    ):
        assert event.occurred_at == NOW
        assert warned(event) == [event.payload.date_field]


def test_an_old_envelope_is_read_as_leniently() -> None:
    envelope = take(UPDATE, medical_advisor_id=7).envelope()
    envelope["payload"] |= {"medical_assignment_date": "9999-12-31T00:00:00Z", "last_state": "x" * 300, "summary": []}
    event = from_envelope(envelope)
    assert event.payload.canonical() == {"manychat_id": "MC1", "medical_advisor_id": 7, "last_state": "x" * 256}
    assert sorted(warned(event)) == ["last_state", "medical_assignment_date", "summary"]
    assert from_envelope(event.envelope()) == event


# --- fields that the contract does not know --------------------------------------------------------------------------


def test_unknown_fields_are_kept_as_they_were_sent() -> None:
    sent = {"email": "ana@ejemplo.co", "ad_id": 120, "tags": ["a", {"b": 1.5}], "vip": True}
    event = take(OPPORTUNITY, **sent, state={"stage_id": 17, "mood": "good"})
    assert event.extra == {**sent, "state": {"mood": "good"}}
    assert not event.warnings
    assert decode(event.encode(), queue=OPPORTUNITY_QUEUE, inserted_at=NOW) == event


def test_unknown_fields_are_clean_and_without_gaps() -> None:
    event = take(CONTACT, a="{{b}}", c="x\x00y\x9f", d=None, e=["{{f}}", ""], g={"h": "\u3164"}, i="Ana {{j}}", k=1e400)
    assert event.extra == {"c": "xy", "i": "Ana"}


@pytest.mark.parametrize(
    ("event_type", "name", "meant"),
    [
        (OPPORTUNITY, "state.sumary", "summary"),
        (OPPORTUNITY, "state.Summary", "summary"),
        (OPPORTUNITY, "state.stageid", "stage_id"),
        (OPPORTUNITY, "firstname", "first_name"),
        (OPPORTUNITY, "summary", "state.summary"),
        (OPPORTUNITY, "entry_dat", "entry_date"),
        (OPPORTUNITY, "whatsapp_phone", "phone"),
        (OPPORTUNITY, "nombre_lead", "first_name"),
        (CONTACT, "email", "email_lead"),
        (CONTACT, "first_name", "nombre_lead"),
        (CONTACT, "ultimo_estdo", "ultimo_estado"),
        (UPDATE, "campain_id", "campaign_id"),
        (ASSIGNMENT, "medico", "medico_id"),
        (ASSIGNMENT, "medical_advisor", "medico_id"),
        (OPPORTUNITY, "medico_id", "medical_advisor_id"),
        (OPPORTUNITY, "canal_entrada", "channel"),
        (OPPORTUNITY, "state.resumen", "summary"),
    ],
)
def test_a_slip_in_a_name_is_kept_and_named(event_type: EventType, name: str, meant: str) -> None:
    outer, _, inner = name.rpartition(".")
    field = {outer: {"stage_id" if inner != "stageid" else "stage": "17", inner: "x"}} if outer else {name: "x"}
    event = take(event_type, **{"last_state": "y"} if event_type is UPDATE else {}, **field)
    assert {"field": name, "message": f"did you mean {meant}?"} in event.warnings
    assert event.extra == ({outer: {inner: "x"}} if outer else field)


@pytest.mark.parametrize(
    ("event_type", "body", "slip"),
    [
        (OPPORTUNITY, {"state": {"stageId": 17}}, "state.stageId"),
        (OPPORTUNITY, {"state": {"etapa": "Cotiza"}}, "state.etapa"),
        (OPPORTUNITY, {"stage_id": 17}, "stage_id"),
        (OPPORTUNITY, {"State": {"stage_id": 17}}, "State"),
        (ASSIGNMENT, {"campaña_id": 85, "campaing_id": 85}, "campaing_id"),
        (UPDATE, {"last_sate": "x"}, "last_sate"),
        (CONTACT, {"manychat_id": "", "manychatid": "MC1"}, "manychatid"),
    ],
)
def test_a_refusal_names_the_slips_that_may_have_caused_it(
    event_type: EventType, body: dict[str, Any], slip: str
) -> None:
    error = refusal(event_type, {"manychat_id": "MC1", **body})
    assert error.code == "invalid"
    assert slip in [each["field"] for each in error.errors if "did you mean" in each["message"]]
    assert ("did you mean state?" in error.message) == (slip == "State")
    assert len(error.errors) >= 2  # beside what is missing


def test_a_slip_beside_the_field_is_named_too_and_another_systems_name_is_not() -> None:
    assert warned(take(OPPORTUNITY, phone="1", phones="2")) == ["phones"]
    assert warned(take(CONTACT, whatsapp="1", phone="2", nombre_lead="Ana", first_name="Ana")) == []


def test_unknown_fields_have_a_room_of_their_own() -> None:
    event = take(CONTACT, a="x" * 5_000, b="y" * 5_000, c="z", d={"e": "x" * 1_000, "f": "y" * 5_000, "g": 1})
    assert event.extra == {"a": "x" * 5_000, "c": "z", "d": {"e": "x" * 1_000, "g": 1}}
    assert warned(event) == ["b", "d"]
    assert len(json.dumps(event.extra)) <= MAX_EXTRA_BYTES


def test_thousands_of_unknown_fields_make_few_warnings() -> None:
    event = take(CONTACT, **{f"nombre_lea{number}": number for number in range(2_000)})
    assert len(event.warnings) == 20
    assert event.warnings[-1]["message"].startswith("warnings that are not shown: ")
    assert decode(event.encode(), queue=CONTACT_QUEUE, inserted_at=NOW) == event


def test_a_deeply_nested_body_still_travels() -> None:
    value: Any = "x"
    for _ in range(14):
        value = {"a": value}
    event = accept(CONTACT, parse_json(json.dumps({"manychat_id": "1", "b": value})), received_at=NOW, source="odoo")
    assert warned(event) == ["b"]
    assert decode(event.encode(), queue=CONTACT_QUEUE, inserted_at=NOW) == event


@pytest.mark.parametrize("letter", ["x", '"', "\U0001d160", "é", "\n"])
def test_the_longest_event_fits_on_its_queue(letter: str) -> None:
    """NFC makes a few rare characters three times as long, JSON escapes others."""
    summary = "s" + letter * 32_000
    event = take(OPPORTUNITY, first_name="ñ" * 300, email="😀" * 1_800, state={"stage_id": 17, "summary": summary})
    assert len(event.encode()) <= MAX_MESSAGE_CHARS
    assert "first_name" in warned(event)
    for source in ("api", "a" * 32):
        # The same everywhere: the id must not depend on which server received it.
        again = accept(
            OPPORTUNITY,
            {"manychat_id": "MC1", "first_name": "ñ" * 300, "email": "😀" * 1_800,
             "state": {"stage_id": 17, "summary": summary}},
            received_at=NOW, source=source,
        )  # fmt: skip
        assert again.id == event.id
        assert len(again.encode()) <= MAX_MESSAGE_CHARS


# --- identity --------------------------------------------------------------------------------------------------------


#: Of the examples, received at :data:`NOW`. Rows in Odoo and in SQL have them.
_IDS_OF_OLD = {
    CONTACT: "2dc1c0c3bdadf244e494a6cb7673b5deca50ae017175bb60dc86bd3368f04989",
    ASSIGNMENT: "cb730b87a3d279adf864533ed2aa462e30cab456a59b589a3fcc752d92535a04",
    UPDATE: "1141def34a0cd16b06e9ec271d24eddbc6ef7dd96b51d9db8101df3380f3d8fc",
    OPPORTUNITY: "0b39cb1cfcf16c93c3e017fe044c570bec4b85db3732f659ccb953656a89f27e",
}


def test_a_valid_event_has_the_id_that_it_always_had() -> None:
    taken = {kind: accept(kind, kind.spec.example, received_at=NOW, source="odoo") for kind in WEBHOOKS}
    assert {kind: event.id for kind, event in taken.items()} == _IDS_OF_OLD
    assert not any(event.warnings or event.extra for event in taken.values())


def test_what_is_left_out_or_kept_beside_is_no_part_of_the_id() -> None:
    dated = {"datetime_actual": "2025-07-11T17:14:31Z", "nombre_lead": "Ana"}
    plain = take(CONTACT, **dated)
    assert plain.id == take(CONTACT, **dated, ad_id=7, whatsapp=[]).id
    assert plain.id == take(CONTACT, **{**dated, "datetime_actual": "11 Jul 2025, 05:14:31pm"}).id


# --- whatever is sent ------------------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just("{{x}}"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_names = [
    *sorted({name for each in EventType for name in each.model.model_fields}),
    *("id", "name", "email", "custom_fields", "subscribed", "whatsapp_phone", "last_input_text", "x", "sumary"),
]


@given(
    st.sampled_from(list(WEBHOOKS)),
    st.dictionaries(st.sampled_from(_names) | st.text(max_size=12), _json, max_size=8),
    st.dictionaries(st.sampled_from(["stage", "summary", "date", "sumary"]), _json, max_size=4),
)
def test_no_optional_field_refuses_an_event(event_type: EventType, body: dict[str, Any], state: dict[str, Any]) -> None:
    """Whatever stands in the other fields, an event with a person, a stage and a campaign is taken and travels."""
    body |= {"manychat_id": "MC1", "campaign_id": 85, "last_state": "x", "nombre_lead": "Ana"}
    body |= {"state": {**state, "stage_id": 17}}
    event = accept(event_type, body, received_at=NOW, source="odoo")
    assert event.manychat_id == "MC1"
    assert decode(event.encode(), queue=event_type.queue, inserted_at=NOW) == event
    again = accept(event_type, event.payload.canonical(), received_at=NOW, source="odoo")
    assert (again.id, again.payload) == (event.id, event.payload)


def test_a_warning_never_quotes_a_value() -> None:
    secret = "Anastasia-73001"
    body = {
        name: secret
        for name in _names
        if name not in ("manychat_id", "id", "state", "campaign_id", "commercial_advisor_id")
    }
    for event_type in WEBHOOKS:
        for wrap in (lambda value: value, lambda value: [value], lambda value: value * 500):
            sent = {name: wrap(value) for name, value in body.items()}
            event = take(event_type, **sent, commercial_advisor_id=1)
            assert secret not in json.dumps(event.warnings)
