"""A server that holds a connection and does not answer is noticed in bounded time: by each statement and by the login.

Each connection from the pool is pinged before it is used. Microsoft's driver waits for three times the time-out of a
statement, so the ping has a shorter one. psycopg waits without end, so its connections get a time-out for statements,
named as pyodbc names it. And the ODBC driver's login time-out does not hold during the TLS handshake of
``Encrypt=strict``, so the login has a limit too; and a look at an address where nothing listens ends it sooner.
"""

from __future__ import annotations

import errno
import functools
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

#: Seconds for one statement. A slower one counts as an outage. The driver of SQL Server makes it three times as many if
#: the server is frozen, and not only slow.
STATEMENT_SECONDS = 30
#: Seconds for the answer to a ping; likewise.
PING_SECONDS = 4
#: Seconds after which a login is slow, so that it is worth looking whether anything listens; and for this look. The
#: driver itself tries a refused port or an unknown host again and again, and then says that it got no answer.
SLOW_SECONDS = 1
LOOK_SECONDS = 3
#: Seconds for a login to SQL Server. The driver's own limit, 15 seconds, comes first where it holds.
LOGIN_SECONDS = 20


def notice_frozen_servers(engine: sa.Engine) -> None:
    """Give the statements and pings of ``engine``, and its login to SQL Server, a limit."""
    dialect = engine.dialect
    if dialect.name == "mssql":
        sa.event.listen(engine, "do_connect", _log_in)
    elif dialect.driver == "psycopg":
        sa.event.listen(engine, "do_connect", _connect_postgresql)
    else:
        return
    sa.event.listen(engine, "connect", _limit_statements)
    dialect.do_ping = functools.partial(_ping, dialect.do_ping)  # type: ignore[method-assign]


def _limit_statements(connection: Any, _record: Any) -> None:
    if hasattr(connection, "timeout"):
        connection.timeout = STATEMENT_SECONDS


def _ping(ping: Callable[[Any], bool], connection: Any) -> bool:
    if not hasattr(connection, "timeout"):
        return ping(connection)
    limit = connection.timeout
    connection.timeout = PING_SECONDS
    try:
        return ping(connection)
    finally:
        connection.timeout = limit


def _connect_postgresql(dialect: sa.Dialect, _record: Any, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
    driver: Any = dialect.loaded_dbapi
    return _limited(driver).connect(*arguments, **named)


@functools.cache
def _limited(psycopg: Any) -> Any:
    """psycopg's class of connections, with a time-out. It is imported only for PostgreSQL."""

    class Limited(psycopg.Connection):  # type: ignore[misc]
        #: Seconds for one statement; 0: without end.
        timeout: float = 0

        def wait(self, steps: Any, *arguments: Any, **named: Any) -> Any:
            # Every statement, commit and rollback waits here. While the server is silent, psycopg looks into `steps`
            # ten times a second.
            if self.timeout:
                steps = self._until(steps, time.monotonic() + self.timeout)
            return super().wait(steps, *arguments, **named)

        def _until(self, steps: Any, deadline: float) -> Generator[Any, Any, Any]:
            try:
                wanted = next(steps)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > deadline:
                        self._give_up()
                    wanted = steps.send(ready)
            except StopIteration as end:
                return end.value

        def _give_up(self) -> None:
            # A slow server would go on with the statement, and hold its locks.
            if psycopg.capabilities.has_cancel_safe():
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=PING_SECONDS)
            self.close()
            raise psycopg.errors.QueryCanceled("no answer in time")

    return Limited


def _log_in(dialect: sa.Dialect, _record: Any, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
    connecting: Future[Any] = Future()

    def connect() -> None:
        try:
            connecting.set_result(dialect.connect(*arguments, **named))
        except BaseException as error:
            connecting.set_exception(error)

    # A daemon: a login that hangs must not keep the process from ending.
    threading.Thread(target=connect, name="login", daemon=True).start()
    # An operator may have given the driver more time: BRIDGE_DATABASE_OPTIONS={"connect_args": {"timeout": 60}}.
    limit = max(LOGIN_SECONDS, 1.25 * (named.get("timeout") or 0))
    errors: Any = dialect.loaded_dbapi
    try:
        return connecting.result(SLOW_SECONDS)
    except FutureTimeout:
        pass
    except errors.OperationalError as error:
        if error.args[0] != "HYT00":  # no answer within a limit of the operator's own
            raise
    if fault := _fault_of_address(str(arguments[0]) if arguments else ""):
        connecting.add_done_callback(_close_late)
        raise errors.OperationalError("08001", f"[08001] {fault} (0)")
    try:
        return connecting.result(limit)
    except FutureTimeout:
        connecting.add_done_callback(_close_late)
        raise errors.OperationalError("HYT00", f"[HYT00] No login within {limit:g} seconds (0)") from None


def _fault_of_address(odbc: str) -> str:
    """Why nothing answers at the server of an ODBC string; empty if something listens, or it has no plain address."""
    server = re.search(r"(?:^|;)\s*Server\s*=\s*(?:tcp:)?([\w.-]+)(?:,(\d+))?\s*(?:;|$)", odbc, re.IGNORECASE)
    if not server:
        return ""
    try:
        socket.create_connection((server[1], int(server[2] or 1433)), LOOK_SECONDS).close()
    except socket.gaierror as error:
        # Without DNS nothing is known of the name.
        return "no host of this name" if error.errno == socket.EAI_NONAME else ""
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as error:
        return "no route to host" if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH) else ""
    return ""


def _close_late(connected: Future[Any]) -> None:
    if connected.exception() is None:
        connected.result().close()
