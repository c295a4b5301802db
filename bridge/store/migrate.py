"""Bringing a database's tables up to date, with Alembic. The migrations travel inside the package."""

from __future__ import annotations

from importlib import resources

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

    def work(connection: sa.Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    in_transaction(engine, work)


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
