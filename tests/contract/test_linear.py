"""Reading a request costs time in proportion to its length, whatever it holds: shown by counting what is done.

What Python's own C code does inside of one call is counted by stand-ins: characters that a search or a scanner passes,
moves of the sort inside of Unicode's normal forms, and characters that a comparison of names looks at. Everything else
is counted as calls and lines of the contract's own code.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from itertools import pairwise
from types import FrameType
from typing import Any
from urllib.parse import quote

import pytest

from bridge.contract import broken_json, names, strict_json, text, webhook
from bridge.contract.errors import ContractError
from bridge.contract.event import decode
from bridge.contract.payloads import EventType
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.webhook import WebhookError

NOW = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
SIZES = [2_000, 4_000, 8_000, 16_000]
#: How much more may be done for twice the length: some more than twice, because of what is done once for any length.
GROWTH = 2.3
#: Steps for each byte that are few at any length: a longer text may be read once or twice more, to cut it.
FEW = 20

#: How a body begins, and what then comes again and again.
REPEATED = {
    "quotes in a text": ('{"a": "', '\\"'),
    "quotes": ("{", '"'),
    "quotes and commas": ("{", '"",'),
    "backslashes": ('{"a": "', "\\"),
    "pairs of backslashes": ('{"a": "', "\\\\"),
    "braces": ("", "{"),
    "braces in a value": ('{"a": ', "{"),
    "placeholders": ('{"a": ', "{{b}}"),
    "placeholders that do not end": ('{"a": ', "{{b"),
    "a placeholder that does not end": ('{"a": {{', "b"),
    "ends of placeholders": ('{"a": ', "}}"),
    "placeholders and quotes": ('{"a": ', '{{b}}"'),
    "placeholders in a placeholder with quotes": ('{"a": ', '{{"'),
    "brackets": ('{"a": ', "["),
    "brackets and objects": ("", '{"a":['),
    "blanks": ("{", " "),
    "line breaks": ('{"a": "', "\n"),
    "digits": ('{"a": ', "1"),
    "digits of a fraction": ('{"a": 0.', "1"),
    "signs": ('{"a": ', "-"),
    "escapes": ('{"a": "', "\\u0041"),
    "halves of an emoji": ('{"a": "', "\\ud83d"),
    "emoji": ('{"a": "', "😀"),
    "half an escape": ('{"a": "', "\\u"),
    "commas": ('{"a": [', ","),
    "byte order marks": ("", "\ufeff"),
    "empty lists": ('{"a": [', "[],"),
    "objects with a text": ("", '{"a": "b", "c": '),
    "texts": ("{", '"a": "b", '),
    "comments": ("{", "/* */"),
}
#: Texts, each the whole value of a field.
TEXTS = {
    "letters": "a",
    "quotes": '"',
    "braces": "{{",
    "placeholders": "{{b}}",
    "placeholders in placeholders": "{{{{b}}",
    "ends of placeholders": "}}",
    "single braces": "{}",
    "accents": "\u0301",
    "accents out of order": "\u0315\u0300\u0316",
    "accents by placeholders": "\u0315\u0300\u0316" * 9 + "{{b}}",
    "accents by invisible characters": "\u0315\u0300\u0316" * 9 + "\u034f",
    "double accents": "\u0344\u0316",
    "signs that are accents in pairs": "\u0f73\u0f71",
    "characters that become three": "\U0001d160",
    "letters that are long in small": "\u1fb7\u0345",
    "blanks": " \u00a0",
    "invisible characters": "\u200b",
    "controls": "\x01",
    "digits": "1",
    "zeros": "0",
    "a date that goes on": "2026-03-02 ",
    "flags": "🇲🇽",
    "families": "👩\u200d",
}
#: The fields of an object, each made from a number.
FIELDS: dict[str, Callable[[int], str]] = {
    "many": lambda number: f'"f{number}": 1',
    "one name, at the end": lambda number: '"x": 1' if number % 700 == 699 else f'"f{number}": 1',
    "almost known names": lambda number: f'"first_nam{number}": 1',
    "the same hash": lambda number: f'"{number * (2**61 - 1)}": 1',
    "objects": lambda number: f'"f{number}": {{"a": {{"b": [1]}}}}',
    "empty names with accents": lambda number: f'"{chr(0x300) * (number % 40)}{number}": ""',
    "placeholders": lambda number: f'"f{number}": {{{{b}}}}',
    "big numbers": lambda number: f'"f{number}": {"9" * 300}',
    "floats": lambda number: f'"f{number}": {"9" * 300}e-{number}',
}


class Counter:
    """How much was done."""

    def __init__(self) -> None:
        self.steps = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
            if "/bridge/contract/" not in frame.f_code.co_filename:
                return None
            self.steps += 1
            return trace

        def profile(_frame: FrameType, event: str, _argument: Any) -> None:
            self.steps += event == "c_call"

        before = sys.gettrace(), sys.getprofile()
        sys.settrace(trace)
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])

    def search(self, pattern: Any) -> Any:
        counter = self

        class Counted:
            def search(self, content: str, start: int = 0) -> Any:
                found = pattern.search(content, start)
                # It stops where it finds something, else at the end.
                counter.steps += (found.end() if found else len(content)) - start
                return found

        return Counted()

    def scan(self, content: str, start: int, strict: bool) -> Any:
        try:
            value, end = json.decoder.scanstring(content, start, strict)  # type: ignore[attr-defined]
        except json.JSONDecodeError:
            self.steps += len(content) - start
            raise
        self.steps += end - start
        return value, end

    def normalize(self, form: str, content: str) -> str:
        """Count the moves of a sort by insertion, as Unicode's algorithm has it, within each run of accents."""
        self.steps += len(content)
        run: list[int] = []
        for part in "".join(map(_decomposed, content)):
            kind = unicodedata.combining(part)
            if not kind:
                run.clear()
                continue
            place = len(run)
            while place and run[place - 1] > kind:
                place -= 1
                self.steps += 1
            run.insert(place, kind)
        return unicodedata.normalize(form, content)  # type: ignore[arg-type]

    def close_matches(self, word: str, words: list[str], n: int, cutoff: float) -> list[str]:
        self.steps += sum(len(word) * len(other) for other in words)
        return _close_matches(word, words, n, cutoff)


