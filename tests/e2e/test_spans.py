"""One event is one trace of spans: real Odoo, queue, bridges and SQL, whose spans a collector receives.

The collector (tests/collector.py) is a small server that decodes OTLP. ManyChat is a stand-in.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.payloads import EventType
from deploy.local import odoo
from deploy.local.stack import Stack
from tests.collector import Collector, Span, collecting, tree
from tests.manychat_stand_in import TOKEN, ManyChatStandIn
from tests.world import World

from .test_decisions import stage_id

TRACE, SPAN = "6bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAMED = f"00-{TRACE}-{SPAN}-01"
SAID = {
    "first_name": "Wenceslao",
    "last_name": "Quiroga-Bis",
    "phone": "+525598761234",
    "email": "w.quiroga@example.com",
    "channel": "Fuente-Reservada",
    "summary": "Le duele la rodilla izquierda",
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def manychat() -> Iterator[ManyChatStandIn]:
    stand_in = ManyChatStandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture(scope="module")
def world(collector: Collector, manychat: ManyChatStandIn) -> Iterator[World]:
    """A system of its own, whose programs export spans, and whose bridge has ManyChat's token."""
    # Quick: the SDK's own five seconds are no part of what is tested.
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    stack = TracedStack("spans", odoo.chosen(), bridges=1, durable=False)
    stack.more = {"BRIDGE_MANYCHAT_API_TOKEN": TOKEN, "BRIDGE_MANYCHAT_API_URL": manychat.url}
    stack.remove()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        stack.start()
    engine = sa.create_engine(stack.database_url)
    yield World(stack, engine)
    engine.dispose()
    stack.stop()


class TracedStack(Stack):
    """A stack whose bridge has further settings."""

    more: dict[str, str]

    def bridge_environment(self) -> dict[str, str]:
        return super().bridge_environment() | self.more


def spans_of(world: World, collector: Collector, trace_id: str, *names: str) -> list[Span]:
    """The spans of the trace, once it has some with each of these names and no more are on their way."""

    def look() -> list[Span] | None:
        found = collector.spans(trace_id)
        return found if {*names} <= {span.name for span in found} else None

    world.eventually(look)
    return collector.spans(trace_id)


def switch_on_write_back(world: World) -> None:
    """As an administrator does it whose Odoo has read ManyChat's list of fields."""
    with world.stack.odoo.cluster.connect(world.stack.database, autocommit=True) as connection:
        connection.execute(
            """
            WITH item AS (
                INSERT INTO manychat_account_item (kind, remote_id, name, field_type)
                VALUES ('field', '11', 'etapa', 'text') RETURNING id)
            UPDATE manychat_write_back SET enabled = TRUE, stage_field_id = (SELECT id FROM item)
            """
        )
    # The bridge learns it from its next heartbeat: the first thing that it does.
    world.stack.programs.stop_program("bridge")
    world.stack.programs.start_program("bridge")
    world.eventually(
        lambda: world.sql("SELECT 1 FROM odoo_settings WHERE name = 'write_back' AND value LIKE '%etapa%'")
    )


def test_a_request_is_one_trace_through_odoo_the_queue_the_bridge_and_sql(world: World, collector: Collector) -> None:
    answer = world.post("crm-opportunity?secret=querido", world.chat().event(17, **SAID), traceparent=NAMED)
    event_id = answer.json()["event_id"]
    assert answer.headers["X-Request-Id"] == TRACE
    assert world.settled(event_id) == ["created"]
    spans = spans_of(world, collector, TRACE, "bridge")
    assert {span.attributes["miasalud.event_id"] for span in spans} == {event_id}
    grown = tree(spans)
    assert {name: below for name, below in grown.items() if name != "bridge"} == {
        "": ["webhook"],
        "webhook": ["outbox"],
        "outbox": ["bridge", "queue"],
    }
    assert set(grown["bridge"]) == {"SQL", "RPC"}
    assert not any(span.failed for span in spans)
    services = {span.name: span.service for span in spans}
    assert services == {
        **dict.fromkeys(("webhook", "outbox"), "miasalud-odoo"),
        **dict.fromkeys(("queue", "bridge", "SQL", "RPC"), "miasalud-bridge"),
    }
    by_name = {span.name: span for span in spans}
    assert by_name["webhook"].parent_id == SPAN
    # SQL has the span that the bridge's own follow from, so that a repair goes on in this tree.
    assert world.audit(event_id)["traceparent"] == f"00-{TRACE}-{by_name['outbox'].span_id}-01"
    # Each step lies within what it is part of. The queue has whole seconds.
    assert by_name["webhook"].started <= by_name["outbox"].started <= by_name["outbox"].ended
    assert by_name["bridge"].started <= by_name["RPC"].started <= by_name["RPC"].ended <= by_name["bridge"].ended


