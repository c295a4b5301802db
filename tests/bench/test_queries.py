"""Queries are counted as Odoo counts them, from PostgreSQL's log."""

from __future__ import annotations

import pytest

from bench.measure import WrongAnswer
from bench.queries import Statements, read

LOG = """\
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  duration: 0.1 ms  statement: BEGIN
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  duration: 0.1 ms  statement: SELECT 1
\t  FROM manychat_api_key
2026-11-26 21:00:00.000 UTC [12] miasalud LOG:  duration: 0.1 ms  statement: SELECT 2
2026-11-26 21:00:00.000 UTC [11] another LOG:  duration: 0.1 ms  statement: SELECT 3
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  duration: 0.1 ms  statement:
\t            SELECT set_config('miasalud.statement', '
\t            INSERT INTO manychat_event (event_id) VALUES (…)', true)
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  duration: 0.1 ms  statement: SELECT FROM generate_series(1, 1)
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  duration: 1.0 ms  statement: COMMIT
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  duration: 1.0 ms  statement: DISCARD ALL
2026-11-26 21:00:00.000 UTC [11] miasalud LOG:  checkpoint starting: time
"""


def test_a_query_counts_once_and_what_frames_it_does_not() -> None:
    statements = Statements()
    read(LOG, "miasalud", statements)
    assert statements.queries_beside("INSERT INTO manychat_event") == 2


def test_a_statement_of_several_lines_is_one() -> None:
    statements = Statements()
    read(LOG, "miasalud", statements)
    assert statements.by_connection[11][1] == "SELECT 1\n\t  FROM manychat_api_key"
    assert statements.by_connection[12] == ["SELECT 2"]


def test_a_measurement_that_saw_nothing_is_no_zero() -> None:
    with pytest.raises(WrongAnswer, match="manychat_event"):
        Statements().queries_beside("manychat_event")
