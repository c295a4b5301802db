"""What people decide in Odoo reaches ManyChat: newest wins, nothing twice, never faster than allowed.

Real queue, real SQL; ManyChat is a stand-in.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.circuit_breaker import CircuitBreaker
from bridge.contract.event import Event, accept, from_envelope
from bridge.contract.opportunity_state import Actor, OpportunityState
from bridge.contract.payloads import EventType
from bridge.errors import ManyChatMisconfigured, ManyChatRefused, ManyChatStopped, ManyChatUnavailable
from bridge.manychat import ManyChat
from bridge.queue import Queue
from bridge.store import manychat_echoes, manychat_flows, manychat_slots, manychat_writes, schema
from bridge.store.engine import create_engine, in_transaction
from bridge.store.manychat_writes import Idle, Wish
from bridge.worker import outbound, outbound_queue
from bridge.worker.manychat_pace import PacedManyChat
from bridge.worker.outbound import Outbound
from bridge.worker.pauses import Pauses

from ..manychat_stand_in import LIMIT, TOKEN, ManyChatStandIn
from ..queue_sdk import sdk
from .conftest import Azurite

RULES = {
    "enabled": True,
    "stage_field": {"id": 11, "name": "etapa"},
    "stage_id_field": {"id": 12, "name": "etapa_id"},
    "salesperson_field": {"id": 13, "name": "asesor"},
    "status_field": {"id": 14, "name": "estado"},
    "won_tag": {"id": 21, "name": "ganado"},
    "lost_tag": {"id": 22, "name": "perdido"},
    "flows": {"7": {"ns": "content1", "name": "Bienvenida"}},
}
#: A quarter of an hour ago: a flow is not started for what is long past.
NOON = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=15)


@pytest.fixture
def manychat() -> Iterator[ManyChatStandIn]:
    stand_in = ManyChatStandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[Queue]:
    queue = Queue(azurite.connection_string, outbound_queue.OUTBOUND_QUEUE)
    queue.create()
    sdk(queue).clear_messages()
    yield queue
    queue.close()


class World:
    """One bridge's write-back, without its threads."""

    def __init__(self, engine: sa.Engine, queue: Queue, manychat: ManyChatStandIn):
        self.engine, self.queue, self.manychat = engine, queue, manychat
        self.stop = threading.Event()
        client = ManyChat(TOKEN, manychat.url, read_seconds=0.5)
        self.paced = PacedManyChat(client, engine, 1000, self.stop)
        breakers = [CircuitBreaker(name, lambda: None) for name in ("SQL", "queue", "ManyChat")]
        self.outbound = Outbound(engine, queue, self.paced, breakers, Pauses(engine), self.stop)
        self.rules(RULES)

    def rules(self, rules: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            connection.execute(schema.odoo_settings.delete())
            row = {"name": "write_back", "value": json.dumps(rules), "updated_at": NOON}
            connection.execute(schema.odoo_settings.insert(), row)

    def want(self, *wishes: Wish) -> None:
        in_transaction(self.engine, manychat_writes.want, wishes)

    def work(self) -> None:
        """Put on the queue what is wanted, and write until the queue is empty."""
        outbound_queue.fill(self.engine, self.queue)
        while self.queue.depth():
            for message in self.queue.receive(32, 30):
                self.outbound.process(message)

    def row(self, manychat_id: str = "1001") -> Any:
        with self.engine.connect() as connection:
            table = schema.manychat_writes
            return connection.execute(sa.select(table).where(table.c.manychat_id == manychat_id)).one()


@pytest.fixture
def world(engine: sa.Engine, queue: Queue, manychat: ManyChatStandIn) -> World:
    return World(engine, queue, manychat)


def wish(minute: float = 0, manychat_id: str = "1001", event_id: str = "", **more: Any) -> Wish:
    kinds = {name: more.pop(name) for name in ("by", "moved", "overruled") if name in more}
    fields = {
        "lead_id": 1, "as_of": NOON + timedelta(minutes=minute), "status": "open", "stage_id": 6,
        "manychat_stage": "Seguimiento", "manychat_stage_id": 24, "salesperson": "Laura Prueba", **more,
    }  # fmt: skip
    kinds = {"by": Actor.PERSON, **kinds}
    return Wish(manychat_id, OpportunityState.model_validate(fields), event_id=event_id or f"e{minute}", **kinds)


def test_a_decision_fills_the_fields_and_the_tag(world: World) -> None:
    world.want(wish(status="won"))
    world.work()
    assert world.manychat.people["1001"] == {11: "Seguimiento", 12: 24, 13: "Laura Prueba", 14: "won"}
    assert world.manychat.tagged["1001"] == {21}
    assert [path for _, path, _ in world.manychat.calls] == ["/fb/subscriber/setCustomFields", "/fb/subscriber/addTag"]


def test_nothing_is_noted_queued_or_asked_while_it_is_off(world: World) -> None:
    world.rules({**RULES, "enabled": False})
    world.want(wish())
    world.work()
    assert world.outbound._turn() == outbound.OFF_POLL
    with world.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.manychat_writes)) == 0
    assert world.queue.depth() == 0
    assert world.manychat.calls == []


