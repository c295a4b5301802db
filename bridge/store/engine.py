"""Engines with the product's settings, and transactions that run again after a conflict or a transient fault."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .. import metrics
from ..errors import BadDatabaseUrl, StoreUnavailable
from . import odbc
from .sql_errors import describe, is_conflict, is_too_long, is_transient

P = ParamSpec("P")
T = TypeVar("T")

#: Times a transaction runs that keeps meeting others on the same rows. Each meeting means that another one committed,
#: so this is far more than bridges there will be.
MAX_RUNS = 25
#: Seconds between runs of a transaction that the server broke off, or did not want just then, while it was about
#: something of its own. What lasts longer is an outage, which callers know how to wait for.
TRANSIENT_PAUSES = (0.2, 1.0, 3.0)
#: Seconds that SQLite waits for another process's transaction.
SQLITE_BUSY_SECONDS = 30
#: Seconds that PostgreSQL may take to let us in. SQL Server's driver has a limit of its own.
CONNECT_SECONDS = 10
#: Seconds that one statement may take on SQL Server before it counts as an outage.
STATEMENT_SECONDS = 30

# SQLAlchemy's option that puts all tables without a schema into another one, statement by statement.
_TRANSLATE = "schema_translate_map"


def create_engine(url: str, options: Mapping[str, Any] | None = None, schema: str | None = None) -> sa.Engine:
    """An engine for ``url`` with the product's settings; ``options`` of ``sqlalchemy.create_engine`` win over them.

    :param schema: where our tables are; default: where the database looks for names that have none
    :raises BadDatabaseUrl: not a URL, its driver is not installed, or it knows no schemas
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadDatabaseUrl("not a database URL such as sqlite:///miasalud.db") from None
    # hide_parameters: an error's text would otherwise carry people's data into logs.
    settings: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True, "pool_timeout": 10}
    if parsed.get_backend_name() == "mssql":
        # FreeTDS crashes the interpreter with it; Microsoft's driver is 5–10 times faster.
        parsed = odbc.complete(parsed)
        settings["fast_executemany"] = odbc.is_microsofts(parsed)
    if parsed.get_backend_name() == "sqlite":
        settings["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS}
    if parsed.get_driver_name().startswith("psycopg"):
        # It would wait for ever for a server that takes the connection and says nothing, and a quarter of an hour for
        # one whose machine has gone.
        milliseconds = STATEMENT_SECONDS * 1000
        settings["connect_args"] = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": milliseconds}
    settings |= options or {}
    if schema:
        if parsed.get_backend_name() == "sqlite":
            raise BadDatabaseUrl("SQLite has no schemas: give the bridge a file of its own")
        settings["execution_options"] = {**settings.get("execution_options", {}), _TRANSLATE: {None: schema}}
    try:
        engine = sa.create_engine(parsed, **settings)
    except ImportError as error:
        extra = " In a checkout, run: pip install '.[azure-sql]'" if "pyodbc" in str(error) else ""
        raise BadDatabaseUrl(f"its driver is not installed ({error.name or error}).{extra}") from None
    except (NoSuchModuleError, ArgumentError, TypeError) as error:
        raise BadDatabaseUrl(str(error)) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "mssql":
        sa.event.listen(engine, "connect", _prepare_mssql)
    return engine


def schema_of(bind: sa.Engine | sa.Connection) -> str | None:
    """The schema that :func:`create_engine` was given for ``bind``."""
    schemas: Mapping[str | None, str] = bind.get_execution_options().get(_TRANSLATE, {})
    return schemas.get(None)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's own BEGIN comes late and never IMMEDIATE; ours follows in _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later could otherwise fail with
    # "database is locked" without ever having waited. One that only reads (see `read`) needs no lock.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_mssql(connection: Any, _record: Any) -> None:
    if hasattr(connection, "timeout"):
        connection.timeout = STATEMENT_SECONDS


@contextmanager
def patience(connection: sa.Connection) -> Iterator[None]:
    """No limit to how long a statement may take: an index on a big table takes longer than a bridge may wait."""
    driver = connection.connection.driver_connection
    limit = getattr(driver, "timeout", None) if connection.dialect.name == "mssql" else None
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

    :raises StoreUnavailable: the database's fault
    :raises DataError, IntegrityError: the data's fault
    """
    with metrics.sql_transaction():
        return _repeat(engine, lambda connection: work(connection, *arguments, **named))


def read(
    engine: sa.Engine, work: Callable[Concatenate[sa.Connection, P], T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Run ``work(connection, …)``, which must not write, as :func:`in_transaction` does. It waits for no writer."""
    return in_transaction(engine.execution_options(reading=True), work, *arguments, **named)


def _repeat(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    pauses = iter(TRANSIENT_PAUSES)
    for run in range(1, MAX_RUNS + 1):
        is_worked_off = False
        try:
            with _transaction(engine) as connection:
                result = work(connection)
                is_worked_off = True
            return result
        except PoolTimeout:
            raise StoreUnavailable("all database connections are in use") from None
        except DBAPIError as error:
            if run < MAX_RUNS and is_conflict(error):
                metrics.SQL_REPEATS.inc()
                time.sleep(random.uniform(0, 0.01 * run))  # noqa: S311 (not for security)
                continue
            if not is_worked_off and is_transient(error) and (pause := next(pauses, None)) is not None:
                time.sleep(pause)
                continue
            if is_too_long(error):
                raise DataError("(a statement)", None, error.orig, hide_parameters=True) from None  # type: ignore[arg-type]
            if isinstance(error, (DataError, IntegrityError)) and not error.connection_invalidated:
                raise
            raise StoreUnavailable(describe(error)) from None
    raise AssertionError("unreachable")


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """``engine.begin()``, but what ``work`` failed of comes out of it even if rolling back fails too.

    It does where the connection is gone, and on T-SQL servers that end a transaction at an error without telling the
    driver: rolling back then is error 3903, which says nothing of the deadlock that it followed.
    """
    with engine.connect() as connection:
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
