"""Refusals, stops and silence of ManyChat; bridges that are killed; rules that change."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.opportunity_state import Actor
from bridge.errors import ManyChatMisconfigured, ManyChatRefused, ManyChatStopped, ManyChatUnavailable
from bridge.manychat import ManyChat
from bridge.store import erasure, manychat_echoes, manychat_slots, manychat_writes, schema
from bridge.store.engine import in_transaction
from bridge.store.manychat_writes import Idle
from bridge.worker.write_back import outbound, outbound_queue
from bridge.worker.write_back.pace import PacedManyChat

from ..manychat_stand_in import TOKEN, ManyChatStandIn
from ..queue_sdk import sdk
from .write_back import NOON, RULES, WriteBack, wish


def test_a_refused_flow_is_recorded_and_not_repeated_and_the_fields_are_written(write_back: WriteBack) -> None:
    write_back.manychat.closed.add("1001")
    write_back.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    write_back.work()
    assert write_back.row().refused_code == "window_closed"
    assert write_back.row().to_report
    assert write_back.manychat.people["1001"][11] == "Seguimiento"
    assert write_back.queue.depth() == 0


def test_one_missing_field_does_not_keep_the_others_from_being_written(write_back: WriteBack) -> None:
    del write_back.manychat.fields[12]
    write_back.want(wish())
    write_back.work()
    assert write_back.manychat.people["1001"] == {11: "Seguimiento", 13: "Laura Prueba", 14: "open"}
    assert write_back.row().refused_code == "missing"


def test_an_unknown_person_takes_one_call(write_back: WriteBack) -> None:
    write_back.manychat.unknown.add("1001")
    write_back.want(wish(0, status="won"))
    write_back.work()
    assert len(write_back.manychat.calls) == 1
    assert write_back.row().refused_code == "unknown_person"


def test_a_success_after_a_refusal_is_reported_too(write_back: WriteBack) -> None:
    told: list[Any] = []

    class Listener:
        def record_write_back(self, results: list[dict[str, Any]]) -> None:
            told.extend((each["manychat_id"], each["code"]) for each in results)

    write_back.manychat.unknown.add("1001")
    write_back.want(wish(0), wish(0, "1002"))
    write_back.work()
    outbound.report(write_back.engine, Listener())  # type: ignore[arg-type]
    write_back.manychat.unknown.clear()
    write_back.want(wish(1, manychat_stage="Cierre"))
    write_back.work()
    outbound.report(write_back.engine, Listener())  # type: ignore[arg-type]
    outbound.report(write_back.engine, Listener())  # type: ignore[arg-type]
    assert told == [("1001", "unknown_person"), ("1001", "")]


def test_no_call_is_made_after_the_answer_that_stops_the_account(write_back: WriteBack) -> None:
    write_back.manychat.stopped = True
    write_back.want(wish(0), wish(0, "1002"))
    outbound_queue.fill(write_back.engine, write_back.queue)
    for message in write_back.queue.receive(2, 30):
        with pytest.raises(ManyChatStopped):
            write_back.outbound.process(message)
    with pytest.raises(ManyChatStopped):
        write_back.paced.probe()
    assert len(write_back.manychat.calls) == 1
    pause = in_transaction(write_back.engine, manychat_slots.paused)
    assert pause
    assert pause.until - datetime.now(timezone.utc) > timedelta(hours=23)
    write_back.manychat.stopped = False
    in_transaction(write_back.engine, manychat_slots.resume)
    for message in write_back.queue.receive(2, 30):
        write_back.queue.hide(message, 0)
    write_back.paced.probe()
    assert write_back.row().sent_as_of is None


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, {"status": "error", "message": "Validation error"}, ManyChatRefused),
        (400, {"status": "error", "message": "Validation error"}, ManyChatRefused),
        (200, {"status": "error", "message": "Wrong token"}, ManyChatMisconfigured),
        (401, {}, ManyChatMisconfigured),
        (429, {}, ManyChatStopped),
        (200, {"status": "error", "message": "API rate limit exceeded"}, ManyChatStopped),
        (502, None, ManyChatUnavailable),
        (200, ["?"], ManyChatUnavailable),
    ],
)
def test_an_answer_that_is_an_error_is_never_taken_for_success(
    manychat: ManyChatStandIn, status: int, answer: Any, error: type[Exception]
) -> None:
    manychat.troubles = [(status, answer)]
    with pytest.raises(error) as caught:
        ManyChat(TOKEN, manychat.url).add_tag("1001", 21)
    assert type(caught.value) is error


def test_two_bridges_do_not_write_to_one_person_at_once(write_back: WriteBack) -> None:
    write_back.want(wish())
    first = in_transaction(write_back.engine, manychat_writes.claim, "1001", wish().state.as_of, "a")
    assert not isinstance(first, Idle)
    assert in_transaction(write_back.engine, manychat_writes.claim, "1001", wish().state.as_of, "b") is Idle.BUSY


def test_a_bridge_that_lost_its_lease_has_the_newest_state_written_again(write_back: WriteBack) -> None:
    write_back.want(wish())
    claim = in_transaction(write_back.engine, manychat_writes.claim, "1001", wish().state.as_of, "a")
    assert not isinstance(claim, Idle)
    with write_back.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(lease="b"))
    assert not in_transaction(write_back.engine, manychat_writes.finish, claim, {"field:11": "x"}, None)
    with write_back.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(leased_until=None))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_no_field_is_written_once_write_back_is_off_or_the_lease_ends_while_sql_is_slow(
    write_back: WriteBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The echo is noted after the turn: if that takes long, the call needs a new turn, and may come too late."""
    expect = manychat_echoes.expect
    is_late = iter([True])

    def slow(connection: sa.Connection, *arguments: Any, **named: Any) -> None:
        expect(connection, *arguments, **named)
        manychat_writes.take_over(connection, {"write_back": {"enabled": False}})
        monkeypatch.setattr(PacedManyChat, "is_over", lambda *_: next(is_late, False))

    monkeypatch.setattr(manychat_echoes, "expect", slow)
    write_back.want(wish())
    write_back.work()
    assert write_back.manychat.calls == []


