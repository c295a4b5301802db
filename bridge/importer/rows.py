"""Conversion of the user's values to ours, by the rules by which the contract reads a bot's values.

An old system stored what bots sent: unresolved placeholders, words for no value, ``0`` for no adviser.
"""

from __future__ import annotations

import math
import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from ..contract import fields as contract
from ..contract.text import cut, length
from .fields import Field

#: How the contract reads our texts. It reads all others as names.
_READINGS: dict[str, Callable[[Any], Any]] = {
    "manychat_id": contract.to_person,
    "phone": contract.to_phone,
    "email": contract.to_email,
    "description": contract.to_text,
    "summary": contract.to_text,
}
#: Words by which people name the roles of advisers, without accents.
_ROLES = {
    "commercial": "commercial comercial comerciales venta ventas vendedor vendedora vendedores sales seller "
    "salesperson salesman closer ejecutivo ejecutiva setter",
    "medical": "medical medico medica medicos medicas medicina doctor doctora doctores dr dra physician clinico "
    "clinica enfermero enfermera nurse",
}
#: Budgets are NUMERIC(14, 2).
_NUMBER_MAX = Decimal(10) ** 12


class Misfit(Exception):
    """Our column cannot hold the value.

    :ivar reason: in words, without the value
    :ivar instead: a value that fits: the text cut to its length, or ``None``
    :ivar asks: whether the operator decides about it. What a bot left empty stays empty without a question
    """

    def __init__(self, reason: str, instead: Any = None, *, asks: bool = True):
        super().__init__(reason)
        self.reason = reason
        self.instead = instead
        self.asks = asks


def convert(field: Field, value: Any, zone: tzinfo) -> Any | None:
    """``value`` as a value of ``field``; ``None`` if it is empty.

    :param zone: of times without a time zone
    :raises Misfit: ``field`` cannot hold it
    """
    if isinstance(value, str):
        # PostgreSQL stores no NUL, and no user means one.
        value = value.replace("\0", "").strip()
    if value is None or value == "":
        return None
    if field.kind in ("integer", "number", "moment") and contract.means_nothing(value):
        raise Misfit(f"{field.name} is a placeholder or a word for no value", asks=False)
    return _CONVERSIONS[field.kind](field, value, zone)


def reference(value: Any) -> Any | None:
    """A key of the user's in a form for comparing: 12, ``Decimal(12)`` and ``"12 "`` are the same key."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str):
        value = value.strip()
        return int(value) if value.isascii() and value.isdigit() and str(int(value)) == value else value.casefold()
    if isinstance(value, (Decimal, float)) and is_whole(value):
        return int(value)
    return value


def is_whole(value: Decimal | float) -> bool:
    """Whether ``value`` is a whole number. Neither "infinity" nor "not a number" is one."""
    return math.isfinite(value) and value == int(value)


def _text(field: Field, value: Any, _zone: tzinfo) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise Misfit(f"{field.name} is not a text")
    if isinstance(value, bool):
        value = int(value)  # 1 or 0, as SQL Server itself shows a BIT
    # Spreadsheets turn an id or a telephone number into a number: 5215512345678.0.
    sent = str(int(value)) if isinstance(value, (Decimal, float)) and is_whole(value) else str(value)
    try:
        text = _READINGS.get(field.name, contract.to_name)(sent)
    except ValueError:
        text = None
    if text is None:
        raise Misfit(f"{field.name} is a placeholder or a word for no value", asks=False)
    if field.length is not None and length(text) > field.length:
        raise Misfit(f"{field.name} is longer than {field.length}", cut(text, field.length))
    if "{{" in sent and "{{" not in text:
        raise Misfit(f"{field.name} has a placeholder, which is left out", text, asks=False)
    return str(text)


def role(value: str, named: Mapping[str, str]) -> str:
    """The role of an adviser: ``commercial`` or ``medical``.

    :param named: the roles that the operator named, by the old system's words
    :raises Misfit: ``value`` is another word
    """
    plain = contract.normalize_label(value)
    own = {contract.normalize_label(word): known for word, known in named.items()}
    if plain in own:
        return own[plain]
    letters = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    words = set(re.findall(r"[a-z]+", letters))
    found = [known for known, names in _ROLES.items() if words & set(names.split())]
    if len(found) != 1:
        raise Misfit('role is neither commercial nor medical; name its word: roles = { "WORD" = "commercial" }')
    return found[0]


def _integer(field: Field, value: Any, _zone: tzinfo) -> int | None:
    if isinstance(value, bool):
        value = int(value) or None  # a BIT of 0 is no id, and no “none” either
    elif isinstance(value, (Decimal, float)):
        value = int(value) if is_whole(value) else None
    try:
        if value is not None:
            number: int | None = contract.to_id(value)
            return number
    except ValueError:
        pass
    raise Misfit(f"{field.name} is not a whole number from 1 to {contract.MAX_INT}")


def _number(field: Field, value: Any, _zone: tzinfo) -> Decimal:
    try:
        number = Decimal(str(value))
        if number.is_finite() and abs(number) < _NUMBER_MAX:
            return round(number, 2)
    except InvalidOperation:
        pass
    raise Misfit(f"{field.name} is not an amount")


def _moment(field: Field, value: Any, zone: tzinfo) -> datetime:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    try:
        moment: datetime = contract.to_datetime(value if isinstance(value, (str, datetime)) else str(value), zone)
    except ValueError as error:
        raise Misfit(f"{field.name} {error}") from None
    return moment


def _reference(_field: Field, value: Any, _zone: tzinfo) -> Any:
    return reference(value)


_CONVERSIONS: dict[str, Callable[[Field, Any, tzinfo], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "moment": _moment,
    "contact": _reference,
    "channel": _reference,
}
