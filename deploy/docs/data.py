"""docs/data.md: the data dictionary, from the schema, the views and their descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc

from bridge.store.descriptions import PERSONAL, TABLES, of_column
from bridge.store.schema import metadata
from bridge.store.views import views

_TEXT = Path(__file__).with_name("data-head.md")
_DIALECT = MSDialect_pyodbc()
_DIALECT.server_version_info = (13,)  # SQL Server 2016: one of before 2008 has no DATE


def page() -> str:
    """The text of ``docs/data.md``."""
    parts = [_TEXT.read_text(encoding="utf-8").rstrip(), "", "## Views", ""]
    for view in views.tables.values():
        parts += [f"### {view.name}", "", view.info["about"], "", "| Column | Type | Meaning |", "|---|---|---|"]
        parts += [f"| `{column.name}` | {_type(column)} | {column.doc} |" for column in view.columns]
        parts.append("")
    parts += ["## Tables", ""]
    for table in metadata.tables.values():
        parts += _table(table)
    return "\n".join(parts).rstrip() + "\n"


def _table(table: sa.Table) -> Iterator[str]:
    about, mark, _columns = TABLES.get(table.name, ("", "—", {}))
    yield from (f"### {table.name}", "", about if mark == "—" else f"{about} Mark for what is new: {mark}.", "")
    yield from ("| Column | Type | From | Meaning |", "|---|---|---|---|")
    for column in table.columns:
        source, _colon, meaning = (of_column(table.name, column.name) or ": ").partition(": ")
        personal = " **Personal.**" if (table.name, column.name) in PERSONAL else ""
        kind = _type(column) + ("" if column.nullable else ", not NULL")
        yield f"| `{column.name}` | {kind} | {source} | {meaning[:1].upper()}{meaning[1:]}.{personal} |"
    yield ""


def _type(column: sa.Column[object]) -> str:
    """The type on SQL Server, without its collation."""
    return str(column.type.compile(dialect=_DIALECT)).partition(" COLLATE")[0].lower()
