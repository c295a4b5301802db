"""Upgrades and downgrades of the tables, with Alembic. The migrations are inside the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import resources
from io import StringIO
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..errors import ConfigurationError
from . import kept_keys
from .engine import in_transaction, patience, schema_of
from .schema import metadata

# Importing Alembic is a fifth of a bridge's start-up time, and only a change of tables needs it.
if TYPE_CHECKING:
    from alembic.config import Config

#: The revision of a database without tables.
BASE = "base"


def upgrade(engine: sa.Engine) -> None:
    """Create or update the tables, in one transaction.

    :raises ConfigurationError: another program has tables with our names; nothing was changed
    :raises bridge.errors.StoreUnavailable: the database is down, or forbids it
    """

    from alembic import command

    def work(config: Config) -> None:
        connection = config.attributes["connection"]
        schema = schema_of(connection)
        if schema and not sa.inspect(connection).has_schema(schema):
            connection.execute(sa.schema.CreateSchema(schema))
        refuse_tables_of_others(connection)
        command.upgrade(config, "head")
        kept_keys.bring_back(connection)

    _in_one_transaction(engine, work)


def refuse_tables_of_others(connection: sa.Connection) -> None:
    """Refuse a database where another program has tables with our names.

    :raises ConfigurationError: naming the tables, and what to do
    """
    problem = _problem(connection)
    if problem:
        schemas = "" if connection.dialect.name == "sqlite" else ", or a schema of its own in BRIDGE_DATABASE_SCHEMA"
        raise ConfigurationError(
            f"The database {problem}. Nothing was changed. Give the bridge a database of its own in "
            f"BRIDGE_DATABASE_URL{schemas}."
        )


def _problem(connection: sa.Connection) -> str | None:
    revision = _revision(connection)
    if revision is not None:
        return (
            None if revision in revisions() else f"is at revision {revision} of another program, or of a newer bridge"
        )
    names = sorted(metadata.tables.keys() & set(sa.inspect(connection).get_table_names(schema_of(connection))))
    return f"has tables of another program with names that the bridge needs ({', '.join(names)})" if names else None


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the tables back to ``revision`` (``base`` for none), in one transaction. The API's keys are kept aside.

    :raises ConfigurationError: there is no such revision, or the tables are not that far
    :raises bridge.errors.StoreUnavailable: the database is down, or forbids it
    """
    from alembic import command

    def work(config: Config) -> None:
        if revision != BASE:
            kept_keys.put_aside(config.attributes["connection"])
        command.downgrade(config, revision)

    require_earlier(current(engine), revision)
    _in_one_transaction(engine, work)


def require_earlier(present: str | None, revision: str) -> None:
    """Refuse a revision that the tables cannot be taken back to.

    :param present: revision of the tables
    :raises ConfigurationError: says which ones there are
    """
    if present is None:
        raise ConfigurationError("The database has no tables of the bridge: there is nothing to downgrade.")
    if present not in revisions():
        raise ConfigurationError(
            f"The tables are at revision {present}, which this version of the bridge does not know: use the version "
            "that made them."
        )
    earlier = [BASE, *sorted(each for each in revisions() if each < present)]
    if revision not in earlier:
        raise ConfigurationError(
            f"The tables are at revision {present}, and cannot be taken back to “{revision[:80]}”. Give one of: "
            f"{', '.join(earlier)}."
        )


def losses(engine: sa.Engine, revision: str) -> dict[str, int]:
    """What :func:`downgrade` would delete: the number of rows of each table, and of values of each column.

    :param revision: an earlier one
    :raises bridge.errors.StoreUnavailable: the database is down
    """
    from alembic import command

    config = _config()
    # In any dialect that has a statement for each column: the names are the same in all.
    config.attributes |= {"dialect": "postgresql", "schema": None}
    config.output_buffer = StringIO()
    command.downgrade(config, f"{current(engine)}:{revision}", sql=True)
    script = config.output_buffer.getvalue()
    tables = re.findall(r"^DROP TABLE (\w+);", script, re.MULTILINE)
    columns = re.findall(r"^ALTER TABLE (\w+) DROP COLUMN (\w+);", script, re.MULTILINE)
    return in_transaction(engine, _count, tables, [pair for pair in columns if pair[0] not in tables])


