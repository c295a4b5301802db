"""Strict JSON: bytes become one JSON object, or a :class:`ContractError`."""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import ContractError
from .fields import clean

#: Deepest nesting of a body. The contract needs two levels; a bot's own extra fields get some room.
MAX_JSON_DEPTH = 16


def parse_json(body: bytes | str) -> dict[str, Any]:
    """Parse ``body`` as one JSON object in UTF-8, refusing what parsers disagree about.

    Two slips of bots that leave no doubt are forgiven: a placeholder that was not resolved and stands without quotation
    marks, which is an empty field, and a line break within a text.

    :raises ContractError: ``not_json``: not UTF-8, not JSON (``NaN`` is not), not an object, a name twice in one object
        (which of the two would count?), or nested deeper than :data:`MAX_JSON_DEPTH`
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        value = _loads(text)
    except UnicodeDecodeError as error:
        raise ContractError("not_json", "The body is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        raise ContractError(
            "not_json", f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from error
    except RecursionError as error:
        raise ContractError("not_json", "The body is nested too deeply.") from error
    except ContractError:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise ContractError("not_json", "The body holds a number that is too long.") from error
    if not isinstance(value, dict):
        raise ContractError("not_json", "The body must be a JSON object: {…}.")
    if _depth(value) > MAX_JSON_DEPTH:
        raise ContractError("not_json", "The body is nested too deeply.")
    return value


# A text, or what a bot left of a placeholder beside one: {{first_name|fallback:""|to_json:true}}.
_TEXT_OR_PLACEHOLDER = re.compile(r'"(?:\\.|[^"\\])*"|\{\{[^{}]*\}\}', re.DOTALL)


def _loads(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        mended = _TEXT_OR_PLACEHOLDER.sub(lambda found: found[0] if found[0].startswith('"') else "null", text)
        try:
            return json.loads(mended, strict=False, object_pairs_hook=_object, parse_constant=_refuse_constant)
        except json.JSONDecodeError:
            raise error from None  # which names the place in the text as it came


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ContractError("not_json", f"The field “{clean(twice)[:64]}” stands twice in the body.")
    return value


def _refuse_constant(name: str) -> Any:
    raise ContractError("not_json", f"The body is not JSON: {name} is not a JSON value.")


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
