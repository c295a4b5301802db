"""Odoo, SQL or the queue away: the bridge waits, says so once, and goes on by itself. Nothing becomes a dead letter."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bridge.contract.payloads import OPPORTUNITY_QUEUE
from bridge.errors import QueueMissing
from bridge.queue import Queue

from .conftest import Azurite, Cli, World, contact, eventually, find_azurite, stage


def test_odoo_down_when_the_bridge_starts(world: World) -> None:
    world.odoo.stop()
    event, other = stage(), contact("MC2")
    world.send(event, other)
    bridge = world.start_bridge(max_attempts=1)
    eventually(lambda: bridge.lines("dependency_down"))
    # The other paths need no Odoo and go on.
    eventually(lambda: world.outcomes(other) == ["stored"])
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 1
    world.odoo.start()

    assert world.settle(event) == ["created"]
    assert [line["dependency"] for line in bridge.lines("dependency_down")] == ["Odoo"]
    assert [line["dependency"] for line in bridge.lines("dependency_up")] == ["Odoo"]
    assert world.rows("dead_letters") == []


def test_odoo_going_down_between_events_counts_no_attempt(world: World) -> None:
    bridge = world.start_bridge(max_attempts=1)
    first = stage("MC1")
    world.send(first)
    world.settle(first)
    for number in range(2, 5):
        world.odoo.stop()
        event = stage(f"MC{number}")
        world.send(event)
        eventually(lambda number=number: len(bridge.lines("dependency_down")) == number - 1)
        assert [row.outcome for row in world.rows("audit", event_id=event.id)] in ([], [None])
        assert [row.odoo_sync_status for row in world.rows("opportunities", manychat_id=f"MC{number}")] in (
            [],
            ["pending"],
        )
        world.odoo.start()
        assert world.settle(event) == ["created"]
        assert [row.attempts for row in world.rows("audit", event_id=event.id)] == [1]
        # A consumer that had asked the queue before the outage may have applied the event before the next probe.
        eventually(lambda number=number: len(bridge.lines("dependency_up")) == number - 1)

    assert len(bridge.lines("dependency_up")) == 3
    assert world.rows("dead_letters") == []


def test_a_wrong_api_key_is_an_outage_that_says_what_to_do(world: World) -> None:
    event = stage()
    world.send(event)
    bridge = world.start_bridge(odoo_api_key="expired", max_attempts=1)

    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert "BRIDGE_ODOO_API_KEY" in line["reason"]
    assert bridge.terminate() == 0
    assert world.rows("audit") == world.rows("dead_letters") == []
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 1


def test_a_key_that_expires_while_working_is_an_outage_too(world: World) -> None:
    bridge = world.start_bridge(max_attempts=1)
    first, second = stage(minute=1), stage(minute=2, stage_id=17)
    world.send(first)
    world.settle(first)
    key, world.odoo.key = world.odoo.key, "another"
    world.send(second)
    eventually(lambda: bridge.lines("dependency_down"))
    world.odoo.key = key

    assert world.settle(second) == ["moved"]
    assert world.rows("dead_letters") == []


def test_something_else_than_odoo_at_the_url_is_an_outage(world: World, azurite: Azurite) -> None:
    bridge = world.start_bridge(odoo_url=f"http://127.0.0.1:{azurite.port}")

    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert line["dependency"] == "Odoo"
    assert "BRIDGE_ODOO_URL" in line["reason"]
    assert bridge.terminate() == 0


def test_sql_down_when_the_bridge_starts(world: World) -> None:
    event = contact()
    world.send(event)
    bridge = world.start_bridge(database_url="postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert line["dependency"] == "SQL"
    assert bridge.terminate() == 0
    assert world.queues[event.type.queue].depth() == 1


def test_a_database_without_our_tables_rights_or_room_is_an_outage(world: World, database_url: str) -> None:
    bridge = world.start_bridge(max_attempts=1)
    first, second = contact("MC1"), contact("MC2")
    world.send(first)
    world.settle(first)
    file = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    file.execute("ALTER TABLE audit RENAME TO gone")
    file.commit()
    world.send(second)
    eventually(lambda: bridge.lines("dependency_down"))
    file.execute("ALTER TABLE gone RENAME TO audit")
    file.commit()
    file.close()

    assert world.settle(second) == ["stored"]
    assert world.rows("dead_letters") == []


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_database_file_that_loses_its_name_gets_no_more_events(
    world: World, cli: Cli, database_url: str, how: str
) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))
    first, second = contact("MC1"), contact("MC2")
    world.send(first)
    bridge = world.start_bridge(max_attempts=1)
    world.settle(first)
    backup = path.with_name("backup.db")
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    # Not to hold the file open here.
    world.engine.dispose()
    if how == "deleted":
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        world.send(second)
        eventually(lambda: bridge.lines("dependency_down"))
        assert "cannot be opened" in bridge.lines("dependency_down")[0]["reason"]
        assert not path.exists()
        backup.rename(path)
    else:
        backup.rename(path)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        world.send(second)

    assert world.settle(first, second) == ["stored", "stored"]


def test_a_database_locked_by_somebody_else_is_waited_for(world: World, database_url: str) -> None:
    bridge = world.start_bridge(max_attempts=1)
    eventually(lambda: world.odoo.heartbeats)
    locker = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    event = contact()
    world.send(event)
    eventually(lambda: world.queues[event.type.queue].depth() == 1)
    locker.execute("COMMIT")
    locker.close()

    assert world.settle(event) == ["stored"]
    assert bridge.lines("event_dead_lettered") == []


def _exists(queue: Queue) -> bool:
    """Whether a consumer has created its queue."""
    try:
        return queue.depth() >= 0
    except QueueMissing:
        return False


def test_the_queue_going_away_and_coming_back(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own azurite"
    folder.mkdir()
    own = Azurite(find_azurite(), folder)
    world.queues = {name: Queue(own.connection_string, name) for name in world.queues}
    bridge = world.start_bridge(queue_connection_string=own.connection_string)
    first, second = contact("MC1"), stage("MC2")
    eventually(lambda: world.odoo.heartbeats)
    # The bridge makes them.
    eventually(lambda: all(_exists(queue) for queue in world.queues.values()))
    world.send(first)
    world.settle(first)
    own.stop()
    eventually(lambda: bridge.lines("dependency_down"))
    own.start()
    world.send(second)

    assert world.settle(first, second) == ["stored", "created"]
    assert {line["dependency"] for line in bridge.lines("dependency_down")} == {"queue"}
    # Said by the process, not by each of its three consumers.
    assert len(bridge.lines("dependency_down")) == len(bridge.lines("dependency_up")) == 1
    assert bridge.terminate() == 0
    own.stop()


def test_sigterm_during_an_outage_exits_0(world: World) -> None:
    world.odoo.stop()
    bridge = world.start_bridge()
    eventually(lambda: bridge.lines("dependency_down"))

    assert bridge.terminate() == 0
