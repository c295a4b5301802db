"""The bridge as Azure Functions, under a stand-in for their host: the same outcomes as by ``python -m bridge run``."""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.contract.payloads import CONTACT_QUEUE, DECISION_QUEUE, OPPORTUNITY_QUEUE, OUTBOUND_QUEUE, QUEUES
from bridge.errors import ConfigurationError, QueueMissing
from bridge.queue import Queue
from bridge.settings import Settings, variable
from bridge.store import manychat_wishes, manychat_writes, pauses
from bridge.store.engine import in_transaction, read
from bridge.worker.triggered import LeaseLostError, TriggeredBridge

from ..manychat_stand_in import LIMIT, TOKEN, ManyChatStandIn
from . import functions_host
from .conftest import PATIENCE, ROOT, Azurite, World, assignment, contact, eventually, stage
from .test_kills import STAGES, check_against_the_truth
from .test_reconcile import lose
from .test_sas import drop, sas
from .test_write_back_operators import switch_on
from .write_back import wish

FOLDER = ROOT / "deploy" / "functions"


class Host:
    """The stand-in for the Functions host, as a process."""

    def __init__(self, environment: dict[str, str], folder: Path, arguments: list[str], number: int):
        self.log = folder / f"host-{number}.log"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, functions_host.__file__, *arguments],
                env=environment,
                cwd=folder,
                stdout=output,
                stderr=output,
            )

    def lines(self, word: str) -> list[dict[str, Any]]:
        """What the host says, by its word, or what the bridge logs, by the event."""
        assert self.process.poll() in (None, -signal.SIGKILL), self.log.read_text()
        texts = [line[line.index("{") :] for line in self.log.read_text().splitlines() if "{" in line]
        lines = [json.loads(text) for text in texts if text.endswith("}")]
        return [line for line in lines if word in (line.get("host"), line.get("event"))]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


StartHost = Callable[..., Host]


