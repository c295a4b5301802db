"""What a bot may ask about one person: how the question is read, and the two forms of the answer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from bridge.contract.opportunity_state import Status
from bridge.contract.person import PATH, AnswerFormat, Channel, Person, Question, answer, day_format, read_question
from bridge.contract.webhook import WebhookError

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
KEYS = {
    *("status", "manychat_id", "found", "stage", "stage_id", "odoo_stage", "opportunity", "salesperson"),
    *("medical_advisor", "decided_at", "as_of", "age_seconds"),
}


def person(**changed: Any) -> Person:
    values = {
        "stage": "Comienza Cotización",
        "stage_id": 25,
        "odoo_stage": "Cotiza",
        "status": Status.OPEN,
        "salesperson": "Ana",
        "medical_advisor": None,
        "decided_at": datetime(2026, 3, 2, 4, tzinfo=timezone.utc),
        "as_of": NOW - timedelta(seconds=90),
        "text": "{stage}: {salesperson}, {decided_on}\n\n{medical_advisor}",
        "date_format": "%d/%m/%Y",
        **changed,
    }
    return Person(**values)


def ask(query: str = "", found: Person | None = None, zone: Any = timezone.utc) -> dict[str, Any]:
    question = read_question(f"{PATH}MC1".encode(), query.encode())
    return answer(question, found, now=NOW, zone=zone)


@pytest.mark.parametrize("manychat_id", ["1", "123456789012345678901234567890", "MC-Ñ", "a/b", "a//b", "a?b=c", "a%2Fb",
                                         "a b", "a+b", "a#b", "a.b", "👩", "x" * 64])  # fmt: skip
def test_an_id_of_any_characters_is_one_id(manychat_id: str) -> None:
    for target in (f"{PATH}{quote(manychat_id, safe='')}", f"{PATH}{quote(manychat_id, safe='')}/"):
        assert read_question(target.encode(), b"") == Question(manychat_id, AnswerFormat.FLAT, Channel.MESSENGER)


@pytest.mark.parametrize(
    "target",
    [
        "http://odoo.example.com/api/v1/manychat/people/MC1",
        "//api/v1//manychat/people//MC1",
        "/api/v1/manychat/%70eople/MC1",
        "/api/v1/manychat/people/MC1?format=flat",
    ],
)
def test_the_address_may_be_written_in_many_ways(target: str) -> None:
    assert read_question(target.encode(), b"").manychat_id == "MC1"


@pytest.mark.parametrize("written", ["", "%00", "0", "null", "undefined", "%7B%7Buser_id%7D%7D", "x" * 65, "%20", "--"])
def test_what_names_no_person_is_refused(written: str) -> None:
    with pytest.raises(WebhookError) as refused:
        read_question(f"{PATH}{written}".encode(), b"")
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert [error["field"] for error in refused.value.errors] == ["manychat_id"]


def test_the_form_of_the_answer_is_chosen_and_another_one_is_refused() -> None:
    assert read_question(f"{PATH}1".encode(), b"format=Dynamic&channel=WhatsApp&x=1") == Question(
        "1", AnswerFormat.DYNAMIC, Channel.WHATSAPP
    )
    for query, field in (("format=xml", "format"), ("channel=sms", "channel")):
        with pytest.raises(WebhookError) as refused:
            read_question(f"{PATH}1".encode(), query.encode())
        assert [error["field"] for error in refused.value.errors] == [field]
        assert refused.value.status == 422


def test_the_flat_answer_has_all_values_and_nothing_else() -> None:
    said = ask("", person())
    assert said.keys() == KEYS
    assert (said["status"], said["found"], said["opportunity"], said["age_seconds"]) == ("ok", True, "open", 90)
    assert said["decided_at"] == "2026-03-02T04:00:00.000000Z"
    assert all(not isinstance(value, (dict, list)) for value in said.values())


def test_a_person_without_an_opportunity_has_the_same_keys_and_no_values() -> None:
    said = ask()
    assert said.keys() == KEYS
    assert {name: value for name, value in said.items() if value is not None} == {
        "status": "ok",
        "manychat_id": "MC1",
        "found": False,
    }


def test_a_clock_that_is_ahead_makes_no_negative_age() -> None:
    assert ask("", person(as_of=NOW + timedelta(seconds=5)))["age_seconds"] == 0


def test_the_dynamic_answer_has_the_texts_of_the_stage() -> None:
    said = ask("format=dynamic&channel=whatsapp", person())
    assert said == {
        "version": "v2",
        "content": {
            "type": "whatsapp",
            "messages": [{"type": "text", "text": "Comienza Cotización: Ana, 02/03/2026"}],
        },
    }


def test_messenger_has_no_type() -> None:
    assert "type" not in ask("format=dynamic", person())["content"]


def test_a_day_is_that_of_the_keys_zone() -> None:
    said = ask("format=dynamic", person(text="{decided_on}"), ZoneInfo("America/Bogota"))
    assert said["content"]["messages"][0]["text"] == "01/03/2026"


@pytest.mark.parametrize("found", [None, person(status=Status.LOST), person(status=None), person(text=None)])
def test_without_a_stage_to_speak_of_the_bot_says_nothing(found: Person | None) -> None:
    assert ask("format=dynamic", found) == {"version": "v2", "content": {"messages": []}}


@pytest.mark.parametrize(("of_language", "used"), [("%m/%d/%Y", "%m/%d/%Y"), ("%d.%m.%Y", "%d.%m.%Y"),
                                                   ("%d %B %Y", "%d/%m/%Y"), (None, "%d/%m/%Y")])  # fmt: skip
def test_days_are_written_in_digits(of_language: str | None, used: str) -> None:
    assert day_format(of_language) == used
