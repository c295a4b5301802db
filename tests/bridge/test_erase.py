"""``erase`` and ``purge`` as an operator runs them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from bridge.store import schema

from .conftest import Cli, World, contact, eventually, stage


def test_a_person_is_removed_and_what_is_left_is_told(cli: Cli, world: World) -> None:
    mine, others = [contact("MC1"), stage("MC1"), stage("MC1", 99, minute=1)], [contact("MC2"), stage("MC2")]
    world.send(*mine, *others)
    world.queues[mine[0].type.queue].send('{"manychat_id": "MC1", "nombre_lead"')
    world.start_bridge()
    world.settle(*mine, *others)
    eventually(lambda: len(world.rows("dead_letters")) == 2)
    eventually(lambda: all(row.reported_at for row in world.rows("audit")))  # so that nothing changes by itself
    tables = {table: world.rows(table) for table in schema.metadata.tables}

    dry = cli.start("erase", "--manychat-id", "MC1", "--dry-run").stdout
    assert "Would be removed" in dry
    assert "audit payloads 3" in dry
    assert {table: world.rows(table) for table in tables} == tables
    assert world.odoo.erased == []
    assert cli("erase", "--manychat-id", "MC1", stdin="n\n").returncode == 2
    assert world.odoo.erased == []

    done = cli("erase", "--manychat-id", "MC1", "--yes").stdout
    assert world.odoo.erased == ["MC1"]
    for told in ("contact 1", "audit payloads 3", "dead letters 2", f"crm.lead {world.odoo.leads['MC1']['id']}"):
        assert told in done
    assert world.rows("contacts", manychat_id="MC1") == []
    assert "MC1" not in "".join(str(tuple(row)) for table in tables for row in world.rows(table))
    assert len(world.rows("audit")) == 5
    assert len(world.rows("contacts")) == 1
    # Nor in the bytes of the files, though a bridge has them open.
    assert "Erase again" not in done
    assert not [file for file in folder_of(world).glob("store.db*") if b"MC1" in file.read_bytes()]


def folder_of(world: World) -> Path:
    return Path(str(world.engine.url.database)).parent


def test_the_same_events_again_bring_nobody_back(cli: Cli, world: World) -> None:
    events = [contact("MC1"), stage("MC1")]
    world.send(*events)
    bridge = world.start_bridge()
    world.settle(*events)
    cli("erase", "--manychat-id", "MC1", "--yes")
    world.send(*events)
    eventually(lambda: len(bridge.lines("event_duplicate")) == 2)

    assert world.rows("contacts") == []
    assert len(world.odoo.moves) == 1


def test_messages_still_waiting_are_named(cli: Cli, world: World) -> None:
    world.send(contact("MC1"), contact("MC2"))
    done = cli("erase", "--manychat-id", "MC1", "--yes")
    assert done.returncode == 1, "no bridge has stored the person yet"
    assert "2 messages" in done.stderr


def test_nothing_is_removed_while_odoo_is_away(cli: Cli, world: World) -> None:
    event = contact("MC1")
    world.send(event)
    world.start_bridge()
    world.settle(event)
    world.odoo.stop()
    assert cli("erase", "--manychat-id", "MC1", "--yes").returncode == 1
    assert len(world.rows("contacts", manychat_id="MC1")) == 1


def test_purge_counts_and_removes_what_is_older(cli: Cli, world: World) -> None:
    old, young, dead = contact("MC1"), contact("MC2"), stage("MC3", stage_id=99)
    world.send(old, young, dead)
    world.start_bridge()
    world.settle(old, young, dead)
    with world.engine.begin() as connection:
        long_ago = datetime.now(timezone.utc) - timedelta(days=100)
        connection.execute(
            schema.audit.update().where(schema.audit.c.event_id != young.id).values(finished_at=long_ago)
        )

    assert "audit payloads 1, dead letters 0" in cli.start("purge", "--older-than", "90d", "--dry-run").stdout
    assert cli("purge", "--older-than", "90d", stdin="n\n").returncode == 2
    assert cli("purge", "--older-than", "soon").returncode == 2
    assert "{}" not in [row.payload for row in world.rows("audit")]
    assert "Purged: audit payloads 1" in cli("purge", "--older-than", "90d", "--yes").stdout
    assert {row.event_id: row.payload == "{}" for row in world.rows("audit")} == {
        old.id: True,
        young.id: False,
        dead.id: False,
    }
    assert "Purged: audit rows 1" in cli("purge", "--older-than", "90d", "--rows", "--yes").stdout
    assert len(world.rows("audit")) == 2
    assert len(world.rows("dead_letters")) == 1
