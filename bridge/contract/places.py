"""Where in a body a fault stands: to show a bot builder the place, in the text as it was sent.

Positions are those of Python's strings. They serve people only: what is accepted, :mod:`.strict_json` decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from .broken_json import fault_in
from .errors import ContractError
from .strict_json import parse_json

#: Beginning and end of a part of a text.
Span = tuple[int, int]

# A text in quotation marks, also one without an end; a placeholder without quotation marks; a mark; any other value.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|\{\{[^{}]*\}\}|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_CONSTANTS = {"NaN", "Infinity", "-Infinity"}


def fields_of(text: str) -> dict[str, Span]:
    """The fields of a JSON text by their paths, as ``state.stage_id``: from the name to the end of the value.

    Of a name that is there twice, the first. In what is no JSON: those that can be recognised.
    """
    found: dict[str, Span] = {}
    for path, span in _fields(text):
        found.setdefault(path, span)
    return found


def faults(text: str, fields: Iterable[str]) -> list[Span]:
    """The places of faulty ``fields``, in order; of one that is missing, its object's name.

    :param fields: paths, as the errors and warnings of the contract name them
    """
    known, found = fields_of(text), set()
    for path in fields:
        names = path.split(".")
        around = (".".join(names[:size]) for size in range(len(names), 0, -1))
        found.update([known[each] for each in around if each in known][:1])
    return sorted(found)


def broken_at(text: str) -> Span | None:
    """The place at which ``text`` stops being the one JSON object that it should be; ``None`` if there is none."""
    try:
        parse_json(text.removeprefix("\ufeff").encode("utf-8", "replace"))
    except ContractError:
        if fault := fault_in(text.removeprefix("\ufeff")):
            start = min(fault.position + text.startswith("\ufeff"), max(len(text) - 1, 0))
            token = _TOKEN.match(text, start)
            # Up to the end of the line: a text that is not closed would mark all that follows.
            end = min(token.end() if token else start + 1, start + len(text[start:].partition("\n")[0]) or start + 1)
            return (start, max(end, start + 1)) if text else None
        return _refused_at(text)
    return (at, at + 1) if (at := text.find("\ufffd")) >= 0 else None


def _refused_at(text: str) -> Span | None:
    """The place of what is JSON for some parsers only: a name that is there twice, or ``NaN``."""
    seen: set[str] = set()
    for path, span in _fields(text):
        if path in seen:
            return span
        seen.add(path)
    for token in _TOKEN.finditer(text):
        if token[0] in _CONSTANTS:
            return token.span()
    return None


def _fields(text: str) -> Iterator[tuple[str, Span]]:
    """The fields in the order in which they end: path, and span."""
    # Of each open object or list: the path of its names, and the beginning of the field that is being read.
    open_: list[tuple[str, int | None]] = []
    path, start, name = "", None, None
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ("{", "["):
            open_.append((path, start))
            start, name = None, None
        elif word in ("}", "]"):
            if not open_:
                return
            path, start = open_.pop()
            if start is not None:
                yield path, (start, token.end())
                start = None
        elif word == ":":
            if name is not None and open_:
                path = f"{open_[-1][0]}.{name[0]}".removeprefix(".")
                start, name = name[1], None
        elif word == ",":
            name, start = None, None
        elif start is not None:
            yield path, (start, token.end())
            start = None
        elif word.startswith('"'):
            name = (_plain(word), token.start())


def _plain(word: str) -> str:
    try:
        return str(json.loads(word, strict=False))
    except ValueError:
        return word.strip('"')
