"""Which of two events is newer, in SQL: older events never overwrite newer data, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table, and_, bindparam, or_

from ..contract.event import Event
from .upsert import find


def is_newer(table: Table) -> sa.ColumnElement[bool]:
    """Whether the event bound by :func:`version_params` is newer than the one whose data the row holds.

    The order is that of :attr:`bridge.contract.event.Event.order`: by when it happened, then by receipt, then by id.
    """
    at, received_at, event_id = table.c.event_at, table.c.event_received_at, table.c.event_id
    new_at = bindparam("new_event_at", type_=at.type)
    new_received_at = bindparam("new_event_received_at", type_=received_at.type)
    new_id = bindparam("new_event_id", type_=event_id.type)
    return or_(
        at.is_(None),
        at < new_at,
        and_(at == new_at, or_(received_at < new_received_at, and_(received_at == new_received_at, event_id < new_id))),
    )


def version_params(event: Event) -> dict[str, Any]:
    """Values for the parameters of :func:`is_newer` and :func:`set_version`."""
    return {
        "new_event_at": event.occurred_at,
        "new_event_received_at": event.received_at,
        "new_event_id": event.id,
    }


def superseded(connection: sa.Connection, table: Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of ``rows`` whose event is not the newest of the row that they were to update.

    They are few as a rule: asking for them once is less work than a second UPDATE for each.

    :param rows: as :func:`version_params` gives them, with ``row_id``
    """
    statement = sa.select(table.c.id, table.c.event_id)
    newest = {row.id: row.event_id for row in find(connection, statement, table.c.id, [row["row_id"] for row in rows])}
    return [row for row in rows if newest[row["row_id"]] != row["new_event_id"]]


def set_version(table: Table) -> dict[str, Any]:
    """``SET`` clauses that note the bound event as the row's newest."""
    return {
        name: bindparam(f"new_{name}", type_=table.c[name].type)
        for name in ("event_at", "event_received_at", "event_id")
    }
