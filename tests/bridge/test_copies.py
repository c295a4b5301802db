"""Copies of a failed event's message: one dead letter for those that were on the queue by then, a new one after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.contract.payloads import DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE
from bridge.results import Done, Failure
from bridge.store import audit, dead_letters, opportunities, schema
from bridge.store.audit import ReceivedEvent
from bridge.store.dead_letters import DeadLetter
from bridge.store.engine import in_transaction
from bridge.worker.dead_lettering import DeadLetterer, FailedEvent
from bridge.worker.delivery import DELETE, Batch, BatchProcessor
from bridge.worker.handlers import Handler
from bridge.worker.look_up import look_up

from .conftest import Bridge, World, eventually, stage


def given_up(world: World) -> Event:
    """An event with a dead letter; no bridge runs any more."""
    event = stage("MC1", stage_id=99)
    world.send(event)
    bridge = world.start_bridge()
    assert world.settle(event) == ["dead_lettered"]
    eventually(lambda: world.rows("dead_letters")[0].notified_at)
    bridge.terminate()
    return event


def send_around_the_failure(world: World, event: Event, seconds: float) -> None:
    """Put another message with ``event`` on the queue, so long before the event was given up (or after: below 0)."""
    world.send(event)
    [message] = world.queues[OPPORTUNITY_QUEUE].peek(32)
    with world.engine.begin() as connection:
        moment = message.inserted_at + timedelta(seconds=seconds)
        connection.execute(schema.dead_letters.update().values(last_tried_at=moment))


def finished(world: World, bridge: Bridge) -> None:
    eventually(lambda: world.queues[OPPORTUNITY_QUEUE].depth() == 0)
    assert bridge.terminate() == 0


@pytest.mark.parametrize(
    ("seconds", "attempts"), [(1.0, 0), (3600.0, 0), (0.0, 1), (0.9, 1)], ids=["just", "long", "same second", "maybe"]
)
def test_a_copy_from_before_shares_the_dead_letter(world: World, seconds: float, attempts: int) -> None:
    event = given_up(world)
    calls = len(world.odoo.calls)
    send_around_the_failure(world, event, seconds)
    [before] = world.rows("dead_letters")
    bridge = world.start_bridge()
    eventually(lambda: bridge.lines("event_duplicate"))
    finished(world, bridge)

    assert world.rows("dead_letters") == [before]
    assert world.outcomes(event) == ["dead_lettered"]
    assert len(world.notices()) == 1
    assert bridge.lines("event_dead_lettered") == []
    assert len(world.odoo.calls) == calls + attempts


def test_a_copy_of_the_same_second_may_succeed(world: World) -> None:
    event = given_up(world)
    send_around_the_failure(world, event, 0.5)
    world.odoo.stages[99] = "Nueva etapa"
    world.start_bridge()

    assert eventually(lambda: world.outcomes(event) == ["created"])
    assert [row.status for row in world.rows("dead_letters")] == ["resolved"]


@pytest.mark.parametrize(("seconds", "retries"), [(-0.1, 0), (-3600.0, 0), (3600.0, 1), (0.5, 1)])
def test_a_message_put_since_then_is_a_new_attempt(world: World, seconds: float, retries: int) -> None:
    """By its time, or because Odoo says so, whose clock may differ from the queue's."""
    event = given_up(world)
    send_around_the_failure(world, replace(event, retries=retries), seconds)
    [before] = world.rows("dead_letters")
    bridge = world.start_bridge()
    eventually(lambda: bridge.lines("event_dead_lettered"))
    finished(world, bridge)

    [after] = world.rows("dead_letters")
    assert (after.id, after.status) == (before.id, "open")
    assert after.message_id != before.message_id
    assert len(world.notices()) == 2


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("is_replayed", [True, False])
@pytest.mark.parametrize("is_killed", [True, False])
def test_an_event_that_another_bridge_gives_up_between_look_up_and_attempt_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, is_killed: bool, is_replayed: bool
) -> None:
    """It has two messages. The slow one's lease ends, and others delete both before it begins its attempt, and dies."""
    event, queue = stage("MC1", stage_id=99), world.queues[OPPORTUNITY_QUEUE]
    dead = {event.id: Failure("unmapped_stage", "No.", permanent=True)}

    def process(handle: Callable[[Sequence[Event]], Any]) -> None:
        handler = Handler(queue, handle, opportunities.fail, [], True)
        stop = threading.Event()
        processor = BatchProcessor(handler, world.engine, world.queues[DEAD_LETTER_QUEUE], stop, max_attempts=5)
        messages = queue.receive(1, 1)
        batch = Batch(messages)
        with suppress(Killed):
            processor.process(batch)
            assert batch.settlements == {messages[0].id: DELETE}
            queue.delete(messages[0])

    def attempt(_: Sequence[Event]) -> dict[str, Failure]:
        if is_killed:
            raise Killed
        return dead

    def look_up_first(engine: sa.Engine, received: Sequence[ReceivedEvent]) -> Any:
        found = look_up(engine, received)
        monkeypatch.undo()
        for _message in range(2):
            eventually(lambda: queue.peek(1))
            process(lambda _: dead)
        return found

    in_transaction(world.engine, audit.begin, [ReceivedEvent(event, OPPORTUNITY_QUEUE, datetime.now(timezone.utc))])
    if is_replayed:
        # It was given up before, and is tried once more.
        in_transaction(world.engine, audit.fail, dead, dead=True)
        letter = DeadLetter(
            event.id, "m0", OPPORTUNITY_QUEUE, event.type.value, "MC1", "", None, "refused", "No.", 5, event.received_at
        )
        in_transaction(world.engine, dead_letters.put, [letter])
        [row] = in_transaction(world.engine, dead_letters.search, dead_letters.Filter())
        in_transaction(world.engine, dead_letters.mark_replayed, row, event)
    world.send(event, event)
    monkeypatch.setattr("bridge.worker.delivery.look_up", look_up_first)
    process(attempt)
    assert queue.depth() == 0
    assert world.outcomes(event) == ["dead_lettered"]
    assert [row.status for row in world.rows("dead_letters")] == ["open"]


