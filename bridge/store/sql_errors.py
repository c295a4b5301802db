"""The meaning of a database's errors: a conflict, a transient fault, a text too long; and words for the log."""

from __future__ import annotations

import re

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from . import login_errors, odbc

# SQL Server's numbers of conflicts: duplicate key in a constraint, in an index; deadlock victim; snapshot conflict with
# another transaction's row, with its change of a table; the same of memory-optimized tables.
_MSSQL_CONFLICTS = {2627, 2601, 1205, 3960, 3961, 41302, 41305, 41325}
# Its numbers of faults that pass by themselves: Azure SQL moves to another machine, is reconfigured, or is too busy.
_MSSQL_TRANSIENT = {40613, 40197, 40501, 40540, 40143, 49918, 49919, 49920, 10928, 10929, 4221, 615}
# ODBC's state and the network's numbers of a connection that is lost.
_LOST = {"08S01"}
_MSSQL_LOST = {10053, 10054, 10060}
# Its numbers of a text that is too long for its column.
_MSSQL_TOO_LONG = {2628, 8152}
# SQL Server's numbers of a connection that no longer leads to a database that can be written: read-only, or a replica.
_MSSQL_STALE = {3906, 976, 978, 979, 983}
# PostgreSQL's state of the same: a read-only transaction.
_POSTGRESQL_STALE = {"25006"}
# The same of SQLite, and its other faults that no data can cause: result codes by their beginning, and the texts that
# Python 3.10 gives instead of a code. https://www.sqlite.org/rescode.html
_SQLITE_STALE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_NOTADB", "SQLITE_CORRUPT")
_SQLITE_FAULTS = (*_SQLITE_STALE, "SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM", "SQLITE_PERM")
_SQLITE_TEXTS = {
    "attempt to write a readonly database": "SQLITE_READONLY",
    "database or disk is full": "SQLITE_FULL",
    "unable to open database file": "SQLITE_CANTOPEN",
    "disk I/O error": "SQLITE_IOERR",
    "file is not a database": "SQLITE_NOTADB",
    "database disk image is malformed": "SQLITE_CORRUPT",
    "database is locked": "SQLITE_BUSY",
    "database table is locked": "SQLITE_LOCKED",
}
# PostgreSQL's classes of faults that no data can cause: connection, resources (a full disk), operator, system, bug.
_POSTGRESQL_FAULTS = ("08", "53", "57", "58", "XX")
# ODBC's classes and states of the same: connection, login, time-out, driver.
_ODBC_FAULTS = ("08", "28", "HYT", "IM", "01")
# PostgreSQL's states of conflicts: unique violation, serialization failure, deadlock.
_POSTGRESQL_CONFLICTS = {"23505", "40001", "40P01"}


def is_conflict(error: DBAPIError) -> bool:
    """Whether ``error`` says that another transaction was in the way, so that running again helps."""
    if state := _state(error):
        return state in _POSTGRESQL_CONFLICTS
    if _is_sqlite(error):
        return "UNIQUE constraint failed" in str(error.orig)
    return bool(_MSSQL_CONFLICTS & mssql_numbers(error))


def is_transient(error: DBAPIError) -> bool:
    """Whether SQL Server will accept the same work in a moment."""
    if not _is_odbc(error):
        return False
    return _odbc_state(error) in _LOST or bool((_MSSQL_TRANSIENT | _MSSQL_LOST) & mssql_numbers(error))


def is_stale(error: DBAPIError) -> bool:
    """Whether the connection can no longer write, and a new one may: the database became writable, or moved."""
    if _is_odbc(error):
        return bool(_MSSQL_STALE & mssql_numbers(error))
    return _state(error) in _POSTGRESQL_STALE or _sqlite_code(error).startswith(_SQLITE_STALE)


