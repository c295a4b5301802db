"""Connecting to the database, and what a transaction does when another one, or the database, is in the way."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .. import metrics
from ..outage import Outage

T = TypeVar("T")

#: Times a transaction runs that keeps meeting others on the same rows. Each meeting means that another one committed,
#: so this is far more than bridges there will be.
MAX_RUNS = 25
#: Seconds that SQLite waits for another process's transaction.
SQLITE_BUSY_SECONDS = 30
#: Seconds that one statement may take on SQL Server before it counts as an outage.
STATEMENT_SECONDS = 30

# SQL Server's error numbers: duplicate key in a constraint, in an index; deadlock victim; snapshot conflict.
_MSSQL_CONFLICTS = {2627, 2601, 1205, 3960}
# PostgreSQL's: unique violation, serialization failure, deadlock.
_POSTGRESQL_CONFLICTS = {"23505", "40001", "40P01"}


class StoreUnavailable(Outage):
    """The database cannot be used just now: away, locked, full, or without the tables or rights that we need."""

    dependency = "SQL"


class BadDatabaseUrl(ValueError):
    """The database URL or its options cannot work, in words for whoever set them."""


def create_engine(url: str, options: Mapping[str, Any] | None = None) -> sa.Engine:
    """An engine for ``url`` with the product's settings; ``options`` of ``sqlalchemy.create_engine`` win over them.

    :raises BadDatabaseUrl: not a URL, or its driver is not installed
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadDatabaseUrl("not a database URL such as sqlite:///miasalud.db") from None
    # hide_parameters: an error's text would otherwise carry people's data into logs.
    settings: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True, "pool_timeout": 10}
    if parsed.get_backend_name() == "mssql":
        # FreeTDS crashes the interpreter with it; Microsoft's driver is 5–10 times faster.
        settings["fast_executemany"] = _is_microsofts_driver(parsed)
    if parsed.get_backend_name() == "sqlite":
        settings["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS}
    try:
        engine = sa.create_engine(parsed, **{**settings, **(options or {})})
    except ImportError as error:
        extra = " Install miasalud-bridge[azure-sql]." if "pyodbc" in str(error) else ""
        raise BadDatabaseUrl(f"its driver is not installed ({error.name or error}).{extra}") from None
    except (NoSuchModuleError, ArgumentError, TypeError) as error:
        raise BadDatabaseUrl(str(error)) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "mssql":
        sa.event.listen(engine, "connect", _prepare_mssql)
    return engine


def _is_microsofts_driver(url: URL) -> bool:
    named = f"{url.query.get('driver', '')} {url.query.get('odbc_connect', '')}"
    return bool(re.search(r"ODBC[ +]Driver[ +]\d+|msodbcsql", named, re.IGNORECASE))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's own BEGIN comes late and never IMMEDIATE; ours follows in _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later could otherwise fail with
    # "database is locked" without ever having waited.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _prepare_mssql(connection: Any, _record: Any) -> None:
    if hasattr(connection, "timeout"):
        connection.timeout = STATEMENT_SECONDS


def in_transaction(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    """Run ``work`` in one transaction and commit it.

    A duplicate key means that somebody else inserted the row after ``work`` had looked for it; a deadlock, that two
    waited for each other. Both are answered by running ``work`` again, which now finds the other's row and updates it.
    This needs no MERGE, no savepoints and no lock hints, and is the same on every database.

    :raises StoreUnavailable: the database's fault
    :raises DataError, IntegrityError: the data's fault
    """
    with metrics.sql_transaction():
        return _repeat(engine, work)


def _repeat(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    for run in range(1, MAX_RUNS + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except PoolTimeout:
            raise StoreUnavailable("all database connections are in use") from None
        except DBAPIError as error:
            if run < MAX_RUNS and is_conflict(error):
                metrics.SQL_REPEATS.inc()
                time.sleep(random.uniform(0, 0.01 * run))  # noqa: S311 (not for security)
                continue
            if isinstance(error, (DataError, IntegrityError)) and not error.connection_invalidated:
                raise
            raise StoreUnavailable(describe(error)) from None
    raise AssertionError("unreachable")


def is_conflict(error: DBAPIError) -> bool:
    """Whether ``error`` says that another transaction was in the way, so that running again helps."""
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state is not None:
        return state in _POSTGRESQL_CONFLICTS
    if type(original).__module__.startswith("sqlite3"):
        return "UNIQUE constraint failed" in str(original)
    return bool(_MSSQL_CONFLICTS & mssql_numbers(error))


def mssql_numbers(error: DBAPIError) -> set[int]:
    """SQL Server's error numbers in ``error``: ODBC hides them in its text, as in ``… duplicate key … (2627)``."""
    return {int(number) for number in re.findall(r"\((\d{3,5})\)", str(error.orig))}


def describe(error: DBAPIError) -> str:
    """``error`` in words that are safe to log: its kind and state, never its text, which may quote people's data."""
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    state = state or getattr(original, "sqlite_errorname", None)
    if state is None and original is not None and type(original).__module__.startswith("pyodbc") and original.args:
        numbers = "/".join(str(number) for number in sorted(mssql_numbers(error)))
        state = f"{original.args[0]} {numbers}".strip()
    kind = type(original).__name__
    return f"{kind} ({state})" if state else kind
