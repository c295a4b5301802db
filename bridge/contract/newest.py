"""The one rule by which events fill a row, in SQL and in Odoo: a field has the value of the newest event that says it.

An event says a field if it carries a value for it. Each field has an order of its own, so the order of arrival does not
matter: an older event that arrives second fills what no newer event has said, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .event import Event
from .fields import format_datetime


def order_key(occurred_at: datetime, received_at: datetime, event_id: str) -> str:
    """Text that sorts as :attr:`.event.Event.order` does.

    :param occurred_at: with time zone, as ``received_at``
    """
    return f"{format_datetime(occurred_at)}|{format_datetime(received_at)}|{event_id}"


def order_of(event: Event) -> str:
    """Place of ``event`` among the events of its person."""
    return order_key(*event.order)


def unsaid_by_newer(values: Mapping[str, Any], order: str, said: Mapping[str, str]) -> dict[str, Any]:
    """Those of ``values`` that no newer event has said: the row takes them, with ``order``.

    :param values: what an event says, by field
    :param order: of that event
    :param said: order of the event whose value each field has; a field that no event has said is missing
    """
    return {name: value for name, value in values.items() if said.get(name, "") < order}
