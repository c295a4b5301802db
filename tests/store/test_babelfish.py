"""What Babelfish must not be asked, and that what a statement says stays the same without it. No server needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bridge.store import babelfish


class Driver:
    """Notes what pyodbc would get. Stands in for it, since only a server that is not here makes the difference."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Sequence[Any]]] = []

    def setinputsizes(self, _sizes: None) -> None:
        pass

    def execute(self, statement: str, parameters: Sequence[Any]) -> None:
        self.got.append((statement, list(parameters)))


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
