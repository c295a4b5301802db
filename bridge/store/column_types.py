"""The types of the tables' columns: the same in meaning on every database."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Integer
from sqlalchemy.dialects import mssql


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time, to the microsecond. In Python with a time zone; stored in UTC without an offset.

    Not DATETIMEOFFSET: pyodbc cannot read it without a converter, and UTC is the only offset needed.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return dialect.type_descriptor(mssql.DATETIME2(6) if dialect.name == "mssql" else sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=timezone.utc)


def key(length: int) -> sa.types.TypeEngine[str]:
    """Text that identifies a row.

    Binary collation on SQL Server: its default treats "abc" and "ABC" as the same ManyChat id.
    """
    return sa.Unicode(length).with_variant(mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2"), "mssql")


def text(length: int | None = None) -> sa.types.TypeEngine[str]:
    """Text for people. Without a length it is unlimited: NVARCHAR(max), because SQLAlchemy's UnicodeText is NTEXT."""
    if length is None:
        return sa.UnicodeText().with_variant(mssql.NVARCHAR(), "mssql")
    return sa.Unicode(length)


#: SQLite generates ids only in a column that is exactly INTEGER.
big_id = sa.BigInteger().with_variant(Integer, "sqlite")