@pytest.fixture
def start_host(world: World, tmp_path: Path) -> Iterator[StartHost]:
    hosts: list[Host] = []

    def start(*arguments: str, queues: dict[str, Any] | None = None, **settings: Any) -> Host:
        environment = {
            **world.environment,
            "QUEUES": world.environment["BRIDGE_QUEUE_CONNECTION_STRING"],
            **{f"BRIDGE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        hosts.append(Host(environment, tmp_path, [*arguments, "--queues", json.dumps(queues or {})], len(hosts)))
        return hosts[-1]

    yield start
    for host in hosts:
        host.kill()


def test_each_queue_with_events_has_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    bindings = [binding for binding, _ in functions_host.load_functions().values()]
    queues = [binding["queueName"] for binding in bindings if binding["type"] == "queueTrigger"]
    assert sorted(queues) == sorted([*QUEUES.values(), *(f"{name}-poison" for name in QUEUES.values())])
    assert [binding["type"] for binding in bindings].count("timerTrigger") == 3


@pytest.mark.parametrize("name", ["BRIDGE_MANYCHAT_API_TOKEN", "BRIDGE_MANYCHAT_API_TOKEN_FILE"])
def test_what_goes_back_to_manychat_has_a_function_where_there_is_a_token(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Else the messages are for bridges that have it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    assert "write_back" not in functions_host.load_functions()
    monkeypatch.setenv(name, "x")
    binding, _ = functions_host.load_functions()["write_back"]
    assert (binding["type"], binding["queueName"]) == ("queueTrigger", OUTBOUND_QUEUE)


def test_decisions_go_back_to_manychat_and_a_flow_starts_once(
    world: World, start_host: StartHost, manychat: ManyChatStandIn, manychat_queue: Queue
) -> None:
    switch_on(world)
    manychat.stop()
    people = [str(2000 + number) for number in range(12)]
    token = {"manychat_api_token": TOKEN, "manychat_api_url": manychat.url}
    for _ in range(2):
        start_host("--outage-delay", "1", "--faster", "20", **token)
    wishes = [wish(0, person, f"e{person}", stage_id=7, moved=True) for person in people]
    in_transaction(world.engine, manychat_wishes.want, wishes)
    # While ManyChat is down, the messages stay.
    # Two hosts may put one twice, which does no harm.
    eventually(lambda: manychat_queue.depth() >= len(people))
    manychat.start()

    eventually(lambda: {person for person, _ in manychat.started} == set(people))
    eventually(lambda: manychat_queue.depth() == 0)
    assert {manychat.people[person][11] for person in people} == {"Seguimiento"}
    assert len(manychat.started) == len(people)
    assert manychat.most_in_a_second() <= LIMIT
    # The newest state wins, and what ManyChat has is not sent again.
    eventually(lambda: not read(world.engine, manychat_writes.summary).waiting)
    made = writes(manychat)
    wishes = [wish(minute, people[0], f"n{minute}", manychat_stage=f"Etapa {minute}") for minute in (1, 2)]
    in_transaction(world.engine, manychat_wishes.want, wishes)
    eventually(lambda: manychat.people[people[0]][11] == "Etapa 2")
    eventually(lambda: manychat_queue.depth() == 0)
    assert writes(manychat) == made + 1


def writes(manychat: ManyChatStandIn) -> int:
    """How many calls were about a person. A host asks once, in addition, whether ManyChat takes calls."""
    return sum(bool(person) for _, _, person in manychat.calls)


def test_nothing_goes_back_to_manychat_while_that_is_paused_or_off(
    world: World, start_host: StartHost, manychat: ManyChatStandIn, manychat_queue: Queue
) -> None:
    switch_on(world)
    in_transaction(world.engine, pauses.pause, [OUTBOUND_QUEUE])
    token = {"manychat_api_token": TOKEN, "manychat_api_url": manychat.url}
    host = start_host("--outage-delay", "1", "--faster", "20", **token)
    in_transaction(world.engine, manychat_wishes.want, [wish()])
    eventually(lambda: len([each for each in host.lines("delivered") if each["function"] == "write_back"]) >= 2)
    assert manychat.calls == []
    switch_on(world, enabled=False)
    in_transaction(world.engine, pauses.resume, [OUTBOUND_QUEUE])
    seen = len(host.lines("delivered"))
    eventually(lambda: len(host.lines("delivered")) > seen + 1)
    assert manychat.calls == []
    assert manychat_queue.depth() == 1
    assert host.lines("failed") == []


def test_host_leaves_decoding_and_giving_up_to_the_bridge() -> None:
    options = json.loads((FOLDER / "host.json").read_text())["extensions"]["queues"]
    # With base64, the host moves a message in the old producers' form to the poison queue by itself.
    assert options["messageEncoding"] == "none"
    # The host counts each delivery, also during an outage. It has the number as an Int32.
    assert options["maxDequeueCount"] == 2**31 - 1


def test_settings_of_the_example_exist() -> None:
    values = json.loads((FOLDER / "local.settings.json.example").read_text())["Values"]
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name in values if name.startswith("BRIDGE_")} <= known
    # The host renews a lease of ten minutes: `reconcile` must leave such events alone.
    assert int(values["BRIDGE_VISIBILITY_TIMEOUT"]) == 600


def test_package_asks_for_extras_that_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    [(extras,)] = [
        re.findall(r"\[(.*)\]", line) for line in (FOLDER / "requirements.txt").read_text().splitlines()[-1:]
    ]
    assert [extra for extra in extras.split(",") if not re.search(rf"^{extra} = \[", project, re.MULTILINE)] == []


def test_events_of_all_types_are_applied(world: World, start_host: StartHost) -> None:
    host = start_host()
    events = [contact("MC1"), assignment("MC1"), stage("MC1"), stage("MC2")]
    world.send(*events)
    assert world.settle(*events) == ["stored", "stored", "created", "created"]
    # The host calls the functions of several messages at once, in any order.
    later = stage("MC1", 17, minute=1)
    world.send(later)

    assert world.settle(later) == ["moved"]
    assert world.odoo.leads["MC1"]["stage"] == world.odoo.stages[17]
    assert host.lines("failed") == []
    # The log's lines come by the host's logging, each with its level.
    assert "INFO miasalud {" in host.log.read_text()


def test_messages_of_old_producers_and_garbage_are_told_apart(world: World, start_host: StartHost) -> None:
    start_host()
    world.queues[CONTACT_QUEUE].send('{"manychat_id": "MC9", "nombre_lead": "Eva"}')
    world.queues[CONTACT_QUEUE].send("no event at all")

    eventually(lambda: [row.first_name for row in world.rows("contacts", manychat_id="MC9")] == ["Eva"])
    [letter] = eventually(lambda: world.rows("dead_letters"))
    assert letter.body == "no event at all"
    assert eventually(world.notices)[0]["code"] == "not_json"
    eventually(lambda: world.queues[CONTACT_QUEUE].depth() == 0)


def test_a_failing_event_waits_as_the_bridge_decides_and_is_given_up_by_it(world: World, start_host: StartHost) -> None:
    host = start_host(max_attempts=2)
    world.odoo.troubles["MC1"] = "refused"
    bad, good = stage("MC1"), stage("MC2")
    world.send(bad, good)

    assert world.settle(bad, good) == ["dead_lettered", "created"]
    assert [(row.attempts, row.code) for row in world.rows("dead_letters")] == [(2, "refused")]
    assert world.notices()[0]["event_id"] == bad.id
    assert host.lines("event_retried")[0]["attempts"] == 1
    # The message was hidden under its lease: the host's delete found that another one has it.
    assert host.lines("taken")
    assert host.lines("failed") == []


def test_an_outage_of_odoo_counts_no_attempt_and_fills_no_poison_queue(world: World, start_host: StartHost) -> None:
    world.odoo.stop()
    events = [stage("MC1"), stage("MC2"), contact("MC3")]
    world.send(*events)
    host = start_host("--outage-delay", "1", max_attempts=1)
    # The host's own limit is five deliveries, unless host.json says otherwise.
    eventually(lambda: any(line["count"] > 6 for line in host.lines("delivered")), "many deliveries")
    assert world.outcomes(*events) == [None, None, "stored"]
    assert [row.attempts for row in world.rows("audit") if row.type == "opportunity"] in ([], [0, 0])
    world.odoo.start()

    assert world.settle(*events) == ["created", "created", "stored"]
    assert [row.attempts for row in world.rows("audit")] == [1, 1, 1]
    assert world.rows("dead_letters") == []
    assert len(host.lines("dependency_down")) == len(host.lines("dependency_up")) == 1
    assert host.lines("failed") == []


def test_an_outage_of_sql_counts_no_attempt(world: World, start_host: StartHost, database_url: str) -> None:
    host = start_host("--outage-delay", "1", max_attempts=1)
    first, second = contact("MC1"), contact("MC2")
    world.send(first)
    world.settle(first)
    file = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    file.execute("ALTER TABLE audit RENAME TO gone")
    file.commit()
    world.send(second)
    eventually(lambda: host.lines("dependency_down"))
    file.execute("ALTER TABLE gone RENAME TO audit")
    file.commit()
    file.close()

    assert world.settle(second) == ["stored"]
    assert [row.attempts for row in world.rows("audit")] == [1, 1]
    assert world.rows("dead_letters") == []


def test_hosts_killed_again_and_again_while_events_flow(world: World, start_host: StartHost) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chooser = random.Random(seed)
    events = [
        stage(f"MC{number % 6}", chooser.choice(STAGES), minute=number % 60, channel=str(number))
        for number in range(30)
    ]
    for start in range(0, 30, 15):
        world.send(*events[start : start + 15])
        host = start_host("--lease", "3", max_attempts=20)
        eventually(lambda: host.lines("event_applied"), "the host works")  # noqa: B023
        host.kill()
    start_host("--lease", "3", max_attempts=20)
    world.settle(*events)

    check_against_the_truth(world, events)


def test_killed_while_odoo_works_its_answer_lost(world: World, start_host: StartHost) -> None:
    world.odoo.troubles["MC1"] = "slow"
    event = stage("MC1")
    world.send(event)
    host = start_host("--lease", "2")
    eventually(lambda: world.odoo.calls)
    host.kill()
    eventually(lambda: world.odoo.moves, "Odoo commits, and its answer is lost")
    world.odoo.troubles.clear()
    start_host("--lease", "2")

    assert world.settle(event) == ["created"]
    assert len(world.odoo.moves) == 1


def test_two_hosts_at_once(world: World, start_host: StartHost) -> None:
    chooser = random.Random(1)
    events = [
        stage(f"MC{number % 12}", chooser.choice(STAGES), minute=number % 60, channel=str(number))
        for number in range(80)
    ]
    shuffled = chooser.sample(events, len(events))
    start_host()
    start_host()
    world.send(*shuffled)
    world.settle(*events)

    check_against_the_truth(world, events)


def _waits(queue: Queue) -> bool:
    """Whether one message is on a queue that the host makes when it needs it."""
    try:
        return queue.depth() == 1
    except QueueMissing:
        return False


def test_a_message_that_the_host_gave_up_is_processed_all_the_same(world: World, start_host: StartHost) -> None:
    # With the host's default, an outage of some minutes is enough.
    world.odoo.stop()
    event = stage("MC1")
    world.send(event)
    host = start_host("--lease", "2", queues={"maxDequeueCount": 1, "visibilityTimeout": "00:00:01"}, database_url="")
    eventually(lambda: host.lines("failed"), "a wrong setting raises, and the host gives the message up")
    poison = Queue(world.environment["BRIDGE_QUEUE_CONNECTION_STRING"], f"{OPPORTUNITY_QUEUE}-poison")
    eventually(lambda: _waits(poison))
    host.kill()
    world.odoo.start()
    start_host("--lease", "2")

    assert world.settle(event) == ["created"]
    eventually(lambda: poison.depth() == 0)


def test_timers_show_the_bridge_to_odoo_report_and_reconcile(world: World, start_host: StartHost) -> None:
    lost = contact("MC3")
    lose(world, lost)
    start_host("--faster", "60")

    assert eventually(lambda: world.odoo.heartbeats)
    assert eventually(lambda: world.outcomes(lost) == ["stored"], "reconcile applies it")
    eventually(lambda: [each for each in world.odoo.reports if each["event_id"] == lost.id], "its outcome is reported")


def test_a_queue_that_is_missing_holds_up_neither_other_events_nor_the_timers(
    world: World, start_host: StartHost, azurite: Azurite
) -> None:
    drop(world, DECISION_QUEUE)
    lost, event = contact("MC1"), stage("MC2")
    lose(world, lost)
    world.send(event)
    start_host("--faster", "60", queue_connection_string=sas(azurite, "raup"))

    eventually(lambda: world.outcomes(lost, event) == ["stored", "created"], "both end")


def test_a_paused_queue_keeps_its_messages(world: World, start_host: StartHost) -> None:
    in_transaction(world.engine, pauses.pause, [CONTACT_QUEUE])
    waiting, other = contact("MC1"), stage("MC2")
    world.send(waiting, other)
    host = start_host("--outage-delay", "1")
    eventually(lambda: len([each for each in host.lines("delivered") if each["function"] == "contact"]) > 2)
    eventually(lambda: world.outcomes(other) == ["created"])
    assert world.outcomes(waiting) == [None]
    in_transaction(world.engine, pauses.resume, [CONTACT_QUEUE])

    assert world.settle(waiting) == ["stored"]


def test_a_message_whose_lease_the_host_has_renewed_is_not_deleted(world: World) -> None:
    world.odoo.troubles["MC1"] = "refused"
    event = stage("MC1")
    world.send(event)
    bridge = TriggeredBridge(world.settings())
    queue = world.queues[OPPORTUNITY_QUEUE]
    [mine] = queue.receive(1, 60)
    old = mine.pop_receipt
    assert queue.hide(mine, 60)
    mine.pop_receipt = old

    with pytest.raises(LeaseLostError):
        bridge.process(OPPORTUNITY_QUEUE, mine)
    assert queue.depth() == 1


def test_a_missing_setting_is_named(world: World) -> None:
    with pytest.raises(ConfigurationError, match="BRIDGE_ODOO_URL"):
        TriggeredBridge(world.settings(odoo_url=None))
