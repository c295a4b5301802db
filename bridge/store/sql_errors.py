"""The meaning of a database's errors: a conflict, a transient fault, a text too long; and words for the log."""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError

# SQL Server's numbers of conflicts: duplicate key in a constraint, in an index; deadlock victim; snapshot conflict.
_MSSQL_CONFLICTS = {2627, 2601, 1205, 3960}
# Its numbers of faults that pass by themselves: Azure SQL moves to another machine, is reconfigured, or is too busy.
_MSSQL_TRANSIENT = {40613, 40197, 40501, 40540, 40143, 49918, 49919, 49920, 10928, 10929, 4221, 615}
# ODBC's state and the network's numbers of a connection that is lost.
_LOST = {"08S01"}
_MSSQL_LOST = {10053, 10054, 10060}
# Its numbers of a text that is too long for its column.
_MSSQL_TOO_LONG = {2628, 8152}
# PostgreSQL's states of conflicts: unique violation, serialization failure, deadlock.
_POSTGRESQL_CONFLICTS = {"23505", "40001", "40P01"}


def is_conflict(error: DBAPIError) -> bool:
    """Whether ``error`` says that another transaction was in the way, so that running again helps."""
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state is not None:
        return state in _POSTGRESQL_CONFLICTS
    if type(original).__module__.startswith("sqlite3"):
        return "UNIQUE constraint failed" in str(original)
    return bool(_MSSQL_CONFLICTS & mssql_numbers(error))


def is_transient(error: DBAPIError) -> bool:
    """Whether SQL Server will accept the same work in a moment."""
    if not _is_odbc(error):
        return False
    return _odbc_state(error) in _LOST or bool((_MSSQL_TRANSIENT | _MSSQL_LOST) & mssql_numbers(error))


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


def describe(error: DBAPIError) -> str:
    """The kind and state of ``error``, safe to log. Never its text, which may quote personal data."""
    original = error.orig
    kind = type(original).__name__
    if _is_odbc(error):
        numbers = " ".join(str(number) for number in sorted(mssql_numbers(error) - {0}))
        is_of_connection = error.connection_invalidated or error.statement is None
        words = _ODBC_STATES.get(_odbc_state(error)) if is_of_connection else None
        return f"{words or kind} ({f'{_odbc_state(error)} {numbers}'.strip()})"
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    state = state or getattr(original, "sqlite_errorname", None)
    return f"{kind} ({state})" if state else kind


def _is_odbc(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("pyodbc") and bool(error.orig and error.orig.args)


def _odbc_state(error: DBAPIError) -> str:
    assert error.orig is not None
    return str(error.orig.args[0])