def test_a_lost_message_is_put_on_the_queue_again(write_back: WriteBack) -> None:
    write_back.want(wish())
    outbound_queue.fill(write_back.engine, write_back.queue)
    sdk(write_back.queue).clear_messages()
    with write_back.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(queued_at=NOON - timedelta(days=365)))
    outbound_queue.keep_up(write_back.engine, write_back.queue)
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_a_value_that_may_have_arrived_is_written_over(write_back: WriteBack) -> None:
    """A bridge is killed after the call, or gets no answer: then a person decides what was there before."""
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25, status="won"))
    message = write_back.message()
    write_back.manychat.hangs = 4.0
    with pytest.raises(ManyChatUnavailable):
        write_back.outbound.process(message)
    write_back.manychat.hangs = 0
    write_back.manychat.wait_until_answered()
    assert write_back.manychat.people["1001"][11] == "Cierre"
    write_back.want(wish(2))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_a_tag_that_may_have_been_given_is_taken_away(write_back: WriteBack) -> None:
    write_back.rules({"enabled": True, "won_tag": {"id": 21}, "lost_tag": {"id": 22}})
    write_back.want(wish(0, status="won"))
    message = write_back.message()
    write_back.manychat.hangs = 4.0
    with pytest.raises(ManyChatUnavailable):
        write_back.outbound.process(message)
    write_back.manychat.hangs = 0
    write_back.manychat.wait_until_answered()
    assert write_back.manychat.tagged["1001"] == {21}
    write_back.want(wish(1, status="lost"))
    write_back.work()
    assert write_back.manychat.tagged["1001"] == {22}


