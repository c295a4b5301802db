"""What operators' commands do with decisions: ``status``, ``dlq``, ``purge``, ``erase``, a migration's undo."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.contract.payloads import DECISION_QUEUE
from bridge.monitoring import health
from bridge.settings import Settings
from bridge.store import audit, migration_journal, opportunities, schema
from bridge.store.audit import ReceivedEvent
from bridge.store.engine import in_transaction
from bridge.worker.handlers import decision

from .conftest import Cli, World, eventually, stage

QUOTED = "Comienza Cotización"
#: SQL refuses what one person decides, as a constraint or trigger of a customer would.
REFUSE = """
    CREATE TRIGGER refuse BEFORE INSERT ON opportunity_stages WHEN NEW.moved_by = 'person'
    BEGIN SELECT abs(-9223372036854775808); END
"""


def decided(world: World, manychat_id: str, *what: str, **more: Any) -> Event:
    """A user's decision, in Odoo only."""
    if manychat_id not in world.odoo.leads:
        world.odoo.manychat_apply([stage(manychat_id).envelope()])
    return world.odoo.decide(manychat_id, *(what or ("stage",)), stage=QUOTED, **more)


def stored(world: World, *events: Event) -> None:
    """Have SQL know these decisions, as a bridge does it."""
    received = [ReceivedEvent(event, DECISION_QUEUE, None) for event in events]
    in_transaction(world.engine, audit.begin, received)
    decision.handle(world.engine, events)


def execute(world: World, statement: str) -> None:
    with world.engine.begin() as connection:
        connection.execute(sa.text(statement))
    world.engine.dispose()


def test_status_tells_of_the_queue_of_decisions_like_of_the_others(
    world: World, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        if name.startswith("BRIDGE_"):
            monkeypatch.setenv(name, value)
    world.odoo.heartbeats.append({"name": "host/1", "version": "0.1.0"})
    settled = decided(world, "MC1")
    stored(world, settled)
    world.send(decided(world, "MC2"))
    later = datetime.now(timezone.utc) + timedelta(minutes=7)
    report = health.report(health.open_checks(Settings(_env_file=None)).run(30), later)

    [path] = [path for path in report["paths"] if path["queue"] == DECISION_QUEUE]
    assert (path["depth"], path["unfinished"]) == (1, 0)
    assert path["latency_seconds"]["p50"] is not None
    assert report["problems"] == [f"{DECISION_QUEUE}: its oldest event has waited for 7 minutes."]


def test_a_decision_that_sql_refuses_is_a_dead_letter_and_a_replay_writes_it(cli: Cli, world: World) -> None:
    bad = decided(world, "MC1")
    newer = decided(world, "MC1", "salesperson", salesperson="Laura")
    unreadable = {**bad.envelope(), "id": "f" * 64}
    unreadable["payload"] = {**unreadable["payload"], "state": {"stage": "x"}}
    execute(world, REFUSE)
    world.send(bad)
    world.queues[DECISION_QUEUE].send(base64.b64encode(json.dumps(unreadable).encode()).decode())
    world.start_bridge(max_attempts=1)
    eventually(lambda: len(world.rows("dead_letters")) == 2)
    # Its neighbours are no worse for it.
    world.send(newer)
    eventually(lambda: world.outcomes(newer) == ["stored"])
    listed = [json.loads(line) for line in cli("dlq", "list", "--json", "--queue", "decision").stdout.splitlines()]
    assert {each["code"] for each in listed} >= {"invalid"}
    assert {each["event_id"] for each in listed} >= {bad.id}

    execute(world, "DROP TRIGGER refuse")
    assert cli("dlq", "replay", "--id", bad.id, "--yes").returncode == 0
    eventually(lambda: world.outcomes(bad) == ["stored"])
    [row] = world.rows("opportunities")
    assert (row.salesperson, row.stage) == ("Laura", QUOTED)  # the newer state stays
    assert [move.event_id for move in world.rows("opportunity_stages")] == [bad.id]
    eventually(lambda: [letter.status for letter in world.rows("dead_letters", event_id=bad.id)] == ["resolved"])


def test_a_purge_empties_old_decisions_and_the_state_stays(cli: Cli, world: World) -> None:
    old, young = decided(world, "MC1", salesperson="Laura"), decided(world, "MC2")
    stored(world, old, young)
    with world.engine.begin() as connection:
        long_ago = datetime.now(timezone.utc) - timedelta(days=100)
        is_old = schema.audit.c.event_id == old.id
        connection.execute(schema.audit.update().where(is_old).values(finished_at=long_ago))
    before = {table: world.rows(table) for table in ("opportunities", "opportunity_stages")}

    assert "Purged: audit payloads 1" in cli("purge", "--older-than", "90d", "--yes").stdout
    assert {row.event_id: row.payload == "{}" for row in world.rows("audit")} == {old.id: True, young.id: False}
    assert cli("purge", "--older-than", "90d", "--rows", "--yes").returncode == 0
    assert [row.event_id for row in world.rows("audit")] == [young.id]
    assert {table: world.rows(table) for table in before} == before
    # It comes again by a queue that was restored: nothing is doubled, and nothing goes back.
    later = decided(world, "MC1", "salesperson", salesperson="Eva")
    stored(world, later)
    stored(world, old)
    assert [row.salesperson for row in world.rows("opportunities", manychat_id="MC1")] == ["Eva"]
    assert len(world.rows("opportunity_stages", event_id=old.id)) == 1


def test_erasing_a_person_erases_what_was_decided_about_them(cli: Cli, world: World) -> None:
    mine, others = decided(world, "MC1", salesperson="Laura"), decided(world, "MC2")
    stored(world, mine, others)
    in_transaction(world.engine, lambda connection: connection.execute(schema.audit.update().values(reported_at=None)))
    done = cli("erase", "--manychat-id", "MC1", "--yes")

    assert done.returncode == 0, done.stderr
    assert world.odoo.erased == ["MC1"]
    tables = schema.metadata.tables
    assert "MC1" not in "".join(str(tuple(row)) for table in tables for row in world.rows(table))
    assert [row.manychat_id for row in world.rows("opportunities")] == ["MC2"]
    assert [move.event_id for move in world.rows("opportunity_stages")] == [others.id]


def test_the_undo_of_a_migration_leaves_what_users_have_decided_since(world: World) -> None:
    moved = [stage("MC1"), stage("MC2")]
    people = ["MC1", "MC2"]
    watched = migration_journal.Watched(people, [move.id for move in moved])
    now = datetime.now(timezone.utc)

    def work(connection: sa.Connection) -> None:
        opportunities.record(connection, moved, now)

    in_transaction(world.engine, migration_journal.record, "batch", watched, work)
    stored(world, decided(world, "MC1"))
    in_transaction(world.engine, migration_journal.undo, "batch", 0, 100)

    [row] = world.rows("opportunities")
    assert (row.manychat_id, row.stage, row.stage_by) == ("MC1", QUOTED, "person")
    assert [contact.manychat_id for contact in world.rows("contacts")] == ["MC1"]
    assert len(world.rows("opportunity_stages")) == 1
