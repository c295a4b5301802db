"""Whose a refused text is, in whatever form a bot writes the id; and that what is nobody's keeps no word of anybody."""

from __future__ import annotations

import pytest

from bridge.contract.attribution import comparable, masked, mentions, person_of


@pytest.mark.parametrize(
    "body",
    [
        '{"manychat_id": "12"}',
        '{"manychat_id": 12}',
        '{"manychat_id": 12.0}',
        '{"manychat_id": 1.2e1}',
        '{"manychat_id": "0012"}',
        '{"manychat_id": "12.0"}',
        '{"manychat_id": "  12 "}',
        '{"manychat_id": "\\u0031\\u0032"}',
        '{"id": 12, "first_name": "Ana"}',
        '{"id": "99", "manychat_id": "12"}',
        '{"manychat_id": "", "id": "12"}',
        '{"manychat_id": "12", "nombre_lead": "Ana" "whatsapp": "+52"}',
        "{'manychat_id': '12', 'nombre_lead': 'Ana'}",
        '{"nombre_lead": "Ana", "manychat_id": 12, "state": {',
        '{"nombre_lead": "Ana", "manychat_id" : "0012", ',
        "manychat_id=12&nombre_lead=Ana",
        b'\xef\xbb\xbf{"manychat_id": "12"}',
        b'\xff{"manychat_id": "12"',
    ],
)
def test_the_person_is_found(body: bytes | str) -> None:
    assert person_of(body) == "12"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "Ana García",
        "[1, 2]",
        '{"manychat_id": "", "nombre_lead": "Ana"}',
        '{"manychat_id": "{{user_id}}", "nombre_lead": "Ana"}',
        '{"manychat_id": , "nombre_lead": "Ana"}',
        '{"manychat_id": null, "nombre_lead": "Ana"}',
        '{"manychat_id": 0, "nombre_lead": "Ana"}',
        '{"manychat_id": {"value": 12}}',
    ],
)
def test_nobody_is_found(body: str) -> None:
    assert person_of(body) is None


@pytest.mark.parametrize("text", ["12", "0012", "12.0", '"12"', "user 12 said", "id:0012,", "MC 12."])
def test_a_mention_in_any_form_is_one(text: str) -> None:
    assert mentions(text, "12")
    assert mentions(text, "0012")


@pytest.mark.parametrize("text", ["112", "123", "12.5", "1.12", "a12", "12a", "1200"])
def test_a_part_of_something_longer_is_no_mention(text: str) -> None:
    assert not mentions(text, "12")


def test_ids_that_are_no_numbers_are_compared_as_they_are() -> None:
    assert comparable("MC-0012") == "MC-0012"
    assert mentions('{"manychat_id": "MC-A"}', "MC-A")
    assert not mentions('{"manychat_id": "MC-AB"}', "MC-A")
    assert comparable("0") == comparable("000") == "0"


def test_a_masked_text_keeps_its_form_and_no_word() -> None:
    text = (
        '{"manychat_id": "{{user_id}}", "nombre_lead": "Ana García", "whatsapp": +52 155, "state": {"stage_id": 17,}}'
    )

    assert masked(text) == (
        '{"manychat_id": "{{user_id}}", "nombre_lead": "xxx xxxxxx", "whatsapp": +00 000, "state": {"stage_id": 00,}}'
    )


def test_masking_and_attributing_take_linear_time() -> None:
    # The texts that would take quadratic time if a pattern looked ahead without end. It ends, so nothing is timed.
    for piece in ("{{", '"id', "0", "manychat_id:", "\\"):
        text = piece * 30_000
        masked(text)
        person_of(text)
        mentions(text, "1")
