"""What leads to SQL Server by ODBC: URLs, Microsoft's driver itself, and what its errors mean. No server needed."""

from __future__ import annotations

import importlib.util
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError
from tenacity import wait_none

from bridge import retry
from bridge.errors import StoreUnavailable
from bridge.store import frozen, odbc
from bridge.store.engine import create_engine, in_transaction
from bridge.store.sql_errors import describe, is_conflict, is_transient

pyodbc = pytest.importorskip("pyodbc", reason="pyodbc, or unixODBC beneath it, is not installed", exc_type=ImportError)
needs_driver = pytest.mark.skipif(
    odbc.packaged_driver() is None, reason="the wheel mssql-python-odbc (Microsoft's ODBC Driver 18) is not installed"
)
SERVER = "srv.database.windows.net/crm"


def odbc_string(url: str) -> dict[str, str]:
    """What the driver gets for ``url``, by keyword."""
    engine = create_engine(url)
    [text], _ = engine.dialect.create_connect_args(engine.url)
    return dict(pair.split("=", 1) for pair in text.split(";"))


def test_a_login_of_sql_server_goes_encrypted_by_microsofts_driver() -> None:
    given = odbc_string(f"mssql+pyodbc://ana:p%40ss@{SERVER}")

    assert (given["UID"], given["PWD"], given["Server"], given["Database"]) == (
        "ana",
        "p@ss",
        "srv.database.windows.net",
        "crm",
    )
    assert given["Encrypt"] == "yes"
    assert "Driver 18" in given["DRIVER"] or "msodbcsql-18" in given["DRIVER"]
    assert "TrustServerCertificate" not in given


@pytest.mark.parametrize("name", ["Authentication", "authentication", "AUTHENTICATION"])
def test_a_managed_identity_needs_no_password_and_no_kerberos(name: str) -> None:
    given = odbc_string(f"mssql+pyodbc://@{SERVER}?{name}=ActiveDirectoryMsi")

    assert given["Authentication"] == "ActiveDirectoryMsi"
    assert not {"Trusted_Connection", "UID", "PWD"} & given.keys()


def test_a_managed_identity_of_ones_own_is_named_by_its_client_id() -> None:
    given = odbc_string(f"mssql+pyodbc://0000-1111@{SERVER}?Authentication=ActiveDirectoryMsi")

    assert (given["UID"], given["authentication"]) == ("0000-1111", "ActiveDirectoryMsi")


@pytest.mark.parametrize("name", ["Encrypt", "encrypt"])
def test_what_the_operator_says_of_encryption_holds(name: str) -> None:
    given = odbc_string(f"mssql+pyodbc://u:p@{SERVER}?{name}=strict")

    assert [value for key, value in given.items() if key.lower() == "encrypt"] == ["strict"]


def test_a_dsn_or_a_whole_odbc_string_is_left_alone() -> None:
    assert odbc_string("mssql+pyodbc://u:p@mydsn") == {"dsn": "mydsn", "UID": "u", "PWD": "p"}
    assert odbc_string("mssql+pyodbc:///?odbc_connect=Driver%3DX%3BServer%3DY") == {"Driver": "X", "Server": "Y"}


@pytest.mark.parametrize(
    ("driver", "fast"),
    [("ODBC+Driver+18+for+SQL+Server", True), ("ODBC+Driver+17+for+SQL+Server", True), ("FreeTDS", False)],
)
def test_fast_executemany_and_encryption_are_for_microsofts_driver(driver: str, fast: bool) -> None:
    url = f"mssql+pyodbc://u:p@localhost/db?driver={driver}"

    assert create_engine(url).dialect.fast_executemany is fast  # type: ignore[attr-defined]
    assert ("Encrypt" in odbc_string(url)) is fast
    assert create_engine(url, {"fast_executemany": not fast}).dialect.fast_executemany is not fast  # type: ignore[attr-defined]


