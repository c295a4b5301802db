"""What people decide in Odoo reaches ManyChat: newest wins, nothing twice, never faster than allowed."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest
import sqlalchemy as sa

from bridge.contract.opportunity_state import Actor
from bridge.errors import ManyChatUnavailable
from bridge.manychat import ManyChat
from bridge.store import manychat_flows, manychat_writes, schema
from bridge.store.engine import create_engine, in_transaction
from bridge.store.manychat_writes import Idle
from bridge.worker.write_back import outbound, outbound_queue
from bridge.worker.write_back.pace import PacedManyChat

from ..manychat_stand_in import LIMIT, TOKEN, ManyChatStandIn
from .write_back import RULES, WriteBack, wish


def test_a_decision_fills_the_fields_and_the_tag(write_back: WriteBack) -> None:
    write_back.want(wish(status="won"))
    write_back.work()
    assert write_back.manychat.people["1001"] == {11: "Seguimiento", 12: 24, 13: "Laura Prueba", 14: "won"}
    assert write_back.manychat.tagged["1001"] == {21}
    assert [path for _, path, _ in write_back.manychat.calls] == [
        "/fb/subscriber/setCustomFields",
        "/fb/subscriber/addTag",
    ]


def test_nothing_is_noted_queued_or_asked_while_it_is_off(
    write_back: WriteBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_back.rules({**RULES, "enabled": False})
    write_back.want(wish())
    write_back.work()
    monkeypatch.setattr(outbound, "OFF", 0.0)
    write_back.outbound.work()
    with write_back.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.manychat_writes)) == 0
    assert write_back.queue.depth() == 0
    assert write_back.manychat.calls == []


def test_what_was_noted_is_not_written_once_it_is_off(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.rules({**RULES, "enabled": False})
    write_back.work()
    assert write_back.manychat.calls == []


def test_an_older_message_is_dropped_unsent(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    outbound_queue.fill(write_back.engine, write_back.queue)
    write_back.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Cierre"
    assert len(write_back.manychat.calls) == 1


def test_an_older_state_that_comes_later_changes_nothing(write_back: WriteBack) -> None:
    write_back.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.want(wish(0))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Cierre"


def test_the_same_value_is_not_sent_twice(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(1, expected_revenue=7))
    write_back.want(wish(2, salesperson="Ana Prueba"))
    write_back.work()
    assert len(write_back.manychat.calls) == 2
    assert write_back.manychat.calls[1][1] == "/fb/subscriber/setCustomField"


def test_a_message_that_comes_twice_is_written_once(write_back: WriteBack) -> None:
    write_back.want(wish())
    outbound_queue.fill(write_back.engine, write_back.queue)
    write_back.queue.send(outbound_queue.encode(write_back.row()))
    write_back.work()
    assert len(write_back.manychat.calls) == 1


def test_what_the_chat_brings_about_waits_for_the_chat_to_rest_and_no_decision_waits(write_back: WriteBack) -> None:
    write_back.want(wish(0, by=Actor.CHAT, said=True))
    assert outbound_queue.fill(write_back.engine, write_back.queue) == 0
    chat = wish(1, by=Actor.CHAT, said=True, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25)
    write_back.want(chat)
    write_back.work()
    assert len(write_back.manychat.calls) == 1
    assert write_back.manychat.people["1001"][11] == "Cierre"
    write_back.want(wish(2))
    assert outbound_queue.fill(write_back.engine, write_back.queue) == 1


def test_a_stale_event_of_the_chat_has_the_stage_written_again(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.manychat.people["1001"][11] = "Cierre"
    write_back.want(wish(1, by=Actor.CHAT, said=True, overruled=True))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_a_stage_that_the_chat_left_meanwhile_is_written_again_although_it_was_written_before(
    write_back: WriteBack,
) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.manychat.people["1001"][11] = "Cierre"
    chat = wish(1, by=Actor.CHAT, said=True, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25)
    write_back.want(chat)
    write_back.want(wish(2))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_what_the_chat_told_before_a_decision_counts_although_it_comes_after_it(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(2))
    write_back.manychat.people["1001"][11] = "Cierre"
    write_back.want(wish(1, by=Actor.CHAT, said=True, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_two_events_of_one_batch_are_both_heard(write_back: WriteBack) -> None:
    write_back.want(wish(0, by=Actor.CHAT, said=True))
    write_back.work()
    write_back.manychat.people["1001"][11] = "Cierre"
    moved, stale = wish(1, by=Actor.CHAT, said=True), wish(1, by=Actor.CHAT, said=True, overruled=True)
    write_back.want(moved, stale)
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_an_older_state_that_comes_after_an_equal_newer_one_changes_nothing(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(2))
    write_back.want(wish(1, status="deleted"))
    write_back.work()
    assert write_back.manychat.people["1001"][14] == "open"
    assert len(write_back.manychat.calls) == 1


def test_what_the_chat_told_during_a_write_is_not_taken_for_written(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    claim = in_transaction(write_back.engine, manychat_writes.claim, "1001", wish(0).state.as_of, "a")
    assert not isinstance(claim, Idle)
    in_transaction(write_back.engine, manychat_writes.write_again, "1001")
    assert in_transaction(write_back.engine, manychat_writes.finish, claim, {"field:11": "Seguimiento"}, None)
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_a_lost_opportunity_loses_the_tag_of_the_won(write_back: WriteBack) -> None:
    write_back.want(wish(0, status="won"))
    write_back.work()
    write_back.want(wish(1, status="lost"))
    write_back.work()
    assert write_back.manychat.tagged["1001"] == {22}


def test_only_tags_that_we_gave_are_taken_away(write_back: WriteBack) -> None:
    write_back.manychat.tagged["1001"] = {21}
    write_back.want(wish(0))
    write_back.work()
    assert write_back.manychat.tagged["1001"] == {21}


def test_a_stage_that_the_map_does_not_have_is_not_written(write_back: WriteBack) -> None:
    write_back.want(wish(0, manychat_stage=None, manychat_stage_id=None))
    write_back.work()
    assert write_back.manychat.people["1001"] == {13: "Laura Prueba", 14: "open"}


def test_a_flow_starts_once_for_the_decision_that_entered_its_stage(write_back: WriteBack) -> None:
    write_back.want(wish(0, stage_id=7, moved=True))
    write_back.work()
    write_back.want(wish(1, stage_id=7, salesperson="Ana Prueba"))
    write_back.work()
    assert write_back.manychat.started == [("1001", "content1")]


def test_a_flow_is_kept_when_a_newer_decision_of_another_kind_overtakes_it(write_back: WriteBack) -> None:
    write_back.want(wish(0, stage_id=7, moved=True))
    write_back.want(wish(1, stage_id=7, salesperson="Ana Prueba"))
    write_back.work()
    assert write_back.manychat.started == [("1001", "content1")]


def test_a_flow_whose_decision_comes_after_a_newer_one_starts(write_back: WriteBack) -> None:
    write_back.want(wish(1, stage_id=7, salesperson="Ana Prueba"))
    write_back.work()
    write_back.want(wish(0, stage_id=7, moved=True))
    write_back.work()
    assert write_back.manychat.started == [("1001", "content1")]


def test_a_refused_flow_is_not_reported_again_with_the_next_decision(write_back: WriteBack) -> None:
    write_back.manychat.closed.add("1001")
    write_back.want(wish(0, stage_id=7, moved=True))
    write_back.work()
    assert write_back.row().refused_code == "window_closed"
    write_back.want(wish(1, stage_id=7, salesperson="Ana Prueba"), wish(0, stage_id=7, moved=True))
    write_back.work()
    assert write_back.row().refused_code is None
    assert write_back.manychat.calls_of("sendFlow") == ["1001"]


def test_the_chat_starts_no_flow(write_back: WriteBack) -> None:
    write_back.want(wish(0, stage_id=7, by=Actor.CHAT, moved=True))
    write_back.work()
    assert write_back.manychat.started == []


def test_a_flow_that_was_noted_is_never_started_again_and_a_person_hears_of_it(write_back: WriteBack) -> None:
    in_transaction(write_back.engine, manychat_flows.note, "e0", "1001", "content1")  # killed right after this
    write_back.want(wish(0, stage_id=7, moved=True))
    write_back.work()
    assert write_back.manychat.started == []
    assert write_back.row().refused_code == manychat_flows.UNKNOWN


def test_a_flow_without_an_answer_is_not_repeated(write_back: WriteBack) -> None:
    write_back.rules({"enabled": True, "flows": RULES["flows"]})
    write_back.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    write_back.manychat.hangs = 4.0
    outbound_queue.fill(write_back.engine, write_back.queue)
    [message] = write_back.queue.receive(1, 30)
    with pytest.raises(ManyChatUnavailable):
        write_back.outbound.process(message)
    write_back.manychat.hangs = 0
    write_back.outbound.process(message)
    assert write_back.manychat.calls_of("sendFlow") == ["1001"]
    assert write_back.row().refused_code == manychat_flows.UNKNOWN


def test_a_flow_that_cannot_have_been_sent_starts_later(write_back: WriteBack) -> None:
    write_back.rules({"enabled": True, "flows": RULES["flows"]})
    write_back.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    write_back.manychat.stop()
    outbound_queue.fill(write_back.engine, write_back.queue)
    [message] = write_back.queue.receive(1, 30)
    with pytest.raises(ManyChatUnavailable):
        write_back.outbound.process(message)
    write_back.manychat.start()
    write_back.outbound.process(message)
    assert write_back.manychat.started == [("1001", "content1")]


def test_a_person_gets_a_hundred_flows_in_an_hour_at_most(write_back: WriteBack) -> None:
    for number in range(100):
        assert in_transaction(write_back.engine, manychat_flows.note, f"x{number}", "1001", "content1") is None
    write_back.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    write_back.work()
    assert write_back.manychat.started == []
    assert write_back.row().refused_code == "too_many_flows"


def _call_many(database_url: str, url: str, seconds: float) -> int:
    engine, stop = create_engine(database_url), threading.Event()
    paced = PacedManyChat(ManyChat(TOKEN, url), engine, 8, stop)
    threading.Timer(seconds, stop.set).start()

    def call(_: int) -> int:
        made = 0
        while not stop.is_set():
            try:
                paced.call(paced.client.add_tag, "1001", 21)
            except ManyChatUnavailable:
                break
            made += 1
        return made

    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(call, range(3)))


def test_four_bridges_together_never_pass_the_limit(
    engine: sa.Engine, database_url: str, manychat: ManyChatStandIn
) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = sum(pool.starmap(_call_many, [(database_url, manychat.url, 8.0)] * 4))
    assert made > 16
    assert manychat.most_in_a_second() <= LIMIT
    assert not manychat.stopped