def test_what_was_noted_is_not_written_once_it_is_off(world: World) -> None:
    world.want(wish())
    world.rules({**RULES, "enabled": False})
    world.work()
    assert world.manychat.calls == []


def test_an_older_message_is_dropped_unsent(world: World) -> None:
    world.want(wish(0))
    outbound_queue.fill(world.engine, world.queue)
    world.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    world.work()
    assert world.manychat.people["1001"][11] == "Cierre"
    assert len(world.manychat.calls) == 1


def test_an_older_state_that_comes_later_changes_nothing(world: World) -> None:
    world.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    world.want(wish(0))
    world.work()
    assert world.manychat.people["1001"][11] == "Cierre"


def test_the_same_value_is_not_sent_twice(world: World) -> None:
    world.want(wish(0))
    world.work()
    world.want(wish(1, expected_revenue=7))
    world.want(wish(2, salesperson="Ana Prueba"))
    world.work()
    assert len(world.manychat.calls) == 2
    assert world.manychat.calls[1][1] == "/fb/subscriber/setCustomField"


def test_a_message_that_comes_twice_is_written_once(world: World) -> None:
    world.want(wish())
    outbound_queue.fill(world.engine, world.queue)
    world.queue.send(outbound_queue.encode(world.row()))
    world.work()
    assert len(world.manychat.calls) == 1


def test_a_stale_event_of_the_chat_has_the_stage_written_again(world: World) -> None:
    world.want(wish(0))
    world.work()
    world.manychat.people["1001"][11] = "Cierre"
    world.want(wish(1, by=Actor.CHAT, overruled=True))
    world.work()
    assert world.manychat.people["1001"][11] == "Seguimiento"


def test_a_lost_opportunity_loses_the_tag_of_the_won(world: World) -> None:
    world.want(wish(0, status="won"))
    world.work()
    world.want(wish(1, status="lost"))
    world.work()
    assert world.manychat.tagged["1001"] == {22}


def test_only_tags_that_we_gave_are_taken_away(world: World) -> None:
    world.manychat.tagged["1001"] = {21}
    world.want(wish(0))
    world.work()
    assert world.manychat.tagged["1001"] == {21}


def test_a_stage_that_the_map_does_not_have_is_not_written(world: World) -> None:
    world.want(wish(0, manychat_stage=None, manychat_stage_id=None))
    world.work()
    assert world.manychat.people["1001"] == {13: "Laura Prueba", 14: "open"}


# --- flows


def test_a_flow_starts_once_for_the_decision_that_entered_its_stage(world: World) -> None:
    world.want(wish(0, stage_id=7, moved=True))
    world.work()
    world.want(wish(1, stage_id=7, salesperson="Ana Prueba"))
    world.work()
    assert world.manychat.started == [("1001", "content1")]


def test_a_flow_is_kept_when_a_newer_decision_of_another_kind_overtakes_it(world: World) -> None:
    world.want(wish(0, stage_id=7, moved=True))
    world.want(wish(1, stage_id=7, salesperson="Ana Prueba"))
    world.work()
    assert world.manychat.started == [("1001", "content1")]


def test_a_flow_whose_decision_comes_after_a_newer_one_starts(world: World) -> None:
    world.want(wish(1, stage_id=7, salesperson="Ana Prueba"))
    world.work()
    world.want(wish(0, stage_id=7, moved=True))
    world.work()
    assert world.manychat.started == [("1001", "content1")]


def test_a_refused_flow_is_not_reported_again_with_the_next_decision(world: World) -> None:
    world.manychat.closed.add("1001")
    world.want(wish(0, stage_id=7, moved=True))
    world.work()
    assert world.row().refused_code == "window_closed"
    world.want(wish(1, stage_id=7, salesperson="Ana Prueba"), wish(0, stage_id=7, moved=True))
    world.work()
    assert world.row().refused_code is None
    assert world.manychat.calls_of("sendFlow") == ["1001"]


def test_the_chat_starts_no_flow(world: World) -> None:
    world.want(wish(0, stage_id=7, by=Actor.CHAT, moved=True))
    world.work()
    assert world.manychat.started == []


def test_a_flow_that_was_noted_is_never_started_again_and_a_person_hears_of_it(world: World) -> None:
    in_transaction(world.engine, manychat_flows.note, "e0", "1001", "content1")  # killed right after this
    world.want(wish(0, stage_id=7, moved=True))
    world.work()
    assert world.manychat.started == []
    assert world.row().refused_code == manychat_flows.UNKNOWN