@needs_driver
@pytest.mark.parametrize("how", ["u:p@127.0.0.1:9/db?", "@127.0.0.1:9/db?Authentication=ActiveDirectoryMsi&"])
def test_microsofts_driver_loads_and_a_server_that_is_not_there_is_an_outage(how: str) -> None:
    engine = create_engine(f"mssql+pyodbc://{how}driver={odbc.packaged_driver()}", {"connect_args": {"timeout": 1}})
    with pytest.raises(StoreUnavailable, match=r"nothing listens at this address and port \(08001\)"):
        in_transaction(engine, lambda connection: connection.execute(sa.select(1)))


def test_a_driver_that_is_not_there_is_said_in_words() -> None:
    engine = create_engine("mssql+pyodbc://u:p@127.0.0.1/db?driver=Nothing+of+the+Kind")
    words = r"the ODBC driver (cannot be loaded|is not installed).*Install the driver that the URL names"
    with pytest.raises(StoreUnavailable, match=words):
        in_transaction(engine, lambda connection: connection.execute(sa.select(1)))


@pytest.mark.skipif(importlib.util.find_spec("mssql_python_odbc") is None, reason="the wheel is not installed")
def test_the_driver_of_the_wheel_is_found_without_registering_it() -> None:
    assert odbc.packaged_driver()


# --- Its errors, as pyodbc words them --------------------------------------------------------------------------------

DUPLICATE = (
    "[23000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Violation of UNIQUE KEY constraint "
    "'uq_contacts_manychat_id'. Cannot insert duplicate key in object 'dbo.contacts'. The duplicate key value is "
    "({key}). (2627) (SQLExecute); [23000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]The statement has "
    "been terminated. (3621)"
)
DEADLOCK = (
    "[40001] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Transaction (Process ID 62) was deadlocked on lock "
    "resources with another process and has been chosen as the deadlock victim. Rerun the transaction. (1205) "
    "(SQLParamData)"
)
BUSY = (
    "[HY000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]The service is currently busy. (40501) (SQLExecute)"
)
GONE = "[08S01] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x68 (104) (SQLExecDirectW)"
SNAPSHOT = (
    "[HY000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Snapshot isolation transaction aborted due to "
    "update conflict. You cannot use snapshot isolation to access table 'dbo.contacts' directly or indirectly in "
    "database 'crm' to update, delete, or insert the row that has been modified or deleted by another transaction. "
    "(3960) (SQLExecute)"
)
TOO_LONG = (
    "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]String or binary data would be truncated in table "
    "'crm.dbo.contacts', column 'phone'. Truncated value: 'call (1205) 40613'. (2628) (SQLExecute)"
)
NO_ROOM = "String data, right truncation: length 130 buffer 128"


def error(kind: type[sa.exc.DBAPIError], original: str, state: str, text: str, invalidated: bool = False) -> Any:
    return kind("(a statement)", None, getattr(pyodbc, original)(state, text), True, invalidated)


