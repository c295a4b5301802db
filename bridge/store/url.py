"""Database URLs as operators write them: completed where the meaning is clear, else refused in a sentence.

A message never quotes the URL, whose password may stand in any part of it while it is written wrongly.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ..errors import BadDatabaseUrl

EXAMPLES = {
    "mssql": "mssql+pyodbc://USER:PASSWORD@SERVER.database.windows.net/DATABASE",
    "postgresql": "postgresql+psycopg://USER:PASSWORD@SERVER/DATABASE",
    "sqlite": "sqlite:////DIRECTORY/FILE.db",
}
#: The drivers that the bridge's statements and its reading of errors fit, the preferred one first.
DRIVERS = {"mssql": ("pyodbc",), "postgresql": ("psycopg", "psycopg2"), "sqlite": ("pysqlite",)}
#: The extra that brings a driver.
EXTRAS = {"mssql": "azure-sql", "postgresql": "postgresql"}

_SUPPORTED = (
    "The bridge works with Azure SQL and SQL Server (mssql+pyodbc://), PostgreSQL (postgresql+psycopg://) and SQLite "
    "(sqlite:///)"
)
# What the Azure portal shows beside a database: of ADO.NET, JDBC, ODBC, Go and psql.
_OTHER_FORM = re.compile(r"jdbc:|(driver|server|data source|address|addr|host|dsn|user id)\s*=", re.IGNORECASE)
_ENCODE = "write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 and % as %25"
_PLACEHOLDER = re.compile(r"(^|[/:@])[<{]\w[\w -]*[>}]([/:@?]|$)")
_OTHER_NAMES = {"postgres": "postgresql", "sqlserver": "mssql"}
# https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#uri-connections
_SQLITE_OPTIONS = {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout"}
# The portal's form of a server in a URL, and its port.
_TCP = re.compile(r"(://|@)tcp(?::|%3A)\s*", re.IGNORECASE)
_COMMA_PORT = re.compile(r"([@/][\w.-]+)\s*(?:,|%2C)\s*(\d+)(?=[/?]|$)", re.IGNORECASE)


def parse(url: str) -> sa.URL:
    """The parts of ``url``, with the driver.

    :raises BadDatabaseUrl: says what is wrong, and what to write
    """
    if _OTHER_FORM.match(url):
        raise BadDatabaseUrl(f"this is a connection string, not a URL. Write it like {EXAMPLES['mssql']}")
    kind, found, rest = url.partition("://")
    if not found:
        raise BadDatabaseUrl(f"not a database URL such as {EXAMPLES['mssql']} or {EXAMPLES['sqlite']}")
    if _PLACEHOLDER.search(rest):
        raise BadDatabaseUrl("it has a placeholder such as {your_password}. Write the value in its place")
    name = _with_driver(kind.lower())
    if name.startswith("mssql"):
        rest = _COMMA_PORT.sub(r"\1:\2", _TCP.sub(r"\1", f"://{rest}", count=1), count=1).removeprefix("://")
    try:
        parsed = make_url(f"{name}://{rest}")
    except ArgumentError:
        raise BadDatabaseUrl(f"not a database URL such as {EXAMPLES[name.partition('+')[0]]}") from None
    except ValueError:
        raise BadDatabaseUrl(f"its port is not a number. If the password has special characters, {_ENCODE}") from None
    if fault := _fault_of_file(parsed) if name.startswith("sqlite") else _fault_of_server(parsed):
        raise BadDatabaseUrl(fault)
    return parsed


def missing_driver(url: sa.URL, error: ImportError) -> str:
    """What to do about a driver that cannot be imported.

    :param url: from :func:`parse`
    """
    kind, driver = url.get_backend_name(), url.get_driver_name()
    install = f"In a checkout, run: pip install '.[{EXTRAS.get(kind)}]'"
    if "libodbc" in str(error):
        return "unixODBC is not installed. On Debian and Ubuntu, run: apt-get install libodbc2"
    if driver == "psycopg" and error.name is None:
        return f"PostgreSQL's library libpq is not installed. {install}"
    if driver == DRIVERS[kind][0]:
        return f"its driver is not installed ({driver}). {install}"
    return f"its driver is not installed ({driver}). Begin the URL with {kind}+{DRIVERS[kind][0]}://. {install}"


def file_of(url: sa.URL) -> Path | None:
    """The file of an embedded database; ``None`` for a server, and for a database in memory."""
    if url.get_backend_name() != "sqlite" or not is_lasting(url):
        return None
    path = url.database or ""
    return Path(unquote(urlsplit(path).path) if "uri" in url.query else path).absolute()


def is_lasting(url: sa.URL) -> bool:
    """Whether the database outlives the process. SQLite's databases in memory do not."""
    if url.get_backend_name() != "sqlite":
        return True
    return (url.database or "").removeprefix("file:") not in ("", ":memory:") and url.query.get("mode") != "memory"


def _with_driver(name: str) -> str:
    """``name`` as SQLAlchemy knows it, with a driver.

    :raises BadDatabaseUrl: not a database or a driver that the bridge works with
    """
    kind, _, driver = name.partition("+")
    kind = _OTHER_NAMES.get(kind, kind)
    if kind not in DRIVERS:
        raise BadDatabaseUrl(f"{_SUPPORTED}, and not with this kind of database")
    if not driver:
        installed = (each for each in DRIVERS[kind] if importlib.util.find_spec(each))
        driver = next(installed, DRIVERS[kind][0])
    if driver not in DRIVERS[kind]:
        raise BadDatabaseUrl(f"{_SUPPORTED}, and not with another driver. Write it like {EXAMPLES[kind]}")
    return f"{kind}+{driver}"


def _fault_of_server(url: sa.URL) -> str | None:
    """What is wrong with the URL of a server."""
    kind, query = url.get_backend_name(), {name.lower() for name in url.query}
    if "@" in (url.host or "") + (url.database or ""):
        return f"the user's name or the password has a character that must be percent-encoded: {_ENCODE}"
    if re.search(r"\s", url.host or ""):
        return "there is a blank in the server's name"
    if url.port is not None and not 0 < url.port < 65536:
        return "its port is not between 1 and 65535"
    if kind == "mssql" and ";" in (url.database or ""):
        return (
            "options stand behind a question mark and are joined by &: …/DATABASE?Encrypt=yes&TrustServerCertificate=no"
        )
    # pyodbc takes a name alone as that of a DSN, which is in odbc.ini. libpq has its own names of these.
    is_dsn = kind == "mssql" and url.host and not re.search(r"\.|^localhost$", url.host) and url.port is None
    if not url.database and not is_dsn and not query & {"odbc_connect", "dbname", "service"}:
        return f"it names no database. Write it like {EXAMPLES[kind]}"
    return None


def _fault_of_file(url: sa.URL) -> str | None:
    """What is wrong with the URL of a SQLite file."""
    if url.host:
        return "a path needs three slashes if it is relative, sqlite:///FILE.db, and four if it is absolute"
    if "uri" not in url.query and not url.query.keys() <= _SQLITE_OPTIONS:
        return f"SQLite takes {', '.join(sorted(_SQLITE_OPTIONS))} behind the question mark, and uri=true for others"
    return None
