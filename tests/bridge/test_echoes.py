"""A stage that we wrote and that comes back as an event is no news."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bridge.contract.event import Event, accept, from_envelope
from bridge.contract.opportunity_state import Actor
from bridge.contract.payloads import EventType
from bridge.store import manychat_echoes, manychat_writes, opportunity_states, schema
from bridge.store.contacts import ensure_contacts
from bridge.store.engine import in_transaction
from bridge.store.opportunity_states import Move

from .write_back import NOON, RULES, WriteBack, wish


def echo(write_back: WriteBack, stage: dict[str, Any], after: float = 5, manychat_id: str = "1001") -> Event:
    with write_back.engine.connect() as connection:
        written = connection.scalar(sa.select(sa.func.max(schema.manychat_echoes.c.written_at)))
    moment = written + timedelta(seconds=after)
    payload = {"manychat_id": manychat_id, "state": {**stage, "date": moment.isoformat()}}
    return accept(EventType.OPPORTUNITY, payload, received_at=moment, source="odoo")


def recognise(write_back: WriteBack, *events: Event) -> list[datetime | None]:
    return [each.echo_of for each in in_transaction(write_back.engine, manychat_echoes.recognise, events)]


def user_moved(write_back: WriteBack, at: datetime) -> None:
    """A user's move of the person 1001, as a decision brings it to SQL."""
    event_id = f"moved-{at:%H%M%S}"
    move = Move("1001", 1, "A", "B", at, at, event_id, "person", 9, "open")

    def work(connection: sa.Connection) -> None:
        contacts = ensure_contacts(connection, {"1001"}, at)
        opportunity_states.ensure_opportunities(connection, contacts, "success", at)
        opportunity_states.append_moves(connection, [move])

    in_transaction(write_back.engine, work)


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


def test_a_customer_who_comes_back_to_a_stage_is_no_echo(write_back: WriteBack) -> None:
    write_back.want(wish(0, by=Actor.CHAT, said=True))
    write_back.work()
    write_back.want(wish(1, by=Actor.CHAT, said=True, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.work()
    assert recognise(write_back, echo(write_back, {"stage_id": 24})) == [None]
    # What a person decided, the chat did not enter: its echo may come after that of the next one.
    write_back.want(wish(2))
    write_back.want(wish(2.5))
    write_back.work()
    assert recognise(write_back, echo(write_back, {"stage_id": 24})) == [NOON + timedelta(minutes=2.5)]


def test_a_late_echo_that_looks_like_a_return_undoes_no_users_move(write_back: WriteBack) -> None:
    write_back.want(wish(0, by=Actor.CHAT, said=True))
    write_back.work()
    write_back.want(wish(1, stage_id=7, manychat_stage="Cierre", manychat_stage_id=25))
    write_back.work()
    user_moved(write_back, NOON - timedelta(minutes=1))
    late = echo(write_back, {"stage_id": 24})
    assert recognise(write_back, late) == [None], "the chat has entered the stage after the user's move"
    user_moved(write_back, NOON + timedelta(minutes=1))
    assert recognise(write_back, late) == [NOON]


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


def test_an_echo_is_recognised_after_write_back_was_switched_off(write_back: WriteBack) -> None:
    write_back.want(wish())
    write_back.work()
    event = echo(write_back, {"stage_id": 24})
    assert recognise(write_back, event) == [NOON]
    write_back.rules({**RULES, "enabled": False})
    assert recognise(write_back, event) == [NOON]
