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

from .engine import in_transaction, patience


def upgrade(engine: sa.Engine) -> None:
    """Create or update the tables, in one transaction.

    :raises bridge.store.engine.StoreUnavailable: the database is away, or forbids it
    """
    _in_one_transaction(engine, lambda config: command.upgrade(config, "head"))


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the tables back to ``revision`` (``base`` for none), in one transaction.

    :raises bridge.store.engine.StoreUnavailable: the database is away, or forbids it
    """
    _in_one_transaction(engine, lambda config: command.downgrade(config, revision))


def sql(dialect: str, revisions: str = "head") -> str:
    """The SQL that :func:`upgrade` runs.

    :param dialect: ``mssql``, ``postgresql`` or ``sqlite``
    :param revisions: up to which, from none; or ``from:to``
    :raises ValueError: there is no such revision
    """
    config = _config()
    config.attributes["dialect"] = dialect
    config.output_buffer = StringIO()
    try:
        command.upgrade(config, revisions, sql=True)
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


def _config() -> Config:
    config = Config()
    # Alembic wants % doubled: it reads values as configparser does.
    config.set_main_option("script_location", str(resources.files("bridge.store") / "migrations").replace("%", "%%"))
    return config
