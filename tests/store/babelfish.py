"""Babelfish for PostgreSQL stands in for SQL Server in these tests: same driver, same SQL, a few other habits.

pyodbc asks the server for the type of each parameter that is NULL, and with ``fast_executemany`` of every parameter.
SQL Server answers, or says that it cannot. Babelfish answers for a few forms of statement. At the others it ends the
transaction without telling the driver: what was written before is gone, what follows is committed. So the listeners
here avoid the question: NULL goes as a word of the statement, and many rows go as one INSERT or one by one.

pyodbc also asks how exact a time can be, gets no answer, and cuts off the microseconds. So a time goes as text.

For a snapshot conflict Babelfish has no error number of SQL Server's. So the error gets that number here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

_MARK = "?"
#: A mark, or a text or name that may hold a question mark of its own.
_TEXT_OR_MARK = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\]|\?""")
#: Babelfish's number of a snapshot conflict, and SQL Server's.
_CONFLICT, _SQL_SERVERS_CONFLICT = "(33557097)", "(3960)"
_asked: WeakSet[sa.Dialect] = WeakSet()


def attach() -> None:
    """Adapt every engine to Babelfish whose server turns out to be one."""
    sa.event.listen(sa.Engine, "engine_connect", _adapt)


def detach() -> None:
    """Undo :func:`attach` for engines that have not connected yet."""
    sa.event.remove(sa.Engine, "engine_connect", _adapt)


def _adapt(connection: sa.Connection) -> None:
    dialect = connection.dialect
    if dialect.name != "mssql" or dialect in _asked:
        return
    cursor = connection.connection.cursor()
    # SQL Server has no such property and answers NULL.
    cursor.execute("SELECT CAST(SERVERPROPERTY('BabelfishVersion') AS NVARCHAR(128))")
    version = cursor.fetchone()[0]
    cursor.close()
    connection.connection.rollback()
    if version is not None:
        dialect.fast_executemany = False  # type: ignore[attr-defined]
        dialect.use_insertmanyvalues_wo_returning = True
        sa.event.listen(connection.engine, "do_execute", _execute)
        sa.event.listen(connection.engine, "do_executemany", _execute_many)
        sa.event.listen(connection.engine, "handle_error", _with_number)
    _asked.add(dialect)


def _with_number(context: sa.ExceptionContext) -> DBAPIError | None:
    error, original = context.sqlalchemy_exception, context.original_exception
    text = str(original.args[-1]) if original.args else ""
    if not isinstance(error, DBAPIError) or "could not serialize access" not in text or _CONFLICT not in text:
        return None
    numbered = type(original)(*original.args[:-1], text.replace(_CONFLICT, _SQL_SERVERS_CONFLICT))
    return type(error)(error.statement, None, numbered, hide_parameters=True)


def _execute(cursor: Any, statement: str, parameters: Sequence[Any] | None, _context: Any) -> bool:
    values = tuple(parameters or ())
    words = tuple(_word(value) for value in values)
    if set(words) <= {_MARK}:
        return False
    # What SQLAlchemy said of types is by position, and the positions change.
    cursor.setinputsizes(None)
    cursor.execute(in_words(statement, words), [_plain(value) for value in values if value is not None])
    return True


def _execute_many(cursor: Any, statement: str, rows: Sequence[Sequence[Any]], context: Any) -> bool:
    for row in rows:
        if not _execute(cursor, statement, row, context):
            cursor.execute(statement, row)
    return True


def _word(value: Any) -> str:
    if isinstance(value, datetime):
        return "CAST(? AS DATETIME2(6))"
    return "NULL" if value is None else _MARK


def _plain(value: Any) -> Any:
    return value.isoformat(" ", "microseconds") if isinstance(value, datetime) else value


# The same text must be the same object: pyodbc prepares a statement once as long as it is.
@lru_cache(maxsize=1024)
def in_words(statement: str, words: tuple[str, ...]) -> str:
    """``statement`` with each of its parameters' marks replaced.

    :param words: what by, in their order
    """
    marks = iter(words)
    return _TEXT_OR_MARK.sub(lambda match: next(marks) if match[0] == _MARK else match[0], statement)
