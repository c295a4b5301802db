"""Keys for ``X-API-KEY``: their format, what is stored of them, and what they open.

Odoo's webhook and the bridge's API each keep keys of their own, in this one format.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any
from urllib.parse import unquote_to_bytes

#: Start of every key. It says what a leaked key is for, also to secret scanners.
TAG = "mck_"
#: Length of the part that lists show: enough to recognise a key, far too short to guess the rest from.
PREFIX_LENGTH = len(TAG) + 8
#: How often an address may be encoded: once by its sender, and once more by a program on the way.
DECODED = 3
#: Least number of characters of an existing key: a hash does not protect a word that can be guessed.
SHORTEST = 20

_IN_BYTES = re.compile(f"{TAG}[A-Za-z0-9_-]{{{PREFIX_LENGTH - len(TAG)}}}".encode())


class Scope(str, Enum):
    """What a key opens."""

    #: The webhooks: events about any person.
    webhook = "webhook"
    #: The question how far one person is.
    ask = "ask"
    # What follows are scopes of the bridge's API only.
    read = "read"
    write = "write"

    def allows(self, needed: Scope) -> bool:
        """``write`` opens everything, the others only what they name."""
        return self is needed or self is Scope.write


#: The scopes of the keys that bots have from Odoo.
OF_BOTS = (Scope.webhook, Scope.ask)


@dataclass(frozen=True)
class OdooKey:
    """A bot's key that is valid in Odoo, as a heartbeat's answer tells a bridge of it: the standby takes it too.

    :ivar name: which bot uses it
    :ivar prefix: see :func:`prefix`
    :ivar digest: see :func:`digest`
    :ivar expires_at: ISO 8601 in UTC; ``None``: never
    :ivar zone: name of the zone of dates without an offset; ``None`` for UTC
    :ivar scope: value of :class:`Scope`; ``None``: an older addon, whose keys are for the webhooks
    """

    name: str
    prefix: str
    digest: str
    expires_at: str | None
    zone: str | None
    scope: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> OdooKey:
        """The key in ``answer``. A newer addon may send more fields, and an older one no zone and no scope."""
        known: dict[str, Any] = {each.name: answer.get(each.name) for each in fields(cls)}
        return cls(**known)


def new_key() -> str:
    """A new key: the tag, then 256 random bits."""
    return TAG + secrets.token_urlsafe(32)


def existing_key(text: str) -> str:
    """The key in ``text`` as a person pastes it: one of another system, which its callers go on using.

    :raises ValueError: in words for that person: it is no key, or a word that can be guessed
    """
    key = text.strip()
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"This is not a key: give at least {SHORTEST} ASCII characters without spaces.")
    return key


def found_in(query: bytes) -> str:
    """The part that may be shown of a key in ``query``, as often encoded as its sender did; "" if none is found."""
    for _ in range(DECODED):
        if found := _IN_BYTES.search(query):
            return found.group().decode()
        query = unquote_to_bytes(query)
    return ""


def prefix(key: str) -> str:
    """The part of ``key`` that may be stored and shown."""
    return key[:PREFIX_LENGTH]


def digest(key: str) -> str:
    """What is stored to recognise ``key``: SHA-256 in hex.

    A plain hash is enough: a key is 256 random bits, so a slow hash would protect nothing more from guessing.
    """
    return hashlib.sha256(key.encode()).hexdigest()
