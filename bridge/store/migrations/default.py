"""Dropping the default of a column, before the column itself is dropped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .place import place

# SQL Server keeps the default as a constraint under a generated name, which must be dropped first. Alembic's own
# mssql_drop_default has no IF EXISTS.
_DROP = """
DECLARE @name NVARCHAR(128), @drop NVARCHAR(600)
SELECT @name = name FROM sys.default_constraints
WHERE parent_object_id = OBJECT_ID('{table}') AND COL_NAME(parent_object_id, parent_column_id) = '{column}'
SET @drop = 'ALTER TABLE {table} DROP CONSTRAINT IF EXISTS ' + QUOTENAME(@name)
EXEC(@drop)
"""


def drop_default(table: str, column: str) -> None:
    """Drop the default of ``column``, on a database that would refuse to drop the column with it."""
    if op.get_context().dialect.name == "mssql":
        name = op.get_context().dialect.identifier_preparer.format_table(sa.table(table, **place()))
        op.execute(_DROP.format(table=name.replace("'", "''"), column=column))
