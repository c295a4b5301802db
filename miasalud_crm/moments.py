"""Moments as Odoo stores them, and as ISO 8601."""

from datetime import datetime, timezone


def naive_utc(moment):
    """``moment`` as Odoo stores it: UTC without a time zone (to the microsecond)."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def iso_utc(moment):
    """``moment``, as Odoo stores it, as ISO 8601 with its time zone; ``False`` if there is none."""
    return moment.replace(tzinfo=timezone.utc).isoformat() if moment else False


def from_iso(text):
    """The moment of ``text`` (ISO 8601 with a time zone, or UTC) as Odoo stores it.

    :raises ValueError: ``text`` is not one
    """
    moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return naive_utc(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
