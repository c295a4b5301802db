"""Dates as bots send them: ISO 8601, Unix time, and dates in words as ManyChat and people write them.

A date is read only where it can mean one moment. 20/10/2025 can mean one day; 03/04/2025 is in March or in April.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from .sentences import sentence

#: How far ahead of its event's receipt a date may lie. Beyond that it is not believed: a wrong clock must not freeze an
#: opportunity or an adviser for ever.
MAX_CLOCK_SKEW = timedelta(hours=24)

UNREADABLE = sentence("must be a date and time such as 2025-07-11T17:14:31Z")
AMBIGUOUS = sentence("can be a day in two months: write the month in letters, or the year first")

#: A longer text is no date.
_LONGEST = 100
#: From 2001 to 2286 Unix time has 10 digits (seconds) or 13 (milliseconds). Other digits may be another notation.
_SECONDS = (10**9, 10**10)
_MILLISECONDS = (10**12, 10**13)


def zone_named(name: str) -> tzinfo:
    """The time zone with this name of the IANA database, such as ``America/Bogota``.

    :raises ValueError: there is none
    """
    if name.upper() == "UTC":
        return timezone.utc  # also on a machine without the database
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # no name at all, an unknown one, a folder of zones
        raise ValueError(f"There is no time zone “{name}”.") from None


def read(value: object, zone: tzinfo, first_year: int = 1970) -> datetime:
    """The moment that ``value`` means, in UTC. A date without a time means its midnight.

    :param value: a text or number, or a ``datetime``
    :param zone: of a date without an offset
    :param first_year: dates of events are not older than the product; a day of birth may be
    :raises ValueError: it is no date, it can mean two, or it lies before ``first_year``
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = _of_text(value.strip())
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        moment = _of_unix(value)
    else:
        raise ValueError(UNREADABLE)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        moment = moment.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(UNREADABLE) from None
    if moment.year < first_year:
        raise ValueError(sentence("must be after 1970") if first_year == 1970 else UNREADABLE)
    return moment


def _of_unix(number: float) -> datetime:
    if _SECONDS[0] <= number < _SECONDS[1]:
        return datetime.fromtimestamp(number, timezone.utc)
    if _MILLISECONDS[0] <= number < _MILLISECONDS[1]:
        return datetime.fromtimestamp(number / 1000, timezone.utc)
    raise ValueError(UNREADABLE)


