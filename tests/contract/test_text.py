"""Texts: what is invisible, what ManyChat did not fill in, what programs write for nothing, and where a cut goes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.contract import text
from bridge.contract.fields import normalize_label
from bridge.contract.payloads import EventType
from bridge.contract.reading import ReadPayload, read

NOW = datetime(2025, 7, 11, 17, 20, tzinfo=timezone.utc)
#: One of each kind of characters that draw nothing.
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180b\u180e\u200b\u200c\u200d\u200e\u202e\u2060\u2066\u2800\u3164\ufe0f\ufeff"
    "\uffa0\ufffa\U0001d159\U0001d173\U000e0041\U000e0100"
)


def name_of(value: Any) -> Any:
    found = read(EventType.CONTACT, {"manychat_id": "1", "nombre_lead": value}, received_at=NOW)
    return found.payload.nombre_lead


def contact(**fields: Any) -> ReadPayload:
    return read(EventType.CONTACT, {"manychat_id": "1", **fields}, received_at=NOW)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("+{{whatsapp_phone}}", None),
        ("{{first_name}} {{last_name}}", None),
        ("{{first_name}}{{last_name}}", None),
        ("({{a}}) - {{b}}.", None),
        ("${{amount}}", None),
        ("Ana {{last_name}}", "Ana"),
        ("{{first_name}} García", "García"),
        ("Ana {{middle}} García", "Ana García"),
        ("Ana\n{{x}}", "Ana"),
        ('{{first_name|fallback:""|to_json:true}} Ana', "Ana"),
        ("👋 {{first_name}}", "👋"),
        ("{{cuf_{{a}}}} Ana", "Ana"),
        ("{{Ana}} {{María}}", None),
        # Not a placeholder.
        ("{{Ana", "{{Ana"),
        ("Ana}}", "Ana}}"),
        ("{Ana}", "{Ana}"),
        ("}} Ana {{", "}} Ana {{"),
        ("+", "+"),
        ("...", "..."),
    ],
)
def test_placeholders_are_emptied_out_of_a_text(given: str, kept: str | None) -> None:
    assert name_of(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"), [("Tel. {{phone}}", None), ("+57 {{p}}", "+57"), ("\u202a+57\u202c", "+57")]
)
def test_a_phone_is_its_number(given: str, kept: str | None) -> None:
    assert contact(whatsapp=given).payload.whatsapp == kept


@pytest.mark.parametrize(
    "given", [*INVISIBLE, INVISIBLE, f" {INVISIBLE}\n", "\x80\x9f", "\u2028", "{{a}}\u200b", "\u3000"]
)
def test_a_text_that_shows_nothing_is_empty(given: str) -> None:
    for field in ("nombre_lead", "whatsapp", "email_lead", "canal_entrada", "datetime_actual"):
        found = contact(**{field: given})
        assert getattr(found.payload, field) is None, field
        assert not found.warnings


@pytest.mark.parametrize(
    "given", ["Ana 👩🏽‍⚕️", "نازنین\u200cزهرا", "क्\u200dष", "❤️", "🏴\U000e0067\U000e0062\U000e007f", "Ana\u00adMaría"]
)
def test_invisible_characters_inside_a_name_stay(given: str) -> None:
    assert name_of(given) == given


def test_every_kind_of_control_is_removed() -> None:
    controls = "".join(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r")
    assert name_of(f"A{controls}na") == "Ana"


@pytest.mark.parametrize("word", ["null", "undefined", "None", "NaN", " null ", "null\u200b"])
def test_what_programs_write_for_nothing_is_nothing(word: str) -> None:
    for field in ("nombre_lead", "apellido_lead", "whatsapp", "email_lead", "canal_entrada", "ultimo_estado"):
        found = contact(**{field: word})
        assert getattr(found.payload, field) is None, field
        assert [each["field"] for each in found.warnings] == [field]


def test_a_person_may_be_called_null_and_say_none() -> None:
    assert name_of("Null") == "Null"
    assert name_of("Nil") == "Nil"
    state = {"stage_id": 17, "summary": "null"}
    found = read(EventType.OPPORTUNITY, {"manychat_id": "1", "phone": "N/A", "state": state}, received_at=NOW)
    assert found.payload.canonical() == {"manychat_id": "1", "state": state}
    assert [each["field"] for each in found.warnings] == ["phone"]


@pytest.mark.parametrize("letter", INVISIBLE)
def test_a_label_looks_the_same_with_an_invisible_letter(letter: str) -> None:
    for label in (
        f"{letter}Comienza Cotización",
        f"Comienza{letter} Cotización",
        f"Comienza Coti{letter}zación{letter}",
    ):
        assert normalize_label(label) == "comienza cotización"


@pytest.mark.parametrize(
    ("given", "limit", "kept"),
    [
        ("Ana", 3, "Ana"),
        ("Ana María", 4, "Ana"),
        ("😀😀", 3, "😀"),
        ("ae\u0323\u0301x", 2, "a"),  # an accent stays with its letter
        ("a👩🏽‍⚕️", 5, "a"),
        ("a👨‍👩‍👧b", 6, "a"),
        ("🇨🇴🇲🇽", 6, "🇨🇴"),
        ("🇨🇴🇲🇽", 4, "🇨🇴"),
        ("e" + "\u0301" * 100, 50, "e" + "\u0301" * 49),  # no real letter
    ],
)
def test_a_cut_leaves_whole_characters(given: str, limit: int, kept: str) -> None:
    assert text.cut(given, limit) == kept


@given(st.text(max_size=60), st.integers(0, 60))
def test_a_cut_text_is_a_beginning_that_fits(given: str, limit: int) -> None:
    kept = text.cut(given, limit)
    assert given.startswith(kept)
    assert text.length(kept) <= limit
    assert text.cut(kept, limit) == kept


@given(st.text("{}ab \u0301e", max_size=40))
def test_what_is_left_holds_no_placeholder(given: str) -> None:
    kept, _ = text.without_placeholders(text.clean(given))
    assert text.without_placeholders(kept) == (kept, False)
    assert text.clean(kept) == kept


@pytest.mark.parametrize("piece", ["{{", "}}", "{{a}}", "{{a", "{{}} ", "\u200b", "e\u0301", "{"])
def test_reading_a_text_costs_linear_time(piece: str) -> None:
    # Counted, not timed: so many characters are looked at per character.
    import sys

    def calls(size: int) -> int:
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        given = piece * (size // len(piece))
        sys.setprofile(count)
        try:
            text.without_placeholders(text.clean(given))
        finally:
            sys.setprofile(None)
        return counted

    small, large = calls(2_000), calls(16_000)
    assert large <= 9 * small + 100
