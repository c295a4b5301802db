"""Upgrades and downgrades of the tables, with Alembic. The migrations are inside the package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from io import StringIO
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..errors import ConfigurationError
from .engine import in_transaction, patience, schema_of
from .schema import metadata

# Importing Alembic is a fifth of a bridge's start-up time, and only a change of tables needs it.
if TYPE_CHECKING:
    from alembic.config import Config


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
    """Take the tables back to ``revision`` (``base`` for none), in one transaction.

    :raises bridge.errors.StoreUnavailable: the database is down, or forbids it
    """
    from alembic import command

    _in_one_transaction(engine, lambda config: command.downgrade(config, revision))


def sql(dialect: str, up_to: str = "head", schema: str | None = None) -> str:
    """The SQL that :func:`upgrade` runs.

    :param dialect: ``mssql``, ``postgresql`` or ``sqlite``
    :param up_to: a revision, from no tables at all; or ``from:to``
    :param schema: of the tables; default: the schema that the database uses for names without one
    :raises ValueError: there is no such revision
    """
    from alembic import command
    from alembic.util import CommandError

    config = _config()
    config.attributes |= {"dialect": dialect, "schema": schema}
    config.output_buffer = StringIO()
    try:
        command.upgrade(config, up_to, sql=True)
    except CommandError as error:
        raise ValueError(str(error)) from None
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
