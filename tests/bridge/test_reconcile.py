"""``reconcile``: what was left unfinished is finished once, or explained, whoever else is at work."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.results import Done, Failure
from bridge.store import audit, dead_letters, opportunities, schema
from bridge.store.dead_letters import DeadLetter
from bridge.store.engine import in_transaction

from .conftest import PATIENCE, Cli, World, contact, eventually, stage
from .program import Program

HOUR = timedelta(hours=1)


def lose(world: World, *events: Event, attempts: int = 1, tried: timedelta = -HOUR) -> None:
    """The events were taken, their bridge was killed, and then their messages were lost: nothing but SQL knows them."""
    moment = datetime.now(timezone.utc) + tried

    def work(connection: sa.Connection) -> None:
        audit.begin(connection, [audit.ReceivedEvent(event, event.type.queue, moment) for event in events], moment)
        stages = [event for event in events if event.type.value == "opportunity"]
        if stages:
            opportunities.record(connection, stages, moment)
        connection.execute(schema.audit.update().values(attempts=attempts))

    in_transaction(world.engine, work)


def test_events_whose_messages_are_gone_are_applied(cli: Cli, world: World) -> None:
    events = [stage("MC1"), stage("MC1", 17, minute=1), stage("MC2"), contact("MC3")]
    lose(world, *events)
    dry = cli("reconcile", "--dry-run").stdout
    assert "4 cases." in dry
    listed = [json.loads(line) for line in cli("reconcile", "--dry-run", "--json").stdout.splitlines()]
    assert {(each["event_id"], each["result"]) for each in listed} == {(event.id, "dry_run") for event in events}
    assert world.outcomes(*events) == [None] * 4
    assert "4 cases, 4 repaired." in cli.start("reconcile").stdout

    assert world.outcomes(*events) == ["created", "moved", "created", "stored"]
    assert world.odoo.leads["MC1"]["stage"] == world.odoo.stages[17]
    assert {row.odoo_sync_status for row in world.rows("opportunities")} == {"success"}
    assert [row.first_name for row in world.rows("contacts", manychat_id="MC3")] == ["Ana"]
    assert "0 cases" in cli("reconcile").stdout


def test_what_odoo_applied_before_its_answer_was_lost_is_noted_and_not_applied_again(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event)
    world.odoo.manychat_apply([event.envelope()])
    cli("reconcile")

    assert world.outcomes(event) == ["created"]
    assert len(world.odoo.moves) == 1
    [row] = world.rows("opportunities")
    assert (row.odoo_sync_status, row.lead_id, row.stage) == ("success", 1, world.odoo.stages[16])
    assert [(move.stage_from, move.stage_to) for move in world.rows("opportunity_stages")] == [(None, row.stage)]


def test_a_newer_stage_in_odoo_is_not_reverted(cli: Cli, world: World) -> None:
    old, new = stage("MC1", 16, minute=0), stage("MC1", 25, minute=5)
    lose(world, old)
    world.odoo.manychat_apply([new.envelope()])
    assert "1 repaired" in cli("reconcile").stdout

    assert world.outcomes(old) == ["stale"]
    assert world.odoo.leads["MC1"]["stage"] == world.odoo.stages[25]


def test_what_somebody_tried_lately_is_left_to_them(cli: Cli, world: World) -> None:
    lose(world, stage("MC1"), tried=-timedelta(seconds=30))
    assert "0 cases" in cli("reconcile").stdout
    assert world.odoo.calls == []
    assert "1 repaired" in cli("reconcile", "--older-than", "10s").stdout


def test_an_opportunity_that_reads_pending_although_its_event_was_applied_is_put_right(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event)
    world.odoo.manychat_apply([event.envelope()])
    in_transaction(world.engine, audit.finish, {event.id: Done("created", 1, None, "A")})
    assert [row.odoo_sync_status for row in world.rows("opportunities")] == ["pending"]
    assert "1 repaired" in cli("reconcile").stdout

    assert [row.odoo_sync_status for row in world.rows("opportunities")] == ["success"]
    assert len(world.odoo.moves) == 1


def test_what_cannot_be_repaired_is_explained(cli: Cli, world: World) -> None:
    dead, purged = stage("MC1"), stage("MC2")
    lose(world, dead, purged)

    def work(connection: sa.Connection) -> None:
        audit.fail(connection, {dead.id: Failure("unmapped_stage", "no")}, dead=True)
        audit.finish(connection, {purged.id: Done("created", 1, None, "A")})
        connection.execute(schema.audit.update().where(schema.audit.c.event_id == purged.id).values(payload="{}"))

    in_transaction(world.engine, work)
    printed = cli("reconcile").stdout
    assert "2 cases, 0 repaired." in printed
    assert printed.count("skipped") == 2
    assert "unmapped_stage" in printed
    assert world.odoo.calls == []


def test_an_event_that_odoo_refuses_is_counted_and_given_up_with_a_notice(cli: Cli, world: World) -> None:
    world.odoo.troubles["MC1"] = "refused"
    event, neighbour = stage("MC1"), stage("MC2")
    lose(world, event, neighbour)
    assert "1 repaired" in cli("reconcile", max_attempts="3").stdout
    assert world.outcomes(event, neighbour) == [None, "created"]
    # It was tried just now.
    assert "0 cases" in cli("reconcile", max_attempts="3").stdout
    cli("reconcile", "--older-than", "0s", max_attempts="3")

    assert world.outcomes(event) == ["dead_lettered"]
    [letter] = world.rows("dead_letters")
    assert (letter.event_id, letter.code, letter.attempts, letter.status) == (event.id, "refused", 3, "open")
    assert [notice["event_id"] for notice in world.notices()] == [event.id]
    world.odoo.troubles.clear()
    cli("dlq", "replay")
    world.start_bridge()
    eventually(lambda: world.outcomes(event) == ["created"])


def test_an_event_that_killed_every_bridge_that_tried_it_is_given_up_untried(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event, attempts=5)
    cli("reconcile")

    assert world.outcomes(event) == ["dead_lettered"]
    assert [(letter.code, letter.attempts) for letter in world.rows("dead_letters")] == [("crashed", 5)]
    assert world.odoo.calls == []


def test_odoo_being_away_costs_no_attempt(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event)
    world.odoo.stop()
    assert cli("reconcile").returncode == 1
    assert [(row.attempts, row.outcome) for row in world.rows("audit")] == [(1, None)]
    world.odoo.start()
    assert "1 repaired" in cli("reconcile", "--older-than", "0s").stdout


def test_several_reconciles_beside_running_bridges_apply_each_event_once(cli: Cli, world: World) -> None:
    events = [stage(f"MC{number % 10}", (16, 17, 25)[number % 3], minute=number) for number in range(60)]
    lose(world, *events)
    world.start_bridge()
    world.start_bridge()
    reconciles = [Program(["reconcile"], cli.environment, cli.folder) for _ in range(3)]
    # Some of the messages were not lost after all.
    world.send(*events[::4])
    assert [process.wait(PATIENCE) for process in reconciles] == [0, 0, 0]

    world.settle(*events)
    newest = {event.manychat_id: event for event in sorted(events, key=lambda event: event.order)}
    assert {manychat_id: lead["stage"] for manychat_id, lead in world.odoo.leads.items()} == {
        manychat_id: world.odoo.stages[event.payload.state.stage_id]  # type: ignore[attr-defined]
        for manychat_id, event in newest.items()
    }
    assert len(world.rows("opportunity_stages")) == len(world.odoo.moves)
    assert {row.odoo_sync_status for row in world.rows("opportunities")} == {"success"}
    assert world.rows("dead_letters") == []


def test_a_running_bridge_reconciles_by_itself_unless_its_queue_is_paused(cli: Cli, world: World) -> None:
    event, waiting = stage("MC1"), contact("MC2")
    lose(world, event, waiting)
    cli("pause", "--queue", "contact")
    bridge = world.start_bridge(reconcile_interval=1)

    eventually(lambda: world.outcomes(event) == ["created"])
    assert [line["outcome"] for line in eventually(lambda: bridge.lines("reconciled"))] == ["repaired"]
    assert world.outcomes(waiting) == [None]
    cli("resume")
    eventually(lambda: world.outcomes(waiting) == ["stored"])
    assert bridge.terminate() == 0


def test_a_dead_letter_is_never_applied_by_reconcile(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event)

    def work(connection: sa.Connection) -> None:
        audit.fail(connection, {event.id: Failure("refused", "no")}, dead=True)
        letter = DeadLetter(
            event.id, "m1", event.type.queue, event.type.value, "MC1", event.encode(), None, "refused", "no", 5,
            datetime.now(timezone.utc),
        )  # fmt: skip
        dead_letters.put(connection, [letter])

    in_transaction(world.engine, work)
    cli("dlq", "discard", "--all", "--yes")
    assert "discarded" in cli("reconcile").stdout
    assert world.odoo.calls == []