def may_be_of_the_data(error: DBAPIError) -> bool:
    """Whether ``error`` is the answer of a database at work to one statement: another statement may succeed."""
    if error.connection_invalidated or error.statement is None or is_conflict(error) or is_transient(error):
        return False
    if _is_odbc(error):
        return not _odbc_state(error).startswith(_ODBC_FAULTS)
    if code := _sqlite_code(error):
        return not code.startswith(_SQLITE_FAULTS)
    state = _state(error)
    return bool(state) and not state.startswith(_POSTGRESQL_FAULTS) and state not in _POSTGRESQL_STALE


def is_too_long(error: DBAPIError) -> bool:
    """Whether a text was too long for its column: the data's fault, whatever class ODBC gives it."""
    if not _is_odbc(error):
        return False
    return bool(_MSSQL_TOO_LONG & mssql_numbers(error)) or "String data, right truncation" in str(error.orig)


def mssql_numbers(error: DBAPIError) -> set[int]:
    """SQL Server's error numbers in ``error``, which ODBC puts into its text: ``… key … (2627) (SQLExecute)``.

    Only in ODBC's places: a value that the text quotes may have parentheses too.
    """
    return {int(number) for number in re.findall(r"\((\d+)\)(?= \(SQL\w+\)|; \[\w{5}\] |['\"]?\)?$)", str(error.orig))}


# The meaning of SQL Server's numbers, and what to do. They say more than ODBC's states: 42000 is anything.
# https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
_SMALLER = "Wait, or choose a larger service tier."
_MSSQL_WORDS = {
    18456: ("login refused", login_errors.USER),
    18452: ("login refused, not by Windows or Kerberos", "Write user and password of a SQL login into the URL."),
    18470: ("login refused, it is disabled", "Run on the server: ALTER LOGIN … ENABLE"),
    18486: ("login refused, it is locked", "Unlock it on the server: ALTER LOGIN … WITH PASSWORD = … UNLOCK"),
    18487: ("login refused, its password has expired", "Set a new one on the server, and in the URL."),
    18488: ("login refused, its password must be changed", "Set a new one on the server, and in the URL."),
    18461: ("the server is in single-user mode", "Wait until its administrator has finished."),
    17142: ("the server is paused", "Resume it."),
    17892: ("a logon trigger refuses the login", "Look at the triggers on the server."),
    4060: (
        "there is no such database, or the login is no user of it",
        "Correct the URL, or create the user.",
    ),
    4064: ("the login's default database cannot be used", "Name the database in the URL, behind the host and a /."),
    916: ("the login is no user of this database", "Create the user there: CREATE USER … FOR LOGIN …"),
    40532: ("there is no such server", "Correct the URL's host. Its first part is the server's name."),
    40531: ("there is no such server", "Correct the URL's host. Its first part is the server's name."),
    40607: ("login refused, Azure SQL has no Windows logins", "Write user and password of a SQL login into the URL."),
    40615: (
        "the server's firewall refuses this address",
        "Add a rule for it, under Networking of the server.",
    ),
    40914: (
        "the server's firewall refuses this network",
        "Add a rule for it, under Networking of the server.",
    ),
    47073: (
        "the server takes no connections from public networks",
        "Use its private endpoint, or allow public access.",
    ),
    40613: ("the database is starting, or paused", "It starts by itself at the first connection. Wait a minute."),
    42108: ("the database is paused", "Resume it."),
    42109: ("the database is starting", "Wait a minute."),
    40197: ("the server is being reconfigured", "Wait."),
    40540: ("the server is being reconfigured", "Wait."),
    40143: ("the server is being reconfigured", "Wait."),
    40501: ("the server is too busy", _SMALLER),
    49918: ("the server is too busy", _SMALLER),
    49919: ("the server is too busy", _SMALLER),
    49920: ("the server is too busy", _SMALLER),
    10928: ("the database has reached its limit of sessions or workers", "Run fewer bridges, or choose a larger tier."),
    10929: ("the server is too busy", _SMALLER),
    208: ("a table is missing", "Run: python -m bridge db upgrade"),
    229: ("a right is missing", "Give the bridge's user the roles db_datareader and db_datawriter."),
    230: ("a right is missing", "Give the bridge's user the roles db_datareader and db_datawriter."),
    262: ("a right is missing", "`db upgrade` needs the role db_ddladmin."),
    3906: ("the database is read-only", ""),
    976: ("the database is a replica that takes no connections", "Name the primary server in the URL."),
    978: ("the database is a read-only replica", "Name the primary server in the URL."),
    9002: ("the transaction log is full", ""),
    1105: ("the disk is full", ""),
    40544: ("the database has reached its size limit", ""),
}
# A login with a token that the database has no user for.
_NO_USER_OF_TOKEN = (
    "login refused, the identity is no user of this database",
    "As the server's Entra administrator, run there: CREATE USER [NAME] FROM EXTERNAL PROVIDER",
)
# SQL Server 2016 brought what reads the rows of a batch. A database moved from an earlier one goes without it.
_OLD_LEVEL = (
    "the database's compatibility level is below 130",
    "Run there: ALTER DATABASE CURRENT SET COMPATIBILITY_LEVEL = 150",
)
# A login with an identity for which no token came in time: the driver says no more than that.
_NO_TOKEN = (
    "no answer in time",
    "Is the server running, and has this machine the identity? Only a machine in Azure has a managed one.",
)
_ODBC_INSTALL = (
    "Install the driver that the URL names. Or name none, and in a checkout, run: pip install '.[azure-sql]'"
)
# The meaning of ODBC's states that an operator may see.
_ODBC_STATES = {
    "HYT00": ("no answer in time", ""),
    "HYT01": ("no answer in time", ""),
    "08001": ("the server cannot be reached", ""),
    "08S01": ("the connection is gone", ""),
    "28000": ("login refused", login_errors.USER),
    "42000": ("login refused, or a right is missing", ""),
    "FA001": ("the login options in the URL exclude each other", "Write either user and password, or Authentication=."),
    "FA002": ("the login options in the URL exclude each other", "Write either user and password, or Authentication=."),
    "FA003": ("the login options in the URL exclude each other", "Write either user and password, or Authentication=."),
    "FA004": (
        "Microsoft Entra gives no token for the login",
        "For an application, are its client id and secret in the URL? Does a proxy or firewall stand before Entra?",
    ),
    "IM002": ("the ODBC driver is not installed", _ODBC_INSTALL),
    "01000": ("the ODBC driver cannot be loaded", _ODBC_INSTALL),
}
# Those that only another URL or an installation mends.
_ODBC_SETTINGS = {"FA001", "FA002", "FA003", "IM002", "IM003", "01000"}


