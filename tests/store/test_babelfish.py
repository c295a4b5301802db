"""Babelfish is adapted to where it must be, and a statement says the same as before. No server needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from bridge.store.sql_errors import is_conflict

from . import babelfish


class Driver:
    """Notes what pyodbc would get. Stands in for it, since only a server that is not here makes the difference."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Sequence[Any]]] = []

    def setinputsizes(self, _sizes: None) -> None:
        pass

    def execute(self, statement: str, parameters: Sequence[Any]) -> None:
        self.got.append((statement, list(parameters)))


class Server:
    """A driver whose server is Babelfish, or SQL Server: it answers the one question that tells the two apart."""

    paramstyle = "qmark"
    version = "5.0"
    Cursor = object

    class Error(Exception):
        pass

    class ProgrammingError(Error):
        pass

    def __init__(self, babelfish_version: str | None) -> None:
        self.answer = (babelfish_version,)
        self.executed: list[str] = []
        self.fails = False

    def connect(self, *_arguments: Any, **_named: Any) -> Any:
        return SimpleNamespace(cursor=self.cursor, rollback=self._nothing, commit=self._nothing, close=self._nothing)

    def cursor(self) -> Any:
        return SimpleNamespace(
            execute=self.execute,
            fetchone=lambda: self.answer,
            setinputsizes=self._nothing,
            close=self._nothing,
            description=None,
            rowcount=1,
        )

    def execute(self, statement: str, *_parameters: Any) -> None:
        self.executed.append(statement)
        if self.fails:
            text = "[42000] could not serialize access due to concurrent update (33557097) (SQLExecute)"
            raise self.ProgrammingError("42000", text)

    def _nothing(self, *_arguments: Any) -> None:
        pass

    def engine(self) -> sa.Engine:
        return sa.create_engine("mssql+pyodbc://x", module=self, _initialize=False, use_setinputsizes=False)


def update_with_null(server: Server) -> str:
    with server.engine().begin() as connection:
        connection.exec_driver_sql("UPDATE t SET a = ?", (None,))
    return server.executed[-1]


def test_an_engine_whose_server_is_babelfish_is_adapted_before_its_first_statement() -> None:
    assert update_with_null(Server("4.3.0")) == "UPDATE t SET a = NULL"


def test_an_engine_whose_server_is_sql_server_is_left_as_it_is() -> None:
    assert update_with_null(Server(None)) == "UPDATE t SET a = ?"


def test_a_snapshot_conflict_gets_sql_servers_number() -> None:
    server = Server("4.3.0")
    with server.engine().connect() as connection:
        server.fails = True
        with pytest.raises(DBAPIError) as caught:
            connection.exec_driver_sql("UPDATE t SET a = ?", (1,))

    assert is_conflict(caught.value)


def sent(statement: str, *rows: Sequence[Any]) -> list[tuple[str, Sequence[Any]]]:
    driver = Driver()
    babelfish._execute_many(driver, statement, rows, None)
    return driver.got


def test_null_goes_as_a_word_and_a_time_as_text_with_its_microseconds() -> None:
    moment = datetime(2025, 6, 10, 12, 0, 0, 1)  # noqa: DTZ001 (as Moment gives it to the driver)

    assert sent("UPDATE t SET a = ?, b = ?, c = ? WHERE d = ?", (None, moment, "x", 7)) == [
        (
            "UPDATE t SET a = NULL, b = CAST(? AS DATETIME2(6)), c = ? WHERE d = ?",
            ["2025-06-10 12:00:00.000001", "x", 7],
        )
    ]


def test_a_question_mark_in_a_text_or_a_name_is_no_parameter() -> None:
    statement = "UPDATE [t?]]?] SET \"b?\" = '¿it''s?', c = ? WHERE d = ?"

    assert sent(statement, (None, 7)) == [("UPDATE [t?]]?] SET \"b?\" = '¿it''s?', c = NULL WHERE d = ?", [7])]


def test_every_row_says_its_own_nulls_and_the_same_ones_the_same_way() -> None:
    got = sent("UPDATE t SET a = ? WHERE d = ?", (None, 1), ("x", 2), (None, 3))

    assert [text for text, _ in got] == [
        "UPDATE t SET a = NULL WHERE d = ?",
        "UPDATE t SET a = ? WHERE d = ?",
        "UPDATE t SET a = NULL WHERE d = ?",
    ]
    # The very same text, or it would be prepared anew.
    assert got[0][0] is got[2][0]
