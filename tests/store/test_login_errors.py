"""A database that lets nobody in says why, in a sentence: PostgreSQL itself; SQL Server's login is a stand-in."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from bridge.errors import BadDatabaseUrl, StoreMisconfigured, StoreUnavailable
from bridge.store import login_errors, odbc
from bridge.store.engine import create_engine, in_transaction

from ..bridge.entra import CLIENT_ID, Certificate, Entra
from .tds import Tds, serving

ROOT = Path(__file__).parents[2]
PASSWORD = "s3cret-passw0rd"
needs_driver = pytest.mark.skipif(
    odbc.packaged_driver() is None, reason="the wheel mssql-python-odbc (Microsoft's ODBC Driver 18) is not installed"
)


def said(url: str | URL, error: type[StoreUnavailable] = StoreUnavailable) -> str:
    """What the bridge says of a database that it cannot use."""
    engine = create_engine(url if isinstance(url, str) else url.render_as_string(hide_password=False))
    try:
        with pytest.raises(error) as caught:
            in_transaction(engine, lambda connection: connection.execute(sa.select(1)))
    finally:
        engine.dispose()
    text = str(caught.value)
    assert PASSWORD not in text
    return text


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgresql(engine: sa.Engine) -> URL:
    """The URL of a real server, which asks for passwords."""
    if engine.dialect.name != "postgresql" or engine.dialect.driver != "psycopg":
        pytest.skip("needs PostgreSQL: make test-store")
    return engine.url


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": PASSWORD}, "login refused: Are user and password in the URL right?"),
        ({"username": "nosuch", "password": PASSWORD}, "login refused: Are user"),
        ({"database": "nosuch"}, "there is no such database: Create it"),
        ({"port": 9}, "nothing listens at this address and port: Is the server running?"),
        ({"host": "nosuch.invalid"}, "there is no host of this name: Is the URL's host right?"),
        ({"query": {"sslmode": "require"}}, "the server has no TLS: "),
        ({"host": None, "query": {"host": "/nowhere"}}, "no server at this socket: "),
    ],
)
def test_postgresql_says_what_is_wrong_with_the_login(postgresql: URL, change: dict[str, Any], words: str) -> None:
    assert said(postgresql.set(**change)).startswith(words)


def test_postgresql_without_a_password_and_in_silence(postgresql: URL, silent: int) -> None:
    bare = URL.create("postgresql+psycopg", postgresql.username, None, postgresql.host, postgresql.port, "postgres")
    assert said(bare).startswith("login refused, the URL has no password: ")
    query = {"connect_timeout": "2"}
    assert said(postgresql.set(port=silent, query=query)).startswith("no answer in time: Is the server running?")


def test_an_option_that_postgresqls_driver_does_not_know_is_no_outage(postgresql: URL) -> None:
    assert "behind the ?" in said(postgresql.set(query={"sslmode": "nosuch"}), StoreMisconfigured)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FATAL:  la autentificación password falló para el usuario «ana»", "login refused"),
        ("FATAL:  no existe la base de datos «crm»", "there is no such database"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", no encryption', "encrypted"),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", SSL encryption', "this machine in"),
        ("FATAL:  sorry, too many clients already", "no connection left"),
        ('FATAL:  role "ana" is not permitted to log in', "may not log in"),
        ('FATAL:  role "ana" does not exist', "no such user"),
        ('FATAL:  permission denied for database "crm"', "may not use this database"),
        ("FATAL:  the database system is starting up", "stopping or starting"),
        ("FATAL:  el sistema de base de datos está iniciándose", "stopping or starting"),
        ('could not translate host name "x" to address: Name or service not known', "no host"),
        ('root certificate file "/root/.postgresql/root.crt" does not exist', "certificate"),
        ("SSL error: certificate verify failed", "certificate"),
        ('server certificate for "a" does not match host name "b"', "another name"),
        ("server closed the connection unexpectedly", "closed the connection"),
    ],
)
def test_what_only_other_servers_say_has_words_too(text: str, words: str) -> None:
    found = login_errors.postgresql_words(f'connection to server at "srv", port 5432 failed: {text}')
    assert found is not None
    assert words in found[0]


# --- SQL Server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tds(certificate: Certificate) -> Iterator[Tds]:
    with serving(certificate.certificate, certificate.key) as tds:
        yield tds


@pytest.fixture
def tenant(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    """An identity endpoint, which this process has in its environment."""
    tenant = Entra(certificate)
    for name, value in tenant.environment("system-assigned").items():
        monkeypatch.setenv(name, value)
    yield tenant
    tenant.stop()


def mssql(port: int, login: str = f"ana:{PASSWORD}", **query: str) -> str:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return (
        f"mssql+pyodbc://{login}@127.0.0.1:{port}/crm?driver={odbc.packaged_driver()}&TrustServerCertificate=yes{more}"
    )


FIREWALL = (
    "Cannot open server 'srv' requested by the login. Client with IP address '203.0.113.7' is not allowed to access "
    "the server.  To enable access, use the Azure Management Portal."
)


@needs_driver
@pytest.mark.parametrize(
    ("number", "text", "words"),
    [
        (18456, "Login failed for user 'ana'.", "login refused (28000 18456): Are user and password"),
        (
            18456,
            "Login failed for user '<token-identified principal>'.",
            "login refused, the identity is no user of this database (28000 18456): As the server's",
        ),
        (
            18486,
            "Login failed for user 'ana' because the account is currently locked out.",
            "login refused, it is lock",
        ),
        (18487, "Login failed for user 'ana'. Reason: The password of the account has expired.", "login refused, its"),
        (4060, 'Cannot open database "crm" requested by the login.', "there is no such database, or the login is no"),
        (916, 'The server principal "ana" is not able to access the database "crm".', "the login is no user of this"),
        (40532, "Cannot open server 'srv' requested by the login.", "there is no such server"),
        (40615, FIREWALL, "the server's firewall refuses this address, 203.0.113.7 (42000 40615): Add a rule"),
        (
            40914,
            "Cannot open server 'srv' requested by the login. Client is not allowed",
            "the server's firewall refuses",
        ),
        (47073, "Deny Public Network Access is set to Yes.", "the server takes no connections from public"),
        (40613, "Database 'crm' on server 'srv' is not currently available.", "the database is starting, or paused"),
        (42108, "Can not connect to the SQL pool since it is paused.", "the database is paused"),
        (40501, "The service is currently busy.", "the server is too busy"),
        (10928, "Resource ID: 1. The request limit for the database is 30.", "the database has reached its limit of"),
        (17892, "Logon failed for login 'ana' due to trigger execution.", "a logon trigger refuses"),
        (18461, "Login failed. Reason: Server is in single user mode.", "the server is in single-user mode"),
    ],
)
def test_each_refusal_of_a_login_has_its_words_and_names_no_one(
    tds: Tds, monkeypatch: pytest.MonkeyPatch, number: int, text: str, words: str
) -> None:
    from tenacity import wait_none

    from bridge import retry

    monkeypatch.setattr(retry, "SQL_TRANSIENT", wait_none())
    tds.number, tds.text = number, text
    answer = said(mssql(tds.port))
    assert answer.startswith(words)
    assert str(number) in answer
    assert not re.search(r"\bana\b", answer)
    assert tds.logins >= 1


@needs_driver
def test_a_database_without_openjson_has_words_of_its_own(tds: Tds) -> None:
    # The driver takes it from here as from any other answer.
    tds.number, tds.text = 208, "Invalid object name 'OPENJSON'."
    assert said(mssql(tds.port)).startswith("the database's compatibility level is below 130 (42S02 208): Run there: ")
    tds.text = "Invalid object name 'audit'."
    assert said(mssql(tds.port)).startswith("a table is missing")


@needs_driver
def test_options_that_exclude_each_other_are_no_outage(tds: Tds) -> None:
    both = mssql(tds.port, login="", Authentication="ActiveDirectoryMsi", Trusted_Connection="yes")
    assert "exclude each other" in said(both, StoreMisconfigured)


@needs_driver
def test_a_number_that_is_not_known_is_shown_with_its_state(tds: Tds) -> None:
    tds.number, tds.text = 33999, "Something new about ana."
    answer = said(mssql(tds.port))
    assert "33999" in answer
    assert not re.search(r"\bana\b", answer)


@needs_driver
@pytest.mark.parametrize(
    ("url", "words"),
    [
        (lambda _: mssql(9), "nothing listens at this address and port (08001): Is the server running?"),
        (lambda _: mssql(9).replace("127.0.0.1", "nosuch.invalid"), "there is no host of this name (08001)"),
        (lambda port: mssql(port, login="", Encrypt="yes"), "login refused, no Kerberos ticket"),
    ],
)
def test_an_address_where_nothing_listens_and_a_missing_login_are_told_apart_from_silence(
    tds: Tds, url: Callable[[int], str], words: str
) -> None:
    assert said(url(tds.port)).startswith(words)


@needs_driver
def test_a_server_without_tls_is_said_to_have_none(tds: Tds) -> None:
    tds.encrypts = False
    assert said(mssql(tds.port)).startswith("the server has no TLS")


# --- Microsoft Entra -------------------------------------------------------------------------------------------------


@needs_driver
@pytest.mark.parametrize("user", ["", CLIENT_ID])
def test_the_drivers_request_for_a_token_reaches_the_identity_endpoint(tds: Tds, tenant: Entra, user: str) -> None:
    tds.text = "Login failed for user '<token-identified principal>'."
    answer = said(mssql(tds.port, login=user, Authentication="ActiveDirectoryMsi"))

    assert "CREATE USER [NAME] FROM EXTERNAL PROVIDER" in answer
    [request] = tenant.asked
    assert "resource=https://database.windows.net/" in request
    assert (f"client_id={CLIENT_ID}" in request) == bool(user)
    assert len(tds.tokens) == 1


@needs_driver
def test_a_machine_without_an_identity_is_told_apart_from_a_silent_server(
    tds: Tds, tenant: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.stop()
    url = mssql(tds.port, login="", Authentication="ActiveDirectoryMsi")
    engine = create_engine(url, {"connect_args": {"timeout": 2}})
    with pytest.raises(StoreUnavailable, match="has this machine the identity"):
        in_transaction(engine, lambda connection: connection.execute(sa.select(1)))
    engine.dispose()


@needs_driver
@pytest.mark.parametrize("login", ["ActiveDirectoryServicePrincipal", "ActiveDirectoryPassword"])
def test_an_application_or_a_user_without_a_token_is_told_apart_from_a_refused_login(
    tds: Tds, tenant: Entra, login: str
) -> None:
    # The driver does not trust this authority's certificate, and says no more than that it got no token.
    tds.authority = tenant.environment("service principal")["AZURE_AUTHORITY_HOST"] + "/adfs"
    answer = said(mssql(tds.port, login=f"{CLIENT_ID}:{PASSWORD}", Authentication=login))
    assert answer.startswith("Microsoft Entra gives no token for the login (FA004")
    assert CLIENT_ID not in answer
    assert tds.tokens == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("Authentication=ActiveDirectoryDefault", "one of ActiveDirectoryMsi"),
        ("Authentication=ActiveDirectoryWorkloadIdentity", "one of ActiveDirectoryMsi"),
        ("Authentication=ActiveDirectoryInteractive", "one of ActiveDirectoryMsi"),
        ("authentication=activedirectorymanagedidentity", "write ActiveDirectoryMsi"),
        ("driver=FreeTDS&Authentication=ActiveDirectoryMsi", "needs Microsoft's ODBC driver"),
        ("Authentication=ActiveDirectoryServicePrincipal", "its client id and its secret"),
        ("Authentication=ActiveDirectoryPassword", "needs a user and a password"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_login_that_the_driver_does_not_have_is_refused_with_the_right_one(query: str, words: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=words):
        create_engine(f"mssql+pyodbc://@srv.database.windows.net/crm?{query}")


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_login_of_a_whole_odbc_string_is_looked_at_too() -> None:
    whole = "Driver%3DODBC+Driver+18+for+SQL+Server%3BServer%3Dsrv%3BAuthentication%3DActiveDirectoryDefault"
    with pytest.raises(BadDatabaseUrl, match="ActiveDirectoryMsi"):
        create_engine(f"mssql+pyodbc:///?odbc_connect={whole}")


def without(library: str, folder: Path, url: str) -> str:
    """What ``db upgrade`` says on a machine that lacks ``library``."""
    (folder / library).touch()  # found first, and no library
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT), "BRIDGE_DATABASE_URL": url}
    command = [sys.executable, "-m", "bridge", "db", "upgrade"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "Traceback" not in done.stderr
    return done.stderr


@needs_driver
def test_without_libcurl_a_login_by_entra_says_what_to_install(tds: Tds, tenant: Entra, tmp_path: Path) -> None:
    url = mssql(tds.port, login="", Authentication="ActiveDirectoryMsi")
    error = without("libcurl.so.4", tmp_path, url)
    assert "BRIDGE_DATABASE_URL" in error
    assert "libcurl.so.4" in error
    assert "apt-get install libcurl4" in error
    # A login without Entra needs none.
    assert "libcurl" not in without("libcurl.so.4", tmp_path, mssql(tds.port))
    assert tds.logins == 1


@needs_driver
def test_a_library_that_the_driver_itself_lacks_is_named(tds: Tds, tmp_path: Path) -> None:
    assert "cannot be loaded without libgssapi_krb5.so.2" in without("libgssapi_krb5.so.2", tmp_path, mssql(tds.port))
