"""Strict JSON: bytes become one JSON object, or a :class:`ContractError`."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from .broken_json import fault_in
from .errors import ContractError
from .outcomes import ErrorCode
from .sentences import sentence
from .text import clean

#: Deepest nesting of a body. The contract needs two levels, and a field that it does not know refuses no event. Python
#: reads this depth wherever it is called from: its own limit depends on the calls around it, so on the server.
MAX_JSON_DEPTH = 100
#: Most digits of a whole number that is read as one. Python converts 4,300 at most, in quadratic time.
MAX_DIGITS = 400


def parse_json(body: bytes | str) -> dict[str, Any]:
    """Parse ``body`` as one JSON object in UTF-8. Refuse what JSON parsers disagree about.

    Two mistakes of bots are accepted, because their meaning is clear: an unresolved placeholder without quotation marks
    is an empty field, and a text may contain a line break.

    :raises ContractError: ``not_json``: not UTF-8, not JSON (``NaN`` is not JSON), not an object, a duplicate key, or
        nested deeper than :data:`MAX_JSON_DEPTH`. ``errors`` names the field that broke the JSON, if there is one
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        value = _loads(text)
    except UnicodeDecodeError as error:
        raise ContractError(ErrorCode.NOT_JSON, sentence("The body is not UTF-8 text.")) from error
    except json.JSONDecodeError as error:
        raise _not_json(text, error) from error
    except RecursionError as error:
        raise _too_deep() from error
    if not isinstance(value, dict):
        raise ContractError(ErrorCode.NOT_JSON, sentence("The body must be a JSON object: {…}."))
    if _depth(value) > MAX_JSON_DEPTH:
        raise _too_deep()
    return value


def _not_json(text: str, error: json.JSONDecodeError) -> ContractError:
    if fault := fault_in(text):
        before, what = text[: fault.position], fault.message
        line, column = before.count("\n") + 1, fault.position - before.rfind("\n")
    else:
        line, column, what = error.lineno, error.colno, error.msg
    message = sentence(
        "The body is not JSON (line %(line)s, column %(column)s): %(what)s.", line=line, column=column, what=what
    )
    errors = [{"field": fault.field, "message": what}] if fault and fault.field else []
    return ContractError(ErrorCode.NOT_JSON, message, errors)


def _too_deep() -> ContractError:
    return ContractError(ErrorCode.NOT_JSON, sentence("The body is nested too deeply."))


# The beginning of a JSON text, or an unresolved placeholder without quotation marks:
# {{first_name|fallback:""|to_json:true}}.
_TEXT_OR_PLACEHOLDER = re.compile(r'"|\{\{[^{}]*\}\}')


def _loads(text: str) -> Any:
    try:
        return json.loads(text, **_HOOKS)
    except json.JSONDecodeError as error:
        try:
            return json.loads(_without_placeholders(text), strict=False, **_HOOKS)
        except json.JSONDecodeError:
            raise error from None  # the first error: its line and column are those of the original text


def _without_placeholders(text: str) -> str:
    """``text`` with ``null`` in place of each placeholder outside of texts.

    JSON's own scanner finds the end of a text, and a text without an end is the last one: whatever ``text`` holds, each
    character is read twice at most.

    :raises json.JSONDecodeError: a text has no end
    """
    pieces, start = [], 0
    while found := _TEXT_OR_PLACEHOLDER.search(text, start):
        if found[0] == '"':
            _, end = scanstring(text, found.end(), False)
            pieces.append(text[start:end])
        else:
            end = found.end()
            pieces += (text[start : found.start()], "null")
        start = end
    return "".join([*pieces, text[start:]])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        message = sentence("Duplicate key “%(field)s” in the body.", field=clean(twice)[:64])
        raise ContractError(ErrorCode.NOT_JSON, message)
    return value


def _refuse_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is no JSON value", "", 0)


def _integer(digits: str) -> int | float:
    """The number; infinite like ``1e400`` if it is longer than any that a field takes, so that its field refuses it."""
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _object,
    "parse_constant": _refuse_constant,
    "parse_int": _integer,
}


def _depth(value: Any) -> int:
    """Nesting of ``value``, counted without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return deepest
