"""Engines with the product's settings, and transactions that run again after a conflict or a transient fault."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from .. import metrics, progress, retry
from ..errors import BadDatabaseUrl, ConfigurationError, StoreMisconfigured, StoreRefused, StoreUnavailable
from . import engine_options, odbc
from . import url as urls
from .frozen import notice_frozen_servers
from .moved import follow_file
from .sql_errors import (
    describe,
    is_conflict,
    is_of_the_settings,
    is_stale,
    is_too_long,
    is_transient,
    may_be_of_the_data,
)
from .transaction_spans import export_transactions

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that SQLite waits for another process's transaction.
SQLITE_BUSY_SECONDS = 30
#: Seconds for connecting to PostgreSQL. SQL Server's driver has its own limit.
CONNECT_SECONDS = 10

# SQLAlchemy's option that gives all tables without a schema a schema, in each statement.
_TRANSLATE = "schema_translate_map"


def create_engine(url: str, options: Mapping[str, Any] | None = None, schema: str | None = None) -> sa.Engine:
    """An engine for ``url`` with the product's settings.

    :param options: of ``sqlalchemy.create_engine``; they override the product's settings
    :param schema: of our tables; default: the schema that the database uses for names without one
    :raises BadDatabaseUrl: not a URL, its driver is not installed, or the database has no schemas
    :raises BadDatabaseOptions: unknown options, or values that cannot work
    """
    parsed, options = urls.parse(url), options or {}
    engine_options.require_types(options)
    # hide_parameters: otherwise an error's text would put personal data into logs.
    settings: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True, "pool_timeout": 10}
    if parsed.get_backend_name() == "mssql":
        # fast_executemany makes Microsoft's driver 5–10 times faster. With FreeTDS it crashes the interpreter.
        parsed = odbc.complete(parsed)
        odbc.require_usable(parsed)
        settings["fast_executemany"] = odbc.is_microsofts(parsed)
    if parsed.get_backend_name() == "sqlite":
        settings["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS}
    if parsed.get_driver_name().startswith("psycopg"):
        # Without a limit psycopg waits without end for a server that accepts the connection and does not answer.
        settings["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    connect_args = settings.get("connect_args", {}) | options.get("connect_args", {})
    settings |= {**options, "connect_args": connect_args}
    if schema:
        if parsed.get_backend_name() == "sqlite":
            raise BadDatabaseUrl("SQLite has no schemas: give the bridge a file of its own")
        settings["execution_options"] = {**settings.get("execution_options", {}), _TRANSLATE: {None: schema}}
    try:
        sa.create_engine(parsed)
    except ImportError as error:
        raise BadDatabaseUrl(urls.missing_driver(parsed, error)) from None
    except (NoSuchModuleError, ArgumentError, TypeError, ValueError) as error:
        raise BadDatabaseUrl(f"SQLAlchemy does not take it ({type(error).__name__})") from None
    engine_options.require_accepted(options, partial(sa.create_engine, parsed))
    engine = sa.create_engine(parsed, **settings)
    sa.event.listen(engine, "before_cursor_execute", lambda *_: progress.mark())
    sa.event.listen(engine, "handle_error", _leave_stale_connections)
    if engine.dialect.name == "sqlite":
        follow_file(engine)  # before the next one, which creates the file
        sa.event.listen(engine, "do_connect", _create_private_file)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    notice_frozen_servers(engine)
    export_transactions(engine)
    return engine


def schema_of(bind: sa.Engine | sa.Connection) -> str | None:
    """The ``schema`` that :func:`create_engine` got for ``bind``."""
    schemas: Mapping[str | None, str] = bind.get_execution_options().get(_TRANSLATE, {})
    return schemas.get(None)


def _create_private_file(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    # SQLite itself would let every user of the machine read what people said. It gives its -wal and -shm files the
    # permissions of the database file. An existing file keeps what the operator chose.
    path = str(arguments[0])
    if options.get("uri"):
        path = unquote(urlsplit(path).path)
    if path in ("", ":memory:"):
        return
    with suppress(OSError):  # it exists, or SQLite says better why it cannot be opened
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


def _leave_stale_connections(context: sa.ExceptionContext) -> None:
    # SQLite opens a file that is read-only at that moment for reading, and the connection stays so for ever. Likewise a
    # connection to a server that has become a replica. SQLAlchemy then replaces all connections of the pool.
    if isinstance(context.sqlalchemy_exception, DBAPIError) and is_stale(context.sqlalchemy_exception):
        context.is_disconnect = True


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's own BEGIN comes late and is never IMMEDIATE. _begin_sqlite sends ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten: free pages would keep an erased person.
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once. Otherwise a transaction that reads first and writes later could fail with
    # "database is locked" without any wait. A transaction that only reads (see `read`) needs no lock.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def patience(connection: sa.Connection) -> Iterator[None]:
    """Lift the time limit of statements: an index on a big table takes longer than a bridge may wait."""
    driver = connection.connection.driver_connection
    limit = getattr(driver, "timeout", None)
    if limit is None:
        yield
        return
    driver.timeout = 0  # type: ignore[union-attr]
    try:
        yield
    finally:
        driver.timeout = limit  # type: ignore[union-attr]


def in_transaction(
    engine: sa.Engine, work: Callable[Concatenate[sa.Connection, P], T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Run ``work(connection, …)`` in one transaction and commit it.

    A duplicate key means that another transaction inserted the row after ``work`` had looked for it. A deadlock means
    that two transactions waited for each other. In both cases ``work`` runs again, finds the other transaction's row
    and updates it. This needs no MERGE, no savepoints and no lock hints, and is the same on every database. ``work``
    also runs again after a fault that Azure SQL calls transient, unless the commit failed: its result is then unknown.

    :raises StoreUnavailable: the database's fault; :class:`StoreRefused`: perhaps the data's (see :mod:`.refusal`)
    :raises DataError, IntegrityError: the data's fault
    """
    with _timed():
        return _repeat(engine, lambda connection: work(connection, *arguments, **named))


