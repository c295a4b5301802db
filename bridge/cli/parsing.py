"""Durations and times as an operator types them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import typer
from pydantic import TypeAdapter, ValidationError

from ..contract.dates import zone_named

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATETIME = TypeAdapter(datetime)


def duration(text: str) -> timedelta:
    """The duration of ``90d``, ``12h``, ``30m``, ``45s`` or ``2w``.

    :raises typer.BadParameter:
    """
    match = re.fullmatch(r"([0-9]{1,4})\s*([smhdw])", text.strip().lower())
    if not match:
        raise typer.BadParameter("give an age such as 90d, 12h, 30m or 45s")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def time_zone(text: str) -> str:
    """The name of a time zone.

    :raises typer.BadParameter:
    """
    try:
        zone_named(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error} Give a name such as America/Bogota.") from None
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
