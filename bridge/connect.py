"""Open the database, the queues and Odoo that the settings name."""

from __future__ import annotations

import sqlalchemy as sa

from .errors import BadConnectionString, BadDatabaseUrl, ConfigurationError
from .odoo import Odoo
from .queue import Queue
from .settings import Settings, secret, variable
from .store import migrate
from .store.engine import create_engine, parse_url


def database_url(settings: Settings) -> sa.URL:
    """The URL of the database.

    :raises ConfigurationError: it is missing or wrong
    """
    settings.require("database_url")
    try:
        return parse_url(secret(settings.database_url))
    except BadDatabaseUrl as error:
        raise ConfigurationError(f"{variable('database_url')}: {error}") from None


def open_engine(settings: Settings) -> sa.Engine:
    """The database.

    :raises ConfigurationError: names the variable that is wrong
    """
    settings.require("database_url")
    try:
        return create_engine(secret(settings.database_url), settings.database_options, settings.database_schema)
    except BadDatabaseUrl as error:
        raise ConfigurationError(f"{variable('database_url')}: {error}") from None


def open_queue(settings: Settings, name: str) -> Queue:
    """The queue of that name.

    :raises ConfigurationError: names the variable that is missing or wrong
    """
    settings.require("queue_connection_string")
    try:
        return Queue(secret(settings.queue_connection_string), name)
    except BadConnectionString as error:
        raise ConfigurationError(f"{variable('queue_connection_string')}: {error}") from None


def open_odoo(settings: Settings) -> Odoo:
    """The client of Odoo.

    :raises ConfigurationError: names the variables that are missing
    """
    settings.require("odoo_url", "odoo_database", "odoo_api_key")
    assert settings.odoo_url is not None
    assert settings.odoo_database is not None
    return Odoo(settings.odoo_url, settings.odoo_database, settings.odoo_login, secret(settings.odoo_api_key))


def require_schema(engine: sa.Engine) -> None:
    """Refuse tables of another version. The tables of an embedded database are upgraded instead.

    :raises ConfigurationError: says what to run
    """
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    elif (current := migrate.current(engine)) != migrate.head():
        raise ConfigurationError(
            f"The database has {f'revision {current}' if current else 'no tables'} of this product; this version "
            f"needs revision {migrate.head()}. Run: python -m bridge db upgrade"
        )