def read(
    engine: sa.Engine, work: Callable[Concatenate[sa.Connection, P], T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Run ``work(connection, …)``, which must not write, as :func:`in_transaction` does. It waits for no writer."""
    return in_transaction(engine.execution_options(reading=True), work, *arguments, **named)


def _repeat(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    has_worked = False

    def run() -> T:
        nonlocal has_worked
        has_worked = False
        progress.mark()
        with _transaction(engine) as connection:
            result = work(connection)
            has_worked = True
        return result

    def is_worth_repeating(error: BaseException) -> bool:
        # After the work only the commit is left to fail, and the result of a failed commit is unknown.
        return isinstance(error, DBAPIError) and not has_worked and is_transient(error)

    after_conflict = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, DBAPIError) and is_conflict(error)),
        wait=retry.SQL_CONFLICT,
        stop=stop_after_attempt(retry.SQL_CONFLICT_RUNS),
        before_sleep=lambda _: metrics.SQL_REPEATS.inc(),
        reraise=True,
    )
    after_fault = Retrying(
        retry=retry_if_exception(is_worth_repeating),
        wait=retry.SQL_TRANSIENT,
        stop=stop_after_attempt(retry.SQL_TRANSIENT_RUNS),
        reraise=True,
    )
    try:
        return after_fault(lambda: after_conflict(run))
    except PoolTimeout:
        raise StoreUnavailable("all database connections are in use") from None
    except DBAPIError as error:
        if is_too_long(error):
            raise DataError("(a statement)", None, error.orig, hide_parameters=True) from None  # type: ignore[arg-type]
        if isinstance(error, (DataError, IntegrityError)) and not error.connection_invalidated:
            raise
        if may_be_of_the_data(error):
            raise StoreRefused(describe(error, engine.url), error) from None
        if is_of_the_settings(error):
            raise StoreMisconfigured(describe(error, engine.url)) from None
        raise StoreUnavailable(describe(error, engine.url)) from None


@contextmanager
def _timed() -> Iterator[None]:
    """Time a transaction with all its runs."""
    started, result = time.monotonic(), "failed"
    try:
        yield
        result = "ok"
    finally:
        metrics.SQL.labels(result).observe(time.monotonic() - started)


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """``engine.begin()``, but an error within it is raised even if the rollback fails too.

    A rollback fails if the connection is lost, or if the server has ended the transaction itself (error 3903, which
    would hide the deadlock before it).
    """
    with _connect(engine) as connection:
        transaction = connection.begin()
        try:
            yield connection
        except BaseException:
            try:
                transaction.rollback()
            except DBAPIError:
                connection.invalidate()
            raise
        transaction.commit()


def _connect(engine: sa.Engine) -> sa.Connection:
    """
    :raises ConfigurationError: the driver itself refuses how it is called; no server was asked
    """
    try:
        return engine.connect()
    except (TypeError, ValueError) as error:
        kind = type(error).__name__
    except ProgrammingError as error:
        # psycopg refuses an option so. pyodbc says the same of what SQL Server answers to a login.
        if engine.dialect.name != "postgresql" or getattr(error.orig, "sqlstate", None):
            raise
        kind = type(error).__name__
    raise ConfigurationError(
        f"The driver {engine.dialect.driver} does not take connect_args of BRIDGE_DATABASE_OPTIONS, or what stands "
        f"behind the question mark of BRIDGE_DATABASE_URL ({kind}). Correct them."
    )