_close_matches = names.get_close_matches
_DECOMPOSED: dict[str, str] = {}


def _decomposed(character: str) -> str:
    if character not in _DECOMPOSED:
        _DECOMPOSED[character] = unicodedata.normalize("NFD", character)
    return _DECOMPOSED[character]


class _Unicodedata:
    """``unicodedata`` whose normal forms are counted."""

    def __init__(self, counter: Counter) -> None:
        self.normalize = counter.normalize

    def __getattr__(self, name: str) -> Any:
        return getattr(unicodedata, name)


Linear = Callable[[Callable[[Any], None], list[Any]], None]


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> Linear:
    """Does the work with each input, the longer one after the shorter, and checks how much more was done."""

    def counted(work: Callable[[Any], None], given: Any) -> int:
        counter = Counter()
        text._accents.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(strict_json, "_TEXT_OR_PLACEHOLDER", counter.search(strict_json._TEXT_OR_PLACEHOLDER))
            patched.setattr(strict_json, "scanstring", counter.scan)
            patched.setattr(broken_json, "scanstring", counter.scan)
            patched.setattr(text, "unicodedata", _Unicodedata(counter))
            patched.setattr(names, "get_close_matches", counter.close_matches)
            with counter.counting():
                work(given)
        return counter.steps

    def check(work: Callable[[Any], None], inputs: list[Any]) -> None:
        steps = [counted(work, given) for given in inputs]
        assert all(steps), "nothing was counted"
        few = [FEW * len(given) for given in inputs]
        grows = [more > GROWTH * less for less, more in pairwise(steps)]
        assert not any(grown and more > most for grown, more, most in zip(grows, steps[1:], few[1:], strict=True)), (
            steps
        )

    return check


