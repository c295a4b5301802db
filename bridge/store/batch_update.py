"""An UPDATE of many rows, each with values of its own, in one statement.

A server gets the new values as one parameter, a JSON text, and reads it as a table: one round trip and one plan,
whatever the number of rows. SQLite has no trip to save: it takes the rows one by one, which is quicker than JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from .column_types import text

#: What T-SQL gets instead of the usual ones of the characters that JSON escapes: Babelfish for PostgreSQL leaves the
#: escapes in the text. The first stands for the mark itself.
_INSTEAD = {"~": "~t", '"': "~q", "\\": "~b", "\n": "~n"}
_ESCAPES = str.maketrans(_INSTEAD)
#: All that JSON escapes. A row with another of them goes by itself.
_ESCAPED_BY_JSON = frozenset({'"', "\\", *map(chr, range(32))})
#: Longest text in JSON for T-SQL, in characters: Babelfish cuts one of more than 4,000 UTF-16 units.
_LONGEST = 2000
#: SQL Server's collation of keys. It compares each character.
_BINARY = "Latin1_General_100_BIN2"


class BatchUpdate:
    """An UPDATE of any number of rows.

    Its condition must find each row of the table for one of the new rows at most: which of several wins is chance.
    """

    def __init__(self, make: Callable[[Any], sa.Update], **types: sa.types.TypeEngine[Any]):
        """
        :param make: makes the statement from the new values, which are attributes of its argument. It writes
            ``sa.null()`` and not ``None``: pyodbc asks SQL Server for the type of a parameter that is NULL
        :param types: of the new values
        """
        self._make = make
        self.types = types
        parameters = {name: bindparam(f"new_{name}", type_=each) for name, each in types.items()}
        self.of_one = make(SimpleNamespace(**parameters))
        self._of_many: dict[str, sa.Update] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]], **same: Any) -> None:
        """Update the rows.

        :param rows: the new values, in the order of a key: then transactions that wait for each other are no deadlock
        :param same: the statement's other parameters, which all rows share
        """
        dialect = connection.dialect
        one_by_one, together = rows, []
        if dialect.name != "sqlite":
            keys = [name for name, each in self.types.items() if _is_key(each, dialect)]
            encoded = [_t_sql_row(row, keys) if dialect.name == "mssql" else _row(row) for row in rows]
            one_by_one = [row for row, code in zip(rows, encoded, strict=True) if code is None]
            together = [code for code in encoded if code is not None]
        if one_by_one:
            parameters = [{f"new_{name}": value for name, value in row.items()} | same for row in one_by_one]
            connection.execute(self.of_one, parameters)
        if together:
            document = json.dumps(together, ensure_ascii=False, separators=(",", ":"))
            connection.execute(self.of_many(dialect), {"new_rows": document, **same})

    def of_many(self, dialect: sa.Dialect) -> sa.Update:
        """The statement that takes its rows as JSON, as the parameter ``new_rows``."""
        if dialect.name not in self._of_many:
            select = (_t_sql_table if dialect.name == "mssql" else _postgresql_table)(self.types, dialect)
            rows = sa.text(select).bindparams(bindparam("new_rows", type_=text()))
            self._of_many[dialect.name] = self._make(rows.columns(**self.types).subquery("new").c)
        return self._of_many[dialect.name]


def _postgresql_table(types: Mapping[str, sa.types.TypeEngine[Any]], dialect: sa.Dialect) -> str:
    columns = ", ".join(f"{name} {each.compile(dialect)}" for name, each in types.items())
    return f"SELECT * FROM json_to_recordset(CAST(:new_rows AS JSON)) AS new_rows({columns})"  # noqa: S608 (our names)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _moment(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _is_key(given: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> bool:
    return bool(getattr(given.dialect_impl(dialect), "collation", None))


def _t_sql_table(types: Mapping[str, sa.types.TypeEngine[Any]], dialect: sa.Dialect) -> str:
    # A database with a compatibility level below 130 has no OPENJSON (error 208).
    declared, selected = [], []
    for name, each in types.items():
        given = each.dialect_impl(dialect)
        if isinstance(given, sa.String):
            # As long as can be: a text that is too long for its column must be an error, and not be cut.
            declared.append(f"{name} NVARCHAR({4000 if given.length else 'MAX'}) '$.{name}'")
            whole = name if _is_key(given, dialect) else _unescaped(name)
            selected.append(f"{whole} COLLATE {given.collation or 'DATABASE_DEFAULT'} AS {name}")
        else:
            declared.append(f"{name} {each.compile(dialect)} '$.{name}'")
            selected.append(name)
    return (
        f"SELECT {', '.join(selected)} "  # noqa: S608 (our names)
        f"FROM OPENJSON(:new_rows) WITH ({', '.join(declared)}) AS new_rows"
    )


def _unescaped(column: str) -> str:
    expression = f"{column} COLLATE {_BINARY}"
    # The mark's own escape last: what it leaves must not be taken for the beginning of another one.
    for character, escape in reversed(_INSTEAD.items()):
        wanted = f"N'{character}'" if character.isprintable() else f"NCHAR({ord(character)})"
        expression = f"REPLACE({expression}, N'{escape}', {wanted})"
    return expression


def _t_sql_row(row: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any] | None:
    """The row for JSON; ``None`` if it must go by itself.

    :param keys: columns whose text is not escaped: there is nothing to escape in nearly all keys
    """
    encoded = _row(row)
    for name, value in encoded.items():
        if isinstance(value, str):
            encoded[name] = escaped = value if name in keys else value.translate(_ESCAPES)
            if len(escaped) > _LONGEST or not _ESCAPED_BY_JSON.isdisjoint(escaped):
                return None
    return encoded


def _moment(value: datetime) -> str:
    # The same check as for a parameter.
    if value.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds")