def test_copies_that_two_bridges_had_in_hand_at_once_are_one_dead_letter(world: World) -> None:
    event, now = stage("MC1"), datetime.now(timezone.utc)

    def fail(connection: sa.Connection, message_id: str, enqueued_at: datetime, *, sent_again: bool = False) -> bool:
        letter = DeadLetter(
            *(event.id, message_id, OPPORTUNITY_QUEUE, event.type.value, "MC1", event.encode()),
            *(enqueued_at, "refused", "No.", 5, now),
        )
        audit.fail(connection, {event.id: Failure("refused", "No.")}, dead=True)
        return not dead_letters.put(connection, [letter], now, sent_again=[event.id] if sent_again else [])

    in_transaction(world.engine, audit.begin, [ReceivedEvent(event, OPPORTUNITY_QUEUE, now)])
    earlier, later = now - timedelta(seconds=5), now + timedelta(seconds=5)
    for message_id, enqueued_at, is_stored in (
        ("a", earlier, True),
        ("b", earlier, False),
        ("a", earlier, True),
        ("c", later, True),
    ):
        assert in_transaction(world.engine, fail, message_id, enqueued_at) == is_stored
    assert in_transaction(world.engine, fail, "d", earlier, sent_again=True)
    [row] = world.rows("dead_letters")
    assert row.message_id == "d"


@pytest.mark.parametrize("outcome", ["moved", "discarded", "erased"])
@pytest.mark.parametrize("is_dead", [True, False])
def test_a_failure_that_is_recorded_after_the_event_has_ended_changes_nothing(
    world: World, outcome: str, is_dead: bool
) -> None:
    """Another bridge was faster, and the stage was mapped between both calls of Odoo; or the person was erased."""
    event, now = stage("MC1"), datetime.now(timezone.utc)
    in_transaction(world.engine, audit.begin, [ReceivedEvent(event, OPPORTUNITY_QUEUE, now)])
    in_transaction(world.engine, opportunities.record, [event])
    in_transaction(world.engine, audit.finish, {event.id: Done(outcome)})
    failure = Failure("unmapped_stage", "No.", permanent=True)
    failed = FailedEvent(event, failure, 1, now, OPPORTUNITY_QUEUE, "m1", event.encode(), now)
    letterer = DeadLetterer(world.engine, world.queues[DEAD_LETTER_QUEUE])
    before = world.rows("opportunities")
    ended = letterer.record_failure([failed], opportunities.fail, dead=is_dead)
    assert world.outcomes(event) == [outcome]
    assert world.rows("dead_letters") == []
    assert world.rows("opportunities") == before
    assert ended == {event.id: outcome}
