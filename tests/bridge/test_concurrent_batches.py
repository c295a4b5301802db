"""Several consumers of one queue: two batches are in Odoo at once, never one person in two of them."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE, QUEUES
from bridge.progress import Watch
from bridge.queue import Message, Queue
from bridge.settings import Settings
from bridge.worker import in_hand, polling, process
from bridge.worker.in_hand import PeopleInHand
from bridge.worker.polling import Pace, Poller

from .conftest import PATIENCE, World, eventually, stage


def test_the_next_batch_goes_to_odoo_while_one_is_there(world: World) -> None:
    first, second = stage("MC1"), stage("MC2")
    world.odoo.troubles.update(MC1="meets another", MC2="meets another")
    world.send(first, second)
    world.start_bridge(batch_size=1, concurrent_batches=2, max_attempts=1)

    assert world.settle(first, second) == ["created", "created"]


def test_one_batch_at_a_time_where_the_setting_says_so(world: World) -> None:
    events = [stage(f"MC{number}") for number in range(4)]
    world.odoo.troubles.update({event.manychat_id: "meets another" for event in events})
    world.odoo.meeting = threading.Barrier(2, timeout=1)
    world.send(*events)
    world.start_bridge(batch_size=1, concurrent_batches=1, max_attempts=1)

    assert world.settle(*events) == ["dead_lettered"] * 4


def test_sigterm_finishes_both_batches_in_hand(world: World) -> None:
    events = [stage("MC1"), stage("MC2")]
    world.odoo.troubles.update(MC1="slow", MC2="slow")
    world.send(*events)
    bridge = world.start_bridge(batch_size=1, concurrent_batches=2)
    eventually(lambda: len(world.odoo.calls) == 2, "both are in Odoo")

    assert bridge.terminate() == 0
    assert world.settle(*events) == ["created", "created"]
    assert len(bridge.lines("event_applied")) == 2


def test_a_bridge_killed_with_two_batches_in_hand_leaves_both_to_the_next_one(world: World) -> None:
    events = [stage("MC1"), stage("MC2")]
    world.odoo.troubles.update(MC1="slow", MC2="slow")
    world.send(*events)
    bridge = world.start_bridge(batch_size=1, concurrent_batches=2, visibility_timeout=2)
    eventually(lambda: len(world.odoo.calls) == 2, "both are in Odoo")
    bridge.kill()
    world.odoo.troubles.clear()
    world.start_bridge(visibility_timeout=2)

    assert world.settle(*events) == ["created", "created"]
    assert [row.attempts for row in world.rows("audit")] == [2, 2]
    assert len(world.odoo.moves) == len(world.rows("opportunity_stages")) == 2


def test_two_batches_never_bring_odoo_one_person_at_once(world: World) -> None:
    people = ("MC1", "MC2", "MC3")
    events = [stage(people[number % 3], (16, 17, 25)[number % 2], minute=number) for number in range(30)]
    world.odoo.troubles.update(dict.fromkeys(people, "brief"))
    world.send(*events)
    world.start_bridge(batch_size=4, concurrent_batches=4)
    world.settle(*events)

    assert world.odoo.met == []
    assert len(world.odoo.leads) == 3
    assert {row.attempts for row in world.rows("audit")} == {1}


def test_a_person_whose_batch_takes_long_holds_up_no_other_person(world: World) -> None:
    slow, again, neighbour = stage("MC1", 16, minute=1), stage("MC1", 17, minute=2), stage("MC2")
    world.odoo.troubles["MC1"] = "slow"
    world.send(slow)
    bridge = world.start_bridge(concurrent_batches=2, max_attempts=1)
    eventually(lambda: world.odoo.calls)
    world.send(again, neighbour)
    eventually(lambda: world.outcomes(neighbour) == ["created"])

    assert world.outcomes(slow) == [None]
    # Its consumer has let go of the second event, and is free for others.
    eventually(lambda: bridge.lines("event_conflict"))
    assert world.settle(slow, again) == ["created", "moved"]
    assert {row.attempts for row in world.rows("audit")} == {1}


def test_done_events_are_closed_while_their_neighbours_meet_conflicts(world: World) -> None:
    contended, done = stage("MC1"), stage("MC2")
    world.odoo.troubles["MC1"] = "retry"
    world.send(contended, done)
    bridge = world.start_bridge(concurrent_batches=1)
    eventually(lambda: len(world.odoo.calls) >= 3)

    assert world.outcomes(done) == ["created"]
    assert [len(call) for call in world.odoo.calls[:3]] == [2, 1, 1]
    world.odoo.troubles.clear()
    assert world.settle(contended, done) == ["created", "created"]
    assert len(bridge.lines("event_applied")) == 2


def test_people_are_claimed_by_one_batch_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_hand, "PATIENCE", 0.05)
    people = PeopleInHand()
    with people.claim({"Ana", "Eva"}) as first:
        assert first == {"Ana", "Eva"}
        with people.claim({"Eva", "Luz"}) as second, people.claim({"Ana"}) as none:
            assert (second, none) == ({"Luz"}, set())
        with people.claim({"Luz"}) as free_again:
            assert free_again == {"Luz"}
    with people.claim({"Ana"}) as free_again:
        assert free_again == {"Ana"}


def test_a_waiting_batch_goes_on_as_soon_as_its_people_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_hand, "PATIENCE", PATIENCE)
    people, claimed = PeopleInHand(), threading.Event()

    def wait() -> None:
        with people.claim({"Ana"}) as mine:
            assert mine == {"Ana"}
            claimed.set()

    with people.claim({"Ana"}):
        waiting = threading.Thread(target=wait)
        waiting.start()
    assert claimed.wait(PATIENCE / 2)
    waiting.join(PATIENCE)


class Looks:
    """Counts the requests for messages of one queue, and how many are under way at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, queue: str):
        self.count = 0
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        receive = Queue.receive

        def counted(mine: Queue, *arguments: Any) -> list[Message]:
            if mine.name != queue:
                return receive(mine, *arguments)
            with self._lock:
                self.count += 1
                self._now += 1
                self.most_at_once = max(self.most_at_once, self._now)
            try:
                return receive(mine, *arguments)
            finally:
                with self._lock:
                    self._now -= 1

        monkeypatch.setattr(Queue, "receive", counted)


