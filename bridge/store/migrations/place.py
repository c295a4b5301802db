"""Where migrations put their tables: in the schema that ``BRIDGE_DATABASE_SCHEMA`` names, else the connection's own.

Said with every operation, since Alembic translates schemas (``schema_translate_map``) in some of them only.
"""

from __future__ import annotations

from typing import Any

from alembic import op


def place() -> dict[str, Any]:
    """What an operation takes to work there."""
    return {"schema": _schema()}


def target(column: str) -> str:
    """What a foreign key refers to there."""
    schema = _schema()
    return f"{schema}.{column}" if schema else column


def _schema() -> str | None:
    return op.get_context().version_table_schema
