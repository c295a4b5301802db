"""One event, one trace: its id stands at each station between the bot and SQL, and between a person in Odoo and SQL."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from azure.storage.queue import QueueClient

from bridge.contract.payloads import DECISION_QUEUE, OPPORTUNITY_QUEUE, EventType
from tests.logs import Logs
from tests.world import Chat, World

from .test_decisions import of, stage_id
from .test_pipeline import STAGES
from .test_watching import command

TRACE, SPAN = "5bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAMED = f"00-{TRACE}-{SPAN}-01"


def on_queue(world: World, name: str, event_id: str) -> dict[str, Any]:
    """The envelope of the event, as its queue carries it."""
    queue = QueueClient.from_connection_string(world.stack.connection_string, name, api_version="2025-01-05")

    def look() -> dict[str, Any] | None:
        envelopes = [json.loads(base64.b64decode(message.content)) for message in queue.peek_messages(32)]
        return next((each for each in envelopes if each["id"] == event_id), None)

    return world.eventually(look)


@contextmanager
def no_bridge(world: World) -> Iterator[None]:
    """What is on a queue stays there."""
    world.stack.programs.stop_program("bridge")
    try:
        yield
    finally:
        world.stack.programs.start_program("bridge")


def row_of(world: World, **fields: str) -> dict[str, Any]:
    """Odoo's row of the event, as a user sees it in Deliveries."""
    domain = [[name, "=", value] for name, value in fields.items()]
    names = ["event_id", "trace_id", "traceparent", "type", "state"]
    (row,) = world.odoo("manychat.event", "search_read", domain, fields=names)
    return row


def lines_of(world: World, trace_id: str) -> list[dict[str, Any]]:
    """The lines of both bridges about the trace, once the last one is there: SQL has the outcome before that."""

    def look() -> list[dict[str, Any]]:
        logs = (world.stack.folder / "log").glob("bridge_*.log")
        whole = [line for path in logs for line in path.read_text().splitlines(keepends=True) if trace_id in line]
        lines = [json.loads(line) for line in whole if line.endswith("\n")]
        return lines if any(line["event"] == "event_applied" for line in lines) else []

    found: list[dict[str, Any]] = world.eventually(look)
    return found


def told(world: World, wanted: str) -> dict[str, Any]:
    done = command(world, "trace", wanted, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_trace_of_a_request_is_at_each_station_of_its_event(world: World, chat: Chat) -> None:
    logs = Logs(world.stack)
    with no_bridge(world):
        answer = world.post("crm-opportunity", chat.event(17), traceparent=NAMED)
        event_id = answer.json()["event_id"]
        assert answer.headers["X-Request-Id"] == TRACE
        assert row_of(world, event_id=event_id)["traceparent"] == NAMED
        assert on_queue(world, OPPORTUNITY_QUEUE, event_id)["traceparent"] == NAMED
    assert world.settled(event_id) == ["created"]

    assert world.audit(event_id)["traceparent"] == NAMED
    (line,) = [line for line in lines_of(world, TRACE) if line["event"] == "event_applied"]
    assert (line["event_id"], line["trace_id"], line["outcome"]) == (event_id, TRACE, "created")
    # The call to Odoo carried it there.
    assert any(f"created (trace {TRACE})" in line for line in logs.lines())
    assert row_of(world, trace_id=TRACE)["event_id"] == event_id
    for wanted in (event_id, event_id[:12], TRACE):
        story = told(world, wanted)
        assert (story["event_id"], story["trace_id"], story["audit"]["traceparent"]) == (event_id, TRACE, NAMED)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        "x" * 4000,
        f"{NAMED}, 00-{SPAN}{SPAN}-{SPAN}-01",
    ],
    ids=["none", "no trace", "no span", "capitals", "version", "long", "very long", "two"],
)
def test_an_event_without_a_valid_trace_has_one_of_its_own_and_loses_nothing(
    world: World, chat: Chat, sent: str | None
) -> None:
    headers = {"traceparent": sent} if sent else {}
    payload = chat.event(17, phone="+34600111222", channel="Instagram", summary="Le duele la rodilla")
    answer = world.post("crm-opportunity", payload, **headers)
    assert (answer.status_code, answer.json()["warnings"]) == (200, [])
    event_id = answer.json()["event_id"]
    own = event_id[:32]
    assert answer.headers["X-Request-Id"] == own
    assert world.settled(event_id) == ["created"]
    assert world.audit(event_id)["traceparent"] is None
    assert json.loads(world.audit(event_id)["payload"])["state"]["summary"] == "Le duele la rodilla"
    assert row_of(world, trace_id=own)["event_id"] == event_id
    assert {line["event_id"] for line in lines_of(world, own)} == {event_id}
    assert told(world, own)["event_id"] == event_id


@pytest.mark.parametrize("second", [NAMED, f"00-{SPAN}{SPAN}-{SPAN}-01"], ids=["equal", "other"])
@pytest.mark.parametrize("server", ["odoo", "api"])
def test_a_header_that_was_sent_twice_names_no_trace_and_costs_no_event(
    world: World, chat: Chat, server: str, second: str
) -> None:
    address = urlsplit(world.stack.odoo_url if server == "odoo" else world.stack.api_url)
    body = json.dumps(chat.event(17)).encode()
    connection = HTTPConnection(address.netloc, timeout=60)
    connection.putrequest("POST", EventType.OPPORTUNITY.spec.path)
    for name, value in (
        ("X-API-KEY", world.stack.webhook_key),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("traceparent", NAMED),
        ("traceparent", second),
    ):
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    event_id = json.loads(answer.read())["event_id"]
    assert (answer.status, answer.headers.get_all("X-Request-Id")) == (200, [event_id[:32]])
    assert world.settled(event_id) == ["created"]
    assert world.audit(event_id)["traceparent"] is None


def test_the_standby_carries_a_trace_as_far(world: World, chat: Chat) -> None:
    trace = TRACE[::-1]
    sent = {"X-API-KEY": world.stack.webhook_key, "traceparent": f"00-{trace}-{SPAN}-01"}
    url = world.stack.api_url + EventType.OPPORTUNITY.spec.path
    answer = requests.post(url, json=chat.event(17), headers=sent, timeout=60)
    assert answer.headers["X-Request-Id"] == trace
    event_id = answer.json()["event_id"]
    assert world.settled(event_id) == ["created"]
    assert world.audit(event_id)["traceparent"] == sent["traceparent"]
    # Odoo learns of the event from the bridge, and of its trace with it.
    assert row_of(world, event_id=event_id)["trace_id"] == trace
    accepted = [line for line in (world.stack.folder / "log" / "api.log").read_text().splitlines() if trace in line]
    assert "event_accepted" in {json.loads(line)["event"] for line in accepted}


def test_a_move_by_hand_is_one_trace_from_odoo_to_sql(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    with no_bridge(world):
        world.odoo("crm.lead", "write", [chat.lead["id"]], {"stage_id": stage_id(world, 20)})
        row = row_of(world, manychat_id=chat.manychat_id, type=EventType.DECISION.value)
        event_id, own = row["event_id"], row["trace_id"]
        assert own == event_id[:32]
        assert on_queue(world, DECISION_QUEUE, event_id)["traceparent"][3:35] == own
    assert world.settled(event_id) == ["stored"]
    assert of(world, chat)["stage"] == STAGES[20]
    (line,) = [line for line in lines_of(world, own) if line["event"] == "event_applied"]
    assert (line["event_id"], line["type"]) == (event_id, "decision")
    assert told(world, own)["type"] == "decision"
