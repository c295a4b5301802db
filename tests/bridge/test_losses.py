"""Events that a queue lost before any bridge received them are missed, and only those."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from bridge.contract.payloads import CONTACT_QUEUE
from bridge.queue import Queue
from bridge.results import Done, Failure
from bridge.store import audit, dead_letters, schema
from bridge.store.dead_letters import DeadLetter
from bridge.store.engine import in_transaction

from ..queue_sdk import sdk
from ..webhook_cases import CONTACT, opportunity
from .api import Api, running
from .conftest import Azurite, Cli, World, contact, eventually, stage
from .test_reconcile import HOUR, lose

LONG_AGO = datetime.now(timezone.utc) - HOUR


def found(cli: Cli) -> set[tuple[str, str, str]]:
    """What a dry run finds: event id, what it is, and the result."""
    printed = cli("reconcile", "--dry-run", "--json").stdout
    return {(each["event_id"], each["found"], each["result"]) for each in map(json.loads, printed.splitlines())}


def test_the_only_event_of_an_emptied_queue_is_missed(cli: Cli, world: World) -> None:
    event = contact("MC1")
    world.odoo.hold(event, LONG_AGO)
    assert found(cli) == {(event.id, "lost", "dry_run")}
    assert world.odoo.sent_again == []
    assert "1 case, 1 repaired." in cli("reconcile").stdout
    assert world.odoo.sent_again == [event.id]
    assert "0 cases" in cli("reconcile").stdout


def test_an_event_that_waits_on_its_queue_is_not_lost(cli: Cli, world: World) -> None:
    waiting = [contact(f"MC{number}") for number in range(3)]
    world.send(*waiting)
    for event in waiting:
        world.odoo.hold(event, LONG_AGO)
    # Invisible ones count too: a bridge has received them and not begun yet, or waits with them.
    world.queues[CONTACT_QUEUE].receive(2, 60)
    assert found(cli) == set()


def test_an_event_before_one_that_was_received_is_lost_and_one_after_it_is_not(cli: Cli, world: World) -> None:
    lost, waiting, elsewhere = contact("MC1"), contact("MC2"), stage("MC3")
    received = contact("MC4")
    lose(world, received)
    in_transaction(world.engine, audit.finish, {received.id: Done("stored")})
    with world.engine.begin() as connection:
        connection.execute(schema.audit.update().values(received_at=LONG_AGO))
    world.send(waiting, elsewhere)
    world.odoo.hold(lost, LONG_AGO - HOUR)
    world.odoo.hold(waiting, LONG_AGO)
    world.odoo.hold(elsewhere, LONG_AGO - HOUR)  # no later event of its own queue was received
    assert found(cli) == {(lost.id, "lost", "dry_run")}


def test_what_a_bridge_has_is_not_lost_even_if_its_queue_is_empty(cli: Cli, world: World) -> None:
    retried, dead, done = stage("MC1"), stage("MC2"), contact("MC3")
    lose(world, retried, dead, done, tried=-timedelta(seconds=5))
    in_transaction(world.engine, audit.fail, {dead.id: Failure("refused", "no")}, dead=True)
    in_transaction(world.engine, audit.finish, {done.id: Done("stored")})
    in_transaction(
        world.engine, lambda connection: connection.execute(schema.audit.update().values(reported_at=LONG_AGO))
    )
    for event in (retried, dead, done):
        world.odoo.hold(event, LONG_AGO)
    cli("reconcile")
    assert world.odoo.sent_again == []
    # What is finished is reported again: Odoo does not seem to know it.
    assert {row.event_id for row in world.rows("audit") if row.outcome and not row.reported_at} == {dead.id, done.id}


def test_a_retry_of_an_odoo_user_whose_message_is_lost_is_missed(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event)
    in_transaction(world.engine, audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    world.odoo.hold(event, LONG_AGO, retries=1)
    cli("reconcile")
    assert world.odoo.sent_again == [event.id]


def test_an_odoo_that_was_restored_gets_what_it_has_lost(cli: Cli, world: World) -> None:
    event = stage("MC1")
    lose(world, event)
    in_transaction(world.engine, audit.finish, {event.id: Done("created", 7, None, "A")})
    world.odoo.hold(event, LONG_AGO)
    assert world.odoo.leads == {}
    cli("reconcile")
    assert world.odoo.leads["MC1"]["stage"] == world.odoo.stages[16]
    assert world.odoo.sent_again == []


def test_an_addon_that_does_not_know_the_question_is_no_outage(cli: Cli, world: World) -> None:
    world.odoo.takes_reports = False
    done = cli("reconcile")
    assert (done.returncode, "0 cases" in done.stdout) == (0, True)


def test_a_running_bridge_misses_events_by_itself_but_not_those_of_a_paused_queue(cli: Cli, world: World) -> None:
    event, paused = stage("MC1"), contact("MC2")
    cli("pause", "--queue", "contact")
    world.odoo.hold(event, LONG_AGO)
    world.odoo.hold(paused, LONG_AGO)
    world.start_bridge(reconcile_interval=1)
    eventually(lambda: world.odoo.sent_again)
    assert set(world.odoo.sent_again) == {event.id}
    cli("resume")
    eventually(lambda: paused.id in world.odoo.sent_again)


def test_a_dead_letter_whose_replay_is_lost_is_open_again(cli: Cli, world: World) -> None:
    event = contact("MC1")
    lose(world, event)
    letter = DeadLetter(
        event.id, "m1", event.type.queue, event.type.value, "MC1", event.encode(), None, "refused", "no", 5, LONG_AGO
    )
    in_transaction(world.engine, audit.fail, {event.id: Failure("refused", "no")}, dead=True)
    in_transaction(world.engine, dead_letters.put, [letter])
    cli("dlq", "replay")
    assert [letter.status for letter in world.rows("dead_letters")] == ["replayed"]
    assert "0 cases" in cli("reconcile", "--older-than", "0s").stdout  # its message is on the queue
    sdk(world.queues[event.type.queue]).clear_messages()
    assert "0 cases" in cli("reconcile").stdout  # it may be on its way
    assert "1 case, 1 repaired." in cli("reconcile", "--older-than", "0s").stdout
    assert [letter.status for letter in world.rows("dead_letters")] == ["open"]


# --- the standby's events --------------------------------------------------------------------------------------------


def accepted(api: Api) -> list[sa.Row[tuple[object, ...]]]:
    with api.context.engine.connect() as connection:
        return list(connection.execute(sa.select(schema.audit)))


def test_an_event_that_the_standby_accepted_is_in_the_audit_before_its_answer(api: Api) -> None:
    event_id = api("POST", CONTACT[1], {"manychat_id": "MC1", "nombre_lead": "Ana"}, key="webhook").json()["event_id"]
    [row] = accepted(api)
    assert (row.event_id, row.queue, row.source, row.outcome) == (event_id, CONTACT_QUEUE, "api", None)
    assert (row.attempts, row.tried_at, row.attempt_in_progress) == (0, None, False)


def test_an_event_that_only_the_standby_has_is_applied_if_the_queue_loses_it(cli: Cli, world: World) -> None:
    event, waiting = stage("MC1"), contact("MC2")
    in_transaction(world.engine, audit.accept, event)
    in_transaction(world.engine, audit.accept, waiting)
    world.send(waiting)
    assert "0 cases" in cli("reconcile").stdout  # it may be on its way
    assert "1 case, 1 repaired." in cli("reconcile", "--older-than", "0s").stdout
    assert world.outcomes(event, waiting) == ["created", None]


def test_a_bridge_takes_an_accepted_event_as_a_new_one(world: World) -> None:
    event = stage("MC1")
    in_transaction(world.engine, audit.accept, event, LONG_AGO)
    world.send(event)
    world.start_bridge()
    assert world.settle(event) == ["created"]
    [row] = world.rows("audit")
    assert (row.attempts, row.attempt_in_progress) == (1, False)
    assert min(row.started_at, row.enqueued_at) > LONG_AGO
    assert row.started_at == row.tried_at


def test_the_row_of_an_event_that_a_bridge_has_already_stays(world: World) -> None:
    event = stage("MC1")
    lose(world, event)
    before = world.rows("audit")
    in_transaction(world.engine, audit.accept, event)
    assert world.rows("audit") == before


def test_while_sql_is_locked_the_standby_accepts_events_all_the_same(
    azurite: Azurite, queues: dict[str, Queue], empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.copy(empty_store, tmp_path / "api.db")
    with running(queue_connection_string=azurite.connection_string, database_url=f"sqlite:///{path}") as api:
        lock = sa.create_engine(f"sqlite:///{path}")
        with lock.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            submit, tries = api.context.accepted._writers.submit, []

            def count(*job: object) -> object:
                tries.append(job)
                return submit(*job)

            monkeypatch.setattr(api.context.accepted._writers, "submit", count)
            for number in range(20):
                payload = opportunity(manychat_id=f"MC{number}")
                assert api("POST", "/api/v1/manychat/webhook/crm-opportunity", payload, key="webhook").is_success
            # Only the first one has waited for SQL.
            assert len(tries) == 1
            connection.exec_driver_sql("ROLLBACK")
        # Their rows come when SQL is up again.
        eventually(lambda: len(accepted(api)) == 20)
        lock.dispose()
    assert sum(queue.depth() for queue in queues.values()) == 20
