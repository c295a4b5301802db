"""The fields of a body that the contract does not know: kept as they were sent, as far as they are clean and fit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .sentences import sentence
from .text import clean, cut, visible, without_placeholders

#: Room for the unknown fields of one event, as JSON in UTF-8.
MAX_EXTRA_BYTES = 8 * 1024
#: Deepest nesting that is kept. In its envelope an event must not be nested more deeply than a body may be.
MAX_EXTRA_DEPTH = 8
#: Longest name of a field, in characters.
MAX_NAME_CHARS = 128


def keep(unknown: Mapping[str, Any], room: int, warnings: list[dict[str, str]]) -> dict[str, Any]:
    """``unknown`` without empty fields and control characters.

    :param room: bytes, as JSON. Fields for which there is no room are left out, and so are parts of an object
    :param warnings: gets one warning for each field of which something was left out
    """
    kept: dict[str, Any] = {}
    for sent, value in unknown.items():
        rest = _Rest(room)
        found = rest.of(value, 1)
        name = cut(clean(sent), MAX_NAME_CHARS)
        if found is not None and (size := _size(name) + _size(found) + 2) <= room:
            kept[name] = found
            room -= size
        elif found is not None:
            rest.is_whole = False
        if not rest.is_whole:
            message = sentence(
                "left out, wholly or in part: unknown fields have room for %(size)s KiB", size=MAX_EXTRA_BYTES // 1024
            )
            warnings.append({"field": cut(name, 64), "message": message})
    return kept


class _Rest:
    """What is kept of one field.

    :ivar is_whole: nothing was left out for want of room
    """

    def __init__(self, room: int):
        self._room = room
        self.is_whole = True

    def of(self, value: Any, depth: int) -> Any:
        """What is kept of ``value``; ``None`` for nothing."""
        if self._room <= 0:
            self.is_whole = False
            return None
        if isinstance(value, str):
            text, _ = without_placeholders(clean(value).strip())
            return self._take(text if visible(text) else None)
        if isinstance(value, float) and not math.isfinite(value):
            return None  # no JSON
        if not isinstance(value, (dict, list)):
            return self._take(value)
        if depth == MAX_EXTRA_DEPTH:
            self.is_whole = False
            return None
        self._room -= 2
        if isinstance(value, list):
            items = [self.of(each, depth + 1) for each in value]
            return [each for each in items if each is not None] or None
        members = {}
        for sent, each in value.items():
            name = cut(clean(sent), MAX_NAME_CHARS)
            self._room -= _size(name) + 2
            if (found := self.of(each, depth + 1)) is not None:
                members[name] = found
            else:
                self._room += _size(name) + 2
        return members or None

    def _take(self, value: Any) -> Any:
        if value is None:
            return None
        size = _size(value) + 1
        if size > self._room:
            self.is_whole = False
            return None
        self._room -= size
        return value


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
