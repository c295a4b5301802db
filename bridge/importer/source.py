"""The user's database, which is only read: its tables, and their rows page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import mssql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.elements import quoted_name

from ..errors import BadDatabaseUrl
from ..store import engine as engines
from ..store import engine_options, migrate
from ..store import url as urls
from ..store.engine import in_transaction, patience
from ..store.schema import metadata
from ..store.views import views
from .catalog import Catalog, Unreadable

#: The databases' own schemas.
_SYSTEM = re.compile(r"information_schema|sys|guest|pg_.*|db_.*", re.IGNORECASE)
_READS = re.compile(r"\s*(SELECT|WITH|PRAGMA|SHOW|SET TRANSACTION|BEGIN|ROLLBACK)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column of a user's table.

    :ivar kind: "text", "integer", "number", "moment" (a time with its zone), "time" (without), "date" or "other"
    :ivar refers_to: ``table.column``, if it is a foreign key
    """

    name: str
    type: str
    kind: str
    nullable: bool
    refers_to: str | None = None


@dataclass(frozen=True)
class Table:
    """A table or view of the user's.

    :ivar key: columns of the primary key; a view has none
    :ivar rows: number of rows
    """

    schema: str | None
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: int

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    def column(self, name: str) -> Column | None:
        """The column with that name, else with that name in other capitals; ``None`` if there is none, or several."""
        same = [column for column in self.columns if column.name == name]
        same = same or [column for column in self.columns if column.name.casefold() == name.casefold()]
        return same[0] if len(same) == 1 else None


def open_source(url: str, options: Mapping[str, Any] | None = None) -> sa.Engine:
    """An engine that only reads.

    SQLite and PostgreSQL themselves refuse writes. SQL Server has no such mode, so statements other than reads are
    refused here as well, for every database.

    :raises BadDatabaseUrl: not a URL, not a file, or its driver is not installed
    :raises BadDatabaseOptions: unknown options, or values that cannot work
    """
    parsed = urls.parse(url)
    if parsed.get_backend_name() == "sqlite":
        # engine.create_engine would turn on a write-ahead log in the user's file.
        path = Path(parsed.database or "")
        if not path.is_file():
            raise BadDatabaseUrl(f"there is no file {path}")
        url = f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro&uri=true"
        engine_options.require_types(options or {})
        engine_options.require_accepted(options or {}, partial(sa.create_engine, url))
        engine = sa.create_engine(url, hide_parameters=True, **(options or {}))
    else:
        engine = engines.create_engine(url, options)
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(postgresql_readonly=True)
    sa.event.listen(engine, "before_cursor_execute", _only_reads)
    return engine