def receive(body: bytes, headers: dict[str, str] | None = None) -> None:
    """Refusing costs linear time as well."""
    with suppress(WebhookError):
        webhook.read_event(
            EventType.OPPORTUNITY, body, RequestHeaders((headers or {}).get), received_at=NOW, source="odoo"
        )


def repeated(part: str, size: int, room: int = 0) -> str:
    """``part`` again and again, in at most ``size`` bytes of JSON."""
    return part * ((size - room) // (len(json.dumps(part, ensure_ascii=False).encode()) - 2))


@pytest.mark.parametrize("shape", REPEATED)
@pytest.mark.parametrize("ending", ["", '"}'])
def test_a_body_of_one_thing_again_and_again(shape: str, ending: str, linear: Linear) -> None:
    start, part = REPEATED[shape]
    linear(receive, [(start + part * (size // len(part.encode())) + ending).encode() for size in SIZES])


@pytest.mark.parametrize("shape", TEXTS)
@pytest.mark.parametrize("field", ["manychat_id", "first_name", "entry_date", "unknown", "state", "custom"])
def test_a_long_text(shape: str, field: str, linear: Linear) -> None:
    def body(size: int) -> bytes:
        long = repeated(TEXTS[shape], size // (1 + (field == "custom")), room=100)
        event: dict[str, Any] = {"manychat_id": "MC1", "state": {"stage_id": 17}}
        if field == "state":
            event["state"]["summary"] = long
        elif field == "custom":
            event |= {"custom_fields": {long: 1}, long: 1}
        else:
            event[field] = long
        return json.dumps(event, ensure_ascii=False).encode()

    linear(receive, [body(size) for size in SIZES])


@pytest.mark.parametrize("shape", FIELDS)
@pytest.mark.parametrize("twice", [False, True])
def test_many_fields(shape: str, twice: bool, linear: Linear) -> None:
    def body(size: int) -> bytes:
        fields, length = ['{"manychat_id": "MC1", "state": {"stage_id": 17}'], 60
        while length < size - 700:
            fields.append(FIELDS[shape](len(fields)))
            length += len(fields[-1].encode()) + 2
        if twice:  # the last one is there already
            fields.append(fields[-1])
        return (", ".join(fields) + "}").encode()

    linear(receive, [body(2 * size) for size in SIZES])


@pytest.mark.parametrize("part", ["a", ",", " ", ", ,", '"', "\xff", "{{", "1.0 "])
@pytest.mark.parametrize("name", ["X-API-KEY", "Idempotency-Key", "X-Dry-Run", "X-Request-Stamp"])
def test_a_long_header(name: str, part: str, linear: Linear) -> None:
    body = json.dumps({"manychat_id": "MC1", "state": {"stage_id": 17}}).encode()

    def read(value: str) -> None:
        headers = RequestHeaders({name: value}.get)
        assert {type(headers.api_key), type(headers.is_dry_run)} == {str, bool}
        receive(body, {name: value})

    linear(read, [repeated(part, size) for size in SIZES])


@pytest.mark.parametrize("part", ["%", "%25", "%2525", "mck", "%6d", "&a=", "%zz", quote("ñ")])
def test_a_long_address(part: str, linear: Linear) -> None:
    linear(webhook.check_address, [repeated(part, size).encode() for size in SIZES])


@pytest.mark.parametrize("part", ["A", "=", "-", "\n", "A=", "\ufeff", "{", "e30", " A"])
def test_a_long_message(part: str, linear: Linear) -> None:
    def read(content: str) -> None:
        with pytest.raises(ContractError):
            decode(content, queue=EventType.OPPORTUNITY.queue, inserted_at=NOW)

    linear(read, [part * (size // len(part)) for size in SIZES])
