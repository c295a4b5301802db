"""``reconcile --with-manychat`` finds pushes that ManyChat sent into nothing, and what it was never told.

Real queue, real SQL, the command as a process; ManyChat and Odoo are stand-ins.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bridge.circuit_breaker import CircuitBreaker
from bridge.contract.event import decode
from bridge.contract.payloads import OPPORTUNITY_QUEUE, OUTBOUND_QUEUE
from bridge.errors import ManyChatStopped, ManyChatUnavailable
from bridge.manychat import ManyChat
from bridge.odoo import Odoo
from bridge.queue import Queue
from bridge.store import audit, manychat_slots, manychat_writes, odoo_settings, schema
from bridge.store.engine import create_engine, in_transaction
from bridge.worker.handlers import contact as contacts
from bridge.worker.handlers import decision, opportunity
from bridge.worker.pauses import Pauses
from bridge.worker.polling import Pace
from bridge.worker.write_back import comparison, outbound_queue
from bridge.worker.write_back.comparison import Difference, Options, WithManyChat
from bridge.worker.write_back.outbound import Outbound
from bridge.worker.write_back.pace import PacedManyChat

from ..manychat_stand_in import LIMIT, TOKEN, ManyChatStandIn
from ..queue_sdk import sdk
from .conftest import Azurite, Cli, World, contact, eventually, stage
from .odoo_stand_in import DATABASE, KEY, LOGIN, STAGES
from .program import Program
from .write_back import chat_rests

NEW, PENDING, QUOTED = STAGES[16], STAGES[17], STAGES[25]
FIELD = 11
OFF = {"enabled": False, "stage_field": {"id": FIELD, "name": "etapa"}}
ON = {**OFF, "enabled": True}
MAP = {str(number): {"label": label, "id": number, "aliases": [f"{label} (viejo)"]} for number, label in STAGES.items()}
NOW = timedelta(0)


@pytest.fixture
def manychat() -> Iterator[ManyChatStandIn]:
    stand_in = ManyChatStandIn(limit=1000)
    yield stand_in
    stand_in.stop()


class People:
    """Persons whose chat, opportunity and ManyChat may tell different things."""

    def __init__(self, world: World, manychat: ManyChatStandIn, azurite: Azurite):
        self.world, self.manychat, self.engine = world, manychat, world.engine
        self.odoo = Odoo(world.odoo.url, DATABASE, LOGIN, KEY)
        self.queue = world.queues[OPPORTUNITY_QUEUE]
        world.odoo.keeps_decisions = True
        self.stop = threading.Event()
        self.paced = PacedManyChat(ManyChat(TOKEN, manychat.url, read_seconds=2), self.engine, 1000, self.stop)
        self.outbound_queue = Queue(azurite.connection_string, OUTBOUND_QUEUE)
        self.outbound_queue.create()
        sdk(self.outbound_queue).clear_messages()
        self.told(write_back=OFF, stage_texts=MAP)

    def told(self, **settings: Any) -> None:
        in_transaction(self.engine, manychat_writes.take_over, settings)

    def pushes(self, manychat_id: str, number: int, minute: int = 0, *, shown: bool = True) -> None:
        """The bot sets its field, and its push arrives and is applied."""
        if shown:
            self.manychat.bot_sets(manychat_id, {11: STAGES.get(number, f"Etapa {number}")})
        self.world.send(stage(manychat_id, number, minute))
        self.work()

    def decides(self, manychat_id: str, *decided: str, **more: Any) -> None:
        decision.handle(self.engine, [self.world.odoo.decide(manychat_id, *decided, **more)])

    def work(self) -> None:
        """What the bridges do: apply what is on the queue, and write to ManyChat."""
        while self.queue.depth():
            messages = self.queue.receive(32, 30)
            decoded = [decode(each.content, queue=self.queue.name, inserted_at=each.inserted_at) for each in messages]
            events = list({each.id: each for each in decoded}.values())
            received = [audit.ReceivedEvent(each, self.queue.name, None) for each in events]
            in_transaction(self.engine, audit.begin, received)
            opportunity.handle(self.engine, self.odoo, events)
            for message in messages:
                self.queue.delete(message)
        chat_rests(self.engine)
        outbound_queue.fill(self.engine, self.outbound_queue)
        breakers = [CircuitBreaker(name, lambda: None) for name in ("SQL", "queue", "ManyChat")]
        outbound = Outbound(
            self.engine, self.outbound_queue, self.paced, breakers, Pauses(self.engine), Pace(0.1), threading.Event()
        )
        while self.outbound_queue.depth():
            for message in self.outbound_queue.receive(32, 30):
                outbound.process(message)

    def run(self, *, from_start: bool = True, **options: Any) -> WithManyChat:
        options = {"field_id": FIELD, "older_than": NOW, **options}
        return WithManyChat(self.engine, self.paced, self.queue, Options(**options), self.stop, from_start)

    def differences(self, **options: Any) -> list[Difference]:
        return [each for page in self.run(**options).pages() for each in page]

    def found(self, **options: Any) -> dict[str, str]:
        return {each.manychat_id: each.found for each in self.differences(**options)}

    def repaired(self, **options: Any) -> dict[str, tuple[str, str]]:
        found = self.differences(repair=True, **options)
        self.work()
        return {each.manychat_id: (each.found, each.repair) for each in found}

    @property
    def stages(self) -> Mapping[str, str]:
        """In Odoo."""
        return {who: lead["stage"] for who, lead in self.world.odoo.leads.items()}


@pytest.fixture
def people(world: World, manychat: ManyChatStandIn, azurite: Azurite) -> People:
    return People(world, manychat, azurite)


# --- who is behind


def test_a_push_that_got_lost_is_found_repaired_and_not_found_again(people: People) -> None:
    people.pushes("1001", 16)
    people.pushes("1002", 16)
    people.manychat.bot_sets("1002", {11: PENDING})
    assert people.found() == {"1002": "push_lost"}
    assert people.stages == {"1001": NEW, "1002": NEW}
    assert people.repaired() == {"1002": ("push_lost", "event")}
    assert people.stages == {"1001": NEW, "1002": PENDING}
    assert people.found() == {}
    assert [move for move in people.world.odoo.moves if move[0] == "1002"] == [("1002", NEW), ("1002", PENDING)]


def test_an_older_value_of_the_bot_does_not_undo_what_a_person_decided(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    people.decides("1001", "stage", stage=QUOTED)
    assert people.found() == {"1001": "disputed"}
    people.repaired()
    assert people.stages == {"1001": QUOTED}
    # The bot's value is known now, so what is left is that ManyChat does not show the decision.
    assert people.repaired() == {"1001": ("not_written", "")}
    assert people.stages == {"1001": QUOTED}


def test_a_decision_of_which_sql_has_not_heard_is_not_undone_either(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    people.world.odoo.decide("1001", "stage", stage=QUOTED)  # its message is on its way
    assert people.repaired() == {"1001": ("push_lost", "event")}
    assert people.stages == {"1001": QUOTED}


def test_what_a_bot_sets_after_our_own_write_is_newer_than_the_decision(people: People) -> None:
    people.told(write_back=ON)
    people.pushes("1001", 16)
    people.decides("1001", "stage", stage=QUOTED)
    people.work()
    assert people.manychat.people["1001"][FIELD] == QUOTED
    assert people.found() == {}
    people.manychat.bot_sets("1001", {11: PENDING})
    assert people.repaired() == {"1001": ("push_lost", "event")}
    assert people.stages == {"1001": PENDING}
    assert people.found() == {}


def test_a_bot_that_went_back_to_what_it_had_said_before_our_write_is_found(people: People) -> None:
    people.told(write_back=ON)
    people.pushes("1001", 16)
    people.decides("1001", "stage", stage=QUOTED)
    people.work()
    people.manychat.bot_sets("1001", {11: NEW})
    assert people.repaired() == {"1001": ("push_lost", "event")}
    assert people.stages == {"1001": NEW}


def test_a_decision_that_manychat_never_got_is_written_again(people: People) -> None:
    people.pushes("1001", 16)
    people.decides("1001", "stage", stage=QUOTED)  # while write-back is off
    assert people.repaired() == {"1001": ("not_written", "")}
    people.told(write_back=ON)
    assert people.repaired() == {"1001": ("not_written", "written")}
    assert people.manychat.people["1001"][FIELD] == QUOTED
    assert people.found() == {}


def test_a_field_that_was_emptied_is_filled_again_and_no_flow_starts(people: People) -> None:
    people.told(write_back={**ON, "flows": {"25": {"ns": "content1"}}})
    people.pushes("1001", 16)
    people.decides("1001", "stage", stage=QUOTED)
    people.work()
    assert people.manychat.started == [("1001", "content1")]
    people.manychat.bot_sets("1001", {11: None})
    assert people.repaired() == {"1001": ("not_written", "written")}
    assert people.manychat.people["1001"][FIELD] == QUOTED
    assert people.manychat.started == [("1001", "content1")]


def test_a_dispute_ends_with_the_decision_in_manychat_if_that_is_switched_on(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    people.decides("1001", "stage", stage=QUOTED)
    people.told(write_back=ON)
    assert people.repaired() == {"1001": ("disputed", "event")}
    assert people.manychat.people["1001"][FIELD] == QUOTED
    assert people.found() == {}


def test_someone_without_an_opportunity_gets_one_only_if_that_is_asked_for(people: People) -> None:
    contacts.handle(people.engine, [contact("1001")])
    contacts.handle(people.engine, [contact("1002")])
    people.manychat.bot_sets("1001", {11: PENDING})
    assert people.repaired() == {"1001": ("no_opportunity", "")}
    assert people.stages == {}
    assert people.repaired(create=True) == {"1001": ("no_opportunity", "event")}
    assert people.stages == {"1001": PENDING}
    assert people.found() == {}


def test_what_cannot_be_decided_is_named_and_left_alone(people: People) -> None:
    for manychat_id in ("1001", "1002", "1003", "1004"):
        people.pushes(manychat_id, 16)
    people.manychat.bot_sets("1001", {11: "Otra cosa"})
    people.manychat.unknown.add("1002")
    with people.engine.begin() as connection:
        purged = schema.audit.c.manychat_id == "1003"
        connection.execute(schema.audit.update().where(purged).values(payload="", stage_after="of old"))
        moved = schema.opportunities.c.manychat_id == "1004"
        connection.execute(schema.opportunities.update().where(moved).values(stage_id=99, stage="Nuestra"))
    people.manychat.bot_sets("1003", {11: PENDING})
    found = people.repaired()
    expected = {"1001": "unknown_stage", "1002": "unknown_person", "1003": "undecided", "1004": "unmapped"}
    assert found == {who: (what, "") for who, what in expected.items()}
    assert len(people.world.rows("audit")) == 4


def test_an_alias_is_the_stage_that_it_stands_for(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: f" {NEW.upper()} (Viejo) "})
    assert people.found() == {}
    people.manychat.bot_sets("1001", {11: f"{PENDING} (viejo)"})
    assert people.found() == {"1001": "push_lost"}


def test_a_push_whose_last_event_was_purged_is_found_if_the_opportunity_is_where_that_left_it(people: People) -> None:
    people.pushes("1001", 16)
    with people.engine.begin() as connection:
        connection.execute(schema.audit.update().values(payload=""))
    people.manychat.bot_sets("1001", {11: PENDING})
    assert people.repaired() == {"1001": ("push_lost", "event")}
    assert people.stages == {"1001": PENDING}


def test_a_dead_letter_is_no_lost_push(people: People) -> None:
    people.pushes("1001", 99)
    with people.engine.begin() as connection:
        connection.execute(schema.audit.update().values(outcome=audit.DEAD_LETTERED))
    assert people.repaired() == {"1001": ("not_applied", "")}


def test_a_push_that_is_on_its_way_is_none(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    # The newest event is younger than that.
    assert people.found(older_than=timedelta(minutes=1)) == {"1001": "on_its_way"}
    with people.engine.begin() as connection:
        connection.execute(schema.audit.update().values(outcome=None))
        connection.execute(schema.opportunities.update().values(odoo_sync_status="pending"))
    assert people.found() == {"1001": "on_its_way"}


def test_a_push_that_arrives_a_little_later_is_none(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    with people.engine.begin() as connection:
        old = datetime.now(timezone.utc) - timedelta(days=1)
        connection.execute(schema.audit.update().values(received_at=old))
    run = people.run(older_than=timedelta(seconds=1), repair=True)
    wait = people.stop.wait

    def push_then_wait(seconds: float | None = None) -> bool:
        if seconds and seconds > 0.5:
            people.pushes("1001", 17, 5)
        return wait(seconds)

    monkeypatch.setattr(people.stop, "wait", push_then_wait)
    assert [each for page in run.pages() for each in page] == []
    assert people.queue.depth() == 0
    assert len(people.manychat.calls_of("getInfo")) == 2


def test_a_field_with_the_number_of_the_stage_does_as_well(people: People) -> None:
    people.pushes("1001", 16, shown=False)
    people.manychat.bot_sets("1001", {12: 17})
    assert people.repaired(field_id=12) == {"1001": ("push_lost", "event")}
    assert people.stages == {"1001": PENDING}
    people.manychat.bot_sets("1001", {12: "17"})
    assert people.found(field_id=12) == {}


def test_put_on_the_queue_twice_it_is_one_event(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    people.differences(repair=True)
    people.differences(repair=True)
    assert people.queue.depth() == 2
    people.work()
    assert len(people.world.rows("audit")) == 2


def test_a_repair_is_never_taken_for_an_echo(people: People) -> None:
    people.told(write_back=ON)
    people.pushes("1001", 16)
    for there in (PENDING, QUOTED):
        people.decides("1001", "stage", stage=there)
        people.work()
    people.manychat.bot_sets("1001", {11: PENDING})
    people.repaired()
    assert people.stages == {"1001": PENDING}


# --- interruptions


def test_an_interrupted_run_goes_on_where_it_was(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PAGE", 1)
    for number in range(1001, 1004):
        people.pushes(str(number), 16)
        people.manychat.bot_sets(str(number), {11: PENDING})
    pages = people.run().pages()
    next(pages)
    pages.close()
    people.stop.clear()
    run = people.run(from_start=False)
    assert run.is_continued
    assert [each.manychat_id for page in run.pages() for each in page] == ["1002", "1003"]
    assert run.counts == {"push_lost": 3, "same": 0}
    assert run.is_finished
    assert not people.run(from_start=False).is_continued
    # A repair does not go on from a report, or it would leave the first ones out.
    pages = people.run().pages()
    next(pages)
    pages.close()
    people.stop.clear()
    assert not people.run(from_start=False, repair=True).is_continued


def test_a_limit_ends_a_run_and_the_next_one_goes_on(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PAGE", 2)
    for number in range(1001, 1006):
        people.pushes(str(number), 16)
        people.manychat.bot_sets(str(number), {11: PENDING})
    found = []
    for _ in range(2):
        run = people.run(from_start=False, limit=3)
        found.append([each.manychat_id for page in run.pages() for each in page])
    assert found == [["1001", "1002", "1003"], ["1004", "1005"]]
    assert run.is_finished


def test_an_answer_that_stops_the_account_ends_the_run_and_loses_nothing(people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.bot_sets("1001", {11: PENDING})
    people.manychat.stopped = True
    with pytest.raises(ManyChatStopped):
        people.found()
    people.stop.clear()
    asked = len(people.manychat.calls)
    with pytest.raises(ManyChatStopped):
        people.found()
    assert len(people.manychat.calls) == asked
    people.stop.clear()
    people.manychat.stopped = False
    in_transaction(people.engine, manychat_slots.resume)
    assert people.found() == {"1001": "push_lost"}


def test_one_bad_answer_ends_nothing_and_an_outage_does(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "PAUSE", 0.01)
    people.pushes("1001", 16)
    people.manychat.troubles = [(502, None), (200, {"status": "error", "message": "Internal error"})]
    assert people.found() == {}
    people.manychat.troubles = [(502, None)] * comparison.ATTEMPTS
    with pytest.raises(ManyChatUnavailable):
        people.found()


def test_only_people_with_news_are_asked_for_if_that_is_chosen(people: People) -> None:
    people.pushes("1001", 16)
    with people.engine.begin() as connection:
        for table in (schema.contacts, schema.opportunities):
            connection.execute(table.update().values(updated_at=datetime.now(timezone.utc) - timedelta(days=9)))
    people.pushes("1002", 16)
    people.found(since=datetime.now(timezone.utc) - timedelta(days=1))
    assert people.manychat.calls_of("getInfo") == ["1002"]


# --- the command


def with_token(people: People) -> dict[str, str]:
    return {"manychat_api_token": TOKEN, "manychat_api_url": people.manychat.url, "manychat_calls_per_second": "8"}


def test_an_operator_sees_what_differs_and_repairs_it(cli: Cli, people: People) -> None:
    for manychat_id in ("1001", "1002", "1003"):
        people.pushes(manychat_id, 16)
    people.manychat.bot_sets("1002", {11: PENDING})
    people.manychat.unknown.add("1003")
    command = ("reconcile", "--with-manychat", "--older-than", "0s")
    looked = cli(*command, **with_token(people))
    assert looked.returncode == 0, looked.stderr
    assert "3 people to ask for" in looked.stderr
    lines = [" ".join(line.split()) for line in looked.stdout.splitlines()]
    assert any(line.startswith("1002 push_lost ") for line in lines), lines
    assert "People: 3 compared, 1 the same." in lines
    assert "1 push_lost: a bot set another stage, and its push was lost." in lines
    assert "1 unknown_person: ManyChat does not know the person." in lines
    assert people.queue.depth() == 0
    done = cli(*command, "--repair", "--json", **with_token(people))
    *found, summary = map(json.loads, done.stdout.splitlines())
    assert [(each["manychat_id"], each["repair"]) for each in found] == [("1002", "event"), ("1003", "")]
    assert (summary["checked"], summary["same"], summary["push_lost"], summary["finished"]) == (3, 1, 1, True)
    people.work()
    again = cli(*command, "--repair", "--json", **with_token(people))
    assert json.loads(again.stdout.splitlines()[-1])["push_lost"] == 0
    assert people.stages["1002"] == PENDING


def test_the_field_may_be_named_and_must_be_there(cli: Cli, people: People) -> None:
    people.pushes("1001", 16, shown=False)
    people.manychat.bot_sets("1001", {12: 17})
    command = ("reconcile", "--with-manychat", "--older-than", "0s", "--json")
    for name in ("12", "etapa_id", "ETAPA_ID"):
        lines = cli(*command, "--stage-field", name, **with_token(people)).stdout.splitlines()
        assert json.loads(lines[-1])["push_lost"] == 1
    missing = cli(*command, "--stage-field", "fase", **with_token(people))
    assert (missing.returncode, "no custom field “fase”. It has: asesor, estado, etapa" in missing.stderr) == (2, True)
    people.told(write_back={"enabled": False})
    unchosen = cli(*command, **with_token(people))
    assert (unchosen.returncode, "--stage-field" in unchosen.stderr) == (2, True)
    no_token = cli(*command)
    assert (no_token.returncode, "BRIDGE_MANYCHAT_API_TOKEN" in no_token.stderr) == (2, True)
    people.told(stage_texts={})
    early = cli(*command, **with_token(people))
    assert (early.returncode, "stage map" in early.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--repair"],
        ["--with-manychat", "--create"],
        ["--with-manychat", "--repair", "--dry-run"],
        ["--with-manychat", "--from-odoo"],
        ["--with-manychat", "--queue", "contact"],
        ["--with-manychat", "--limit", "0"],
    ],
)
def test_options_that_do_not_fit_are_refused(cli: Cli, people: People, arguments: list[str]) -> None:
    assert cli("reconcile", *arguments, **with_token(people)).returncode == 2
    assert people.manychat.calls == []


def test_a_stopped_account_ends_the_command_with_what_to_do(cli: Cli, people: People) -> None:
    people.pushes("1001", 16)
    people.manychat.troubles = [(200, {"status": "success", "data": [{"id": 11, "name": "etapa", "type": "text"}]})]
    people.manychat.stopped = True
    done = cli("reconcile", "--with-manychat", **with_token(people))
    assert done.returncode == 1
    assert "ManyChat takes no calls until 20" in done.stderr
    assert "(UTC). People compared: 0. The next run goes on there." in done.stderr
    again = cli("reconcile", "--with-manychat", **with_token(people))
    assert (again.returncode, "it takes no calls until" in again.stderr) == (1, True)


def test_ctrl_c_keeps_what_is_done(cli: Cli, people: People, tmp_path: Any) -> None:
    for number in range(1001, 1201):
        contacts.handle(people.engine, [contact(str(number))])
    people.manychat.bot_sets("1001", {11: PENDING})
    settings = {**with_token(people), "manychat_calls_per_second": "8"}
    environment = {**cli.environment, **{f"BRIDGE_{name.upper()}": value for name, value in settings.items()}}
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"
    arguments = ["reconcile", "--with-manychat", "--older-than", "0s", "--json"]
    program = Program(arguments, environment, tmp_path, stdout=out, stderr=err)
    eventually(lambda: in_transaction(people.engine, odoo_settings.get, comparison.POSITION))
    program.send_signal(signal.SIGINT)
    assert program.wait(30) == 1
    lines = out.read_text().splitlines()
    assert json.loads(lines[0])["found"] == "no_opportunity"
    assert (json.loads(lines[-1])["checked"], json.loads(lines[-1])["finished"]) == (100, False)
    assert "Interrupted. People compared: 100." in err.read_text()
    first = len(people.manychat.calls)
    done = cli(*arguments, **with_token(people))
    assert json.loads(done.stdout.splitlines()[-1])["checked"] == 200
    assert len(people.manychat.calls) - first == 101
    assert "Going on where an earlier run was. 100 people to ask for" in done.stderr


# --- the pace


def _compare_all(database_url: str, url: str) -> int:
    engine = create_engine(database_url)
    paced = PacedManyChat(ManyChat(TOKEN, url), engine, 8, threading.Event())
    run = WithManyChat(engine, paced, None, Options(FIELD, older_than=NOW), threading.Event(), True)
    return sum(1 for _ in run.pages()) and run.asked


@pytest.mark.timeout(600)  # On a busy machine many turns are missed, and a missed one is not made up for.
def test_four_at_once_never_pass_the_limit(people: People, database_url: str) -> None:
    people.manychat.limit = LIMIT
    people.manychat.calls.clear()
    for number in range(1001, 1018):
        contacts.handle(people.engine, [contact(str(number))])
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        asked = sum(pool.starmap(_compare_all, [(database_url, people.manychat.url)] * 4))
    assert asked == 4 * 17
    assert people.manychat.most_in_a_second() <= LIMIT
    assert not people.manychat.stopped
