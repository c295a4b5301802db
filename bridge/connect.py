"""Open the database, the queues and Odoo that the settings name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from . import settings as configuration
from .errors import BadDatabaseOptions, BadDatabaseUrl, BadQueueAccount, ConfigurationError
from .manychat import ManyChat
from .odoo import Odoo
from .queue import Queue
from .queue.account import choose, is_url
from .settings import Settings, secret, variable, where_to_set
from .store import migrate
from .store import url as urls
from .store.engine import create_engine


def database_url(settings: Settings) -> sa.URL:
    """The URL of the database.

    :raises ConfigurationError: it is missing or wrong
    """
    settings.require("database_url")
    try:
        url = urls.parse(secret(settings.database_url))
    except BadDatabaseUrl as error:
        raise ConfigurationError(f"{variable('database_url')}: {error}") from None
    if not urls.is_lasting(url):
        raise ConfigurationError(
            f"{variable('database_url')}: a SQLite database in memory is lost when the program ends. Name a file: "
            f"{urls.EXAMPLES['sqlite']}"
        )
    return url


def open_engine(settings: Settings) -> sa.Engine:
    """The database.

    :raises ConfigurationError: names the variable that is wrong
    """
    url = database_url(settings)
    if settings.database_schema and url.get_backend_name() == "sqlite":
        raise ConfigurationError(
            f"{variable('database_schema')}: SQLite has no schemas. Give the bridge a file of its own, and no schema."
        )
    try:
        return create_engine(secret(settings.database_url), settings.database_options, settings.database_schema)
    except BadDatabaseUrl as error:
        raise ConfigurationError(f"{variable('database_url')}: {error}") from None
    except BadDatabaseOptions as error:
        raise ConfigurationError(f"{variable('database_options')}: {error}") from None


def account_of(settings: Settings) -> str:
    """Where the queues are: a connection string, or the URL of the account.

    :raises ConfigurationError: neither or both are set, or what is set is wrong
    """
    names = (variable("queue_connection_string"), variable("queue_account_url"))
    secret_string = settings.queue_connection_string
    try:
        account = choose(
            secret_string.get_secret_value() if secret_string else "", settings.queue_account_url or "", names
        )
    except BadQueueAccount as error:
        raise ConfigurationError(str(error)) from None
    if not account:
        raise ConfigurationError(
            f"Set {names[0]} or {names[1]}, which needs no secret: neither is set. "
            f"{where_to_set('queue_connection_string')}"
        )
    return account


def open_queue(settings: Settings, name: str, **options: Any) -> Queue:
    """The queue of that name.

    :param options: of :class:`Queue`
    :raises ConfigurationError: names the variable that is missing or wrong
    """
    account = account_of(settings)
    try:
        return Queue(account, name, reread=_account_now, **options)
    except BadQueueAccount as error:
        url = is_url(account)
        raise ConfigurationError(
            f"{variable('queue_account_url' if url else 'queue_connection_string')}: {error}"
        ) from None


def _account_now() -> str:
    """What the settings say now: a ``_FILE`` or the ``.env`` file may have a new key."""
    return account_of(configuration.load())


def open_odoo(settings: Settings) -> Odoo:
    """The client of Odoo.

    :raises ConfigurationError: names the variables that are missing
    """
    return Odoo(*odoo_login(settings))


def open_manychat(settings: Settings) -> ManyChat:
    """The client of ManyChat.

    :raises ConfigurationError: there is no token
    """
    settings.require("manychat_api_token")
    return ManyChat(secret(settings.manychat_api_token), settings.manychat_api_url)


def odoo_login(settings: Settings) -> tuple[str, str, str, str]:
    """Where Odoo is and how to log in: URL, database, login and API key.

    :raises ConfigurationError: names the variables that are missing
    """
    settings.require("odoo_url", "odoo_database", "odoo_api_key")
    assert settings.odoo_url is not None
    assert settings.odoo_database is not None
    return settings.odoo_url, settings.odoo_database, settings.odoo_login, secret(settings.odoo_api_key)


def require_schema(engine: sa.Engine) -> None:
    """Refuse tables that this version cannot use. The tables of an embedded database are upgraded instead.

    :raises bridge.errors.UnfitTables: says what to run
    """
    if engine.dialect.name == "sqlite":
        migrate.upgrade(engine)
    else:
        migrate.require_fit(engine)