def test_what_a_bridge_noted_before_it_was_killed_is_not_trusted(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    claim = in_transaction(write_back.engine, manychat_writes.claim, "1001", wish(1).state.as_of, "killed")
    assert not isinstance(claim, Idle)
    assert in_transaction(write_back.engine, manychat_writes.begin, claim, {**claim.sent, "field:11": None})
    write_back.manychat.people["1001"][11] = "Cierre"  # its call; then it is killed
    write_back.end_leases()
    write_back.want(wish(2))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_after_a_lost_lease_a_given_tag_is_still_taken_away(write_back: WriteBack) -> None:
    write_back.want(wish(0, status="won"))
    write_back.work()
    in_transaction(write_back.engine, manychat_writes.write_again, "1001")
    write_back.work()
    write_back.want(wish(1))
    write_back.work()
    assert write_back.manychat.tagged["1001"] == set()


def test_a_person_for_whom_every_call_fails_is_tried_ever_more_seldom_and_never_given_up(
    write_back: WriteBack,
) -> None:
    write_back.manychat.broken.add("1001")
    write_back.want(wish())
    message = write_back.message()
    for attempt in range(1, 9):
        with pytest.raises(ManyChatUnavailable):
            write_back.outbound.process(message)
        assert write_back.row().attempts == attempt
    assert write_back.row().refused_code is None
    write_back.manychat.broken.clear()
    write_back.outbound.process(message)
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_a_fault_that_may_pass_is_tried_five_times_and_a_newer_state_five_times_again(write_back: WriteBack) -> None:
    passing = (400, {"status": "error", "message": "Internal error, please try again"})
    write_back.rules({"enabled": True, "stage_field": {"id": 11}})
    for minute in range(2):
        write_back.manychat.troubles = [passing] * 5
        write_back.want(wish(minute, manychat_stage=f"Etapa {minute}"))
        message = write_back.message()
        for _ in range(4):
            write_back.outbound.process(message)
        assert write_back.row().refused_code == (None if minute == 0 else "passing")
        write_back.outbound.process(message)
        assert write_back.row().refused_code == "passing"


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (400, {"message": "Content can't be sent without message tag.", "code": 3011}, "window_closed"),
        (400, {"message": "Subscriber's last interaction was over 24h ago"}, "window_closed"),
        (400, {"message": "The subscriber has no One-Time Notification tokens", "code": 3021}, "refused"),
        (200, {"message": "User has blocked the bot"}, "refused"),
        (200, {"message": "Bot was blocked by the contact"}, "refused"),
        (
            400,
            {"message": "Validation error", "details": {"messages": [{"message": "Length limit exceeded"}]}},
            "refused",
        ),
        (400, {"message": "Validation error", "details": {"messages": [{"message": "Field not found"}]}}, "missing"),
        (400, {"message": "Validation error", "details": {"subscriber_id": "Contact doesn't exist"}}, "unknown_person"),
        (400, {"message": "Internal error"}, "passing"),
    ],
)
def test_one_persons_refusal_stops_nothing_else(
    manychat: ManyChatStandIn, status: int, answer: dict[str, Any], code: str
) -> None:
    manychat.troubles = [(status, {"status": "error", **answer})]
    with pytest.raises(ManyChatRefused) as caught:
        ManyChat(TOKEN, manychat.url).send_flow("1001", "content1")
    assert caught.value.code == code


def test_a_flow_that_the_stop_refused_starts_after_it(write_back: WriteBack) -> None:
    write_back.rules({"enabled": True, "flows": RULES["flows"]})
    write_back.want(wish(0, stage_id=7, moved=True))
    message = write_back.message()
    write_back.manychat.stopped = True
    with pytest.raises(ManyChatStopped):
        write_back.outbound.process(message)
    write_back.manychat.stopped = False
    in_transaction(write_back.engine, manychat_slots.resume)
    write_back.outbound.process(message)
    assert write_back.manychat.started == [("1001", "content1")]


def test_a_flow_is_not_started_a_day_late_and_a_person_hears_of_it(write_back: WriteBack) -> None:
    write_back.want(wish(-24 * 60, stage_id=7, moved=True))
    write_back.work()
    assert write_back.manychat.started == []
    assert write_back.row().refused_code == "flow_late"