# The same of PostgreSQL's states and SQLite's codes, by their beginning: what is wrong, and what to do.
_MAY_WRITE = "Let the bridge's user write the file and its directory."
_FREE_SPACE = "Free some space."
_GRANT = "Let the bridge's user read and write its tables."
_STATES = {
    "SQLITE_READONLY": ("the database file is read-only", _MAY_WRITE),
    "SQLITE_FULL": ("the disk is full", _FREE_SPACE),
    "SQLITE_CANTOPEN": ("the database file cannot be opened", f"Is its path right? {_MAY_WRITE}"),
    "SQLITE_IOERR_SHMSIZE": ("the disk is full", _FREE_SPACE),
    "SQLITE_IOERR": ("the disk fails", "Look at the disk that has the file."),
    "SQLITE_NOTADB": ("the database file is none", "Restore a backup of it."),
    "SQLITE_CORRUPT": ("the database file is damaged", "Restore a backup of it."),
    "SQLITE_BUSY": ("another program holds the database", "Stop it."),
    "25006": ("the database is read-only", ""),
    "28": ("login refused", ""),
    "3D000": ("there is no such database", ""),
    "42501": ("a right is missing", _GRANT),
    "42P01": ("a table is missing", "Run: python -m bridge db upgrade"),
    "42703": ("a column is missing", "Run: python -m bridge db upgrade"),
    "P0001": ("a trigger refuses", "Look at the triggers on the bridge's tables."),
    "53100": ("the disk is full", _FREE_SPACE),
    "53300": ("the server has no connection left", "Run fewer bridges, or let the server take more."),
    "57014": ("no answer in time", ""),
    "57P": ("the server is stopping or starting", "Wait."),
}


