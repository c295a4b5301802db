"""Babelfish for PostgreSQL stands in for SQL Server in these tests: same driver, same SQL, a few other habits.

pyodbc asks the server for the type of each parameter that is NULL, and with ``fast_executemany`` of every parameter.
SQL Server answers, or says that it cannot. Babelfish answers for a few forms of statement. At the others it ends the
transaction without telling the driver: what was written before is gone, what follows is committed. So the listeners
here avoid the question: NULL goes as a word of the statement, and many rows go as one INSERT or one by one.

pyodbc also asks how exact a time can be, gets no answer, and cuts off the microseconds. So a time goes as text.

For a snapshot conflict Babelfish has no error number of SQL Server's. So the error gets that number here.

Of schemas and foreign keys it has SQL Server's own lists. Of the standard's views, which SQLAlchemy reads, one gives
the schemas in small letters, and the other is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

_MARK = "?"
#: A mark, or a text or name that may hold a question mark of its own.
_TEXT_OR_MARK = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\]|\?""")
#: Babelfish's number of a snapshot conflict, and SQL Server's.
_CONFLICT, _SQL_SERVERS_CONFLICT = "(33557097)", "(3960)"
_FOREIGN_KEYS = """\
SELECT tab.name, [key].name, own.name, other_schema.name, other.name, referred.name
  FROM sys.foreign_keys [key]
  JOIN sys.foreign_key_columns part ON part.constraint_object_id = [key].object_id
  JOIN sys.columns own ON own.object_id = part.parent_object_id AND own.column_id = part.parent_column_id
  JOIN sys.tables tab ON tab.object_id = part.parent_object_id
  JOIN sys.schemas place ON place.schema_id = tab.schema_id
  JOIN sys.columns referred
    ON referred.object_id = part.referenced_object_id AND referred.column_id = part.referenced_column_id
  JOIN sys.tables other ON other.object_id = part.referenced_object_id
  JOIN sys.schemas other_schema ON other_schema.schema_id = other.schema_id
 WHERE place.name = ?
 ORDER BY tab.name, [key].name, part.constraint_column_id"""
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
        dialect.get_schema_names = _schema_names  # type: ignore[method-assign]
        dialect.get_multi_foreign_keys = partial(_foreign_keys, dialect)  # type: ignore[method-assign]
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


def _schema_names(connection: sa.Connection, **_: Any) -> list[str]:
    return list(connection.exec_driver_sql("SELECT name FROM sys.schemas ORDER BY name").scalars())


def _foreign_keys(
    dialect: sa.Dialect, connection: sa.Connection, *, schema: str | None, filter_names: Sequence[str] | None, **_: Any
) -> dict[tuple[str | None, str], list[Any]]:
    """As :meth:`sqlalchemy.engine.Dialect.get_multi_foreign_keys`."""
    place = schema or dialect.default_schema_name
    names = filter_names or sa.inspect(connection).get_table_names(schema)
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for table, name, column, other_schema, other, referred in connection.exec_driver_sql(_FOREIGN_KEYS, (place,)):
        if table not in found:
            continue
        named = {"name": name, "referred_schema": schema and other_schema, "referred_table": other, "options": {}}
        key = found[table].setdefault(name, {**named, "constrained_columns": [], "referred_columns": []})
        key["constrained_columns"].append(column)
        key["referred_columns"].append(referred)
    return {(schema, table): list(keys.values()) for table, keys in found.items()}


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