def test_a_flow_without_an_answer_is_not_repeated(world: World) -> None:
    world.rules({"enabled": True, "flows": RULES["flows"]})
    world.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    world.manychat.hangs = 1.0
    outbound_queue.fill(world.engine, world.queue)
    [message] = world.queue.receive(1, 30)
    with pytest.raises(ManyChatUnavailable):
        world.outbound.process(message)
    world.manychat.hangs = 0
    world.outbound.process(message)
    assert world.manychat.calls_of("sendFlow") == ["1001"]
    assert world.row().refused_code == manychat_flows.UNKNOWN


def test_a_flow_that_cannot_have_been_sent_starts_later(world: World) -> None:
    world.rules({"enabled": True, "flows": RULES["flows"]})
    world.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    world.manychat.stop()
    outbound_queue.fill(world.engine, world.queue)
    [message] = world.queue.receive(1, 30)
    with pytest.raises(ManyChatUnavailable):
        world.outbound.process(message)
    world.manychat.start()
    world.outbound.process(message)
    assert world.manychat.started == [("1001", "content1")]


def test_a_person_gets_a_hundred_flows_in_an_hour_at_most(world: World) -> None:
    for number in range(100):
        assert in_transaction(world.engine, manychat_flows.note, f"x{number}", "1001", "content1") is None
    world.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    world.work()
    assert world.manychat.started == []
    assert world.row().refused_code == "too_many_flows"


# --- refusals, the stop, silence


def test_a_refused_flow_is_recorded_and_not_repeated_and_the_fields_are_written(world: World) -> None:
    world.manychat.closed.add("1001")
    world.want(wish(0, stage_id=7, moved=True, as_of=datetime.now(timezone.utc)))
    world.work()
    assert world.row().refused_code == "window_closed"
    assert world.row().to_report
    assert world.manychat.people["1001"][11] == "Seguimiento"
    assert world.queue.depth() == 0


def test_one_missing_field_does_not_keep_the_others_from_being_written(world: World) -> None:
    del world.manychat.fields[12]
    world.want(wish())
    world.work()
    assert world.manychat.people["1001"] == {11: "Seguimiento", 13: "Laura Prueba", 14: "open"}
    assert world.row().refused_code == "missing"


def test_an_unknown_person_takes_one_call(world: World) -> None:
    world.manychat.unknown.add("1001")
    world.want(wish(0, status="won"))
    world.work()
    assert len(world.manychat.calls) == 1
    assert world.row().refused_code == "unknown_person"


def test_a_success_after_a_refusal_is_reported_too(world: World) -> None:
    told: list[Any] = []

    class Listener:
        def record_write_back(self, results: list[dict[str, Any]]) -> None:
            told.extend((each["manychat_id"], each["code"]) for each in results)

    world.manychat.unknown.add("1001")
    world.want(wish(0), wish(0, "1002"))
    world.work()
    outbound.report(world.engine, Listener())  # type: ignore[arg-type]
    world.manychat.unknown.clear()
    world.want(wish(1, manychat_stage="Cierre"))
    world.work()
    outbound.report(world.engine, Listener())  # type: ignore[arg-type]
    outbound.report(world.engine, Listener())  # type: ignore[arg-type]
    assert told == [("1001", "unknown_person"), ("1001", "")]


def test_no_call_is_made_after_the_answer_that_stops_the_account(world: World) -> None:
    world.manychat.stopped = True
    world.want(wish(0), wish(0, "1002"))
    outbound_queue.fill(world.engine, world.queue)
    for message in world.queue.receive(2, 30):
        with pytest.raises(ManyChatStopped):
            world.outbound.process(message)
    with pytest.raises(ManyChatStopped):
        world.paced.probe()
    assert len(world.manychat.calls) == 1
    pause = in_transaction(world.engine, manychat_slots.paused)
    assert pause
    assert pause.until - datetime.now(timezone.utc) > timedelta(hours=23)
    world.manychat.stopped = False
    in_transaction(world.engine, manychat_slots.resume)
    for message in world.queue.receive(2, 30):
        world.queue.hide(message, 0)
    world.paced.probe()
    assert world.row().sent_as_of is None


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, {"status": "error", "message": "Validation error"}, ManyChatRefused),
        (400, {"status": "error", "message": "Validation error"}, ManyChatRefused),
        (200, {"status": "error", "message": "Wrong token"}, ManyChatMisconfigured),
        (401, {}, ManyChatMisconfigured),
        (429, {}, ManyChatStopped),
        (200, {"status": "error", "message": "API rate limit exceeded"}, ManyChatStopped),
        (502, None, ManyChatUnavailable),
        (200, ["?"], ManyChatUnavailable),
    ],
)
def test_an_answer_that_is_an_error_is_never_taken_for_success(
    manychat: ManyChatStandIn, status: int, answer: Any, error: type[Exception]
) -> None:
    manychat.troubles = [(status, answer)]
    with pytest.raises(error) as caught:
        ManyChat(TOKEN, manychat.url).add_tag("1001", 21)
    assert type(caught.value) is error


