"""A server that holds a connection and does not answer is noticed in bounded time: by the ping and by the login.

Each connection from the pool is pinged before it is used. Microsoft's driver waits for three times the time-out of a
statement, so the ping has a shorter one. psycopg waits without end, so the ping reads from its socket with a limit. And
the driver's login time-out does not hold during the TLS handshake of ``Encrypt=strict``, so the login has a limit too.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import sqlalchemy as sa

#: Seconds for the answer to a ping; the driver of SQL Server makes it three times as many.
PING_SECONDS = 4
#: Seconds for a login to SQL Server. The driver's own limit, 15 seconds, comes first where it holds.
LOGIN_SECONDS = 20


def notice_frozen_servers(engine: sa.Engine) -> None:
    """Give the ping of ``engine``, and its login to SQL Server, a limit."""
    dialect = engine.dialect
    if dialect.name == "mssql":
        sa.event.listen(engine, "do_connect", _log_in)
        ping = dialect.do_ping
        dialect.do_ping = lambda connection: _ping_mssql(connection, ping)  # type: ignore[method-assign, assignment]
    elif dialect.driver == "psycopg":
        dialect.do_ping = _ping_postgresql  # type: ignore[method-assign, assignment]


def _ping_mssql(connection: Any, ping: Callable[[Any], bool]) -> bool:
    limit = connection.timeout
    connection.timeout = PING_SECONDS
    try:
        return ping(connection)
    finally:
        connection.timeout = limit


def _ping_postgresql(connection: Any) -> bool:
    """Send an empty query and wait for its result.

    :return: ``False`` if it does not come; the connection is closed then
    """
    server = connection.pgconn
    deadline = time.monotonic() + PING_SECONDS
    try:
        server.send_query(b"")
        with selectors.DefaultSelector() as selector:
            selector.register(server.socket, selectors.EVENT_READ)
            while True:
                while server.is_busy():
                    if not selector.select(max(deadline - time.monotonic(), 0)):
                        connection.close()
                        return False
                    server.consume_input()
                if server.get_result() is None:
                    return True
    except Exception:  # of any kind: the connection is of no use, and the pool makes another one
        connection.close()
        return False


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
    try:
        return connecting.result(limit)
    except FutureTimeout:
        connecting.add_done_callback(_close_late)
        errors: Any = dialect.loaded_dbapi
        raise errors.OperationalError("HYT00", f"[HYT00] No login within {limit:g} seconds (0)") from None


def _close_late(connected: Future[Any]) -> None:
    if connected.exception() is None:
        connected.result().close()
