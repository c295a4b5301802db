"""Bringing a database's tables up to date, with Alembic. The migrations travel inside the package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from io import StringIO

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ..settings import ConfigurationError
from .engine import in_transaction, patience
from .schema import metadata


def upgrade(engine: sa.Engine) -> None:
    """Create or update the tables, in one transaction.

    :raises ConfigurationError: tables by our names are there, and not ours; nothing was touched
    :raises bridge.store.engine.StoreUnavailable: the database is away, or forbids it
    """

    def work(config: Config) -> None:
        refuse_tables_of_others(config.attributes["connection"])
        command.upgrade(config, "head")

    _in_one_transaction(engine, work)


def refuse_tables_of_others(connection: sa.Connection) -> None:
    """Make sure that no table of somebody else's is taken for ours.

    :raises ConfigurationError: naming them, and what to do
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        theirs = sorted(metadata.tables.keys() & set(sa.inspect(connection).get_table_names()))
        what = f"has tables of its own by names that the bridge needs ({', '.join(theirs)})" if theirs else ""
    else:
        what = "" if revision in revisions() else f"is at revision {revision} of another program, or of a newer bridge"
    if what:
        raise ConfigurationError(
            f"The database {what}. Nothing was touched. Give the bridge a database of its own, or a schema of its own: "
            "on SQL Server a user WITH DEFAULT_SCHEMA, on PostgreSQL a role with that search_path."
        )


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the tables back to ``revision`` (``base`` for none), in one transaction.

    :raises bridge.store.engine.StoreUnavailable: the database is away, or forbids it
    """
    _in_one_transaction(engine, lambda config: command.downgrade(config, revision))


def sql(dialect: str, up_to: str = "head") -> str:
    """The SQL that :func:`upgrade` runs.

    :param dialect: ``mssql``, ``postgresql`` or ``sqlite``
    :param up_to: which, from none; or ``from:to``
    :raises ValueError: there is no such revision
    """
    config = _config()
    config.attributes["dialect"] = dialect
    config.output_buffer = StringIO()
    try:
        command.upgrade(config, up_to, sql=True)
    except CommandError as error:
        raise ValueError(str(error)) from None
    return _PREAMBLES.get(dialect, "") + config.output_buffer.getvalue()


_PREAMBLES = {
    "mssql": """\
-- Tables of the MiaSalud bridge. Nothing but its own tables is touched. Stop at the first error:
--   sqlcmd -b -i THIS_FILE
-- Filtered indexes need these settings, which sqlcmd starts without.
SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
SET XACT_ABORT ON;

GO

"""
}


def _in_one_transaction(engine: sa.Engine, work: Callable[[Config], None]) -> None:
    def with_connection(connection: sa.Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        with patience(connection):
            work(config)

    in_transaction(engine, with_connection)


def current(engine: sa.Engine) -> str | None:
    """The database's revision; ``None`` if it has none of our tables.

    :raises bridge.store.engine.StoreUnavailable: the database is away
    """
    return in_transaction(engine, lambda connection: MigrationContext.configure(connection).get_current_revision())


def head() -> str:
    """The revision that this version of the bridge needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def revisions() -> set[str]:
    """All that there have been."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    # Alembic wants % doubled: it reads values as configparser does.
    config.set_main_option("script_location", str(resources.files("bridge.store") / "migrations").replace("%", "%%"))
    return config