def test_an_id_beyond_what_a_double_can_hold_arrives_digit_by_digit(write_back: WriteBack) -> None:
    write_back.want(wish(0, manychat_id="9007199254740993"), wish(0, manychat_id="123456789012345678901234"))
    write_back.work()
    assert set(write_back.manychat.people) == {"9007199254740993", "123456789012345678901234"}


def test_an_opportunity_without_a_salesperson_empties_the_field(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(1, salesperson=None))
    write_back.work()
    assert write_back.manychat.people["1001"][13] == ""


def test_a_deleted_opportunity_leaves_its_stage_and_takes_its_tag_away(write_back: WriteBack) -> None:
    write_back.want(wish(0, status="won"))
    write_back.work()
    write_back.want(wish(1, status="deleted", stage_id=None, manychat_stage=None, manychat_stage_id=None))
    write_back.work()
    assert write_back.manychat.people["1001"] == {11: "Seguimiento", 12: 24, 13: "Laura Prueba", 14: "deleted"}
    assert write_back.manychat.tagged["1001"] == set()


# --- rules that change


def switch(write_back: WriteBack, **rules: Any) -> None:
    """What a heartbeat brings."""
    in_transaction(write_back.engine, manychat_writes.take_over, {"write_back": {**RULES, **rules}})


def now() -> float:
    """Minutes since :data:`NOON`."""
    return (datetime.now(timezone.utc) - NOON).total_seconds() / 60


