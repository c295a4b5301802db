from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from bridge.store import pauses

from .conftest import NOON, Store


def test_a_queue_stays_paused_since_the_first_pause_until_it_is_resumed(store: Store) -> None:
    store.run(pauses.pause, ["a", "b"], NOON)
    store.run(pauses.pause, ["b", "c"], NOON + timedelta(hours=1))
    assert store.run(pauses.paused) == {"a": NOON, "b": NOON, "c": NOON + timedelta(hours=1)}
    store.run(pauses.resume, ["a", "c", "never paused"])

    assert list(store.run(pauses.paused)) == ["b"]


def test_eight_people_may_pause_at_once(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.run(pauses.pause, ["a", "b"]), range(8)))

    assert sorted(store.run(pauses.paused)) == ["a", "b"]
