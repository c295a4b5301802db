"""Durations, times and other values as an operator types them."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

import typer
from pydantic import TypeAdapter, ValidationError

from ..contract.dates import zone_named
from .console import visible

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATETIME = TypeAdapter(datetime)
#: The longest pause between two reports: one day, in seconds.
LONGEST_PAUSE = 86_400
#: The largest number of rows that a database takes as a limit.
MOST_ROWS = 2**31 - 1


def duration(text: str) -> timedelta:
    """The duration of ``90d``, ``12h``, ``30m``, ``45s`` or ``2w``: more than nothing.

    :raises typer.BadParameter:
    """
    age = duration_or_none(text)
    if not age:
        raise typer.BadParameter("give more than 0, such as 90d, 12h, 30m or 45s")
    return age


def duration_or_none(text: str) -> timedelta:
    """The same, or ``0s``.

    :raises typer.BadParameter:
    """
    match = re.fullmatch(r"([0-9]{1,4})\s*([smhdw])", text.strip().lower())
    if not match:
        raise typer.BadParameter("give an age such as 90d, 12h, 30m or 45s, of at most four digits")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def pause(text: str) -> float:
    """Seconds between two reports: from half a second to a day.

    :raises typer.BadParameter:
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.5 <= seconds <= LONGEST_PAUSE:  # also without a number
        raise typer.BadParameter(f"give a number of seconds from 0.5 to {LONGEST_PAUSE}")
    return seconds


def time_zone(text: str) -> str:
    """The name of a time zone.

    :raises typer.BadParameter:
    """
    try:
        zone_named(text)
    except ValueError as error:
        raise typer.BadParameter(f"{visible(str(error))} Give a name such as America/Bogota.") from None
    return text


def timestamp(text: str) -> datetime:
    """A date, a date and time (UTC, unless it has a zone), or a duration, counted back from now.

    :raises typer.BadParameter:
    """
    if re.match(r"\d{4}-", text):
        try:
            parsed = _DATETIME.validate_python(text.strip())
            return parsed.astimezone(timezone.utc) if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)
        except (ValidationError, OverflowError):
            pass
    else:
        try:
            return datetime.now(timezone.utc) - duration(text)
        except typer.BadParameter:
            pass
    raise typer.BadParameter("give a time such as 2025-07-11 or 2025-07-11T17:14:31Z, or an age such as 2h")


def past(text: str) -> datetime:
    """The same, not in the future.

    :raises typer.BadParameter:
    """
    moment = timestamp(text)
    if moment > datetime.now(timezone.utc):
        raise typer.BadParameter("this time lies in the future")
    return moment
