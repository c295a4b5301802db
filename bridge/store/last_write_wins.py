"""Last write wins, in SQL: an older event never overwrites newer data, in whatever order events arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table, and_, bindparam, or_

from ..contract.event import Event
from .upsert import find


def is_newer(table: Table) -> sa.ColumnElement[bool]:
    """Condition: the event of :func:`version_params` is newer than the row's newest event.

    The order is :attr:`bridge.contract.event.Event.order`: by when it happened, then by receipt, then by id.
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
    """Values of the parameters in :func:`is_newer` and :func:`set_version`."""
    return {
        "new_event_at": event.occurred_at,
        "new_event_received_at": event.received_at,
        "new_event_id": event.id,
    }


def superseded(connection: sa.Connection, table: Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of ``rows`` whose event is older than the newest event of the row with ``row_id``.

    They are usually few: one query for them is less work than a second UPDATE for each row.

    :param rows: parameters from :func:`version_params`, with ``row_id``
    """
    statement = sa.select(table.c.id, table.c.event_id)
    newest = {row.id: row.event_id for row in find(connection, statement, table.c.id, [row["row_id"] for row in rows])}
    return [row for row in rows if newest[row["row_id"]] != row["new_event_id"]]


def set_version(table: Table) -> dict[str, Any]:
    """``SET`` clauses that make the event of :func:`version_params` the row's newest."""
    return {
        name: bindparam(f"new_{name}", type_=table.c[name].type)
        for name in ("event_at", "event_received_at", "event_id")
    }
