"""The pace of calls to ManyChat: one row for all bridges."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

from bridge.store import database_clock, manychat_slots

from .conftest import Store


def test_slots_lie_apart_by_the_same_time(store: Store) -> None:
    began = store.run(database_clock.now)
    slots = []
    for _ in range(5):
        slot = store.run(manychat_slots.take, 2)
        slots.append((store.run(database_clock.now) - began).total_seconds() + slot.wait)
    assert all(later - earlier > 0.4 for earlier, later in pairwise(slots)), slots


def test_threads_that_ask_at_once_get_slots_of_their_own(store: Store) -> None:
    began = store.run(database_clock.now)

    def take(_: int) -> float:
        slot = store.run(manychat_slots.take, 10)
        return (store.run(database_clock.now) - began).total_seconds() + slot.wait

    with ThreadPoolExecutor(8) as pool:
        slots = sorted(pool.map(take, range(40)))
    assert slots[-1] - slots[0] > 3.8


def test_no_slot_is_given_during_a_pause_and_one_is_given_after_it(store: Store) -> None:
    until = store.run(manychat_slots.pause, 0.3, "too many")
    assert store.run(manychat_slots.take, 8).paused_until == until
    assert store.run(manychat_slots.paused).reason == "too many"
    time.sleep(0.4)
    assert store.run(manychat_slots.take, 8).paused_until is None
    assert store.run(manychat_slots.paused) is None


def test_pauses_without_a_length_double_up_to_a_day(store: Store) -> None:
    lengths = []
    for _ in range(13):
        until = store.run(manychat_slots.pause, None, "too many")
        lengths.append(until - store.run(database_clock.now))
        with store.engine.begin() as connection:
            table = manychat_slots.manychat_slots
            connection.execute(table.update().values(paused_until=None))
    assert timedelta(seconds=55) < lengths[0] <= timedelta(minutes=1)
    assert timedelta(seconds=110) < lengths[1] <= timedelta(minutes=2)
    assert timedelta(hours=23) < lengths[-1] <= timedelta(hours=24)
    store.run(manychat_slots.succeeded)
    assert store.run(manychat_slots.pause, None, "") - store.run(database_clock.now) <= timedelta(minutes=1)


def test_two_answers_at_once_are_one_pause(store: Store) -> None:
    first = store.run(manychat_slots.pause, None, "too many")
    assert store.run(manychat_slots.pause, None, "too many") == first
    assert store.run(manychat_slots.pause, 24 * 3600, "blocked") > first


def test_a_pause_lasts_a_day_at_most(store: Store) -> None:
    for _ in range(2):
        until = store.run(manychat_slots.pause, 1e9, "blocked")
        assert until - store.run(database_clock.now) <= timedelta(hours=24)


def test_a_clock_that_was_ahead_keeps_no_call_waiting(store: Store) -> None:
    store.run(manychat_slots.take, 8)
    ahead = store.run(database_clock.now) + timedelta(hours=1)
    with store.engine.begin() as connection:
        connection.execute(manychat_slots.manychat_slots.update().values(next_at=ahead))
    assert store.run(manychat_slots.take, 8).wait < 1
    assert 0 < store.run(manychat_slots.take, 8).wait < 1