def describe(error: DBAPIError, url: URL | None = None) -> str:
    """The kind and state of ``error``, and what to do, safe to log. Never its text, which may quote personal data.

    :param url: of the database, if known
    """
    words, advice = _words(error, url)
    if _is_odbc(error):
        state = " ".join([_odbc_state(error), *map(str, sorted(mssql_numbers(error) - {0}))])
    else:
        state = _state(error) or _sqlite_code(error)
    return (f"{words} ({state})" if state else words) + (f": {advice}" if advice else "")


def is_of_the_settings(error: DBAPIError) -> bool:
    """Whether only another URL helps, or an installation: to wait for the server is in vain."""
    if not _is_of_connection(error):
        return False
    if _is_odbc(error):
        return _odbc_state(error) in _ODBC_SETTINGS or login_errors.is_of_the_settings(
            login_errors.odbc_words(str(error.orig))
        )
    return login_errors.is_of_the_settings(_postgresql_words(error))


def _is_of_connection(error: DBAPIError) -> bool:
    return error.connection_invalidated or error.statement is None


def _words(error: DBAPIError, url: URL | None) -> tuple[str, str]:
    """What ``error`` means, and what to do."""
    kind = type(error.orig).__name__
    if _is_odbc(error):
        return _odbc_words(error, url) or (kind, "")
    if words := _postgresql_words(error):
        return words
    state = _state(error) or _sqlite_code(error)
    return next((known for start, known in _STATES.items() if state.startswith(start)), (kind, ""))


def _postgresql_words(error: DBAPIError) -> tuple[str, str] | None:
    """The meaning of a failed connection, which has no state."""
    if error.statement is not None or not type(error.orig).__module__.startswith("psycopg") or _state(error):
        return None
    return login_errors.postgresql_words(f"{type(error.orig).__name__} {error.orig}")


def _odbc_words(error: DBAPIError, url: URL | None) -> tuple[str, str] | None:
    text = str(error.orig)
    for number in sorted(mssql_numbers(error) & _MSSQL_WORDS.keys()):
        what, advice = _MSSQL_WORDS[number]
        if number == 18456 and "<token-identified principal>" in text:
            return _NO_USER_OF_TOKEN
        # The address as the server sees it: behind a router it is another than the machine's own.
        if number == 40615 and (address := re.search(r"IP address '([0-9A-Fa-f.:]{3,45})'", text)):
            what = f"{what}, {address[1]}"
        if number == 208 and "OPENJSON" in text:
            return _OLD_LEVEL
        return what, advice
    if not _is_of_connection(error):
        return None
    if words := login_errors.odbc_words(text):
        return words
    state = _odbc_state(error)
    if state == "01000" and url is not None and (library := odbc.missing_library(url)):
        return f"the ODBC driver cannot be loaded without {library}", "Install the package that has it."
    if state == "HYT00" and url is not None and odbc.authentication(url).startswith("activedirectory"):
        return _NO_TOKEN
    return _ODBC_STATES.get(state)


def _state(error: DBAPIError) -> str:
    """PostgreSQL's state; empty if ``error`` is not PostgreSQL's."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""


def _is_sqlite(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("sqlite3")


def _sqlite_code(error: DBAPIError) -> str:
    """SQLite's result code; empty if ``error`` is not SQLite's."""
    if not _is_sqlite(error):
        return ""
    return getattr(error.orig, "sqlite_errorname", None) or _SQLITE_TEXTS.get(str(error.orig), "SQLITE_ERROR")


def _is_odbc(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("pyodbc") and bool(error.orig and error.orig.args)


def _odbc_state(error: DBAPIError) -> str:
    assert error.orig is not None
    return str(error.orig.args[0])