def _count(connection: sa.Connection, tables: Sequence[str], columns: Sequence[tuple[str, str]]) -> dict[str, int]:
    def count(table: str, *conditions: sa.ColumnElement[bool]) -> int:
        statement = sa.select(sa.func.count()).select_from(sa.table(table, schema=schema_of(connection)))
        return connection.execute(statement.where(*conditions)).scalar_one()

    with patience(connection):
        found = {f"rows of {table}": count(table) for table in sorted(tables) if table != "alembic_version"}
        found |= {f"values of {table}.{name}": count(table, sa.column(name).is_not(None)) for table, name in columns}
    return {what: number for what, number in found.items() if number}


def sql(dialect: str, up_to: str = "head", schema: str | None = None) -> str:
    """The SQL that :func:`upgrade` runs.

    :param dialect: ``mssql``, ``postgresql`` or ``sqlite``
    :param up_to: a revision, from no tables at all; or ``from:to``
    :param schema: of the tables; default: the schema that the database uses for names without one
    :raises ValueError: there is no such revision
    """
    from alembic import command

    order = [BASE, *sorted(revisions()), "head"]
    ends = up_to.split(":")
    if len(ends) > 2 or not set(ends) <= set(order):
        raise ValueError(
            f"“{up_to[:80]}” is no revision. Give one of: {', '.join(order[1:])}; or two of them, as 0002:head."
        )
    if len(ends) == 2 and order.index(ends[0]) >= order.index(ends[1]):
        raise ValueError(f"“{up_to}” upgrades nothing: give the earlier revision first.")
    config = _config()
    config.attributes |= {"dialect": dialect, "schema": schema}
    config.output_buffer = StringIO()
    command.upgrade(config, up_to, sql=True)
    create_schema = _CREATE_SCHEMA.get(dialect, "").format(schema) if schema else ""
    return _PREAMBLES.get(dialect, "") + create_schema + config.output_buffer.getvalue()


_PREAMBLES = {
    "mssql": """\
-- Tables of the MiaSalud bridge. This script changes no other tables. Stop at the first error:
--   sqlcmd -b -i THIS_FILE
-- Filtered indexes need these settings. sqlcmd does not set them.
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET XACT_ABORT ON;

GO

"""
}

# CREATE SCHEMA must be alone in its batch on SQL Server, hence EXEC. The name is letters, digits and _ (Settings).
_CREATE_SCHEMA = {
    "mssql": "IF SCHEMA_ID(N'{0}') IS NULL EXEC(N'CREATE SCHEMA [{0}]');\n\nGO\n\n",
    "postgresql": 'CREATE SCHEMA IF NOT EXISTS "{0}";\n\n',
}


def _in_one_transaction(engine: sa.Engine, work: Callable[[Config], None]) -> None:
    in_transaction(engine, _with_config, work)


def _with_config(connection: sa.Connection, work: Callable[[Config], None]) -> None:
    config = _config()
    config.attributes |= {"connection": connection, "schema": schema_of(connection)}
    with patience(connection):
        work(config)


def current(engine: sa.Engine) -> str | None:
    """The database's revision; ``None`` if it has none of our tables.

    :raises bridge.errors.StoreUnavailable: the database is down
    """
    return in_transaction(engine, _revision)


def head() -> str:
    """The revision that this version of the bridge needs."""
    # The files of the migrations are numbered. A test compares this with Alembic's own head.
    return max(revisions())


def revisions() -> set[str]:
    """All revisions of this version of the bridge."""
    files = (resources.files("bridge.store") / "migrations" / "versions").iterdir()
    return {file.name.partition("_")[0] for file in files if file.name.endswith(".py")}


def _revision(connection: sa.Connection) -> str | None:
    schema = schema_of(connection)
    if not sa.inspect(connection).has_table("alembic_version", schema=schema):
        return None
    version = sa.table("alembic_version", sa.column("version_num"), schema=schema)
    return connection.execute(sa.select(version.c.version_num)).scalar_one_or_none()


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # Alembic wants % doubled: it reads values as configparser does.
    config.set_main_option("script_location", str(resources.files("bridge.store") / "migrations").replace("%", "%%"))
    return config
