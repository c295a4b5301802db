"""What a bot says to a person in a stage: a text with placeholders, which a sales manager writes in Odoo.

Each paragraph is a message of its own. A message that has no value for one of its placeholders is left out: “Your
adviser is .” helps no customer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from .text import visible

#: ManyChat's limit for one answer: https://manychat.github.io/dynamic_block_docs/channels/
MOST_MESSAGES = 10
#: Bytes of UTF-8 in a message: Instagram's limit, the lowest of the channels. Source:
#: https://developers.facebook.com/docs/messenger-platform/instagram/features/send-message
LONGEST_MESSAGE = 1000
#: The same of a placeholder's value. A longer one is cut, so that a text that fits once fits always.
LONGEST_VALUE = 100

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
#: One that is known or not, then a brace that belongs to none.
_BRACES = re.compile(r"\{\{[^{}]*\}\}|\{([^{}]*)\}|[{}]")
_BETWEEN_PARAGRAPHS = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")


class Placeholder(str, Enum):
    """The value is how it stands in a text, within braces."""

    #: ManyChat's label of the stage.
    STAGE = "stage"
    SALESPERSON = "salesperson"
    MEDICAL_ADVISOR = "medical_advisor"
    #: Day of the last decision of a person in Odoo.
    DECIDED_ON = "decided_on"

    __str__ = str.__str__


class Fault(Enum):
    """What is wrong with a text."""

    UNKNOWN_PLACEHOLDER = "unknown_placeholder"
    #: Two braces: a field of ManyChat's.
    OF_MANYCHAT = "of_manychat"
    LONE_BRACE = "lone_brace"
    TOO_MANY = "too_many"
    TOO_LONG = "too_long"


class Finding(NamedTuple):
    """A fault, and where it is.

    :ivar shown: the braces as they stand in the text; of a message that is too long, its beginning; of too many
        messages, their number
    """

    fault: Fault
    shown: str


def check(text: str) -> Finding | None:
    """The first fault of a text; ``None`` if there is none."""
    known = {each.value for each in Placeholder}
    for found in _BRACES.finditer(text):
        if found[0].startswith("{{"):
            return Finding(Fault.OF_MANYCHAT, found[0])
        if found[1] is None:
            return Finding(Fault.LONE_BRACE, found[0])
        if found[1] not in known:
            return Finding(Fault.UNKNOWN_PLACEHOLDER, found[0])
    messages = _paragraphs(text)
    if len(messages) > MOST_MESSAGES:
        return Finding(Fault.TOO_MANY, str(len(messages)))
    for message in messages:
        if len(_PLACEHOLDER.sub("x" * LONGEST_VALUE, message).encode()) > LONGEST_MESSAGE:
            return Finding(Fault.TOO_LONG, message[:40])
    return None


def messages(text: str, values: Mapping[str, str | None]) -> list[str]:
    """The messages of a text, filled in.

    :param values: by :class:`Placeholder`
    """
    filled = []
    for message in _paragraphs(text):
        if all(values.get(name) for name in _PLACEHOLDER.findall(message)):
            said = _PLACEHOLDER.sub(lambda found: _cut(values[found[1]] or "", LONGEST_VALUE), message)
            filled.append(_cut(said, LONGEST_MESSAGE))
    return filled[:MOST_MESSAGES]


def _cut(text: str, most: int) -> str:
    """``text`` without the characters that do not fit into ``most`` bytes."""
    return text.encode()[:most].decode(errors="ignore")


def _paragraphs(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    # ManyChat refuses a message without anything to see.
    return [said for each in _BETWEEN_PARAGRAPHS.split(lines) if visible(said := each.strip())]
