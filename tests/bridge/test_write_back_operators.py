"""What operators see of what goes back to ManyChat, and what they can do about it."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.cli import trace_write_back
from bridge.contract.payloads import DECISION_QUEUE, OUTBOUND_QUEUE
from bridge.errors import QueueRightMissing, QueueUnavailable
from bridge.monitoring import health, probes
from bridge.queue import Queue
from bridge.store import (
    erasure,
    history,
    manychat_flows,
    manychat_slots,
    manychat_wishes,
    manychat_writes,
    odoo_settings,
    pauses,
    schema,
)
from bridge.store import snapshot as store_snapshot
from bridge.store.engine import in_transaction, read
from bridge.worker.polling import Pace
from bridge.worker.write_back import outbound, outbound_queue

from ..manychat_stand_in import TOKEN, ManyChatStandIn
from ..queue_sdk import sdk
from .conftest import Azurite, Cli, World, eventually, stage
from .test_sas import sas
from .write_back import NOON, RULES, WriteBack, wish


def switch_on(world: World, **more: Any) -> None:
    in_transaction(world.engine, odoo_settings.take_over, {"write_back": {**RULES, **more}})


def manychat_line(cli: Cli, **settings: str) -> dict[str, Any] | None:
    lines = [json.loads(line) for line in cli("check", "--json", **settings).stdout.splitlines()]
    return next((line for line in lines if line["dependency"] == "ManyChat"), None)


def test_check_says_nothing_of_manychat_where_it_is_not_used(cli: Cli, world: World) -> None:
    assert manychat_line(cli) is None


def test_check_misses_the_token_where_odoo_has_it_on(cli: Cli, world: World) -> None:
    switch_on(world)
    found = manychat_line(cli)
    assert found
    assert not found["ok"]
    assert "BRIDGE_MANYCHAT_API_TOKEN" in found["advice"]


def test_check_tries_the_token_and_compares_the_fields(cli: Cli, world: World, manychat: ManyChatStandIn) -> None:
    settings = {"manychat_api_token": TOKEN, "manychat_api_url": manychat.url}
    found = manychat_line(cli, **settings)
    assert found
    assert found["ok"]
    assert len(manychat.calls) == 1
    switch_on(world)
    assert "every field" in str(manychat_line(cli, **settings))
    del manychat.fields[13]
    found = manychat_line(cli, **settings)
    assert found
    assert not found["ok"]
    assert "no field asesor" in found["answer"]
    found = manychat_line(cli, **{**settings, "manychat_api_token": "1:wrong"})
    assert found
    assert not found["ok"]
    assert "token" in found["answer"] + found["advice"]


def test_check_makes_no_call_while_manychat_takes_none(cli: Cli, world: World, manychat: ManyChatStandIn) -> None:
    in_transaction(world.engine, manychat_slots.pause, 3600.0, "too many requests")
    found = manychat_line(cli, manychat_api_token=TOKEN, manychat_api_url=manychat.url)
    assert found
    assert not found["ok"]
    assert manychat.calls == []


def test_check_tries_the_queue_of_what_goes_back_only_where_there_is_a_token(
    cli: Cli, world: World, azurite: Azurite, manychat: ManyChatStandIn, manychat_queue: Queue
) -> None:
    secret = sas(azurite, "raup")
    sdk(manychat_queue).delete_queue()
    without = cli("check", queue_connection_string=secret)
    assert f"{DECISION_QUEUE} 0" in without.stdout
    assert OUTBOUND_QUEUE not in without.stdout

    settings = {"manychat_api_token": TOKEN, "manychat_api_url": manychat.url}
    found = cli("check", queue_connection_string=secret, **settings)
    assert found.returncode == 1
    assert f"{OUTBOUND_QUEUE} does not exist, and the SAS may not create it" in found.stdout
    assert f"{OUTBOUND_QUEUE} 0" in cli("check", **settings).stdout
    found = cli("check", queue_connection_string=sas(azurite, "ra"), **settings)
    assert "the SAS lacks update and process on" in found.stdout


def test_a_queue_of_what_goes_back_that_is_denied_stops_no_event(
    world: World, azurite: Azurite, manychat: ManyChatStandIn, manychat_queue: Queue
) -> None:
    """It may be missing, or the right to it: what goes back waits in SQL then, and the log says why."""
    switch_on(world)
    bridge = world.start_bridge(manychat_api_token=TOKEN, manychat_api_url=manychat.url)
    in_transaction(world.engine, manychat_wishes.want, [wish()])
    eventually(lambda: manychat.people)
    assert bridge.terminate() == 0
    sdk(manychat_queue).delete_queue()

    secret = sas(azurite, "raup")
    bridge = world.start_bridge(queue_connection_string=secret, manychat_api_token=TOKEN, manychat_api_url=manychat.url)
    in_transaction(world.engine, manychat_wishes.want, [wish(1, stage_id=8, manychat_stage="Cita")])
    [line] = eventually(lambda: bridge.lines("outbound_fill_failing"))
    assert f"{OUTBOUND_QUEUE} does not exist" in line["reason"]
    event = stage("MC9")
    world.send(event)
    assert world.settle(event) == ["created"]
    assert not bridge.lines("dependency_down")
    manychat_queue.create()
    eventually(lambda: manychat.people["1001"].get(11) == "Cita")


def test_a_missing_right_to_that_queue_is_no_outage_of_the_others(
    write_back: WriteBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[object] = []
    monkeypatch.setattr(outbound, "trip_breaker", lambda _, outage: trips.append(outage))
    monkeypatch.setattr(outbound, "DENIED", 0.01)

    def receive(*_: object) -> list[object]:
        if answers:
            raise answers.pop(0)
        write_back.stop.set()
        return []

    answers = [QueueRightMissing("the SAS lacks process"), QueueUnavailable("no answer")]
    monkeypatch.setattr(write_back.queue, "receive", receive)
    write_back.want(wish())
    outbound_queue.fill(write_back.engine, write_back.queue)
    write_back.outbound.run()
    assert [str(each) for each in trips] == ["no answer"]


def test_what_this_bridge_puts_on_the_queue_after_a_quiet_time_goes_at_once(
    write_back: WriteBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Pace(60)
    monkeypatch.setattr(quiet, "pause", lambda *, urgent: 60.0)
    monkeypatch.setattr(write_back.outbound, "_pace", quiet)
    thread = threading.Thread(target=write_back.outbound.run)
    thread.start()
    try:
        time.sleep(1)  # it waits at the empty queue
        write_back.want(wish())
        began = time.monotonic()
        write_back.outbound.fill()
        eventually(lambda: write_back.manychat.people)
        assert time.monotonic() - began < 30
    finally:
        write_back.stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_status_has_a_line_for_what_goes_back(cli: Cli, world: World) -> None:
    assert "to ManyChat: off in Odoo" in cli("status").stdout
    switch_on(world)
    in_transaction(world.engine, manychat_wishes.want, [wish()])
    assert "to ManyChat: 1 waiting, the first for" in cli("status").stdout
    assert cli("pause", "--manychat").returncode == 0
    status = cli("status").stdout
    assert "0 refused; PAUSED" in status
    assert f"PAUSED {OUTBOUND_QUEUE}" in status


def test_resume_ends_the_stop_only_if_it_is_asked_to(cli: Cli, world: World) -> None:
    in_transaction(world.engine, manychat_slots.pause, 3600.0, "too many requests")
    assert "resume --manychat" in cli("resume").stdout
    assert read(world.engine, manychat_slots.paused)
    assert cli("pause", "--manychat").stdout.count("paused since") == 1
    assert set(read(world.engine, pauses.paused)) == {OUTBOUND_QUEUE}
    assert cli("resume", "--manychat").returncode == 0
    assert read(world.engine, manychat_slots.paused) is None
    assert read(world.engine, pauses.paused) == {}


def test_trace_shows_what_became_of_a_decision_in_manychat(write_back: WriteBack) -> None:
    write_back.manychat.closed.add("1001")
    write_back.want(wish(0, stage_id=7, moved=True, event_id="e0"))
    write_back.work()
    found = read(write_back.engine, history.details, "e0", "1001")
    assert found.write
    assert found.flow
    assert (found.write.refused_code, found.flow.result) == ("window_closed", "window_closed")
    assert [what for _, _, what in trace_write_back.steps(trace_write_back.rows(found))] == [
        "flow content1: window_closed",
        "refused it: window_closed",
    ]
    other = read(write_back.engine, history.details, "e1", "1001")
    assert (other.write, other.flow) == (None, None)


def noticed(write_back: WriteBack) -> list[str]:
    """The notices of the health report. No event waits, so it has no problem."""
    sql = probes.SqlHealth("sqlite", None, read(write_back.engine, store_snapshot.take))
    empty = probes.CheckResult(probes.OK, value=probes.QueueHealth(0, None))
    queues = dict.fromkeys(probes.ALL_QUEUES, empty)
    report = health.report(probes.HealthSnapshot(queues, probes.CheckResult(probes.OK, value=sql), None))
    assert (report["status"], report["problems"]) == ("ok", [])
    return list(report["notices"])


def test_what_waits_for_long_is_noticed_and_why(write_back: WriteBack) -> None:
    write_back.want(wish())
    assert noticed(write_back) == []
    with write_back.engine.begin() as connection:
        long_ago = datetime.now(timezone.utc) - timedelta(minutes=20)
        connection.execute(schema.manychat_writes.update().values(updated_at=long_ago))
    [notice] = noticed(write_back)
    assert "20 min" in notice
    in_transaction(write_back.engine, pauses.pause, [OUTBOUND_QUEUE])
    [notice] = noticed(write_back)
    assert f"PAUSED {OUTBOUND_QUEUE}" in notice
    in_transaction(write_back.engine, pauses.resume, [OUTBOUND_QUEUE])
    in_transaction(write_back.engine, manychat_slots.pause, 3600.0, "too many requests")
    [notice] = noticed(write_back)
    assert "1 people's decisions wait" in notice
    write_back.rules({**RULES, "enabled": False})
    assert not read(write_back.engine, store_snapshot.take).write_back.waiting


def test_a_refusal_is_noticed(write_back: WriteBack) -> None:
    write_back.manychat.unknown.add("1001")
    write_back.want(wish())
    write_back.work()
    [notice] = noticed(write_back)
    assert "refused 1" in notice


def test_a_message_of_an_erased_person_does_nothing(write_back: WriteBack, manychat_queue: Queue) -> None:
    write_back.want(wish(stage_id=7, moved=True), wish(0, "1002"))
    outbound_queue.fill(write_back.engine, manychat_queue)
    in_transaction(write_back.engine, manychat_flows.note, "old", "1001", "content1")
    in_transaction(write_back.engine, erasure.erase, "1001")
    write_back.work()
    assert set(write_back.manychat.people) == {"1002"}
    with write_back.engine.connect() as connection:
        for table in (schema.manychat_writes, schema.manychat_flows, schema.manychat_echoes):
            assert connection.scalars(sa.select(table.c.manychat_id).where(table.c.manychat_id == "1001")).all() == []


def test_a_person_who_is_erased_during_the_call_leaves_no_row(write_back: WriteBack) -> None:
    write_back.want(wish())
    claim = in_transaction(write_back.engine, manychat_writes.claim, "1001", NOON, "a")
    assert isinstance(claim, manychat_writes.Claim)
    in_transaction(write_back.engine, erasure.erase, "1001")
    assert not in_transaction(write_back.engine, manychat_writes.finish, claim, {"field:11": "x"}, None)
    with pytest.raises(sa.exc.NoResultFound):
        write_back.row()