def test_two_bridges_do_not_write_to_one_person_at_once(world: World) -> None:
    world.want(wish())
    first = in_transaction(world.engine, manychat_writes.claim, "1001", wish().state.as_of, "a")
    assert not isinstance(first, Idle)
    assert in_transaction(world.engine, manychat_writes.claim, "1001", wish().state.as_of, "b") is Idle.BUSY


def test_a_bridge_that_lost_its_lease_has_the_newest_state_written_again(world: World) -> None:
    world.want(wish())
    claim = in_transaction(world.engine, manychat_writes.claim, "1001", wish().state.as_of, "a")
    assert not isinstance(claim, Idle)
    with world.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(lease="b"))
    assert not in_transaction(world.engine, manychat_writes.finish, claim, {"field:11": "x"}, None)
    with world.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(leased_until=None))
    world.work()
    assert world.manychat.people["1001"][11] == "Seguimiento"


def test_a_lost_message_is_put_on_the_queue_again(world: World) -> None:
    world.want(wish())
    outbound_queue.fill(world.engine, world.queue)
    sdk(world.queue).clear_messages()
    with world.engine.begin() as connection:
        connection.execute(schema.manychat_writes.update().values(queued_at=NOON - timedelta(days=365)))
    outbound_queue.keep_up(world.engine, world.queue)
    world.work()
    assert world.manychat.people["1001"][11] == "Seguimiento"


# --- echoes


def echo(world: World, stage: dict[str, Any], after: float = 5, manychat_id: str = "1001") -> Event:
    with world.engine.connect() as connection:
        written = connection.scalar(sa.select(sa.func.max(schema.manychat_echoes.c.written_at)))
    moment = written + timedelta(seconds=after)
    payload = {"manychat_id": manychat_id, "state": {**stage, "date": moment.isoformat()}}
    return accept(EventType.OPPORTUNITY, payload, received_at=moment, source="odoo")


def recognise(world: World, *events: Event) -> list[datetime | None]:
    return [each.echo_of for each in in_transaction(world.engine, manychat_echoes.recognise, events)]


def test_the_first_event_with_the_written_stage_is_the_echo_and_stays_it(world: World) -> None:
    world.want(wish())
    world.work()
    first, second = echo(world, {"stage_id": 24}), echo(world, {"stage": " seguimiento "}, after=6)
    assert recognise(world, first, second) == [NOON, None]
    assert recognise(world, second, first) == [None, NOON]


def test_the_echo_of_an_overtaken_write_is_recognised(world: World) -> None:
    world.want(wish(0))
    world.work()
    world.want(wish(1, manychat_stage="Cierre", manychat_stage_id=25))
    world.work()
    assert recognise(world, echo(world, {"stage_id": 24})) == [NOON]


def test_what_a_customer_does_is_no_echo(world: World) -> None:
    world.want(wish())
    world.work()
    other, late, before, stranger = (
        echo(world, {"stage_id": 25}),
        echo(world, {"stage_id": 24}, after=16 * 60),
        echo(world, {"stage_id": 24}, after=-120),
        echo(world, {"stage_id": 24}, manychat_id="1002"),
    )
    assert recognise(world, other, late, before, stranger) == [None] * 4


def test_an_echo_happened_when_its_state_was_read_and_its_envelope_says_so(world: World) -> None:
    world.want(wish())
    world.work()
    event = echo(world, {"stage_id": 24})
    [marked] = in_transaction(world.engine, manychat_echoes.recognise, [event])
    again = from_envelope(marked.envelope())
    assert (again.id, again.occurred_at, again.echo_of, again.clock_is_wrong) == (event.id, NOON, NOON, False)
    assert "echo_of" not in event.envelope()


# --- the pace


def _call_many(database_url: str, url: str, seconds: float) -> int:
    engine, stop = create_engine(database_url), threading.Event()
    paced = PacedManyChat(ManyChat(TOKEN, url), engine, 8, stop)
    threading.Timer(seconds, stop.set).start()

    def call(_: int) -> int:
        made = 0
        while not stop.is_set():
            try:
                paced.call(paced.client.add_tag, "1001", 21)
            except ManyChatUnavailable:
                break
            made += 1
        return made

    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(call, range(3)))


def test_four_bridges_together_never_pass_the_limit(
    engine: sa.Engine, database_url: str, manychat: ManyChatStandIn
) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = sum(pool.starmap(_call_many, [(database_url, manychat.url, 8.0)] * 4))
    assert made > 16
    assert manychat.most_in_a_second() <= LIMIT
    assert not manychat.stopped
