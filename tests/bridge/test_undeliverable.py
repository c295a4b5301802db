"""Messages that the queue cannot deliver: they hold up no neighbour for longer than one lease, and are told of."""

from __future__ import annotations

import json

import pytest
import requests

from bridge.contract.payloads import CAMPAIGN_QUEUE, CONTACT_QUEUE
from bridge.errors import PageUndelivered, QueueUnavailable
from bridge.queue import PAGE, Message
from bridge.worker.receiving import MOST_IN_A_ROW, Receiver

from ..queue_sdk import sdk
from .conftest import Cli, World, contact, eventually, free_port

#: Characters that XML 1.0 cannot carry, not even escaped: https://www.w3.org/TR/xml/#charsets
POISON = ("a\x01b", "\x00", "\x0b", "\x1f", "\x1b[31m", "\ufffe", "x\uffff")
#: Seconds: a short lease, so that what is taken in vain comes back soon; on a busy machine several fit into it.
LEASE = 5


def put_poison(world: World, *contents: str, queue: str = CONTACT_QUEUE) -> None:
    """Past :meth:`Queue.send`, as a program without our rules does it."""
    for content in contents:
        sdk(world.queues[queue]).send_message(content, time_to_live=-1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("poison", [POISON[:1], POISON], ids=["one", "several"])
def test_neighbours_are_applied_and_what_is_left_is_told(world: World, cli: Cli, poison: tuple[str, ...]) -> None:
    events = [contact(f"MC{number}") for number in range(31)]
    world.send(*events[:15])
    put_poison(world, *poison)
    world.send(*events[15:])
    bridge = world.start_bridge(visibility_timeout=LEASE, metrics_port=free_port())

    eventually(lambda: world.outcomes(*events) == ["stored"] * 31)
    assert bridge.lines("page_undelivered")
    [letter] = eventually(lambda: [row for row in world.rows("dead_letters") if row.notified_at])
    assert (letter.code, letter.queue, letter.status) == ("undeliverable", CONTACT_QUEUE, "open")
    [notice] = world.notices()
    assert (notice["code"], notice["queue"]) == ("undeliverable", CONTACT_QUEUE)
    # It is no outage, and Azurite's answer is not quoted.
    assert not bridge.lines("dependency_down")
    eventually(lambda: world.queues[CONTACT_QUEUE].depth() == len(poison))

    world.odoo.heartbeats.append({"name": "host/1", "version": "0.1.0"})
    report = json.loads(cli("status", "--json").stdout)
    path = next(path for path in report["paths"] if path["queue"] == CONTACT_QUEUE)
    assert report["status"] == "degraded"
    assert path["undeliverable_seconds"] > 0
    assert path["depth"] == len(poison)
    assert path["invisible"] in (None, len(poison)), "None while the queue shows them"
    [problem] = report["problems"]
    assert CONTACT_QUEUE in problem
    port = bridge.lines("metrics_served")[0]["port"]
    metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    assert f'miasalud_queue_undeliverable_seconds{{queue="{CONTACT_QUEUE}"}} 0.0' not in metrics
    assert f'miasalud_queue_undeliverable_seconds{{queue="{CAMPAIGN_QUEUE}"}} 0.0' in metrics
    assert 'miasalud_dead_letters_open{reason="undeliverable"} 1.0' in metrics
    shown = cli("dlq", "show", str(letter.id)).stdout
    assert "clear the queue" in " ".join(shown.split())

    # Later events pass it, and pages are full again while it is hidden.
    later = [contact(f"MC-later-{number}") for number in range(40)]
    world.send(*later)
    eventually(lambda: world.outcomes(*later) == ["stored"] * 40)

    sdk(world.queues[CONTACT_QUEUE]).clear_messages()
    eventually(lambda: [row.status for row in world.rows("dead_letters")] == ["resolved"])
    assert len(eventually(lambda: bridge.lines("queue_delivers"))) == 1
    assert bridge.terminate() == 0


def test_a_bridge_that_starts_later_does_not_lose_a_page_to_what_is_known(world: World) -> None:
    put_poison(world, POISON[0])
    first = world.start_bridge(visibility_timeout=LEASE)
    eventually(lambda: world.rows("dead_letters"))
    first.kill()
    world.send(*(events := [contact(f"MC{number}") for number in range(20)]))
    second = world.start_bridge(visibility_timeout=LEASE)

    eventually(lambda: world.outcomes(*events) == ["stored"] * 20)
    assert not second.lines("page_undelivered")


def test_a_message_that_nobody_has_received_yet_is_told_too(world: World, cli: Cli) -> None:
    put_poison(world, POISON[0])
    world.odoo.heartbeats.append({"name": "host/1", "version": "0.1.0"})
    [problem] = json.loads(cli("status", "--json").stdout)["problems"]

    assert CONTACT_QUEUE in problem
    assert "undeliverable" in problem


class Broken:
    """A queue whose messages are numbers. It takes a page that holds a bad one, hides it and fails, as Azurite does."""

    name = "q"

    def __init__(self, clock: list[float], good: list[int], bad: list[int]):
        self.clock = clock
        self.bad = set(bad)
        self.visible_at = dict.fromkeys(sorted([*good, *bad]), 0.0)
        self.asked: list[int] = []
        self.lost_pages = 0
        self.is_up = True

    def receive(self, count: int, visibility_timeout: int) -> list[Message]:
        self.asked.append(count)
        if not self.is_up:
            raise PageUndelivered("it answered 500")
        page = [number for number, at in self.visible_at.items() if at <= self.clock[0]][:count]
        for number in page:
            self.visible_at[number] = self.clock[0] + visibility_timeout
        if self.bad & set(page):
            self.lost_pages += len(page) > 1
            raise PageUndelivered("it answered 500")
        for number in page:
            del self.visible_at[number]
        return [Message(str(number), "", None, "") for number in page]  # type: ignore[arg-type]

    def depth(self) -> int:
        if not self.is_up:
            raise QueueUnavailable("no answer")
        return len(self.visible_at)


class Known:
    """What the receiver tells of bad messages."""

    def __init__(self) -> None:
        self.recorded = 0
        self.looked = 0

    def is_open(self) -> bool:
        return False

    def record(self) -> None:
        self.recorded += 1

    def forget_if_gone(self) -> None:
        self.looked += 1


def run(queue: Broken, receiver: Receiver, seconds: float) -> list[int]:
    """Receive ten times a second."""
    got: list[int] = []
    for _ in range(round(seconds * 10)):
        got += [int(message.id) for message in receiver.receive()]
        queue.clock[0] += 0.1
    return got


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr("bridge.worker.receiving.time.monotonic", lambda: clock[0])
    return clock


@pytest.mark.parametrize("bad", [[7], [0], [31], [3, 4, 5], [0, 31, 40]])
def test_one_lease_later_all_good_ones_are_there_and_pages_are_full_again(clock: list[float], bad: list[int]) -> None:
    good = [number for number in range(60) if number not in bad]
    queue, known = Broken(clock, good, bad), Known()
    receiver = Receiver(queue, PAGE, 60, known)  # type: ignore[arg-type]

    assert sorted(run(queue, receiver, 70)) == good
    assert known.recorded >= len(bad)
    # From then on only the return of a bad message is awaited one at a time, and no page is lost.
    run(queue, receiver, 130)
    lost_pages = queue.lost_pages
    queue.asked.clear()
    for number in range(1000, 2000):
        queue.visible_at[number] = 0.0
        run(queue, receiver, 0.5)
    assert queue.lost_pages == lost_pages
    assert queue.asked.count(PAGE) > 0.8 * len(queue.asked)
    assert set(queue.visible_at) == set(bad)


def test_when_the_bad_message_is_gone_so_is_all_caution(clock: list[float]) -> None:
    queue = Broken(clock, list(range(31)), [99])
    receiver = Receiver(queue, PAGE, 60, Known())  # type: ignore[arg-type]
    run(queue, receiver, 130)
    queue.visible_at.clear()
    run(queue, receiver, 130)
    queue.asked.clear()
    run(queue, receiver, 130)
    assert set(queue.asked) == {PAGE}


def test_a_bridge_that_is_behind_does_not_call_it_gone(clock: list[float]) -> None:
    queue, known = Broken(clock, [], [99]), Known()
    receiver = Receiver(queue, PAGE, 60, known)  # type: ignore[arg-type]
    run(queue, receiver, 70)
    looked = known.looked
    clock[0] += 600
    for number in range(PAGE // 2):
        queue.visible_at = {number: 0.0, **queue.visible_at}
    run(queue, receiver, 1)

    assert known.looked == looked
    run(queue, receiver, 5)
    assert known.recorded == 2


def test_a_service_that_fails_altogether_is_an_outage(clock: list[float]) -> None:
    queue, known = Broken(clock, [], []), Known()
    queue.is_up = False
    with pytest.raises(QueueUnavailable, match="no answer"):
        Receiver(queue, PAGE, 60, known).receive()  # type: ignore[arg-type]
    assert known.recorded == 0


def test_a_service_that_delivers_nothing_is_an_outage_in_the_end(clock: list[float]) -> None:
    queue = Broken(clock, [], list(range(1000)))
    receiver = Receiver(queue, PAGE, 60, Known())  # type: ignore[arg-type]
    with pytest.raises(PageUndelivered):
        run(queue, receiver, 60)
    assert len(queue.asked) == MOST_IN_A_ROW + 1
