"""The meaning of a database's errors: a conflict, a transient fault, a text too long; and words for the log."""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError

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
_MSSQL_WORDS = {
    40613: ("the database is starting, or paused", "It starts by itself at the first connection. Wait a minute."),
    40197: ("the server is being reconfigured", "Wait."),
    40501: ("the server is too busy", "Wait, or choose a larger service tier."),
    49918: ("the server is too busy", "Wait, or choose a larger service tier."),
    18456: ("login refused", ""),
    4060: ("login refused for this database, or there is none of that name", ""),
    40615: ("the server's firewall refuses this address", "Add a rule for it."),
    208: ("a table is missing", "Run: python -m bridge db upgrade"),
    229: ("a right is missing", "Give the bridge's user the roles db_datareader and db_datawriter."),
    230: ("a right is missing", "Give the bridge's user the roles db_datareader and db_datawriter."),
    262: ("a right is missing", "`db upgrade` needs the role db_ddladmin."),
    3906: ("the database is read-only", ""),
    9002: ("the transaction log is full", ""),
    1105: ("the disk is full", ""),
    40544: ("the database has reached its size limit", ""),
}
# What the driver says of TLS, in lower case: on Linux by OpenSSL, on Windows by the system.
_CERTIFICATE = (
    "the server's certificate is not trusted",
    "Install the certificate of its authority. Only for a server that you know: TrustServerCertificate=yes in the URL.",
)
_TLS_WORDS = {
    "hostname mismatch": ("the server's certificate has another name", "Give the URL the name in the certificate."),
    "principal name is incorrect": (
        "the server's certificate has another name",
        "Give the URL the name in the certificate.",
    ),
    "certificate verify failed": _CERTIFICATE,
    "certificate chain was issued by an authority that is not trusted": _CERTIFICATE,
    "wrong version number": ("the server does not know Encrypt=strict", "Write Encrypt=yes into the URL."),
    "unsupported protocol": ("the server's TLS is too old", "Update the server."),
    # Raised by .frozen: with any other encryption the driver's own limit comes first.
    "no login within": ("no answer in time", "An older server does not answer to Encrypt=strict: write Encrypt=yes."),
}
# The meaning of ODBC's states that an operator may see.
_ODBC_STATES = {
    "HYT00": "no answer in time",
    "HYT01": "no answer in time",
    "08001": "the server cannot be reached",
    "08S01": "the connection is gone",
    "28000": "login refused",
    "42000": "login refused, or a right is missing",
    "IM002": "the ODBC driver is not installed",
    "01000": "the ODBC driver cannot be loaded; in a checkout, pip install '.[azure-sql]' installs it",
}


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


def describe(error: DBAPIError) -> str:
    """The kind and state of ``error``, and what to do, safe to log. Never its text, which may quote personal data."""
    kind = type(error.orig).__name__
    if _is_odbc(error):
        numbers = mssql_numbers(error) - {0}
        is_of_connection = error.connection_invalidated or error.statement is None
        words, advice = _odbc_words(error, numbers, is_of_connection=is_of_connection)
        state = " ".join([_odbc_state(error), *map(str, sorted(numbers))])
        return f"{words or kind} ({state})" + (f": {advice}" if advice else "")
    state = _state(error) or _sqlite_code(error)
    words, advice = next((known for start, known in _STATES.items() if state.startswith(start)), (kind, ""))
    return (f"{words} ({state})" if state else words) + (f": {advice}" if advice else "")


def _odbc_words(error: DBAPIError, numbers: set[int], *, is_of_connection: bool) -> tuple[str, str]:
    """What ``error`` means, and what to do; empty if that is not known."""
    for number in sorted(numbers & _MSSQL_WORDS.keys()):
        return _MSSQL_WORDS[number]
    if not is_of_connection:
        return "", ""
    text = str(error.orig).lower()
    known = next((words for sign, words in _TLS_WORDS.items() if sign in text), None)
    return known or (_ODBC_STATES.get(_odbc_state(error), ""), "")


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
