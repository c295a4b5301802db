"""A body that ManyChat broke gets an answer that says what to change there, and names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.contract.broken_json import fault_in
from bridge.contract.errors import ContractError
from bridge.contract.strict_json import parse_json

#: Words of the sentences, which no other sentence has.
QUOTE = "holds a quotation mark. In ManyChat, insert the field with the filter to_json"
BACKSLASH = "holds a backslash. In ManyChat, insert the field with the filter to_json"
BARE = "has no quotation marks around it. In ManyChat"
EMPTY = "has no value: ManyChat has none for this person. In ManyChat, give the field a fallback"
END = "the quotation mark after the text of"
WORD = "write true, false or null"
OTHER_QUOTES = "there are other quotation marks"
COMMENT = "there is a comment"
NAME = "the name of a field has no quotation marks"
COMMA = "a comma is missing after"
COLON = "a colon is missing"
TRAILING = "remove the comma"

#: What people write, as it stands between the quotation marks of a body.
TEXTS = {
    "in the middle": 'Ana "La Güera" García',
    "at the beginning": '"La Güera" García',
    "at the end": 'Ana "La Güera"',
    "one": 'de 12" de largo',
    "one alone": '"',
    "three": 'él dijo "no" y "',
    "before a comma": 'dijo "no", y se fue',
    "around a comma": 'dijo "," y se fue',
    "before a colon": 'dijo "esto": no',
    "before a bracket": 'dijo "}" y se fue',
    "before a blank": 'dijo " no',
    "beside a line break": 'dijo\n"no"',
    "two words in them": 'los "uno" "dos"',
}
BACKSLASHES = {
    "in a path": r"C:\Users\ana",
    "of no character": r"\u12",
    "at the end": "hola\\",
}
#: What follows "x": in a body, the field that the answer names, and what it says.
VALUES = {
    "words": ("Ana García", BARE),
    "an emoji": ("😀", BARE),
    "a telephone number": ("+5215512345678", BARE),
    "a number in groups": ("52 155 1234", BARE),
    "a date": ("2025-06-10T10:00:00Z", BARE),
    "an address": ("ana@example.com", BARE),
    "a link": ("https://example.com", BARE),
    "a number that begins with 0": ("012", BARE),
    "a number with a comma": ("1,5", BARE),
    "a placeholder and a word": ("{{first_name}} Pérez", BARE),
    "only its second quote": ('+521"', BARE),
    "nothing": ("", EMPTY),
    "None": ("None", WORD),
    "True": ("True", WORD),
    "FALSE": ("FALSE", WORD),
    "undefined": ("undefined", WORD),
    "NaN": ("NaN", WORD),
    "minus infinity": ("-Infinity", WORD),
    "a word that begins with None": ("Nonesuch", BARE),
    "single quotes": ("'Ana'", OTHER_QUOTES),
    "typographic quotes": ("“Ana”", OTHER_QUOTES),
    "a comma after the last one of a list": ("[1, ]", TRAILING),
}
#: Whole bodies.
BODIES = {
    "a comma after the last field": ('{"a": 1,}', TRAILING),
    "a comma after the last field on a line of its own": ('{\n  "a": 1,\n}', TRAILING),
    "two commas": ('{"a": 1,, "b": 2}', "two commas"),
    "names in single quotes": ("{'a': 1}", OTHER_QUOTES),
    "names in typographic quotes": ("{“a”: 1}", OTHER_QUOTES),
    "a name without quotes": ("{a: 1}", NAME),
    "a name with one quote": ('{"a": "x", "b: 1}', NAME),
    "no colon": ('{"a" 1}', COLON),
    "an equals sign": ('{"a" = 1}', COLON),
    "no colon after a text": ('{"a": "x", "b" "y"}', COLON),
    "no comma after a text": ('{"a": "x"\n "b": 1}', COMMA),
    "no comma after a number": ('{"a": 1\n "b": 1}', COMMA),
    "no comma after an object": ('{"a": {} "b": 1}', COMMA),
    "a comment at the beginning": ('// ana\n{"a": 1}', COMMENT),
    "a comment in a line": ('{"a": 1, // ana\n "b": 2}', COMMENT),
    "a comment between": ('{"a": "x" /* ana */}', COMMENT),
    "a comment of Python": ('{"a": 1 # ana\n}', COMMENT),
    "a comment at the end": ('{"a": 1} // ana', COMMENT),
    "no bracket at the end": ('{"a": {"b": 1}', "a “}” is missing at its end"),
    "a list that does not end": ('{"a": [1}', "a “]” is missing here"),
    "an object that does not end": ('{"a": {"b": 1]}', "a “}” is missing here"),
    "one bracket too many": ('{"a": 1}}', "something after its end"),
    "a comma after the end": ('{"a": 1},', "something after its end"),
    "no quote at the end of a text": ('{"a": "x,\n "b": 1}', END),
    "no quote at the end of the last text": ('{"a": "x}', END),
    "nothing": (" \n", "it is empty"),
    "a form": ("manychat_id=1&nombre_lead=Ana", "must begin with “{”"),
    "a text": ("Ana", "must begin with “{”"),
    "a page": ("<html></html>", "must begin with “{”"),
}


def refused(body: str) -> ContractError:
    with pytest.raises(ContractError) as caught:
        parse_json(body)
    assert caught.value.code == "not_json"
    return caught.value


@pytest.mark.parametrize(
    "around",
    [
        '{"manychat_id": "1", "x": "%s", "y": ""}',
        '{"manychat_id": "1",\n  "x": "%s",\n  "y": 1\n}',
        '{"x": "%s", "manychat_id": {"a": 1}}',
        '{"manychat_id": "1", "x": "%s"}',
    ],
)
@pytest.mark.parametrize("text", TEXTS)
def test_a_quotation_mark_in_a_text_is_named_with_the_filter_that_escapes_it(text: str, around: str) -> None:
    error = refused(around.replace("%s", TEXTS[text]))
    assert [each["field"] for each in error.errors] == ["x"]
    assert f"the text of “x” {QUOTE}" in error.message


@pytest.mark.parametrize("text", BACKSLASHES)
@pytest.mark.parametrize("around", ['{"x": "%s", "y": ""}', '{"y": "", "x": "%s"}'])
def test_a_backslash_in_a_text_is_named_with_the_filter_that_escapes_it(text: str, around: str) -> None:
    error = refused(around.replace("%s", BACKSLASHES[text]))
    assert [each["field"] for each in error.errors] == ["x"]
    assert f"the text of “x” {BACKSLASH}" in error.message


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("around", ['{"x": %s, "y": ""}', '{"y": "", "x": %s}', '{"y": "", "x": %s\n}'])
def test_a_value_that_is_no_json_is_named_with_what_to_change(value: str, around: str) -> None:
    text, says = VALUES[value]
    error = refused(around.replace("%s", text))
    assert [each["field"] for each in error.errors] == ["x"]
    assert says in error.message
    assert says in error.errors[0]["message"]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_json_is_answered_with_what_to_change(body: str) -> None:
    text, says = BODIES[body]
    assert says in refused(text).message


def test_a_field_inside_an_object_is_named_with_the_object() -> None:
    error = refused('{"state": {"stage_id": 17, "summary": "dijo "no"", "date": ""}}')
    assert error.errors[0]["field"] == "state.summary"


def test_the_place_is_that_of_the_character_at_fault() -> None:
    body = '{\n  "manychat_id": "1",\n  "x": "dijo "no"",\n  "y": 1\n}'
    fault = fault_in(body)
    assert fault is not None
    assert body[fault.position :].startswith('"no"')
    assert "(line 3, column 14)" in refused(body).message


@pytest.mark.parametrize("text", ["Ana\nGarcía", "Ana\tGarcía", "{{first_name}}"])
def test_what_json_parsers_may_take_is_still_taken(text: str) -> None:
    assert parse_json('{"x": "$", "y": {{campaign_id}}}'.replace("$", text)) == {"x": text, "y": None}


@pytest.mark.parametrize("text", [*TEXTS.values(), *BACKSLASHES.values()])
def test_no_word_of_a_person_comes_back(text: str) -> None:
    error = refused('{"manychat_id": "1", "x": "$", "y": ""}'.replace("$", text))
    said = json.dumps([error.message, error.errors], ensure_ascii=False)
    assert not any(word in said for word in ("Ana", "Güera", "García", "dijo", "Users", "hola", "largo", "uno"))


@pytest.mark.parametrize("value", [{"a": [1, {"b": "c"}]}, {"a": "x", "b": None, "c": [True, -1.5e3, []], "d": {}}, {}])
def test_json_has_no_fault(value: Any) -> None:
    assert fault_in(json.dumps(value)) is None
    assert fault_in(json.dumps(value, indent=2)) is None
