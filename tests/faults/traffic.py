"""The bots and people that use the system while it is being broken, and a ledger of what they did.

What they do is drawn from the run's seed. When they do it is up to the machine: a run with the same seed sends the same
events and has the same faults in the same order, but not at the same microsecond.
"""

import contextlib
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import AzureError
from azure.storage.queue import QueueClient

from bridge.contract.event import accept
from bridge.contract.payloads import OPPORTUNITY_QUEUE, EventType

from .manychat import TARGETS
from .people import Act, People
from .system import System

STAGES = range(16, 27)
WEBHOOK = "/api/v1/manychat/webhook/"
#: Fields of ManyChat that hold the stage: a bot sets them when it enters one.
STAGE_LABEL, STAGE_NUMBER = TARGETS["stage_field_id"], TARGETS["stage_id_field_id"]
#: Share of the fields changed by a call for which a bot sends an event, as "custom field changed" may be set up to.
ECHOES = 0.6
#: Seconds within which it does so.
AT_ONCE = 3.0
UNKNOWN_STAGES = ("Etapa inventada", "Etapa de prueba", "Seguimiento X")
#: Events under way at which the bots wait: Azurite slows down with the messages it holds.
BACKLOG = 150
#: Share of the events that come straight to the standby.
STANDBY = 0.15
_NOTHING_DECIDED = (404, 500, 502, 503)  # what Odoo answers while its database is away or its registry loads


@dataclass
class Ledger:
    """What was sent, and what was promised in return.

    :ivar acts: of those who work in Odoo
    :ivar echoes: what bots sent because a call to ManyChat had changed a field
    :ivar unsaid: people whose bot entered a stage, and the run was over before its event was accepted
    """

    sent: int = 0
    accepted: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    repeated: int = 0
    acts: list[Act] = field(default_factory=list)
    echoes: int = 0
    unsaid: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    queue_kills: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def conversations(chooser: random.Random, prefix: str, began: datetime) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """One person after the other: the events of each, as route and body, in the order in which they are sent."""
    for number in itertools.count():
        manychat_id = f"{prefix}-{number}"
        # Some phones' clocks run ahead. Nobody moves these people in Odoo: whether a person's move or an event "from
        # tomorrow" is the newer one is a matter of which was there first.
        ahead = chooser.random() < 0.15
        events = [_opportunity(chooser, manychat_id, began, ahead) for _ in range(chooser.randint(3, 8))]
        if chooser.random() < 0.3:
            events.append(("contact", {"manychat_id": manychat_id, "nombre_lead": "Prueba", **_now(began)}))
        if chooser.random() < 0.2:
            assignment = {"manychat_id": manychat_id, "campaign_id": chooser.randint(1, 9), **_now(began)}
            events.append(("campaign-assignment", {**assignment, "medico_id": 101, "tipo_asignacion": "medico"}))
        events += chooser.sample(events, chooser.choice((0, 0, 1, 2)))  # sent twice, or three times, on purpose
        chooser.shuffle(events)
        yield events


def _now(began: datetime) -> dict[str, str]:
    return {"datetime_actual": began.isoformat()}


_OPTIONAL = {
    "last_name": ("Ficticia", "Inventada"),
    "phone": ("+520000000001", "+520000000002"),
    "channel": ("Facebook", "Instagram"),
    "entry_date": ("2026-01-01T08:00:00Z", "2026-01-02T09:00:00.5Z"),
    "medical_advisor_id": (101, 102),
    "commercial_advisor_id": (700, 701),
}


def _opportunity(chooser: random.Random, manychat_id: str, began: datetime, ahead: bool) -> tuple[str, dict[str, Any]]:
    # Whole quarters of an hour, so that some events of a person have the same date.
    date: datetime | None = began - timedelta(minutes=15 * chooser.randint(1, 40))
    if ahead:
        date = began + timedelta(minutes=15 * chooser.randint(8, 80))
    kind = chooser.random()
    if kind < 0.08:
        date = None  # counts as of its receipt
    elif kind < 0.12:
        date = began + timedelta(days=chooser.randint(2, 4000))  # a clock that nobody believes
    state: dict[str, Any] = {"stage_id": chooser.choice(STAGES), "date": date.isoformat() if date else ""}
    if chooser.random() < 0.04:
        state = {"stage": chooser.choice(UNKNOWN_STAGES), "date": state["date"]}
    if chooser.random() < 0.2:
        state["summary"] = f"Preguntó por la <b>consulta {chooser.randint(1, 9)}</b> & pagará mañana."
    body = {"manychat_id": manychat_id, "first_name": "Prueba", "state": state, "phone_clock_ahead": ahead}
    # Each event says some of what there is to say, so that an older one may fill what newer ones leave out.
    body |= {name: chooser.choice(values) for name, values in _OPTIONAL.items() if chooser.random() < 0.3}
    return "crm-opportunity", body