# A date, an optional time with optional seconds and fraction, an optional offset.
_ISO = re.compile(
    r"^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2}))?(?:[.,](\d{1,9}))?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?$",
    re.IGNORECASE | re.ASCII,
)
# The same without separators, which needs its T: figures alone may be anything.
_ISO_BASIC = re.compile(
    r"^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})?(?:[.,](\d{1,9}))?\s*(Z|[+-]\d{2}(?::?\d{2})?)?$",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(r"^(?:\d{10}|\d{13})(?:\.\d{1,9})?$", re.ASCII)


def _of_text(text: str) -> datetime:
    if len(text) > _LONGEST:
        raise ValueError(UNREADABLE)
    if _NUMBER.match(text):
        return _of_unix(float(text))
    match = _ISO.match(text) or _ISO_BASIC.match(text)
    if match:
        year, month, day, *time, offset = match.groups()
        return _moment((int(year), int(month), int(day)), time, None, offset)
    return _of_words(text)


def _moment(date: tuple[int, int, int], time: list[str | None], half: str | None, offset: str | None) -> datetime:
    """The moment of these parts, without a time zone if there is no offset.

    :param time: hour, minute, second and fraction, as far as they are there
    :param half: ``a`` or ``p`` of a time with twelve hours
    """
    hour, minute, second = (int(part or 0) for part in time[:3])
    if half:
        # 17:41 pm is written too, and has one meaning.
        if hour > 12 and half == "a":
            raise ValueError(UNREADABLE)
        hour = hour % 12 + 12 * (half == "p") if hour <= 12 else hour
    year, month, day = date
    fraction = (time[3] or "").ljust(6, "0")[:6]
    clock = f"{hour:02}:{minute:02}:{second:02}.{fraction}{'' if offset is None else _iso_offset(offset)}"
    try:
        return datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{clock}")
    except ValueError:
        raise ValueError(UNREADABLE) from None


def _iso_offset(offset: str) -> str:
    """``offset`` as ``+HH:MM``: of ``Z``, ``UTC``, ``-5``, ``-05``, ``-0500`` or ``GMT-05:00``."""
    digits = re.sub(r"[^0-9+-]", "", offset)
    if not digits:
        return "+00:00"
    hours, minutes = (digits[1:-2], digits[-2:]) if len(digits) > 3 else (digits[1:], "00")
    return f"{digits[0]}{hours.zfill(2)}:{minutes}"


# Months in English, Spanish and Portuguese by their first letters, which differ between months in all three.
_MONTHS = {
    1: "jan january ene enero janeiro",
    2: "feb february febrero fev fevereiro",
    3: "mar march marzo marco",
    4: "apr april abr abril",
    5: "may mayo mai maio",
    6: "jun june junio junho",
    7: "jul july julio julho",
    8: "aug august ago agosto",
    9: "sep sept september septiembre set setiembre setembro",
    10: "oct october octubre out outubro",
    11: "nov november noviembre novembro",
    12: "dec december dic diciembre dez dezembro",
}
_MONTH_OF = {name: number for number, names in _MONTHS.items() for name in names.split()}
_WEEKDAYS = (
    "mon monday tue tues tuesday wed wednesday thu thur thurs thursday fri friday sat saturday sun sunday "
    "lun lunes mar martes mie miercoles jue jueves vie viernes sab sabado dom domingo "
    "seg segunda segunda-feira ter terca terca-feira qua quarta quarta-feira qui quinta quinta-feira sex sexta "
    "sexta-feira"
)


def _any_of(words: list[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_MONTH = rf"(?P<name>{_any_of(list(_MONTH_OF))})\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|o|a)?"
_YEAR = r"(?P<year>\d{4})(?!\d)"
_DATES = (
    rf"{_YEAR}(?P<by>[-/.])(?P<month>\d{{1,2}})(?P=by){_DAY}",
    rf"(?P<one>\d{{1,2}})(?P<by>[-/.])(?P<two>\d{{1,2}})(?P=by){_YEAR}",
    rf"{_DAY}\.?[ /-](?:de |of )?{_MONTH},?[ /-](?:del? )?{_YEAR}",
    rf"{_MONTH}[ /-]{_DAY},?[ /-](?:del? )?{_YEAR}",
)
_WEEKDAY = rf"(?:(?:{_any_of(_WEEKDAYS.split())})\b\.?,? )?"
_TIME = (
    r"(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?: ?(?P<half>[ap])\.? ?m\b\.?)?(?: ?(?:h|hs|hrs|horas)\b\.?)?"
    # A name such as EST is that of several zones, so it is not read.
    r"(?: ?\(?(?P<offset>z|(?:utc|gmt)? ?[+-]\d{1,2}(?::?\d{2})?|utc|gmt)\)?)?(?: \([^()]*\))?"
)
_WHOLE = tuple(
    re.compile(f"^{pattern}$", re.ASCII)
    for date in _DATES
    for pattern in (
        rf"{_WEEKDAY}{date}(?:(?:,? ?(?:a las? |at |as |a |- |\| )|, ?| |t){_TIME})?",
        rf"{_TIME}(?:,? (?:del? |on |- )?){_WEEKDAY}{date}",
    )
)


def _of_words(text: str) -> datetime:
    # NFKD and the filter remove accents; thin spaces, which browsers write before “PM”, become blanks.
    letters = unicodedata.normalize("NFKD", text).casefold()
    plain = " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).split())
    match = next((found for found in (each.match(plain) for each in _WHOLE) if found), None)
    if not match:
        raise ValueError(UNREADABLE)
    parts = match.groupdict()
    if parts["hour"] and not parts["minute"] and not parts["half"]:
        raise ValueError(UNREADABLE)  # a lone number is no time
    if parts.get("name"):
        day, month = int(parts["day"]), _MONTH_OF[parts["name"]]
    elif parts.get("one"):
        day, month = _day_and_month(int(parts["one"]), int(parts["two"]))
    else:
        day, month = int(parts["day"]), int(parts["month"])
    time = [parts[name] for name in ("hour", "minute", "second", "fraction")]
    return _moment((int(parts["year"]), month, day), time, parts["half"], parts["offset"])


def _day_and_month(one: int, two: int) -> tuple[int, int]:
    """The day and the month of a numeric date, in either order.

    :raises ValueError: both orders make a date, or none does
    """
    if not one or not two:
        raise ValueError(UNREADABLE)
    if one == two or two > 12 >= one:
        return two, one
    if one > 12:
        return one, two
    raise ValueError(AMBIGUOUS)
