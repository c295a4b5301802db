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

from .engine import in_transaction


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


def sql(dialect: str) -> str:
    """The SQL that :func:`upgrade` runs on an empty database.

    :param dialect: ``mssql``, ``postgresql`` or ``sqlite``
    """
    config = _config()
    config.attributes["dialect"] = dialect
    config.output_buffer = StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def _in_one_transaction(engine: sa.Engine, work: Callable[[Config], None]) -> None:
    def with_connection(connection: sa.Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
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