def test_what_was_decided_before_it_was_switched_on_is_not_written(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    outbound_queue.fill(write_back.engine, write_back.queue)
    switch(write_back, enabled=False)
    write_back.want(wish(1, manychat_stage="Cierre"))
    switch(write_back)
    # Its message was late.
    write_back.want(wish(2, manychat_stage="Tarde", stage_id=7, moved=True))
    write_back.work()
    assert write_back.manychat.calls == []
    write_back.want(wish(now(), manychat_stage="Ahora"))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Ahora"


def test_what_the_bot_changed_while_it_was_off_is_written_over(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    switch(write_back, enabled=False)
    write_back.manychat.people["1001"][11] = "Cierre"
    switch(write_back)
    write_back.want(wish(now(), salesperson="Ana Prueba"))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_another_field_gets_its_value_with_the_persons_next_decision(write_back: WriteBack) -> None:
    write_back.manychat.fields[15] = "otra"
    write_back.want(wish(0))
    write_back.work()
    calls = len(write_back.manychat.calls)
    switch(write_back, stage_field={"id": 15, "name": "otra"})
    write_back.work()
    assert len(write_back.manychat.calls) == calls
    write_back.want(wish(now(), salesperson="Ana Prueba"))
    write_back.work()
    assert write_back.manychat.people["1001"][15] == "Seguimiento"


def test_a_message_that_got_lost_among_others_is_put_on_the_queue_again(write_back: WriteBack) -> None:
    write_back.want(wish(0), wish(0, "1002"))
    outbound_queue.fill(write_back.engine, write_back.queue)
    [lost] = write_back.queue.receive(1, 30)
    write_back.queue.delete(lost)
    with write_back.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(queued_at=NOON - timedelta(days=365)))
    outbound_queue.keep_up(write_back.engine, write_back.queue)
    write_back.work()
    assert set(write_back.manychat.people) == {"1001", "1002"}


def test_more_that_is_wanted_while_the_queue_is_filled_comes_again(write_back: WriteBack) -> None:
    write_back.want(wish(1, stage_id=7))
    rows = in_transaction(write_back.engine, manychat_writes.unqueued, 10)
    write_back.want(wish(0, stage_id=7, moved=True))
    in_transaction(write_back.engine, manychat_writes.mark_queued, rows)
    write_back.work()
    assert write_back.manychat.started == [("1001", "content1")]


def test_an_error_that_may_pass_is_no_sign_that_manychat_takes_calls(write_back: WriteBack) -> None:
    write_back.manychat.troubles = [(200, {"status": "error", "message": "Internal error. Try again later."})]
    with pytest.raises(ManyChatUnavailable):
        write_back.paced.probe()
    write_back.manychat.troubles = [(200, {"status": "error", "message": "Validation error"})]
    write_back.paced.probe()


def test_pauses_grow_until_a_write_succeeds_although_probes_do(write_back: WriteBack) -> None:
    def pause() -> timedelta:
        write_back.manychat.troubles = [(429, b"")]
        with pytest.raises(ManyChatStopped):
            write_back.paced.call(write_back.paced.client.add_tag, "1001", 21)
        found = in_transaction(write_back.engine, manychat_slots.paused)
        assert found
        with write_back.engine.begin() as connection:
            connection.execute(schema.manychat_slots.update().values(paused_until=None))
        write_back.paced.probe()
        return found.until - datetime.now(timezone.utc)

    assert [round(pause() / timedelta(minutes=1)) for _ in range(3)] == [1, 2, 4]
    write_back.paced.call(write_back.paced.client.add_tag, "1001", 21)
    assert round(pause() / timedelta(minutes=1)) == 1


def test_a_person_who_is_erased_during_the_write_gets_no_flow(
    write_back: WriteBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_back.want(wish(0, stage_id=7, moved=True))
    message = write_back.message()
    set_fields = write_back.paced.client.set_fields

    def erase(*arguments: Any) -> None:
        set_fields(*arguments)
        in_transaction(write_back.engine, erasure.erase, "1001")

    monkeypatch.setattr(write_back.paced.client, "set_fields", erase)
    write_back.outbound.process(message)
    assert write_back.manychat.started == []
    with write_back.engine.connect() as connection:
        assert connection.execute(sa.select(schema.manychat_flows)).all() == []
    write_back.work()
    assert write_back.manychat.started == []


@pytest.mark.parametrize("name", ["Ana 🩺 O'Brien", '<b>Ana</b>\n"Prueba"', "Ñ" * 256])
def test_a_name_arrives_as_it_is(write_back: WriteBack, name: str) -> None:
    write_back.want(wish(0, salesperson=name))
    write_back.work()
    assert write_back.manychat.people["1001"][13] == name


def test_the_number_of_a_stage_goes_into_a_text_field_as_text(write_back: WriteBack) -> None:
    write_back.manychat.types = {}
    write_back.manychat.fields[12] = "etapa"
    write_back.rules({**RULES, "stage_id_field": {"id": 12, "name": "etapa", "type": "text"}})
    write_back.want(wish())
    write_back.work()
    assert write_back.manychat.people["1001"][12] == "24"
    assert write_back.row().refused_code is None


def test_what_the_chat_told_while_it_was_off_is_written_over_by_the_decision_that_was_written_before(
    write_back: WriteBack,
) -> None:
    write_back.want(wish(0))
    write_back.work()
    switch(write_back, enabled=False)
    write_back.manychat.people["1001"][11] = "Cierre"
    write_back.want(wish(1, by=Actor.CHAT, said=True, manychat_stage="Cierre", manychat_stage_id=25))
    switch(write_back)
    write_back.want(wish(now()))  # back to where it was
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"


def test_after_a_restore_of_sql_no_flow_starts_again_and_nothing_noted_is_trusted(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(1, stage_id=7, moved=True))  # the backup is made
    with write_back.engine.connect() as connection:
        [backup] = [dict(row._mapping) for row in connection.execute(sa.select(schema.manychat_writes))]
    write_back.work()
    write_back.want(wish(2, stage_id=7, moved=True))
    write_back.work()
    assert len(write_back.manychat.started) == 2
    with write_back.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(backup))
        connection.execute(schema.manychat_flows.delete())
    in_transaction(write_back.engine, manychat_writes.begin_anew)
    write_back.want(wish(2, stage_id=7, moved=True))  # Odoo sends it again
    write_back.work()
    assert len(write_back.manychat.started) == 2
    write_back.manychat.people["1001"][11] = "Cierre"
    write_back.want(wish(now(), stage_id=7))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Seguimiento"
