"""The fields of the payloads: which values of real bots each takes, and what they mean."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timezone, tzinfo
from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from . import dates, text
from .sentences import sentence

#: Largest request body, in bytes. It still fits on a queue after normalising, enveloping and Base64.
MAX_BODY_BYTES = 32 * 1024
#: Odoo's and SQL's 32-bit integers.
MAX_INT = 2**31 - 1
#: Amounts of money from here on do not fit into SQL's columns.
MAX_AMOUNT = 10**16
#: Key of pydantic's validation context: the zone of dates without an offset. Without it, UTC.
ZONE = "zone"


class Mendable(ValueError):
    """A value that a field does not take, but something of it.

    :ivar rest: what the field takes of it
    :ivar warning: what to say if the field gets that
    """

    rest: Any
    warning: str


class TooLong(Mendable):
    """A text is too long.

    :ivar limit: the most characters it may have
    :ivar rest: what is left of it after a cut
    """

    def __init__(self, value: str, limit: int):
        super().__init__(sentence("must have at most %(limit)s characters", limit=limit))
        self.limit = limit
        self.rest = text.cut(value, limit)
        self.warning = sentence("cut to %(limit)s characters", limit=limit)


class NotKnown(Mendable):
    """A word, or some of several words, that this release does not know: another one wrote them.

    :ivar rest: those that it knows, or what stands for all others
    """

    def __init__(self, known: Iterable[Enum], rest: Any):
        message = sentence("must be one of: %(choices)s", choices=", ".join(str(each.value) for each in known))
        super().__init__(message)
        self.rest = rest
        self.warning = sentence("left out: %(why)s", why=message)


# What programs write for “no value”, exactly so. A person may be called Null.
_NO_VALUE = frozenset(("null", "undefined", "None", "NaN"))
# The same where no person's name can be meant, in any case.
_NOBODY = frozenset(
    (
        *("null", "undefined", "none", "nan", "nil", "n/a", "na", "#n/a", "(null)", "<null>", "[object object]"),
        *("false", "true", "infinity", "-infinity", "inf", "-inf"),
    )
)


# Zero, as programs may write it.
_ZERO = re.compile(r"[+-]?0[0.,]*e[+-]?\d+|0x0+")


def is_empty(value: Any, name: str = "") -> bool:
    """Whether a bot means nothing by ``value``.

    :param name: of the field; an id that is ``0`` is none
    """
    value = _empty_to_none(value)
    return value is None or (name.endswith("_id") and value in (0, "0") and not isinstance(value, bool))


def is_id(value: Any) -> bool:
    """Whether ``value`` is a number that identifies something."""
    try:
        return to_id(value) is not None
    except ValueError:
        return False


def is_nobody(value: Any) -> bool:
    """Whether ``value`` is no ManyChat id."""
    try:
        return to_person(value) is None
    except ValueError:
        return True


def means_nothing(value: Any) -> bool:
    """Whether ``value`` is empty or a word for no value, where it can be no person's name: in a date, say."""
    value = _empty_to_none(value)
    return value is None or (isinstance(value, str) and text.visible(value).casefold() in _NOBODY)


def _empty_to_none(value: Any) -> Any:
    """``None`` for the values by which a bot means nothing: ``""``, ``null``, invisible text, a placeholder."""
    if isinstance(value, str):
        value, _ = text.without_placeholders(text.clean(value).strip())
        return value if text.visible(value) else None
    return value


def _whole(value: Any) -> Any:
    """Like :func:`_empty_to_none`, for what is no text. A part that was not filled in makes it unreadable."""
    if isinstance(value, str):
        value, has_gaps = text.without_placeholders(text.visible(text.clean(value)))
        if has_gaps and value:
            raise ValueError(sentence("has a placeholder that ManyChat did not fill in"))
        return text.visible(value) or None
    return value


