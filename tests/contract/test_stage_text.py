"""Texts that bots send: their placeholders, and what fits into one answer of ManyChat's."""

from __future__ import annotations

import pytest

from bridge.contract.stage_text import (
    LONGEST_MESSAGE,
    LONGEST_VALUE,
    MOST_MESSAGES,
    Fault,
    Placeholder,
    check,
    messages,
)

VALUES = {"stage": "Cotización", "salesperson": "Ana", "medical_advisor": None, "decided_on": "02/03/2026"}


@pytest.mark.parametrize(
    ("text", "fault", "shown"),
    [
        ("Hola {nombre}", Fault.UNKNOWN_PLACEHOLDER, "{nombre}"),
        ("Hola {Stage}", Fault.UNKNOWN_PLACEHOLDER, "{Stage}"),
        ("Hola {}", Fault.UNKNOWN_PLACEHOLDER, "{}"),
        ("Hola {{first_name}}", Fault.OF_MANYCHAT, "{{first_name}}"),
        ("Hola {stage", Fault.LONE_BRACE, "{"),
        ("Hola stage}", Fault.LONE_BRACE, "}"),
        ("\n\n".join("a" * (MOST_MESSAGES + 1)), Fault.TOO_MANY, "11"),
        ("a" * (LONGEST_MESSAGE + 1), Fault.TOO_LONG, "a" * 40),
        ("{stage}" + "a" * (LONGEST_MESSAGE - LONGEST_VALUE + 1), Fault.TOO_LONG, "{stage}" + "a" * 33),
        # Instagram counts bytes.
        ("ó" * (LONGEST_MESSAGE // 2 + 1), Fault.TOO_LONG, "ó" * 40),
        ("🩺" * (LONGEST_MESSAGE // 4 + 1), Fault.TOO_LONG, "🩺" * 40),
    ],
)
def test_a_text_that_would_not_go_out_is_found(text: str, fault: Fault, shown: str) -> None:
    assert check(text) == (fault, shown)


@pytest.mark.parametrize("text", ["", " \n\n ", "Hola", *(f"{{{each}}}" for each in Placeholder), "a\nb\n\nc",
                                  "\n\n".join("a" * MOST_MESSAGES), "a" * LONGEST_MESSAGE])  # fmt: skip
def test_a_text_that_goes_out_has_no_fault(text: str) -> None:
    assert check(text) is None


@pytest.mark.parametrize("nothing", ["\u200b", "\ufeff \u200d", "\u00a0\u2060"])
def test_a_paragraph_without_anything_to_see_is_no_message(nothing: str) -> None:
    assert messages(f"Hola.\n\n{nothing}\n\nAdiós 👩\u200d⚕️.", VALUES) == ["Hola.", "Adiós 👩\u200d⚕️."]


def test_an_empty_line_begins_a_message_and_a_line_break_does_not() -> None:
    text = "Etapa: {stage}\nAsesora: {salesperson}\r\n\r\n \t\nDesde el {decided_on}.\n"
    assert messages(text, VALUES) == ["Etapa: Cotización\nAsesora: Ana", "Desde el 02/03/2026."]


def test_a_message_without_a_value_is_left_out_and_the_others_stay() -> None:
    assert messages("Su médica es {medical_advisor}.\n\nHola.", VALUES) == ["Hola."]
    assert messages("{salesperson}", {}) == []


def test_a_value_is_not_filled_in_again() -> None:
    assert messages("{salesperson}", {**VALUES, "salesperson": "{stage}"}) == ["{stage}"]


def test_what_fits_once_fits_always() -> None:
    text = "{salesperson}" + "a" * (LONGEST_MESSAGE - LONGEST_VALUE)
    assert check(text) is None
    (said,) = messages(text, {**VALUES, "salesperson": "x" * 256})
    assert len(said) == LONGEST_MESSAGE


@pytest.mark.parametrize("name", ["ñ" * 256, "x" + "ñ" * 256, "🩺" * 64, "ab👩‍⚕️" * 30])
def test_no_value_makes_a_message_longer_than_instagram_takes(name: str) -> None:
    text = "{salesperson}" + "a" * (LONGEST_MESSAGE - LONGEST_VALUE)
    (said,) = messages(text, {**VALUES, "salesperson": name})
    assert len(said.encode()) <= LONGEST_MESSAGE
    assert said.startswith(name[:20])


def test_a_text_from_before_the_limit_is_cut_between_characters() -> None:
    assert messages("ó" * 900, VALUES) == ["ó" * 500]
    assert messages("x" + "ó" * 900, VALUES) == ["x" + "ó" * 499]
