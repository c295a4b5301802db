"""The rule of :mod:`bridge.contract.newest` in SQL: each field has the value of the newest event that says it.

The rows are locked, read, merged here, and written if they change. Nearly always one event has said all fields of a
row. So a row has the version of its newest event, and ``field_versions`` names only the fields that have another one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table, bindparam

from ..contract.event import Event
from ..contract.newest import order_key, order_of, unsaid_by_newer
from .batch_update import BatchUpdate
from .upsert import chunks, find, to_json

#: Order of a value that no event has said (an import wrote it): before all events, after :func:`weaker` ones.
NO_EVENT = "0"
_VERSION = ("event_at", "event_received_at", "event_id")


@dataclass(frozen=True)
class Said:
    """What an event says about a row.

    :ivar order: of :mod:`bridge.contract.newest`
    :ivar values: by column; ``None`` empties the column
    :ivar event: becomes the row's newest event if it is newer; ``None``: it cannot
    :ivar if_newest: values of the columns that describe the newest event, the same columns for all events of a table
    """

    row_id: int
    order: str
    values: Mapping[str, Any]
    event: Event | None = None
    if_newest: Mapping[str, Any] = field(default_factory=dict)


def said_by(event: Event, row_id: int, values: Mapping[str, Any], if_newest: Mapping[str, Any] | None = None) -> Said:
    """What ``event`` says about its own row, the fields that the contract does not know included.

    :param values: by column; ``None`` says nothing
    """
    return Said(row_id, order_of(event), carried({**values, "extra": to_json(event.extra)}), event, if_newest or {})


def carried(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` without empty ones: what an event does not carry, it does not say."""
    return {name: value for name, value in values.items() if value is not None}


def weaker(order: str) -> str:
    """An order before all orders of events: for what an event says about a row that has events of its own."""
    return f"-{order}"


def lock(connection: sa.Connection, table: Table, row_ids: Iterable[int]) -> None:
    """Lock these rows until the transaction ends."""
    if connection.dialect.name == "mssql":
        # Some T-SQL servers ignore lock hints. An UPDATE is a lock on each.
        for some in chunks(row_ids):
            connection.execute(table.update().where(table.c.id.in_(some)).values(created_at=table.c.created_at))
    elif connection.dialect.name == "postgresql":
        for _ in find(connection, _locking(sa.select(table.c.id), table), table.c.id, row_ids):
            pass
    # In SQLite the transaction has locked the whole file.


def _locked(connection: sa.Connection, table: Table, row_ids: Collection[int]) -> Iterator[Any]:
    """These rows, locked until the transaction ends."""
    statement = sa.select(table)
    if connection.dialect.name == "postgresql":
        statement = _locking(statement, table)
    else:
        lock(connection, table, row_ids)
    return find(connection, statement, table.c.id, row_ids)


def _locking(statement: sa.Select[Any], table: Table) -> sa.Select[Any]:
    # In one order everywhere: fewer deadlocks. Rows that refer to these may come meanwhile.
    return statement.order_by(table.c.id).with_for_update(key_share=True)


def merge(
    connection: sa.Connection,
    table: Table,
    fields: Sequence[str],
    said: Iterable[Said],
    now: datetime,
    default_order: Callable[[Any, str], str | None] = lambda _row, _name: None,
) -> None:
    """Give each row the newest of its values and of what is ``said``. Saying the same again changes nothing.

    :param fields: columns that follow the rule
    :param default_order: order of a value, by row and column, that has no version of its own; ``None``: the row's
    """
    by_row: dict[int, list[Said]] = defaultdict(list)
    for each in said:
        by_row[each.row_id].append(each)
    changed = []
    for row in _locked(connection, table, by_row):
        old, new = row._mapping, _merged(row, fields, by_row[row.id], default_order)
        if any(old[name] != value for name, value in new.items()):
            changed.append({"id": old["id"], **new})
    if changed:
        _write(table, tuple(changed[0])).execute(connection, sorted(changed, key=itemgetter("id")), now=now)


@cache
def _write(table: Table, names: tuple[str, ...]) -> BatchUpdate:
    """Writes these columns, which include ``id``."""

    def make(new: Any) -> sa.Update:
        values = {name: getattr(new, name) for name in names if name != "id"}
        now = bindparam("now", type_=table.c.updated_at.type)
        return table.update().where(table.c.id == new.id).values({**values, "updated_at": now})

    return BatchUpdate(make, **{name: table.c[name].type for name in names})


def _merged(
    row: Any, fields: Sequence[str], said: Sequence[Said], default_order: Callable[[Any, str], str | None]
) -> dict[str, Any]:
    """The columns of ``row`` as they must be, those that stay included."""
    values = {name: getattr(row, name) for name in fields}
    orders = orders_of(row, fields, default_order)
    newest = row_order(row)
    columns = {name: getattr(row, name) for each in said for name in (*_VERSION, *each.if_newest)}
    for each in said:
        taken = unsaid_by_newer(each.values, each.order, orders)
        values |= taken
        orders |= dict.fromkeys(taken, each.order)
        if each.event is not None and each.order > newest:
            newest = each.order
            columns |= {
                **each.if_newest,
                "event_at": each.event.occurred_at,
                "event_received_at": each.event.received_at,
                "event_id": each.event.id,
            }
    return {**values, **columns, "field_versions": dump(orders, values, newest)}


def row_order(row: Any) -> str:
    """Order of the row's newest event; empty if it has none."""
    return order_key(row.event_at, row.event_received_at, row.event_id) if row.event_at else ""


def orders_of(
    row: Any, fields: Sequence[str], default_order: Callable[[Any, str], str | None] = lambda _row, _name: None
) -> dict[str, str]:
    """Order of the event whose value each field has. A field that no event has said is missing."""
    own = {name: order for order, names in json.loads(row.field_versions or "{}").items() for name in names}
    rest = {
        name: default_order(row, name) or row_order(row) or NO_EVENT
        for name in fields
        if name not in own and getattr(row, name) is not None
    }
    return own | rest


def dump(orders: Mapping[str, str], values: Mapping[str, Any], newest: str) -> str | None:
    """``field_versions``: the fields whose value is not of the ``newest`` event, by order."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, order in sorted(orders.items()):
        if values[name] is None or order != (newest or NO_EVENT):
            names[order].append(name)
    return json.dumps(names, separators=(",", ":")) if names else None
