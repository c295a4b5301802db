"""The pieces of an upsert without MERGE: find rows by key, create the missing ones, then update."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Column, Table, bindparam, func

K = TypeVar("K", str, int)

#: Keys in one IN list. SQL Server takes at most 2,100 parameters in a statement.
CHUNK = 500


def chunks(keys: Collection[K]) -> Iterator[list[K]]:
    """``keys`` once each, sorted, in lists that one statement has room for."""
    # Sorted, so that all transactions meet rows in the same order: fewer deadlocks.
    ordered = sorted(set(keys))
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def find(
    connection: sa.Connection, statement: sa.Select[Any], column: Column[Any], keys: Collection[Any]
) -> Iterator[Any]:
    """The rows of ``statement`` whose ``column`` is one of ``keys``."""
    for some in chunks(keys):
        yield from connection.execute(statement.where(column.in_(some)))


def ensure(connection: sa.Connection, key: Column[Any], rows: Mapping[Any, Mapping[str, Any]]) -> dict[Any, int]:
    """Create the rows that do not exist yet, leaving those that do as they are.

    :param rows: for each value of ``key``, the row to insert if it is missing
    :return: ``id`` of each row, by the value of ``key``
    """
    table = key.table
    assert isinstance(table, Table)
    statement = sa.select(key, table.c.id)
    ids = {row[0]: row[1] for row in find(connection, statement, key, rows)}
    missing = sorted(rows.keys() - ids.keys())
    if missing:
        connection.execute(table.insert(), [dict(rows[value]) for value in missing])
        ids.update((row[0], row[1]) for row in find(connection, statement, key, missing))
    return ids


def coalesce_new(column: Column[Any]) -> sa.ColumnElement[Any]:
    """The bound value if the event carries one, else what is there: an event never blanks what it does not mention."""
    return func.coalesce(bindparam(f"new_{column.name}", type_=column.type), column)


def coalesce_old(column: Column[Any]) -> sa.ColumnElement[Any]:
    """What is there, else the bound value."""
    return func.coalesce(column, bindparam(f"new_{column.name}", type_=column.type))
