"""The tables of a SQL Server, from the SQL standard's INFORMATION_SCHEMA, and its foreign keys.

SQLAlchemy's inspector reads far more of SQL Server's own catalogue than an import needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.mssql import DATETIME2, DATETIMEOFFSET, NVARCHAR
from sqlalchemy.dialects.mssql.base import ischema_names

T = TypeVar("T")

_COLUMNS = """\
SELECT T.TABLE_SCHEMA, T.TABLE_NAME, T.TABLE_TYPE, C.COLUMN_NAME, C.DATA_TYPE, C.CHARACTER_MAXIMUM_LENGTH,
  C.NUMERIC_PRECISION, C.NUMERIC_SCALE, C.DATETIME_PRECISION, C.IS_NULLABLE
FROM INFORMATION_SCHEMA.TABLES AS T
JOIN INFORMATION_SCHEMA.COLUMNS AS C ON C.TABLE_SCHEMA = T.TABLE_SCHEMA AND C.TABLE_NAME = T.TABLE_NAME
ORDER BY T.TABLE_SCHEMA, T.TABLE_NAME, C.ORDINAL_POSITION"""
_KEYS = """\
SELECT K.TABLE_SCHEMA, K.TABLE_NAME, K.COLUMN_NAME
FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS AS C
JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE AS K ON K.CONSTRAINT_SCHEMA = C.CONSTRAINT_SCHEMA
  AND K.CONSTRAINT_NAME = C.CONSTRAINT_NAME AND K.TABLE_NAME = C.TABLE_NAME
WHERE C.CONSTRAINT_TYPE = 'PRIMARY KEY'
ORDER BY K.TABLE_SCHEMA, K.TABLE_NAME, K.ORDINAL_POSITION"""
_REFERENCES = """\
SELECT OBJECT_SCHEMA_NAME(parent_object_id), OBJECT_NAME(parent_object_id),
  COL_NAME(parent_object_id, parent_column_id),
  OBJECT_SCHEMA_NAME(referenced_object_id), OBJECT_NAME(referenced_object_id),
  COL_NAME(referenced_object_id, referenced_column_id)
FROM sys.foreign_key_columns"""


class Unreadable(sa.types.NullType):
    """A type that neither SQLAlchemy nor the driver knows."""


#: Classes of SQL Server's types. JSON comes as text.
_CLASSES = {**ischema_names, "json": NVARCHAR}


class Catalog:
    """The methods of ``sqlalchemy.Inspector`` that :mod:`.source` needs, with the same results."""

    def __init__(self, connection: sa.Connection):
        self._columns: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._views: set[tuple[str, str]] = set()
        for schema, table, kind, name, type_, length, precision, scale, moment, nullable in connection.execute(
            sa.text(_COLUMNS)
        ):
            self._columns[schema, table].append(
                {"name": name, "type": _type(type_, length, precision, scale, moment), "nullable": nullable == "YES"}
            )
            if kind == "VIEW":
                self._views.add((schema, table))
        self._keys: dict[tuple[str, str], list[str]] = defaultdict(list)
        for schema, table, column in connection.execute(sa.text(_KEYS)):
            if where := self._where(schema, table):
                self._keys[where].append(self._name(where, column))
        self._references: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for schema, table, column, other_schema, other_table, other_column in connection.execute(sa.text(_REFERENCES)):
            where, other = self._where(schema, table), self._where(other_schema, other_table)
            if where and other:
                self._references[where].append(
                    {
                        "constrained_columns": [self._name(where, column)],
                        "referred_table": other[1],
                        "referred_columns": [self._name(other, other_column)],
                    }
                )

    # SQL Server compares names without regard to capitals, and so do the next two.

    def _where(self, schema: str | None, table: str | None) -> tuple[str, str] | None:
        """Schema and name of a table as it spells them; ``None`` if the login may not see it."""
        return _same((schema or "", table or ""), self._columns, lambda names: (names[0].lower(), names[1].lower()))

    def _name(self, table: tuple[str, str], column: str) -> str:
        return _same(column, [each["name"] for each in self._columns[table]], str.lower) or column

    def get_schema_names(self) -> list[str]:
        return sorted({schema for schema, _ in self._columns})

    def get_table_names(self, schema: str | None) -> list[str]:
        return [name for where, name in self._columns if where == schema and (where, name) not in self._views]

    def get_view_names(self, schema: str | None) -> list[str]:
        return [name for where, name in self._columns if (where, name) in self._views and where == schema]

    def get_columns(self, name: str, schema: str | None) -> list[dict[str, Any]]:
        return self._columns[schema or "", name]

    def get_pk_constraint(self, name: str, schema: str | None) -> dict[str, Any]:
        return {"constrained_columns": self._keys[schema or "", name]}

    def get_foreign_keys(self, name: str, schema: str | None) -> list[dict[str, Any]]:
        return self._references[schema or "", name]


def _same(name: T, names: Collection[T], fold: Callable[[T], T]) -> T | None:
    """The one of ``names`` that equals ``name``, else the one that equals it when both are folded."""
    return name if name in names else next((each for each in names if fold(each) == fold(name)), None)


def _type(name: str, length: int | None, precision: int | None, scale: int | None, moment: int | None) -> Any:
    class_: Any = _CLASSES.get(name.lower(), Unreadable)
    if name.lower() in ("char", "varchar", "nchar", "nvarchar", "binary", "varbinary"):
        return class_(length=None if length == -1 else length)
    if class_ in (DATETIME2, DATETIMEOFFSET):
        return class_(precision=moment)
    if class_ in (sa.NUMERIC, sa.DECIMAL):
        return class_(precision, scale)
    return class_()
