"""What ManyChat really sends: cleaning of its values, and the types of the payloads' fields."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime, timezone, tzinfo
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from . import dates

#: Largest request body, in bytes. It still fits on a queue after normalising, enveloping and Base64.
MAX_BODY_BYTES = 32 * 1024
#: Odoo's and SQL's 32-bit integers.
MAX_INT = 2**31 - 1
#: Key of pydantic's validation context: the zone of dates without an offset. Without it, UTC.
ZONE = "zone"

# A field that the bot could not fill arrives as an unresolved placeholder: "{{first_name}}", "{{cuf_12345}}".
_PLACEHOLDER = re.compile(r"^\{\{[^{}]*\}\}$")
# Control characters mean nothing in a name or a summary, and PostgreSQL refuses NUL. Tab and newline stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def clean(text: str) -> str:
    """``text`` in NFC, without control characters and lone surrogates (half an emoji, left by a cut)."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize("NFC", _CONTROL.sub("", text))


def _empty_to_none(value: Any) -> Any:
    """``None`` for the values by which a bot means nothing: ``""``, blanks, ``null``, an unresolved placeholder."""
    if isinstance(value, str):
        value = clean(value).strip()
        if not value or _PLACEHOLDER.match(value):
            return None
    return value


def _to_text(value: Any) -> Any:
    """Text. A number becomes its digits, because ManyChat turns fields that look numeric into numbers."""
    value = _empty_to_none(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be text")
    if isinstance(value, float):
        if not math.isfinite(value):  # 1e400 is JSON; as text it would become a person named "inf"
            raise ValueError("must be text, or a smaller number")
        if value.is_integer():
            value = int(value)
    return str(value)


def _to_person(value: Any) -> Any:
    """A ManyChat id as text. ``0`` means no id: as an id, it would merge all people without one."""
    value = _to_text(value)
    return None if value == "0" else value


def _to_id(value: Any) -> Any:
    """A positive whole number, also as text. ``0`` means none: the user's example sends it for “no adviser”."""
    value = _empty_to_none(value)
    if value is None:
        return None
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    if isinstance(value, str):
        # int() would also accept "1_000" and the digits of other alphabets.
        if not re.fullmatch(r"\+?[0-9]{1,20}(\.0*)?", value):
            raise ValueError("must be a whole number")
        value = int(value.split(".")[0])
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("must be a whole number")
        value = int(value)
    if not isinstance(value, int):
        raise ValueError("must be a whole number")
    if not 0 <= value <= MAX_INT:
        raise ValueError(f"must be between 0 and {MAX_INT}")
    return value or None


def to_datetime(value: Any, zone: tzinfo = timezone.utc) -> Any:
    """A date and time in UTC, see :func:`.dates.read`.

    :param zone: of a date without an offset
    :raises ValueError: the date cannot be read, or can be read in two ways
    """
    value = _empty_to_none(value)
    return None if value is None else dates.read(value, zone)


def _to_datetime_of_zone(value: Any, info: ValidationInfo) -> Any:
    return to_datetime(value, (info.context or {}).get(ZONE, timezone.utc))


def _required(value: Any) -> Any:
    if value is None:
        raise ValueError("must not be empty")
    return value


def _at_most(limit: int) -> AfterValidator:
    def check(value: str | None) -> str | None:
        # Counted as SQL Server counts the length of a column: an emoji is two.
        if value is not None and len(value.encode("utf-16-le", "surrogatepass")) > 2 * limit:
            raise ValueError(f"must have at most {limit} characters")
        return value

    return AfterValidator(check)


ManyChatId = Annotated[str, BeforeValidator(_required), BeforeValidator(_to_person), _at_most(64)]
Name = Annotated[str | None, BeforeValidator(_to_text), _at_most(256)]
Phone = Annotated[str | None, BeforeValidator(_to_text), _at_most(64)]
Email = Annotated[str | None, BeforeValidator(_to_text), _at_most(320)]
Label = Annotated[str | None, BeforeValidator(_to_text), _at_most(256)]
Summary = Annotated[str | None, BeforeValidator(_to_text), _at_most(MAX_BODY_BYTES)]
Id = Annotated[int | None, BeforeValidator(_to_id)]
Moment = Annotated[datetime | None, BeforeValidator(_to_datetime_of_zone)]


def normalize_label(label: str) -> str:
    """The form in which two stage labels are compared: NFC, trimmed, inner spaces collapsed, case folded."""
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", label).split()).casefold())


def format_datetime(moment: datetime) -> str:
    """``moment`` as ISO 8601 in UTC with microseconds and ``Z``, so that text sorts as time does.

    :raises ValueError: ``moment`` has no time zone
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    # strftime's %Y does not pad years on every platform.
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