def _only_reads(_connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
    if not _READS.match(statement):
        raise AssertionError("the user's database is only read")


def tables(engine: sa.Engine, only_schema: str | None = None) -> list[Table]:
    """All tables and views except those of the system and of the bridge, with their numbers of rows.

    :raises bridge.errors.StoreUnavailable: the database is down, or refuses access
    """
    return in_transaction(engine, _tables, only_schema)


def _tables(connection: sa.Connection, only_schema: str | None) -> list[Table]:
    with patience(connection):
        return list(_each_table(connection, only_schema))


def _each_table(connection: sa.Connection, only_schema: str | None) -> Iterator[Table]:
    inspector = Catalog(connection) if connection.dialect.name == "mssql" else sa.inspect(connection)
    is_sqlite = connection.dialect.name == "sqlite"
    schemas: list[str | None] = [None] if is_sqlite else [*inspector.get_schema_names()]
    for schema in schemas:
        if schema is not None and (_SYSTEM.fullmatch(schema) or only_schema not in (None, schema)):
            continue
        names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
        hidden = _our_names(connection, schema) if "alembic_version" in names else set()
        for name in names:
            if name not in hidden:
                yield _table(connection, inspector, schema, name)


def _our_names(connection: sa.Connection, schema: str | None) -> set[str]:
    version = sa.table("alembic_version", sa.column("version_num"), schema=schema)
    found = set(connection.execute(sa.select(version.c.version_num)).scalars())
    return {*metadata.tables, *views.tables, "alembic_version"} if found and found <= migrate.revisions() else set()


def _table(connection: sa.Connection, inspector: sa.Inspector | Catalog, schema: str | None, name: str) -> Table:
    references = {
        column: f"{key['referred_table']}.{key['referred_columns'][0]}"
        for key in inspector.get_foreign_keys(name, schema)
        for column in key["constrained_columns"]
    }
    columns = tuple(
        Column(
            column["name"],
            _type_name(column["type"], connection.dialect),
            _kind(column["type"]),
            bool(column["nullable"]),
            references.get(column["name"]),
        )
        for column in inspector.get_columns(name, schema)
    )
    key = tuple(inspector.get_pk_constraint(name, schema)["constrained_columns"])
    table = Table(schema, name, columns, key, 0)
    rows = connection.execute(sa.select(sa.func.count()).select_from(_selectable(table))).scalar_one()
    return Table(schema, name, columns, key, rows)


def _type_name(type_: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    try:
        return re.sub(r" COLLATE .*", "", type_.compile(dialect)).lower()
    except SQLAlchemyError:
        return "unknown"


def _kind(type_: sa.types.TypeEngine[Any]) -> str:
    if isinstance(type_, sa.DateTime):
        zoned = getattr(type_, "timezone", False) or isinstance(type_, mssql.DATETIMEOFFSET)
        return "moment" if zoned else "time"
    kinds: tuple[tuple[type, str], ...] = (
        (mssql.DATETIMEOFFSET, "moment"),
        (sa.Date, "date"),
        (sa.Boolean, "other"),
        (sa.Integer, "integer"),
        (sa.Numeric, "number"),
        (sa.Float, "number"),
        (mssql.MONEY, "number"),
        (mssql.SMALLMONEY, "number"),
        # pyodbc cannot read these: a value of any type, and types that SQLAlchemy does not know (hierarchyid).
        (mssql.SQL_VARIANT, "unreadable"),
        (Unreadable, "unreadable"),
        (sa.String, "text"),
    )
    return next((kind for class_, kind in kinds if isinstance(type_, class_)), "other")


def _selectable(table: Table) -> sa.TableClause:
    # Without types, so that values come as the driver reads them: SQLAlchemy's SQLite types refuse other date formats.
    return sa.table(
        _quoted(table.name),
        *(sa.column(_quoted(column.name)) for column in table.columns),
        schema=_quoted(table.schema) if table.schema else None,
    )


def _quoted(name: str) -> quoted_name:
    return quoted_name(name, quote=True)


def page_statement(table: Table, key: str, columns: Sequence[str], after: Any | None, limit: int) -> sa.Select[Any]:
    """SELECT of the next ``limit`` rows by ``key``: the key, then ``columns``.

    Pages by key stay right while rows are added.
    """
    selectable = _selectable(table)
    order = selectable.c[key]
    chosen = [order.label("k")]
    for number, name in enumerate(columns):
        column = table.column(name)
        assert column is not None
        expression: sa.ColumnElement[Any] = selectable.c[name]
        if "datetimeoffset" in column.type:
            # pyodbc cannot read this type: the same moment, in UTC and without an offset.
            expression = sa.cast(sa.func.switchoffset(expression, sa.literal_column("'+00:00'")), mssql.DATETIME2(6))
        chosen.append(expression.label(f"c{number}"))
    statement = sa.select(*chosen).order_by(order).limit(limit)
    return statement if after is None else statement.where(order > after)


def pages(engine: sa.Engine, table: Table, key: str, columns: Sequence[str], size: int) -> Iterator[Sequence[Any]]:
    """All rows, in pages of ``size``, each read in a short transaction of its own.

    :param key: a column that is unique and never NULL (see :func:`key_faults`)
    """
    after: Any | None = None
    while True:
        rows = in_transaction(engine, _all, page_statement(table, key, columns, after, size))
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = rows[-1][0]


def _all(connection: sa.Connection, statement: sa.Select[Any]) -> Sequence[Any]:
    return connection.execute(statement).all()


def key_statement(table: Table, key: str) -> sa.Select[int, int]:
    """SELECT of the number of values of ``key``, and of the number of different ones."""
    column = _selectable(table).c[key]
    return sa.select(sa.func.count(column), sa.func.count(sa.distinct(column)))


def value_counts(table: Table, column: str) -> sa.Select[Any, int]:
    """SELECT of each value of ``column``, and the number of rows with it."""
    value = _selectable(table).c[column]
    return sa.select(value, sa.func.count()).group_by(value)


def key_faults(engine: sa.Engine, table: Table, key: str) -> str | None:
    """Why ``key`` does not identify a row; ``None`` if it does."""
    if table.key == (key,):
        return None
    filled, different = in_transaction(engine, _count_keys, table, key)
    if filled < table.rows:
        return f"it is NULL in {table.rows - filled} rows"
    return f"{filled - different} rows repeat the value of another" if different < filled else None


def _count_keys(connection: sa.Connection, table: Table, key: str) -> tuple[int, int]:
    with patience(connection):
        row = connection.execute(key_statement(table, key)).one()
        return row[0], row[1]
