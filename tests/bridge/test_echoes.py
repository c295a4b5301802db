"""A stage that we wrote and that comes back as an event is no news."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.event import Event, accept, from_envelope
from bridge.contract.opportunity_state import Actor
from bridge.contract.payloads import EventType
from bridge.errors import ManyChatUnavailable
from bridge.results import Done
from bridge.store import audit, manychat_echoes, manychat_slots, manychat_writes, schema
from bridge.store.engine import in_transaction
from bridge.worker.write_back import wishes

from .write_back import NOON, RULES, WriteBack, wish


def echo(write_back: WriteBack, stage: dict[str, Any], after: float = 5, manychat_id: str = "1001") -> Event:
    with write_back.engine.connect() as connection:
        written = connection.scalar(sa.select(sa.func.max(schema.manychat_echoes.c.written_at)))
    moment = written + timedelta(seconds=after)
    payload = {"manychat_id": manychat_id, "state": {**stage, "date": moment.isoformat()}}
    return accept(EventType.OPPORTUNITY, payload, received_at=moment, source="odoo")


def recognise(write_back: WriteBack, *events: Event) -> list[datetime | None]:
    return [each.echo_of for each in in_transaction(write_back.engine, manychat_echoes.recognise, events)]


def may_echo(write_back: WriteBack, *events: Event) -> list[bool]:
    return [each.may_echo for each in in_transaction(write_back.engine, manychat_echoes.recognise, events)]


def test_the_first_event_with_the_written_stage_is_the_echo_and_stays_it(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    first, second = echo(write_back, {"stage_id": 24}), echo(write_back, {"stage": " seguimiento "}, after=6)
    assert recognise(write_back, first, second) == [NOON, None]
    assert recognise(write_back, second, first) == [None, NOON]


def test_the_echo_of_an_overtaken_write_is_recognised(write_back: WriteBack) -> None:
    write_back.want(wish(0))
    write_back.work()
    write_back.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.work()
    assert recognise(write_back, echo(write_back, {"stage_id": 24})) == [NOON]


@pytest.mark.parametrize(("kind", "none"), [("number", 0), ("text", "0")])
def test_a_stage_without_a_number_does_not_come_back_with_that_of_the_stage_before(
    write_back: WriteBack, kind: str, none: int | str
) -> None:
    """A bot sends label and number, and the number wins: the opportunity would return to the stage before."""
    write_back.manychat.types = {12: kind}
    write_back.rules({**RULES, "stage_id_field": {"id": 12, "name": "etapa_id", "type": kind}})
    write_back.manychat.bot_sets("1001", {11: "Antes", 12: 17 if kind == "number" else "17"})
    write_back.want(wish(manychat_stage="Sin número", manychat_stage_id=None))
    write_back.work()
    shown = write_back.manychat.people["1001"]
    assert (shown[11], shown[12]) == ("Sin número", none)
    assert write_back.row().refused_code is None
    assert recognise(write_back, echo(write_back, {"stage": shown[11], "stage_id": shown[12]})) == [NOON]


def test_what_a_customer_does_is_no_echo(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    other, late, before, stranger = (
        echo(write_back, {"stage_id": 25}),
        echo(write_back, {"stage_id": 24}, after=16 * 60),
        echo(write_back, {"stage_id": 24}, after=-400),
        echo(write_back, {"stage_id": 24}, manychat_id="1002"),
    )
    assert recognise(write_back, other, late, before, stranger) == [None] * 4


def test_an_event_of_before_is_no_echo_however_late_it_arrives(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    late = echo(write_back, {"stage_id": 24})
    payload = {"manychat_id": "1001", "state": {"stage_id": 24, "date": (NOON - timedelta(hours=6)).isoformat()}}
    old = accept(EventType.OPPORTUNITY, payload, received_at=late.received_at, source="odoo")
    assert recognise(write_back, old, late) == [None, NOON]


def chat_enters_and_leaves(write_back: WriteBack) -> None:
    write_back.want(wish(0, by=Actor.CHAT, said=True))
    write_back.work()
    write_back.want(wish(1, by=Actor.CHAT, said=True, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.work()


def test_a_customer_who_comes_back_to_a_stage_is_no_echo(write_back: WriteBack) -> None:
    chat_enters_and_leaves(write_back)
    assert recognise(write_back, echo(write_back, {"stage_id": 24}, after=11)) == [None]
    # What a person decided, the chat did not enter: its echo may come after that of the next one.
    write_back.want(wish(2))
    write_back.want(wish(2.5))
    write_back.work()
    assert recognise(write_back, echo(write_back, {"stage_id": 24}, after=11)) == [NOON + timedelta(minutes=2.5)]


def test_the_echo_of_a_stage_that_the_chat_has_left_at_once_is_recognised(write_back: WriteBack) -> None:
    chat_enters_and_leaves(write_back)
    assert recognise(write_back, echo(write_back, {"stage_id": 24}, after=2)) == [NOON]


def test_what_may_be_an_echo_says_so_and_what_is_none_does_not(write_back: WriteBack) -> None:
    chat_enters_and_leaves(write_back)
    back, late, other = (
        echo(write_back, {"stage_id": 24}, after=11),
        echo(write_back, {"stage_id": 24}, after=61),
        echo(write_back, {"stage_id": 23}),
    )
    assert may_echo(write_back, back, late, other) == [True, False, False]
    assert may_echo(write_back, back) == [True], "each time that it comes"


def test_a_bot_that_sends_two_events_for_one_write_sends_an_echo_and_what_may_be_one(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    first, second = echo(write_back, {"stage_id": 24}), echo(write_back, {"stage_id": 24}, after=6)
    assert may_echo(write_back, first, second) == [False, True]


def test_an_event_that_waited_while_its_stage_was_written_only_may_be_an_echo(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    waited = echo(write_back, {"stage_id": 24}, after=-90)
    assert recognise(write_back, waited) == [None]
    assert may_echo(write_back, waited) == [True]


def test_a_mark_of_what_may_be_an_echo_travels_in_the_envelope_and_old_envelopes_have_none(
    write_back: WriteBack,
) -> None:
    chat_enters_and_leaves(write_back)
    event = echo(write_back, {"stage_id": 24}, after=11)
    [marked] = in_transaction(write_back.engine, manychat_echoes.recognise, [event])
    assert "may_echo" not in event.envelope()
    again = from_envelope(marked.envelope())
    assert (again.id, again.may_echo, again.occurred_at) == (event.id, True, event.occurred_at)
    assert not from_envelope(event.envelope()).may_echo


def test_a_stage_that_the_chat_entered_is_expected_back_for_a_minute(write_back: WriteBack) -> None:
    write_back.want(wish(0, by=Actor.CHAT, said=True))
    write_back.work()
    assert recognise(write_back, echo(write_back, {"stage_id": 24}, after=61)) == [None]
    assert recognise(write_back, echo(write_back, {"stage_id": 24}, after=59)) == [NOON]


def test_an_echo_happened_when_its_state_was_read_and_its_envelope_says_so(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    event = echo(write_back, {"stage_id": 24})
    [marked] = in_transaction(write_back.engine, manychat_echoes.recognise, [event])
    again = from_envelope(marked.envelope())
    assert (again.id, again.occurred_at, again.echo_of, again.clock_is_wrong) == (event.id, NOON, NOON, False)
    assert "echo_of" not in event.envelope()


def test_the_echo_of_a_write_that_succeeded_hours_after_its_first_attempt_is_recognised(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    with write_back.engine.begin() as connection:
        connection.execute(schema.manychat_echoes.update().values(written_at=NOON - timedelta(hours=5)))
    in_transaction(write_back.engine, manychat_writes.write_again, "1001")
    write_back.work()
    assert recognise(write_back, echo(write_back, {"stage_id": 24})) == [NOON]


def test_the_second_echo_of_a_state_is_recognised_if_the_bot_wrote_between(write_back: WriteBack) -> None:
    """The bridge wrote, the bot overwrote it, the bridge wrote the same again: ManyChat shows it anew."""
    write_back.want(wish())
    write_back.work()
    first = echo(write_back, {"stage_id": 24})
    assert recognise(write_back, first) == [NOON]
    write_back.manychat.bot_sets("1001", {11: "Cierre", 12: 25})
    in_transaction(write_back.engine, manychat_writes.write_again, "1001")
    write_back.work()
    second, third = echo(write_back, {"stage_id": 24}, after=1), echo(write_back, {"stage_id": 24}, after=2)
    assert recognise(write_back, first, second, third) == [NOON, NOON, None]


def test_writing_again_what_may_be_there_already_expects_no_second_echo(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.manychat.cuts = True
    with pytest.raises(ManyChatUnavailable):
        write_back.work()
    first = echo(write_back, {"stage_id": 24})
    assert recognise(write_back, first) == [NOON]
    write_back.manychat.cuts = False
    write_back.work()
    assert recognise(write_back, first, echo(write_back, {"stage_id": 24}, after=1)) == [NOON, None]


def test_the_echo_of_a_call_without_an_answer_is_recognised_after_the_stage_was_written_again(
    write_back: WriteBack,
) -> None:
    """Odoo was away: the standby took the echo, and its bridge first tried it after the second call."""
    write_back.want(wish())
    write_back.manychat.cuts = True
    with pytest.raises(ManyChatUnavailable):
        write_back.work()
    with write_back.engine.begin() as connection:
        [written] = connection.scalars(sa.select(schema.manychat_echoes.c.written_at))
        connection.execute(schema.manychat_echoes.update().values(written_at=written - timedelta(seconds=30)))
    first = echo(write_back, {"stage_id": 24}, after=1)
    in_transaction(write_back.engine, audit.accept, first)
    write_back.manychat.cuts = False
    write_back.work()
    assert recognise(write_back, first) == [NOON]
    assert recognise(write_back, echo(write_back, {"stage_id": 24}, after=1)) == [None], "one echo of both calls"


def test_an_echo_is_expected_from_the_moment_of_the_call(write_back: WriteBack) -> None:
    """Many calls may wait for their turns: by the moment before that, the echo would come too late."""
    write_back.want(wish())
    message = write_back.message()
    in_transaction(write_back.engine, manychat_slots.take, 1.5)
    with write_back.engine.connect() as connection:
        turn = connection.scalar(sa.select(schema.manychat_slots.c.next_at))
    write_back.outbound.process(message)
    with write_back.engine.connect() as connection:
        assert connection.scalar(sa.select(schema.manychat_echoes.c.written_at)) >= turn


def test_an_echo_is_recognised_after_write_back_was_switched_off(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    event = echo(write_back, {"stage_id": 24})
    assert recognise(write_back, event) == [NOON]
    write_back.rules({**RULES, "enabled": False})
    assert recognise(write_back, event) == [NOON]


def test_a_stale_echo_has_the_newest_value_written_again(write_back: WriteBack) -> None:
    """ManyChat carried a call out that it had not answered, after a newer one."""
    write_back.want(wish(0))
    write_back.work()
    newest = wish(1, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25)
    write_back.want(newest)
    write_back.work()
    write_back.manychat.people["1001"][11] = "Seguimiento"
    [event] = in_transaction(write_back.engine, manychat_echoes.recognise, [echo(write_back, {"stage_id": 24})])
    assert event.echo_of == NOON
    later = wish(2, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25).state
    write_back.want(*wishes.of_answers([(event, Done("stale", state=later))]))
    write_back.work()
    assert write_back.manychat.people["1001"][11] == "Cierre"
    calls = len(write_back.manychat.calls)
    [event] = in_transaction(write_back.engine, manychat_echoes.recognise, [echo(write_back, {"stage_id": 25})])
    write_back.want(*wishes.of_answers([(event, Done("unchanged", state=later))]))
    write_back.work()
    assert len(write_back.manychat.calls) == calls, "the echo of that is the end of it"