def _digits_if_number(value: Any) -> Any:
    """Text. A number becomes its digits, because ManyChat turns fields that look numeric into numbers."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(sentence("must be text"))
    if isinstance(value, float):
        if not math.isfinite(value):  # 1e400 is JSON; as text it would become a person named "inf"
            raise ValueError(sentence("must be text, or a smaller number"))
        if value.is_integer():
            value = int(value)
    return str(value)


def to_text(value: Any) -> Any:
    """A text for people, without placeholders; ``None`` if nothing is left.

    :raises ValueError: it is neither text nor a number
    """
    return _digits_if_number(_empty_to_none(value))


def to_name(value: Any) -> Any:
    """A text that is no summary: ``null`` as a whole is what a program wrote, not a person.

    :raises ValueError: it is such a word, or no text
    """
    value = to_text(value)
    if value is not None and text.visible(value) in _NO_VALUE:
        raise ValueError(sentence("is a word that programs write for no value"))
    return value


def to_email(value: Any) -> Any:
    """An e-mail address as text; ``None`` if it is empty.

    :raises ValueError: it is a word that programs write for no value, or no text
    """
    value = to_text(value)
    if value is not None and text.visible(value).casefold() in _NOBODY:
        raise ValueError(sentence("is a word that programs write for no value"))
    return value


def to_phone(value: Any) -> Any:
    """A telephone number as text; ``None`` if it is empty.

    :raises ValueError: it is a word that programs write for no value, or no text
    """
    found = to_email(value)
    if isinstance(value, str) and "{{" in value and not any(character.isdigit() for character in found or ""):
        return None  # “Tel. {{phone}}”
    return found and text.visible(found)  # address books write marks of direction around a number


def _names_nobody(value: str) -> bool:
    """Whether ``value`` is a word for no value, or several: “undefined-undefined” was to be made of two fields."""
    return value in _NOBODY or all(word in _NOBODY for word in re.split(r"[\s_:-]+", value))


def to_person(value: Any) -> Any:
    """A ManyChat id as text, or ``None`` for what means no id: as an id it would merge all people without one.

    :raises ValueError: ManyChat has filled in only a part of it, or it is no text
    """
    value = _digits_if_number(_whole(value))
    if value is None or _ZERO.fullmatch(value.casefold()) or _names_nobody(value.casefold()):
        return None
    # Nor are signs only, or zeros: “--”, “00”, “0.0”.
    return value if text.says_something("".join(letter for letter in value if unicodedata.digit(letter, 1))) else None


def to_id(value: Any) -> Any:
    """A positive whole number, also as text. ``0`` means none: the user's example sends it for “no adviser”.

    :raises ValueError: it is another value
    """
    value = _whole(value)
    if value is None:
        return None
    if isinstance(value, bool):
        raise ValueError(sentence("must be a whole number"))
    if isinstance(value, str):
        # int() would also accept "1_000" and the digits of other alphabets. "1.000" may be a thousand.
        if not re.fullmatch(r"\+?[0-9]{1,20}(\.0{0,2})?", value):
            raise ValueError(sentence("must be a whole number"))
        value = int(value.split(".")[0])
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(sentence("must be a whole number"))
        value = int(value)
    if not isinstance(value, int):
        raise ValueError(sentence("must be a whole number"))
    if not 0 <= value <= MAX_INT:
        raise ValueError(sentence("must be between 0 and %(most)s", most=MAX_INT))
    return value or None


def to_datetime(value: Any, zone: tzinfo = timezone.utc) -> Any:
    """A date and time in UTC, see :func:`.dates.read`.

    :param zone: of a date without an offset
    :raises ValueError: the date cannot be read, or can be read in two ways
    """
    value = _whole(value)
    return None if value is None else dates.read(value, zone)


def _to_datetime_of_zone(value: Any, info: ValidationInfo) -> Any:
    return to_datetime(value, (info.context or {}).get(ZONE, timezone.utc))


def to_amount(value: Any) -> Any:
    """An amount of money.

    :raises ValueError: it is no number, or does not fit into SQL's column of 18 digits, two of them after the point
    """
    value = _whole(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(sentence("must be a number"))
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        raise ValueError(sentence("must be a number")) from None
    if not abs(amount) < MAX_AMOUNT:  # nor is NaN
        raise ValueError(sentence("must be a smaller number"))
    return amount


def required(value: Any) -> Any:
    """``value``, which must not be missing.

    :raises ValueError: it is missing
    """
    if value is None:
        raise ValueError(sentence("must not be empty"))
    return value


def _at_most(limit: int) -> AfterValidator:
    def check(value: str | None) -> str | None:
        if value is not None and text.length(value) > limit:
            raise TooLong(value, limit)
        return value

    return AfterValidator(check)


ManyChatId = Annotated[str, BeforeValidator(required), BeforeValidator(to_person), _at_most(64)]
Name = Annotated[str | None, BeforeValidator(to_name), _at_most(256)]
Phone = Annotated[str | None, BeforeValidator(to_phone), _at_most(64)]
Email = Annotated[str | None, BeforeValidator(to_email), _at_most(320)]
Label = Annotated[str | None, BeforeValidator(to_name), _at_most(256)]
Summary = Annotated[str | None, BeforeValidator(to_text), _at_most(MAX_BODY_BYTES)]
Id = Annotated[int | None, BeforeValidator(to_id)]
Moment = Annotated[datetime | None, BeforeValidator(_to_datetime_of_zone)]
Amount = Annotated[float | None, BeforeValidator(to_amount)]


def normalize_label(label: str) -> str:
    """The form in which two labels are compared.

    NFC, without invisible characters, trimmed, inner spaces collapsed, case folded.
    """
    seen = " ".join(text.normalized(text.visible(label)).split())
    return text.normalized(seen.casefold())


def channel_key(name: str) -> str:
    """The form in which two channels are compared, in SQL and in Odoo: "Facebook" and " facebook" are the same one."""
    # Case folding can lengthen a text ("ß"), and SQL's column is as long as the longest name that the contract allows.
    # SQL Server counts an emoji as two characters, and ignores a space at the end.
    return normalize_label(name).encode("utf-16-le")[:512].decode("utf-16-le", "ignore").rstrip()


def format_datetime(moment: datetime) -> str:
    """``moment`` as ISO 8601 in UTC with microseconds and ``Z``, so that text sorts as time does.

    :raises ValueError: ``moment`` has no time zone
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    # strftime's %Y does not pad years on every platform.
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