def test_the_consumers_of_an_idle_queue_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, stop = Looks(monkeypatch, OPPORTUNITY_QUEUE), threading.Event()
    settings = world.settings(concurrent_batches=4, poll_interval=0.05)
    bridge = threading.Thread(target=process.run, args=[settings, list(QUEUES), stop])
    bridge.start()
    eventually(lambda: looks.count > 20)
    stop.set()
    bridge.join(PATIENCE)

    assert looks.most_at_once == 1


def test_a_stop_waits_for_no_consumer_behind_one_that_stands_still(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.progress.STANDSTILL_SECONDS", 3)
    hanging, thaw, stop = threading.Event(), threading.Event(), threading.Event()
    receive = Queue.receive

    def hang(mine: Queue, *arguments: Any) -> list[Message]:
        if mine.name == CONTACT_QUEUE:
            hanging.set()
            thaw.wait()
        return receive(mine, *arguments)

    monkeypatch.setattr(Queue, "receive", hang)
    codes: list[int] = []
    bridge = threading.Thread(
        target=lambda: codes.append(process.run(world.settings(concurrent_batches=3), ["contact"], stop))
    )
    bridge.start()
    assert hanging.wait(PATIENCE)
    stop.set()
    bridge.join(PATIENCE)
    thaw.set()

    assert codes == [1]


def test_one_consumer_of_a_queue_that_stands_still_is_seen_beside_one_that_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    watch = Watch()
    watch.add("queue")
    moving = watch.add("queue")
    clock[0] += 200
    moving.mark()

    assert watch.age("queue") == 200
    assert watch.standing_still() == {"queue": 200}


class Clock:
    """The time, as :mod:`bridge.worker.polling` sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr(polling.time, "monotonic", lambda: self.now)

    def looks(self, pace: Pace, seconds: float, *, urgent: bool) -> Counter[int]:
        """How often an empty queue is asked in each of the next ``seconds``; the requests themselves take no time."""
        start, looks = self.now, Counter[int]()
        while (passed := self.now - start) < seconds:
            looks[int(passed)] += 1
            self.now += pace.pause(urgent=urgent)
        return looks


@pytest.mark.parametrize(
    ("received", "rest"), [(False, 0), (True, 15)], ids=["from its start on", "15 s after an event"]
)
def test_an_idle_bridge_sends_the_queues_at_most_8000_requests_an_hour(
    monkeypatch: pytest.MonkeyPatch, received: bool, rest: int
) -> None:
    clock, looks = Clock(monkeypatch), Counter[int]()
    for urgent in (True, False, False):
        pace = Pace(Settings.model_fields["poll_interval"].default)
        if received:
            pace.received()
        looks += clock.looks(pace, 3600, urgent=urgent)
    minutes = [sum(looks[second] for second in range(start, start + 60)) for start in range(rest, 3540)]

    assert min(minutes) > 6000 / 60
    assert max(minutes) <= 8000 / 60


def test_while_events_come_a_queue_is_asked_often_and_less_the_longer_none_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, pace = Clock(monkeypatch), Pace(0.7)
    pace.received()
    looks = clock.looks(pace, 60, urgent=True)

    assert looks[0] >= 30
    assert looks[1] >= 7
    assert looks[30] <= 2
    # What one lone event costs beyond an idle queue's requests.
    assert sum(looks.values()) - 60 / 0.6 < 70


def test_a_queue_for_which_no_customer_waits_is_asked_less_often_and_no_pause_is_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, pace = Clock(monkeypatch), Pace(60)
    pace.received()
    assert pace.pause(urgent=False) > 4 * pace.pause(urgent=True)
    clock.now += 10**6
    # A consumer that begins no step for 120 seconds stands still.
    assert {pace.pause(urgent=urgent) <= 60 for urgent in (True, False) for _ in range(100)} == {True}


def test_two_bridges_do_not_ask_in_step() -> None:
    pace = Pace(0.7)
    assert len({pace.pause(urgent=True) for _ in range(20)}) == 20


class Pages:
    """A receiver of pages of two messages: how many there are in each, and what happened in which order."""

    def __init__(self, *sizes: int):
        self.sizes = list(sizes)
        self.happened: list[str] = []
        self.got_all_it_asked_for = False

    def wait_until_closed(self, _stop: threading.Event) -> bool:
        """Of its own circuit breaker."""
        self.happened.append("check")
        return True

    def receive(self) -> list[Any]:
        self.happened.append("receive")
        size = self.sizes.pop(0)
        self.got_all_it_asked_for = size == 2
        return ["message"] * size

    def poller(self) -> Poller:
        idle: Any = SimpleNamespace(release_interrupted=lambda: None, is_paused=lambda _queue: False)
        me: Any = self
        return Poller(me, idle, [me], idle, Pace(0.7), threading.Event(), queue="q", urgent=True)


def second_consumer(poller: Poller) -> threading.Thread:
    """A thread that takes messages once, beside a consumer that has a batch in hand."""
    thread = threading.Thread(target=poller.next_messages)
    thread.start()
    return thread


def test_without_a_backlog_what_comes_during_a_batch_is_gathered_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "GATHERING", PATIENCE)
    pages = Pages(1, 2, 2)
    poller = pages.poller()
    poller.next_messages()
    second = second_consumer(poller)
    second.join(0.2)
    pages.happened.append("end")
    poller.next_messages()
    second.join(PATIENCE)

    # The check comes last: an outage may begin while messages are gathered.
    assert pages.happened == ["check", "receive", "end", "check", "receive", "check", "receive"]


def test_with_a_backlog_the_next_batch_begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "GATHERING", 10 * PATIENCE)
    pages = Pages(2, 1)
    poller = pages.poller()
    poller.next_messages()
    second = second_consumer(poller)
    second.join(PATIENCE)

    assert pages.happened.count("receive") == 2


def test_a_batch_that_takes_long_holds_up_what_is_gathered_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "GATHERING", 0.05)
    pages = Pages(1, 1)
    poller = pages.poller()
    poller.next_messages()
    second = second_consumer(poller)
    second.join(PATIENCE)

    assert pages.happened.count("receive") == 2


def test_an_outage_is_one_outage_for_all_consumers(world: World) -> None:
    bridge = world.start_bridge(concurrent_batches=4, batch_size=1)
    eventually(lambda: world.odoo.heartbeats)
    world.odoo.stop()
    event = stage("MC1")
    world.send(event)
    eventually(lambda: bridge.lines("dependency_down"))
    world.odoo.start()

    assert world.settle(event) == ["created"]
    assert len(bridge.lines("dependency_down")) == len(bridge.lines("dependency_up")) == 1
    assert [row.attempts for row in world.rows("audit")] == [1]
