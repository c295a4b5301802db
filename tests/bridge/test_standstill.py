"""A consumer that stands still is not alive, though its process runs: metrics port, Odoo and `status` say so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from bridge import progress
from bridge.circuit_breaker import CircuitBreaker
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE
from bridge.errors import Outage, StoreUnavailable
from bridge.progress import Progress, Watch
from bridge.worker import handlers, heartbeat, process
from bridge.worker.pauses import Pauses

from .conftest import PATIENCE, Cli, World, contact, eventually, free_port, stage


class Frozen:
    """A bridge in this process. Its contact consumer hangs in the handler until :meth:`thaw`."""

    def __init__(self, world: World, **settings: Any):
        self.port = free_port()
        self.stop = threading.Event()
        self.code: int | None = None
        self._settings = world.settings(metrics_port=self.port, **settings)
        self._thaw = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def handle(self, *_: Any) -> dict[str, Any]:
        self._thaw.wait()
        raise Outage

    def _run(self) -> None:
        self.code = process.run(self._settings, ["contact", "opportunity"], self.stop)

    def start(self) -> None:
        self._thread.start()

    def complaint(self) -> dict[str, str] | None:
        """What /health says if not all is well."""
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}/health", timeout=10)
        except requests.ConnectionError:
            return None
        return answer.json() if answer.status_code == 503 else None

    def thaw(self) -> None:
        self._thaw.set()

    def end(self) -> int | None:
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.code


@pytest.fixture
def frozen(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Frozen]:
    frozen = Frozen(world)
    # No shorter: on a slow machine a step of the others may take as long as a second.
    monkeypatch.setattr(progress, "STANDSTILL_SECONDS", 5)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    monkeypatch.setitem(handlers.HANDLERS, CONTACT_QUEUE, handlers.QueueHandler(frozen.handle))
    yield frozen
    frozen.thaw()
    frozen.end()


def test_a_frozen_consumer_is_told_everywhere_and_its_neighbour_goes_on(world: World, cli: Cli, frozen: Frozen) -> None:
    event = contact("MC1")
    world.send(event)
    frozen.start()
    complaint = eventually(frozen.complaint)

    assert complaint["code"] == "stuck"
    assert CONTACT_QUEUE in complaint["message"]
    assert OPPORTUNITY_QUEUE not in complaint["message"]
    neighbour = stage("MC2")
    world.send(neighbour)
    eventually(lambda: world.outcomes(neighbour) == ["created"])
    beat = eventually(lambda: next((each for each in world.odoo.heartbeats if each.get("stuck")), None))
    assert beat["stuck"] == [CONTACT_QUEUE]
    world.odoo.heartbeats[:] = [beat]
    report = json.loads(cli("status", "--json").stdout)
    assert report["status"] == "degraded"
    problem, *_ = [each for each in report["problems"] if "stands still" in each]
    assert beat["name"] in problem
    assert CONTACT_QUEUE in problem
    metrics = requests.get(f"http://127.0.0.1:{frozen.port}/metrics", timeout=10).text
    ages = {
        line.split('"')[1]: float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("miasalud_consumer_progress_age_seconds{")
    }
    assert ages[CONTACT_QUEUE] > 5 > ages[OPPORTUNITY_QUEUE]


def test_a_stop_does_not_wait_for_a_consumer_that_stands_still(world: World, frozen: Frozen) -> None:
    world.send(contact("MC1"))
    frozen.start()
    eventually(frozen.complaint)

    assert frozen.end() == 1
    # The message comes again when its lease is over.
    assert world.queues[CONTACT_QUEUE].depth() == 1


def test_a_consumer_that_waits_for_the_end_of_an_outage_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it probes itself or waits for the one that does, however long."""
    monkeypatch.setattr(progress, "STANDSTILL_SECONDS", 1.5)
    watch, stop, probes = Watch(), threading.Event(), threading.Semaphore(0)

    def probe() -> None:
        probes.release()
        raise Outage("down")

    breaker = CircuitBreaker("SQL", probe)
    monkeypatch.setattr("bridge.retry.PROBE", lambda _: 0.1)

    def consume(mine: Progress) -> None:
        with mine.of_this_thread():
            breaker.wait_until_closed(stop)

    threads = [threading.Thread(target=consume, args=[watch.add(f"queue {number}")]) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        assert probes.acquire(timeout=PATIENCE)
        assert watch.standing_still() == {}
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert watch.standing_still() == {}


def test_a_stop_during_an_outage_makes_no_further_probe() -> None:
    stop = threading.Event()
    stop.set()
    breaker = CircuitBreaker("SQL", lambda: pytest.fail("probed"))
    assert not breaker.wait_until_closed(stop)


class CountingLock:
    """A lock that counts the threads which came for it."""

    def __init__(self) -> None:
        self.came: set[int] = set()
        self._lock = threading.Lock()

    def acquire(self, timeout: float) -> bool:
        self.came.add(threading.get_ident())
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()


def test_three_consumers_wait_once_for_a_database_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, engine: sa.Engine
) -> None:
    questions, answer = [], threading.Event()

    def ask(*_: Any) -> frozenset[str]:
        questions.append(1)
        answer.wait()
        raise StoreUnavailable("no answer in time")

    monkeypatch.setattr("bridge.worker.pauses.in_transaction", ask)
    pauses, outages = Pauses(engine), []
    pauses._lock = lock = CountingLock()  # type: ignore[assignment]

    def consume() -> None:
        try:
            pauses.is_paused(CONTACT_QUEUE)
        except Outage as outage:
            outages.append(outage)

    threads = [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(lock.came) == 3)
    answer.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(questions), len(outages)) == (1, 3)
    # It is asked anew afterwards: the outage may be over.
    consume()
    assert len(questions) == 2


def test_a_thread_without_marks_stands_still_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    watch = Watch()
    mine = watch.add("queue")
    with mine.of_this_thread():
        clock[0] += progress.STANDSTILL_SECONDS
        assert watch.standing_still() == {}
        clock[0] += 1
        assert list(watch.standing_still()) == ["queue"]
        progress.mark()
        assert watch.standing_still() == {}
        clock[0] += 1000
    progress.mark()
    assert watch.standing_still() == {}
