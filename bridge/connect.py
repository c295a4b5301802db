"""Open the database, a queue and Odoo as the settings name them."""

from __future__ import annotations

import sqlalchemy as sa

from .errors import BadConnectionString, BadDatabaseUrl, ConfigurationError
from .odoo import Odoo
from .queue import Queue
from .settings import Settings, secret, variable
from .store import migrate
from .store.engine import create_engine


def open_engine(settings: Settings) -> sa.Engine:
    """:raises ConfigurationError: naming the variable"""
    try:
        return create_engine(
            settings.database_url.get_secret_value(), settings.database_options, settings.database_schema
        )
    except BadDatabaseUrl as error:
        raise ConfigurationError(f"{variable('database_url')}: {error}") from None


def open_queue(settings: Settings, name: str) -> Queue:
    """:raises ConfigurationError: naming the variable"""
    settings.require("queue_connection_string")
    try:
        return Queue(secret(settings.queue_connection_string), name)
    except BadConnectionString as error:
        raise ConfigurationError(f"{variable('queue_connection_string')}: {error}") from None


def open_odoo(settings: Settings) -> Odoo:
    """:raises ConfigurationError: naming the variables that are not set"""
    settings.require("odoo_url", "odoo_database", "odoo_api_key")
    assert settings.odoo_url is not None
    assert settings.odoo_database is not None
    return Odoo(settings.odoo_url, settings.odoo_database, settings.odoo_login, secret(settings.odoo_api_key))


def require_schema(engine: sa.Engine) -> None:
    """Refuse to work on tables of another version. The embedded database is brought up to date instead.

    :raises ConfigurationError: saying what to run
    """
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    elif (current := migrate.current(engine)) != migrate.head():
        raise ConfigurationError(
            f"The database has {f'revision {current}' if current else 'no tables'} of this product; this version "
            f"needs revision {migrate.head()}. Run: python -m bridge db upgrade"
        )
