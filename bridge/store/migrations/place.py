"""The schema of the migrations' tables: that of ``BRIDGE_DATABASE_SCHEMA``, else the connection's own.

Every operation names it, because Alembic applies ``schema_translate_map`` only in some operations.
"""

from __future__ import annotations

from typing import Any

from alembic import op


def place() -> dict[str, Any]:
    """The schema as a keyword of an Alembic operation."""
    return {"schema": _schema()}


def target(column: str) -> str:
    """``column`` with its schema, as the target of a foreign key."""
    schema = _schema()
    return f"{schema}.{column}" if schema else column


def _schema() -> str | None:
    return op.get_context().version_table_schema
