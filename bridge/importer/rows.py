"""Conversion of the user's values to ours."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .fields import Field

_MOMENT = TypeAdapter(datetime)
#: The largest number in our columns.
_INTEGER_MAX = 2**31 - 1
#: Budgets are NUMERIC(14, 2).
_NUMBER_MAX = Decimal(10) ** 12


class Misfit(Exception):
    """Our column cannot hold the value.

    :ivar reason: in words, without the value
    :ivar instead: a value that fits: the text cut to its length, or ``None``
    """

    def __init__(self, reason: str, instead: Any = None):
        super().__init__(reason)
        self.reason = reason
        self.instead = instead


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
    text = str(int(value)) if isinstance(value, (Decimal, float)) and is_whole(value) else str(value)
    if field.length is not None and len(units := text.encode("utf-16-le", "replace")) > field.length * 2:
        shortened = units[: field.length * 2].decode("utf-16-le", "ignore").rstrip()
        raise Misfit(f"{field.name} is longer than {field.length}", shortened)
    return text


def _integer(field: Field, value: Any, _zone: tzinfo) -> int:
    try:
        number = Decimal(int(value) if isinstance(value, bool) else str(value))
        if number == int(number) and 0 < number <= _INTEGER_MAX:
            return int(number)
    except (InvalidOperation, OverflowError, ValueError):
        pass
    raise Misfit(f"{field.name} is not a whole number from 1 to {_INTEGER_MAX}")


def _number(field: Field, value: Any, _zone: tzinfo) -> Decimal:
    try:
        number = Decimal(str(value))
        if number.is_finite() and abs(number) < _NUMBER_MAX:
            return round(number, 2)
    except InvalidOperation:
        pass
    raise Misfit(f"{field.name} is not an amount")


def _moment(field: Field, value: Any, zone: tzinfo) -> datetime:
    moment = value
    if isinstance(value, str):
        try:
            moment = None if value.replace(".", "").isdigit() else _MOMENT.validate_python(value)
        except ValidationError:
            moment = None
    elif isinstance(value, date) and not isinstance(value, datetime):
        moment = datetime.combine(value, time(), zone)
    if not isinstance(moment, datetime):
        raise Misfit(f"{field.name} is not a date such as 2025-07-11 or 2025-07-11 17:14:31")
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(timezone.utc)
    except OverflowError:
        raise Misfit(f"{field.name} is not a date in the calendar") from None


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
