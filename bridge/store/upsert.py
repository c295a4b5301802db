"""The parts of an upsert without MERGE: find rows by key, insert missing rows, then update."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Column, Table, bindparam, func

K = TypeVar("K", str, int)

#: Keys in one IN list. SQL Server takes at most 2,100 parameters in a statement.
CHUNK = 500


def chunks(keys: Iterable[K]) -> Iterator[list[K]]:
    """``keys`` without duplicates, sorted, in lists that fit into one statement."""
    # Sorted, so that all transactions lock rows in the same order: fewer deadlocks.
    ordered = sorted(set(keys))
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def find(
    connection: sa.Connection, statement: sa.Select[Any], column: Column[Any], keys: Iterable[Any]
) -> Iterator[Any]:
    """The rows of ``statement`` whose ``column`` is one of ``keys``."""
    for some in chunks(keys):
        yield from connection.execute(statement.where(column.in_(some)))


def ensure(connection: sa.Connection, key: Column[Any], rows: Mapping[Any, Mapping[str, Any]]) -> dict[Any, int]:
    """Insert the missing rows. Existing rows stay as they are.

    :param rows: the row to insert if it is missing, by the value of ``key``
    :return: ``id`` of each row, by the value of ``key``
    """
    table = key.table
    assert isinstance(table, Table)
    statement = sa.select(key, table.c.id)
    ids = {row[0]: row[1] for row in find(connection, statement, key, rows)}
    missing = sorted(rows.keys() - ids.keys())
    if missing:
        connection.execute(table.insert(), [dict(rows[value]) for value in missing])
        created = zip(missing, missing, strict=True) if key is table.c.id else find(connection, statement, key, missing)
        ids.update((row[0], row[1]) for row in created)
    return ids


def to_json(value: Any) -> str | None:
    """``value`` as JSON; ``None`` if there is nothing in it."""
    return json.dumps(value, ensure_ascii=False) if value else None


def coalesce_old(column: Column[Any]) -> sa.ColumnElement[Any]:
    """The old value, or the new one if there is no old one."""
    return func.coalesce(column, bindparam(f"new_{column.name}", type_=column.type))
