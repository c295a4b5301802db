"""The events of a year as a table: who, when, of which type, with which outcome.

Both databases get the same table, computed without chance, so that an event has the same id in Odoo and in SQL. It
ends now, at the rate of the user's document: 1,000 events an hour. A person writes about 75 times, most often within a
month.
"""

from __future__ import annotations

from typing import Any

import psycopg

from .tables import run

PER_HOUR = 1000
PER_PERSON = 75
#: ManyChat's ids of the people, from this number on.
FIRST_PERSON = 1_000_000_000
EVENT_ID = "encode(sha256(('year ' || source.n)::bytea), 'hex')"
MANYCHAT_ID = f"({FIRST_PERSON} + source.person)::text"


def people(events: int) -> int:
    return max(events // PER_PERSON, 1)


def make(connection: psycopg.Connection[Any], events: int) -> None:
    """Make ``year_event``, and ``year_period``: the stages through which each person went.

    :param events: how many; 8,760,000 are a year
    """
    many = people(events)
    drop(connection)
    run(
        connection,
        f"""
        CREATE UNLOGGED TABLE year_event AS
        SELECT n,
               greatest(1, ceil(n * {many} / {events}.0)
                           - floor(power((n * 7919 % 1000) / 1000.0, 2) * {max(many // 12, 1)}))::int AS person,
               (now() AT TIME ZONE 'UTC') - interval '20 minutes'
                   - ({events} - n) * interval '{3600 / PER_HOUR} seconds' AS at,
               CASE WHEN n % 20 < 9 THEN 'contact' WHEN n % 20 = 9 THEN 'campaign_assignment'
                    WHEN n % 20 = 10 THEN 'campaign_contact' ELSE 'opportunity' END AS type,
               CASE WHEN n % 20 < 11 THEN 'stored' WHEN n * 104729 % 100 < 20 THEN 'moved'
                    WHEN n * 104729 % 100 < 50 THEN 'updated' WHEN n * 104729 % 100 < 95 THEN 'unchanged'
                    ELSE 'stale' END AS outcome,
               (1 + n * 31 / 20 % 11)::int AS stage
          FROM generate_series(1, {events}::bigint) AS n
        """,
    )
    run(
        connection,
        "UPDATE year_event SET outcome = 'created' FROM (SELECT min(n) AS first FROM year_event "
        "WHERE type = 'opportunity' GROUP BY person) AS begun WHERE n = first",
    )
    run(
        connection,
        """
        CREATE UNLOGGED TABLE year_period AS
        SELECT n, person, at, stage, outcome,
               lag(stage) OVER person AS previous,
               lead(stage) OVER person AS next,
               lead(at) OVER person AS left_at
          FROM (SELECT *, lag(stage) OVER (PARTITION BY person ORDER BY n) AS before
                  FROM year_event WHERE outcome IN ('created', 'moved')) AS moves
         WHERE before IS DISTINCT FROM stage
        WINDOW person AS (PARTITION BY person ORDER BY n)
         ORDER BY n
        """,
    )
    for table in ("year_event", "year_period"):
        run(connection, f"ANALYZE {table}")


def drop(connection: psycopg.Connection[Any]) -> None:
    run(connection, "DROP TABLE IF EXISTS year_event, year_period")
