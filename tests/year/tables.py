"""Filling tables by SQL: rows copied from a row that the product itself wrote, millions at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString, cast

import psycopg


def run(connection: psycopg.Connection[Any], statement: str, *parameters: Any) -> list[Any]:
    """The rows of one statement; empty if it has none."""
    cursor = connection.execute(cast(LiteralString, statement), parameters or None)
    return cursor.fetchall() if cursor.description else []


def copy_row(
    connection: psycopg.Connection[Any],
    table: str,
    template: str,
    source: str,
    values: Mapping[str, str],
    *,
    condition: str = "true",
) -> None:
    """Insert a copy of a row for each row of ``source``.

    :param template: condition that finds one row of ``table``, called ``template``; or a query of several, in brackets
    :param source: FROM clause
    :param values: expressions for some columns; they may name ``template`` and ``source``. All others are copied
    :param condition: which template is for which source
    """
    columns = [
        name
        for (name,) in run(
            connection,
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
            "AND NOT attisdropped AND attgenerated = '' AND attname <> 'id' ORDER BY attnum",
            table,
        )
    ]
    names = [*columns, *(["id"] if "id" in values else [])]
    expressions = [values.get(name, f'template."{name}"') for name in names]
    quoted = ", ".join(f'"{name}"' for name in names)
    rows = template if template.startswith("(") else f"(SELECT * FROM {table} AS template WHERE {template} LIMIT 1)"
    run(
        connection,
        f"INSERT INTO {table} ({quoted}) SELECT {', '.join(expressions)} "
        f"FROM {source} CROSS JOIN {rows} AS template WHERE {condition}",
    )


@contextmanager
def without_indices(connection: psycopg.Connection[Any], *tables: str) -> Iterator[None]:
    """Fill the tables without their indices and foreign keys, which are made anew at the end."""
    run(connection, "SET session_replication_role = replica")
    run(connection, "SET maintenance_work_mem = '512MB'")
    made_again = []
    for table in tables:
        constraints = run(
            connection,
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass "
            "AND contype = 'u'",
            table,
        )
        for name, definition in constraints:
            run(connection, f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
            made_again.append(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
        indices = run(
            connection,
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid = %s::regclass AND NOT indisprimary",
            table,
        )
        for name, definition in indices:
            run(connection, f"DROP INDEX {name}")
            made_again.append(definition)
    yield
    for statement in made_again:
        run(connection, statement)
    run(connection, "SET session_replication_role = origin")
    for table in tables:
        run(connection, f"VACUUM ANALYZE {table}")


def sizes(connection: psycopg.Connection[Any], tables: list[str]) -> list[tuple[str, int, int, int]]:
    """Of each table: name, number of rows, bytes of the table with its long values, bytes of its indices."""
    return [
        run(
            connection,
            f"SELECT %s::text, (SELECT count(*) FROM {table}), pg_table_size(%s::regclass), "
            "pg_indexes_size(%s::regclass)",
            table,
            table,
            table,
        )[0]
        for table in tables
    ]
