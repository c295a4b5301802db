"""Texts as bots send them: what cannot be seen in them, what ManyChat has not filled in, and where to cut them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

# Control characters (C0 and C1) mean nothing in a name or a summary, and PostgreSQL refuses NUL. Tab and newline stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Characters that draw nothing: those that Unicode calls “default ignorable” (DerivedCoreProperties.txt, version 16),
# among them zero-width characters, marks of direction, fillers, variation selectors and tags; and blanks by another
# name: Braille without dots, interlinear marks, a null note head, a filler of Khitan.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_BRACES = re.compile(r"\{\{|\}\}")
# How far a cut moves back to keep a character whole. No real character is longer; a made-up one is cut.
_LONGEST_CHARACTER = 32
#: No real letter has more: https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format
_MOST_ACCENTS = 30


def clean(text: str) -> str:
    """``text`` in NFC, without control characters and lone surrogates (half an emoji, left by a cut)."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return normalized(_CONTROL.sub("", text))


def normalized(text: str, form: Literal["NFC", "NFKD"] = "NFC") -> str:
    """``text`` in a normal form of Unicode, in time that grows with its length only.

    The accents of one letter are sorted one by one, which takes the square of their number. So no letter has more than
    30, as Unicode advises (UAX #15, 13, Stream-Safe Text Format): an invisible joiner stands before the next one.
    """
    if len(text) > _MOST_ACCENTS and not text.isascii():
        text = _stream_safe(text)
    return unicodedata.normalize(form, text)


def _stream_safe(text: str) -> str:
    pieces, accents = [], 0
    for character in text:
        before, after, is_accent = _accents(character)
        if accents + before > _MOST_ACCENTS:
            pieces.append("\u034f")
            accents = 0
        accents = accents + before if is_accent else after
        pieces.append(character)
    return "".join(pieces)


@lru_cache(4096)
def _accents(character: str) -> tuple[int, int, bool]:
    """How many accents the decomposed character begins and ends with, and whether it is nothing else."""
    classes = [unicodedata.combining(part) for part in unicodedata.normalize("NFD", character)]
    before = next((index for index, kind in enumerate(classes) if not kind), len(classes))
    after = next((index for index, kind in enumerate(reversed(classes)) if not kind), len(classes))
    return before, after, before == len(classes)


def visible(text: str) -> str:
    """``text`` without the characters that draw nothing, and without blanks at its ends.

    For comparing and for ids only: in a name some of them join letters or emoji.
    """
    return _INVISIBLE.sub("", text).strip()


def without_placeholders(text: str) -> tuple[str, bool]:
    """``text`` without what ManyChat has not filled in, such as ``{{first_name}}``, and whether there was any of it.

    Nothing is left of a text in which only punctuation stood around it: ``+{{whatsapp_phone}}``. One pass, so that the
    time grows with the length only.
    """
    regions = _placeholders(text)
    if not regions:
        return text, False
    pieces, last, start = [], " ", 0
    for begin, end in [*regions, (len(text), len(text))]:
        piece = text[start:begin]
        if last.isspace():
            piece = piece.lstrip()
        elif last in "{}" and piece[:1] in ("{", "}"):
            piece = f" {piece}"  # what is left must not become a placeholder
        pieces.append(piece)
        last, start = piece[-1:] or last, end
    kept = normalized("".join(pieces).strip())
    return (kept if says_something(kept) else ""), True


def _placeholders(text: str) -> list[tuple[int, int]]:
    """Where each outermost ``{{…}}`` begins and ends."""
    regions: list[tuple[int, int]] = []
    opened: list[int] = []
    for braces in _BRACES.finditer(text):
        if braces[0] == "{{":
            opened.append(braces.start())
        elif opened:
            begin = opened.pop()
            while regions and regions[-1][0] > begin:
                regions.pop()
            regions.append((begin, braces.end()))
    return regions


def says_something(text: str) -> bool:
    """Whether ``text`` holds a letter, a digit or a picture, besides punctuation and signs such as ``+``."""
    return any(kind[0] in "LNM" or kind == "So" for kind in map(unicodedata.category, text))


def length(text: str) -> int:
    """The length of ``text`` as SQL Server counts that of a column: in UTF-16, where an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, limit: int) -> str:
    """The beginning of ``text``, at most ``limit`` long (see :func:`length`). It ends with a whole character.

    An accent stays with its letter, and the parts of an emoji stay together.
    """
    if length(text) <= limit:
        return text
    end = len(text.encode("utf-16-le", "surrogatepass")[: 2 * limit].decode("utf-16-le", "ignore"))
    earlier = end
    while earlier > max(0, end - _LONGEST_CHARACTER) and _belong_together(text, earlier):
        earlier -= 1
    if earlier > max(0, end - _LONGEST_CHARACTER):
        end = earlier
    return text[:end].rstrip()


def _belong_together(text: str, index: int) -> bool:
    """Whether a cut before ``text[index]`` would divide what a reader sees as one character."""
    one, other = text[index - 1], text[index]
    if _is_half_a_flag(other):
        before = index
        while before and _is_half_a_flag(text[before - 1]):
            before -= 1
        return (index - before) % 2 == 1
    return (
        unicodedata.category(other)[0] == "M"
        or other in "\u200c\u200d"
        or one == "\u200d"
        or "\U0001f3fb" <= other <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= other <= "\U000e007f"  # the letters of a region's flag
    )


def _is_half_a_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