class Traffic:
    """Bots, people at Odoo, and programs that put rubbish on the queue, until :meth:`stop`."""

    def __init__(self, system: System, seed: int, bots: int = 4, pause: float = 0.2) -> None:
        self.system = system
        self.seed = seed
        self.ledger = Ledger()
        self._pause = pause
        self._began = datetime.now(timezone.utc)
        self._stop = threading.Event()
        self._full = threading.Event()
        self._known: list[str] = []  # people who may be moved
        self._labels: dict[int, str] = {}
        self._entered: dict[int, dict[str, Any]] = {}
        self.people = People(system, self._stop, self._known, self.ledger.acts)
        self._cut_off = threading.Event()
        self._only_webhooks = threading.Event()
        jobs = [(self._bot, number) for number in range(bots)]
        jobs += [(self._rubbish, 200), (self._old_producer, 300), (self._echoing_bot, 400)]
        self._threads = [threading.Thread(target=work, args=[random.Random(f"{seed}/{n}"), n]) for work, n in jobs]
        for login in system.users:
            arguments = [random.Random(f"{seed}/{login}"), login]
            self._threads.append(threading.Thread(target=self.people.work, args=arguments))

    def start(self) -> None:
        rows = self.system.rpc("manychat.stage.map", "search_read", [], fields=["manychat_stage_id", "name"])
        self._labels = {row["manychat_stage_id"]: row["name"] for row in rows}
        # Of each bot's people a few wrote last more than a day ago, and ManyChat has deleted a few.
        everybody = [f"MC-{self.seed}-{bot}-{number}" for bot in range(8) for number in range(500)]
        self.system.manychat.closed = {*everybody[3::7]}
        self.system.manychat.unknown = {*everybody[5::19]}
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when everybody has finished what they were at; the system must be up by then."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def hold_back(self, backlog: int) -> None:
        """Tell the bots how many events are under way."""
        (self._full.set if backlog > BACKLOG else self._full.clear)()

    @contextlib.contextmanager
    def only_webhooks(self) -> Iterator[None]:
        """Nothing is put on a queue past the webhooks."""
        self._only_webhooks.set()
        try:
            yield
        finally:
            self._only_webhooks.clear()

    def cut_off_next(self) -> None:
        """The next bot loses its connection after sending, before the answer, and repeats its event."""
        self._cut_off.set()

    @property
    def is_cut_off_pending(self) -> bool:
        return self._cut_off.is_set()

    # The parts that are played.

    def _bot(self, chooser: random.Random, number: int) -> None:
        for events in conversations(chooser, f"MC-{self.seed}-{number}", self._began):
            for route, body in events:
                # Some come straight to the standby, as from a proxy that has just found Odoo down.
                server = self.system.api_url if chooser.random() < STANDBY else self.system.front_url
                self._enter(route, body)
                if not self._send(server, route, body):
                    self.ledger.unsaid.add(body["manychat_id"])
                    return
                if route == "crm-opportunity" and not body["phone_clock_ahead"]:
                    self._known.append(body["manychat_id"])
                self._stop.wait(chooser.uniform(0, 2 * self._pause))
                while self._full.is_set() and not self._stop.wait(0.2):
                    pass
                if self._stop.is_set():
                    return

    def _send(self, server: str, route: str, body: dict[str, Any]) -> bool:
        """Send until it is accepted. ManyChat itself would not repeat; a test must not run dry while Odoo is down."""
        with self.ledger.lock:
            self.ledger.sent += 1
        if self._cut_off.is_set():
            self._cut_off.clear()
            self._send_and_hang_up(server, route, body)
        while True:
            try:
                answer = requests.post(server + WEBHOOK + route, json=body, headers=self._headers(), timeout=30)
            except requests.RequestException:
                pass
            else:
                with self.ledger.lock:
                    self.ledger.answers[answer.status_code] += 1
                    if answer.status_code == 200:
                        self.ledger.accepted.add(answer.json()["event_id"])
                        return True
                    if answer.status_code not in _NOTHING_DECIDED:
                        self.ledger.refused.append(f"{answer.status_code} {answer.text[:200]}")
                        return True
            if self._stop.wait(0.5):
                return False
            with self.ledger.lock:
                self.ledger.repeated += 1

    def _send_and_hang_up(self, server: str, route: str, body: dict[str, Any]) -> None:
        """The request arrives whole, and nobody waits for the answer."""
        address = urlsplit(server)
        content = json.dumps(body).encode()
        head = f"POST {WEBHOOK}{route} HTTP/1.1\r\nHost: odoo\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self._headers().items())
        try:
            with socket.create_connection((address.hostname or "", address.port or 0), timeout=5) as connection:
                connection.sendall(head.encode() + b"\r\n" + content)
        except OSError:
            pass
        with self.ledger.lock:
            self.ledger.repeated += 1

    def _enter(self, route: str, body: dict[str, Any]) -> None:
        """A bot enters a stage: it sets its fields, and sends its event after that."""
        number = body.get("state", {}).get("stage_id")
        if route == "crm-opportunity" and number and id(body) not in self._entered:
            self._entered[id(body)] = body  # an event that comes twice is a matter of the network
            values = {STAGE_LABEL: self._labels[number], STAGE_NUMBER: number}
            self.system.manychat.bot_sets(body["manychat_id"], values)

    def _echoing_bot(self, chooser: random.Random, _number: int) -> None:
        """A bot that sends each change of the stage's field as an event, also the changes that the bridges make."""
        seen, before = 0, time.monotonic()
        while not self._stop.wait(chooser.uniform(0.3, 1.5)):
            looked = time.monotonic()
            changes = self.system.manychat.changes_after(seen)
            seen += len(changes)
            for person, target, value in changes:
                # It may have been made right after the look before.
                is_late = time.monotonic() - before > AT_ONCE
                if target == STAGE_NUMBER and chooser.random() < ECHOES and not (is_late or self._stop.is_set()):
                    state = {"stage_id": value, "date": ""}
                    self._send_once({"manychat_id": person, "first_name": "Prueba", "state": state, "is_echo": True})
            before = looked

    def _send_once(self, body: dict[str, Any]) -> None:
        """As ManyChat does, which waits for ten seconds."""
        url = f"{self.system.front_url}{WEBHOOK}crm-opportunity"
        try:
            answer = requests.post(url, json=body, headers=self._headers(), timeout=10)
        except requests.RequestException:
            return
        if answer.status_code == 200:
            with self.ledger.lock:
                self.ledger.echoes += 1
                self.ledger.accepted.add(answer.json()["event_id"])

    def _rubbish(self, chooser: random.Random, _number: int) -> None:
        """A program that puts on the queue what is no event."""
        for number in itertools.count():
            if self._stop.wait(chooser.uniform(2, 6)):
                return
            content = chooser.choice(
                (
                    f"%%% no event {self.seed}/{number} %%%",
                    json.dumps({"manychat_id": f"MC-BAD-{self.seed}-{number}", "state": {}}),
                    json.dumps({"v": 1, "payload": {}, "id": f"{self.seed}/{number}"}),
                )
            )
            if self._put(content):
                self.ledger.unreadable.add(content)

    def _old_producer(self, chooser: random.Random, _number: int) -> None:
        """A program of before, which puts bare payloads on the queue, now and then twice."""
        for number in itertools.count():
            if self._stop.wait(chooser.uniform(1, 4)):
                return
            _route, body = _opportunity(chooser, f"MC-{self.seed}-old-{number // 4}", self._began, ahead=False)
            event = accept(EventType.OPPORTUNITY, body, received_at=self._began, source="queue")
            if not body["state"]["date"] or event.clock_is_wrong:
                continue  # without a date, or with one that nobody believes, each message is an event of its own
            times = sum(self._put(json.dumps(body)) for _ in range(chooser.choice((1, 1, 2))))
            with self.ledger.lock:
                self.ledger.sent += 1
                if times:
                    self.ledger.accepted.add(event.id)

    def _put(self, content: str) -> bool:
        """Past the webhook, and past the proxy."""
        if self._only_webhooks.is_set():
            return False
        try:
            with QueueClient.from_connection_string(
                self.system.connection_string, OPPORTUNITY_QUEUE, retry_total=0, read_timeout=5
            ) as queue:
                queue.send_message(content, time_to_live=-1)
        except AzureError:
            return False
        return True

    def _headers(self) -> dict[str, str]:
        return {"X-API-KEY": self.system.webhook_key, "Connection": "close"}