def test_thirty_two_events_at_once_are_thirty_two_traces_and_their_calls_are_linked(
    world: World, collector: Collector
) -> None:
    world.stack.programs.stop_program("bridge")
    chats = [world.chat() for _ in range(32)]
    with ThreadPoolExecutor(8) as bots:
        ids = list(bots.map(lambda chat: world.send("crm-opportunity", chat.event(17, **SAID)), chats))
    in_outbox = [["event_id", "in", ids], ["state", "=", "queued"]]
    world.eventually(lambda: world.odoo("manychat.event", "search_count", in_outbox) == 32)
    world.stack.programs.start_program("bridge")
    assert set(world.settled(*ids)) == {"created"}
    shared = []
    for event_id in ids:
        spans = spans_of(world, collector, event_id[:32], "bridge")
        assert {span.attributes["miasalud.event_id"] for span in spans} == {event_id}
        grown = tree(spans)
        assert (grown[""], grown["webhook"], grown["outbox"]) == (["webhook"], ["outbox"], ["bridge", "queue"])
        assert set(grown["bridge"]) == {"SQL", "RPC"}
        shared += [span for span in spans if span.name == "RPC" and span.attributes["miasalud.events"] > 1]
    # The queue gives what it wants; the calls that serve several events lead from each to the others.
    assert len(shared) > 16
    calls = {(span.trace_id, span.span_id): span for span in shared}
    first = [span for span in shared if len(span.links) == span.attributes["miasalud.events"] - 1 and not
             any(link in calls for link in span.links)]  # fmt: skip
    assert {link for span in shared if span not in first for link in span.links} == {
        (span.trace_id, span.span_id) for span in first
    }


def test_a_move_by_hand_is_one_trace_as_far_as_manychat(
    world: World, collector: Collector, manychat: ManyChatStandIn
) -> None:
    chat = world.chat()
    world.settled(chat.enters(17, **SAID))
    switch_on_write_back(world)
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"stage_id": stage_id(world, 20)})
    domain = [["manychat_id", "=", chat.manychat_id], ["type", "=", EventType.DECISION.value]]
    (row,) = world.eventually(lambda: world.odoo("manychat.event", "search_read", domain, fields=["event_id"]))
    event_id = row["event_id"]
    world.eventually(lambda: manychat.people[chat.manychat_id].get(11))
    spans = spans_of(world, collector, event_id[:32], "write-back")
    grown = tree(spans)
    assert {name: below for name, below in grown.items() if name not in ("bridge", "write-back")} == {
        "": ["outbox"],
        "outbox": ["bridge", "queue", "queue", "write-back"],
    }
    assert set(grown["bridge"]) == {"SQL"}
    assert set(grown["write-back"]) == {"SQL", "ManyChat"}
    [call] = [span for span in spans if span.name == "ManyChat"]
    assert (call.attributes["miasalud.method"], call.attributes["miasalud.result"]) == ("setCustomField", "ok")

    def lines() -> list[dict[str, Any]]:
        whole = (world.stack.folder / "log" / "bridge.log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in whole if event_id in line and line.endswith("\n")]

    # Each is written after SQL has what it says.
    world.eventually(lambda: {"event_applied", "manychat_written"} <= {line["event"] for line in lines()})
    assert {line["trace_id"] for line in lines()} == {event_id[:32]}


def test_nothing_of_a_person_and_no_secret_was_exported(world: World, collector: Collector) -> None:
    """After all of the above."""
    sent = b"".join(collector.bodies)
    assert len(sent) > 10_000
    stack = world.stack
    secrets = (stack.webhook_key, stack.bridge_key, stack.admin_password, TOKEN, "AccountKey", "querido")
    for word in (*SAID.values(), "MC-E2E", "SELECT", "INSERT", "/api/v1", "/fb/", *secrets):
        assert word.encode() not in sent, word