def words(number: int, text: str = "Some text.", state: str = "42000") -> str:
    quoted = f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]{text} ({number}) (SQLDriverConnect)"
    return describe(DBAPIError(None, None, pyodbc.Error(state, quoted), True))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (40613, "the database is starting, or paused"),
        (18456, "login refused"),
        (4060, "there is no such database"),
        (40615, "the server's firewall refuses this address"),
        (229, "a right is missing"),
        (9002, "the transaction log is full"),
        (40544, "the database has reached its size limit"),
    ],
)
def test_each_number_has_its_own_words_whatever_the_state(number: int, said: str) -> None:
    for state in ("42000", "HY000", "28000"):
        assert words(number, state=state).startswith(said)
        assert str(number) in words(number, state=state)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does so with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=[connection], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def outage(port: int, **query: str) -> str:
    """What the bridge says of a server at that port. Microsoft's own driver tries to log in."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    engine = create_engine(f"mssql+pyodbc://u:p@127.0.0.1:{port}/db?driver={odbc.packaged_driver()}{more}")
    with pytest.raises(StoreUnavailable) as caught:
        in_transaction(engine, lambda connection: connection.execute(sa.select(1)))
    return str(caught.value)


@needs_driver
def test_a_server_that_hangs_during_the_login_is_an_outage_in_bounded_time_also_with_strict_encryption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the limit the driver waits for minutes.
    monkeypatch.setattr(frozen, "LOGIN_SECONDS", 1)
    ended = threading.Event()
    with server(lambda _: ended.wait() and None) as port:
        said = outage(port, Encrypt="strict")
        ended.set()

    assert said.startswith("no answer in time (HYT00)")
    assert "Encrypt=yes" in said


@needs_driver
def test_a_self_signed_certificate_is_said_to_be_one(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["tds/8.0"])

    def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            context.wrap_socket(connection, server_side=True)

    with server(answer) as port:
        said = outage(port, Encrypt="strict")
    assert said.startswith("the server's certificate is not trusted")
    assert "TrustServerCertificate" in said


@needs_driver
def test_strict_encryption_with_a_server_that_does_not_know_it_says_what_to_write() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"\x04\x01\x00\x25" + b"\0" * 33)
        connection.close()

    with server(answer) as port:
        assert "Encrypt=yes" in outage(port, Encrypt="strict")


def test_the_ping_of_sql_server_waits_for_less_than_a_statement() -> None:
    limits: list[int] = []
    cursor = SimpleNamespace(execute=lambda _: limits.append(connection.timeout), close=lambda: None)
    connection: Any = SimpleNamespace(timeout=30, cursor=lambda: cursor)
    engine = create_engine(f"mssql+pyodbc://u:p@{SERVER}")
    assert engine.dialect.do_ping(connection)

    # Three times as long as the driver is told, and a login: within the time of one statement.
    assert [3 * limit + 15 <= frozen.STATEMENT_SECONDS for limit in limits] == [True]
    assert connection.timeout == 30


def test_a_duplicate_key_and_a_deadlock_are_conflicts() -> None:
    assert is_conflict(error(IntegrityError, "IntegrityError", "23000", DUPLICATE.format(key="MC1")))
    assert is_conflict(error(OperationalError, "OperationalError", "40001", DEADLOCK))
    assert is_conflict(error(DBAPIError, "Error", "HY000", SNAPSHOT))
    assert not is_conflict(error(ProgrammingError, "ProgrammingError", "42000", TOO_LONG))


def test_a_value_that_an_error_quotes_is_not_taken_for_its_number_nor_shown() -> None:
    duplicate = error(IntegrityError, "IntegrityError", "23000", DUPLICATE.format(key="4711"))

    assert describe(duplicate) == "IntegrityError (23000 2627 3621)"


@pytest.mark.parametrize(("state", "text"), [("HY000", BUSY), ("08S01", GONE)])
def test_what_azure_sql_breaks_off_is_run_again_and_then_an_outage(
    monkeypatch: pytest.MonkeyPatch, state: str, text: str
) -> None:
    # The error cannot be had here, so it is raised by hand; the transaction around it is real.
    monkeypatch.setattr(retry, "SQL_TRANSIENT", wait_none())
    broken = error(OperationalError, "OperationalError", state, text)
    assert is_transient(broken)
    runs: list[int] = []

    def work(_connection: sa.Connection, breaks: int) -> str:
        runs.append(1)
        if len(runs) <= breaks:
            raise broken
        return "done"

    engine = sa.create_engine("sqlite://")
    assert in_transaction(engine, work, 3) == "done"
    runs.clear()
    with pytest.raises(StoreUnavailable):
        in_transaction(engine, work, 4)


@pytest.mark.parametrize(
    ("original", "state", "text"), [("ProgrammingError", "42000", TOO_LONG), ("Error", "HY000", NO_ROOM)]
)
def test_a_text_that_a_column_has_no_room_for_is_the_datas_fault_and_stops_no_bridge(
    original: str, state: str, text: str
) -> None:
    def work(_connection: sa.Connection) -> None:
        raise error(ProgrammingError, original, state, text)

    with pytest.raises(DataError):
        in_transaction(sa.create_engine("sqlite://"), work)
