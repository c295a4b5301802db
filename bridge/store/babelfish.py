"""Babelfish for PostgreSQL: a server that takes T-SQL from Microsoft's driver, and must not be asked for types.

pyodbc has the server tell the type of each parameter that is NULL, and with ``fast_executemany`` of every parameter.
SQL Server answers, or says that it cannot tell. Babelfish answers for a few forms of statement; at the others it ends
the transaction, which neither driver nor program learns: what was written before is gone, what follows is committed.
So it is never asked: NULL goes as a word of the statement, and many rows go as one INSERT or one by one.

pyodbc also asks how exact a time can be, hears nothing, and cuts off the microseconds. So a time goes as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa

#: Of a parameter.
_MARK = "?"
#: Where it is one, and not part of a text or a name.
_TEXT_OR_MARK = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\]|\?""")


def look_out(engine: sa.Engine) -> None:
    """Ask the server at the first connection what it is, and spare it the questions if it is Babelfish."""
    sa.event.listen(engine, "first_connect", partial(_look, engine))


def is_conflict(text: str) -> bool:
    """Whether an error's ``text`` is what Babelfish says of a snapshot conflict. It has SQL Server's number for most
    errors, but for this one it has none.
    """
    return "could not serialize access" in text and "(33557097)" in text


def _look(engine: sa.Engine, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # SQL Server knows no such property, and says NULL.
    cursor.execute("SELECT CAST(SERVERPROPERTY('BabelfishVersion') AS NVARCHAR(128))")
    version = cursor.fetchone()[0]
    cursor.close()
    connection.rollback()
    if version is not None:
        engine.dialect.fast_executemany = False  # type: ignore[attr-defined]
        engine.dialect.use_insertmanyvalues_wo_returning = True
        sa.event.listen(engine, "do_execute", _execute)
        sa.event.listen(engine, "do_executemany", _execute_many)


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
