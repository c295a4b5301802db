"""An event that SQL refuses is a dead letter like any other; its neighbours and the other queues do not notice."""

from __future__ import annotations

import sqlite3

import pytest

from bridge.contract.event import Event

from .conftest import Cli, World, assignment, contact, eventually, stage

BAD = "MC-BAD"
# An error of the same class as those of a server that is down. SQLite's own RAISE would be one of the data.
TRIGGER = """
    CREATE TRIGGER refuse_{when} BEFORE {when} ON {table} WHEN {where} BEGIN SELECT abs(-9223372036854775808); END
"""
BY_ID = f"NEW.manychat_id = '{BAD}'"


@pytest.mark.parametrize(
    ("table", "where", "bad"),
    [
        ("contacts", BY_ID, contact(BAD)),
        ("campaign_contacts", "NEW.campaign_id = 666", assignment(BAD, campaign_id=666)),
        ("opportunities", BY_ID, stage(BAD)),
        ("audit", BY_ID, contact(BAD)),
    ],
)
def test_one_event_that_sql_refuses_becomes_a_dead_letter_and_no_outage(
    world: World, database_url: str, table: str, where: str, bad: Event
) -> None:
    file = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    for when in ("INSERT", "UPDATE"):
        file.execute(TRIGGER.format(when=when, table=table, where=where))
    file.commit()
    file.close()
    neighbours = [contact("MC1"), assignment("MC2", campaign_id=1), stage("MC3"), contact("MC4"), stage("MC5")]
    world.send(neighbours[0], bad, *neighbours[1:])
    bridge = world.start_bridge(max_attempts=2)

    [letter] = eventually(lambda: world.rows("dead_letters", event_id=bad.id))
    assert (letter.code, letter.manychat_id) == ("sql_refused", BAD)
    assert letter.attempts >= 2
    eventually(lambda: None not in world.outcomes(*neighbours))
    assert world.outcomes(*neighbours) == ["stored", "stored", "created", "stored", "created"]
    assert bridge.lines("dependency_down") == []
    assert eventually(lambda: world.rows("dead_letters")[0].notified_at)


def test_a_row_that_exists_and_may_not_be_changed_is_no_reason_to_stop(world: World, database_url: str) -> None:
    first, second, neighbour = stage(BAD, minute=1), stage(BAD, minute=2, stage_id=18), stage("MC1")
    world.send(first)
    bridge = world.start_bridge(max_attempts=1)
    world.settle(first)
    file = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    file.execute(TRIGGER.format(when="UPDATE", table="opportunities", where=BY_ID))
    file.commit()
    file.close()
    world.send(second, neighbour)

    assert world.settle(second, neighbour) == ["dead_lettered", "created"]
    assert bridge.lines("dependency_down") == bridge.lines("consumer_crashed") == []


def test_a_table_that_takes_nothing_from_anybody_is_an_outage_that_check_and_status_see(
    world: World, cli: Cli, database_url: str
) -> None:
    file = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    file.execute("CREATE TRIGGER refuse BEFORE INSERT ON contacts BEGIN INSERT INTO gone VALUES (1); END")
    file.commit()
    event = contact()
    world.send(event)
    bridge = world.start_bridge(max_attempts=1)
    eventually(lambda: bridge.lines("dependency_down"))
    checked, status = cli("check"), cli("status")
    assert (checked.returncode, status.returncode) == (1, 1)
    [line] = [line for line in checked.stdout.splitlines() if line.startswith("FAILED SQL")]
    assert "The database answers, and refuses a statement" in line
    assert "SQL is unavailable" in status.stdout
    file.execute("DROP TRIGGER refuse")
    file.commit()
    file.close()

    assert world.settle(event) == ["stored"]
    assert world.rows("dead_letters") == []
