"""What users of a real Odoo decide reaches ManyChat through a real bridge process. Only ManyChat is a stand-in.

The stack's two bridges have no token: they work beside it as those of a company that has given it to one only.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from deploy.local.stack import PYTHON
from deploy.local.supervision import own_environment
from tests.manychat_stand_in import TOKEN, ManyChatStandIn
from tests.world import Chat, World

from .test_decisions import stage_id
from .test_pipeline import STAGES
from .test_watching import command

# A killed bridge's lease, and the waits of a client that gets no answer, take their time.
pytestmark = pytest.mark.timeout(400)

#: ManyChat's number of the stage that starts a flow.
FLOW_STAGE = 20
FIELDS = {"stage_field_id": 11, "stage_id_field_id": 12, "salesperson_field_id": 13, "status_field_id": 14}
TAGS = {"won_tag_id": 21, "lost_tag_id": 22}
#: Seconds in which a call would have been made.
WHILE = 8


class Bridge:
    """``python -m bridge run`` with ManyChat's token, in the stack's folder."""

    def __init__(self, world: World, manychat: ManyChatStandIn) -> None:
        variables = {"BRIDGE_MANYCHAT_API_TOKEN": TOKEN, "BRIDGE_MANYCHAT_API_URL": manychat.url}
        self.log = world.stack.folder / "log" / f"write-back-{time.time_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "bridge", "run"],
                cwd=world.stack.folder, env=own_environment() | variables, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


class Setting:
    """ManyChat, the rules that an administrator makes in Odoo, and the bridge that writes."""

    def __init__(self, world: World, manychat: ManyChatStandIn) -> None:
        self.world, self.manychat = world, manychat
        (self.record,) = world.odoo("manychat.write.back", "search", [])
        world.odoo("manychat.write.back", "action_refresh", [self.record])
        items = world.odoo("manychat.account.item", "search_read", [], fields=["kind", "remote_id"])
        self.items = {(each["kind"], each["remote_id"]): each["id"] for each in items}
        self.bridge = Bridge(world, manychat)

    def rules(self, **changes: Any) -> None:
        """Change them in Odoo, and wait until SQL has them: by the heartbeat."""
        self.world.odoo("manychat.write.back", "write", [self.record], changes)
        wanted = self.world.odoo("manychat.write.back", "read", [self.record], ["enabled"])[0]["enabled"]
        self.world.eventually(lambda: self.stored().get("enabled") == wanted)

    def stored(self) -> dict[str, Any]:
        rows = self.world.sql("SELECT value FROM odoo_settings WHERE name = 'write_back'")
        return json.loads(rows[0]["value"]) if rows else {}

    def shows(self, chat: Chat, number: int) -> bool:
        """Whether ManyChat shows the person that stage, by number and by label."""
        values = self.manychat.people.get(chat.manychat_id, {})
        return values.get(12) == number and bool(values.get(11))

    def row(self, chat: Chat) -> dict[str, Any]:
        rows = self.world.sql("SELECT * FROM manychat_writes WHERE manychat_id = :id", id=chat.manychat_id)
        return rows[0] if rows else {}

    def done(self, chat: Chat) -> bool:
        row = self.row(chat)
        return bool(row and row["sent_as_of"] == row["wanted_as_of"])

    def flows_of(self, chat: Chat) -> int:
        return sum(person == chat.manychat_id for person, _ in self.manychat.started)


@contextmanager
def odoo_asks(world: World, manychat: ManyChatStandIn) -> Iterator[None]:
    """Odoo reads its settings anew for each use."""
    conf = world.stack.folder / "odoo.conf"
    before = conf.read_text()
    settings = f"manychat_api_token = {TOKEN}\nmanychat_api_url = {manychat.url}\n"
    conf.write_text(before.replace("[miasalud_crm]\n", f"[miasalud_crm]\n{settings}", 1))
    try:
        yield
    finally:
        conf.write_text(before)


@pytest.fixture(scope="module")
def setting(world: World) -> Iterator[Setting]:
    manychat = ManyChatStandIn()
    with odoo_asks(world, manychat):
        made = Setting(world, manychat)
        choices = {name: made.items["field", str(number)] for name, number in FIELDS.items()}
        choices |= {name: made.items["tag", str(number)] for name, number in TAGS.items()}
        (row,) = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", FLOW_STAGE]])
        world.odoo("manychat.stage.map", "write", [row], {"flow_id": made.items["flow", "content1"]})
        made.rules(enabled=True, **choices)
        try:
            yield made
        finally:
            made.bridge.kill()
            world.odoo("manychat.stage.map", "write", [row], {"flow_id": False})
            world.odoo(
                "manychat.write.back", "write", [made.record], {"enabled": False, **dict.fromkeys(choices, False)}
            )
            manychat.stop()


def drag(world: World, chat: Chat, number: int) -> None:
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"stage_id": stage_id(world, number)})


def entered(setting: Setting, stage: int = 17) -> Chat:
    """A person whose chat has entered a stage, which ManyChat shows."""
    chat = setting.world.chat()
    setting.world.settled(chat.enters(stage))
    setting.world.eventually(lambda: setting.shows(chat, stage) and setting.done(chat))
    return chat


def test_odoo_tells_administrators_that_a_bridge_has_the_token_and_can_write(setting: Setting) -> None:
    """The stack's own bridges have none: one that can write is enough."""

    def said() -> str:
        (row,) = setting.world.odoo("manychat.write.back", "read", [setting.record], ["bridge_text"])
        return str(row["bridge_text"])

    setting.world.eventually(lambda: said() == "The bridge has the API token, and can write to ManyChat.")
    ready = setting.world.odoo("manychat.bridge", "search_read", [["write_back", "!=", False]], fields=["write_back"])
    assert {row["write_back"] for row in ready} >= {"ready", "no_token"}


def test_what_a_user_decides_is_shown_in_manychat_and_only_their_moves_start_flows(setting: Setting) -> None:
    world, manychat = setting.world, setting.manychat
    chat = entered(setting)
    drag(world, chat, FLOW_STAGE)
    world.eventually(lambda: setting.shows(chat, FLOW_STAGE) and setting.flows_of(chat) == 1)
    (admin,) = world.odoo("res.users", "search_read", [["login", "=", "admin"]], fields=["name"])
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"user_id": admin["id"]})
    world.eventually(lambda: manychat.people[chat.manychat_id].get(13) == admin["name"])
    world.odoo("crm.lead", "action_set_lost", [chat.lead["id"]])
    world.eventually(lambda: manychat.tagged[chat.manychat_id] == {22})
    assert manychat.people[chat.manychat_id][14] == "lost"
    world.odoo("crm.lead", "action_unarchive", [chat.lead["id"]])
    drag(world, chat, 26)
    world.eventually(lambda: manychat.tagged[chat.manychat_id] == {21})
    assert world.settled(chat.enters(19, 120)) == ["moved"]
    world.eventually(lambda: setting.shows(chat, 19) and manychat.tagged[chat.manychat_id] == set())
    assert setting.flows_of(chat) == 1


def test_the_echo_of_a_written_stage_changes_nothing_and_undoes_no_newer_decision(setting: Setting) -> None:
    world, chat = setting.world, entered(setting)
    drag(world, chat, 21)
    world.eventually(lambda: setting.shows(chat, 21))
    assert world.settled(chat.enters(21, 60)) == ["unchanged"]
    drag(world, chat, 22)
    world.eventually(lambda: setting.shows(chat, 22))
    drag(world, chat, 23)
    world.eventually(lambda: setting.shows(chat, 23))
    # The bot is slow: it sends the stage that it had before.
    assert world.settled(chat.enters(22, 61)) == ["stale"]
    assert chat.stage == STAGES[23]
    assert world.settled(chat.enters(23, 62)) == ["unchanged"]
    assert chat.stage == STAGES[23]
    # What the customer does is no echo.
    assert world.settled(chat.enters(24, 63)) == ["moved"]


def test_a_second_echo_undoes_no_decision_that_is_still_on_its_way_to_sql(setting: Setting) -> None:
    world, chat = setting.world, entered(setting)
    drag(world, chat, 21)
    world.eventually(lambda: setting.shows(chat, 21))
    assert world.settled(chat.enters(21, 60)) == ["unchanged"]
    assert command(world, "pause", "--queue", "decision").returncode == 0
    try:
        time.sleep(1.5)  # a bridge obeys within a second
        drag(world, chat, 22)
        assert world.settled(chat.enters(21, 61)) == ["stale"]
        assert chat.stage == STAGES[22]
    finally:
        command(world, "resume")
    world.eventually(lambda: setting.shows(chat, 22))


def test_a_bridge_that_is_killed_at_the_call_starts_no_flow_twice(setting: Setting) -> None:
    world, manychat = setting.world, setting.manychat
    chat, calm = entered(setting), entered(setting)
    manychat.hangs = 2.0
    drag(world, chat, FLOW_STAGE)
    world.eventually(lambda: manychat.calls_of("sendFlow").count(chat.manychat_id))
    setting.bridge.kill()
    manychat.hangs = 0
    setting.bridge = Bridge(world, manychat)
    drag(world, calm, FLOW_STAGE)
    world.eventually(lambda: setting.flows_of(calm) == 1)
    # Its lease and its message are the killed bridge's for a while.
    world.eventually(lambda: setting.done(chat))
    assert manychat.calls_of("sendFlow").count(chat.manychat_id) == 1
    # It is not known whether it started, and a user hears of it.
    world.eventually(lambda: unsent(world, chat)["manychat_unsent"])
    assert setting.bridge.stop() == 0
    setting.bridge = Bridge(world, manychat)
    drag(world, chat, 21)
    world.eventually(lambda: setting.shows(chat, 21))
    assert manychat.calls_of("sendFlow").count(chat.manychat_id) == 1


def unsent(world: World, chat: Chat) -> dict[str, Any]:
    fields = ["manychat_unsent", "manychat_unsent_text"]
    (lead,) = world.odoo("crm.lead", "read", [chat.lead["id"]], fields)
    return dict(lead)


def test_a_refusal_shows_on_the_opportunity_until_the_next_success_and_odoo_may_be_away(setting: Setting) -> None:
    world, manychat = setting.world, setting.manychat
    chats = [entered(setting) for _ in range(3)]
    closed, unknown, field = chats
    manychat.failing = 500
    for chat in chats:
        drag(world, chat, FLOW_STAGE)
    world.eventually(lambda: all(json.loads(setting.row(chat)["wanted"])["stage_id"] == FLOW_STAGE for chat in chats))
    world.stack.programs.stop_program("odoo")
    try:
        manychat.closed.add(closed.manychat_id)
        manychat.unknown.add(unknown.manychat_id)
        del manychat.fields[13]
        manychat.people[field.manychat_id].pop(13)
        manychat.failing = 0
        world.eventually(lambda: all(setting.done(chat) for chat in chats))
        found = [setting.row(chat)["refused_code"] for chat in chats]
        assert found == ["window_closed", "unknown_person", None]
    finally:
        world.stack.programs.start_program("odoo")
        world.stack.wait_for_odoo()
    world.eventually(lambda: unsent(world, closed)["manychat_unsent"] and unsent(world, unknown)["manychat_unsent"])
    world.odoo("crm.lead", "write", [field.lead["id"]], {"user_id": 2})
    world.eventually(lambda: unsent(world, field)["manychat_unsent"])
    manychat.closed.clear()
    manychat.unknown.clear()
    manychat.fields[13] = "asesor"
    for chat in chats:
        drag(world, chat, 21)
    world.eventually(lambda: not any(unsent(world, chat)["manychat_unsent"] for chat in chats))
    assert all(setting.shows(chat, 21) for chat in chats)


def test_the_stop_of_a_day_ends_all_calls_until_it_is_over(setting: Setting) -> None:
    world, manychat = setting.world, setting.manychat
    chat = entered(setting)
    manychat.stopped = True
    drag(world, chat, FLOW_STAGE)

    def stop() -> datetime | None:
        rows = world.sql("SELECT paused_until FROM manychat_slots WHERE paused_until IS NOT NULL")
        return datetime.fromisoformat(str(rows[0]["paused_until"])) if rows else None

    until = world.eventually(stop)
    assert until.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc) > timedelta(hours=23)
    calls = len(manychat.calls)
    time.sleep(WHILE)
    assert len(manychat.calls) == calls
    manychat.stopped = False
    with world._store.begin() as connection:
        connection.exec_driver_sql("UPDATE manychat_slots SET paused_until = NULL")  # a day later
    world.eventually(lambda: setting.shows(chat, FLOW_STAGE) and setting.flows_of(chat) == 1)


def test_silence_of_manychat_gives_nothing_up_and_everything_arrives_after_it(setting: Setting) -> None:
    world, manychat = setting.world, setting.manychat
    letters = world.sql("SELECT COUNT(*) AS n FROM dead_letters")[0]["n"]
    chats = [entered(setting) for _ in range(6)]
    before = {chat.manychat_id: manychat.calls_of("sendFlow").count(chat.manychat_id) for chat in chats}
    manychat.failing = 502
    drag(world, chats[0], FLOW_STAGE)
    drag(world, chats[1], FLOW_STAGE)
    time.sleep(WHILE)
    manychat.failing = 0
    manychat.stop()
    drag(world, chats[2], FLOW_STAGE)
    drag(world, chats[3], FLOW_STAGE)
    time.sleep(WHILE)
    manychat.hangs = 18
    manychat.start()
    drag(world, chats[4], 21)
    drag(world, chats[5], 21)
    drag(world, chats[0], 21)
    time.sleep(20)
    manychat.hangs = 0
    for chat, stage in zip(chats, (21, FLOW_STAGE, FLOW_STAGE, FLOW_STAGE, 21, 21), strict=True):
        world.eventually(lambda chat=chat, stage=stage: setting.shows(chat, stage) and setting.done(chat))
    assert world.sql("SELECT COUNT(*) AS n FROM dead_letters")[0]["n"] == letters
    assert before == dict.fromkeys(before, 0)
    assert [setting.flows_of(chat) for chat in chats[1:]] == [1, 1, 1, 0, 0]
    # Its flow may have started before its user moved it on.
    assert setting.flows_of(chats[0]) <= 1
    assert max(manychat.calls_of("sendFlow").count(chat.manychat_id) for chat in chats) == 1
    # A flow without an answer within 15 seconds is not known to have started.
    assert {setting.row(chat)["refused_code"] for chat in chats} <= {None, "flow_unknown"}


def test_switched_off_it_makes_no_call_and_switched_on_it_writes_what_is_decided_from_then_on(setting: Setting) -> None:
    world, manychat = setting.world, setting.manychat
    chat, other = entered(setting), entered(setting)
    manychat.failing = 500
    drag(world, other, FLOW_STAGE)
    world.eventually(lambda: json.loads(setting.row(other)["wanted"])["stage_id"] == FLOW_STAGE)
    setting.rules(enabled=False)
    time.sleep(1)
    manychat.failing = 0
    manychat.calls.clear()
    drag(world, chat, FLOW_STAGE)
    time.sleep(WHILE)
    assert manychat.calls == []
    setting.rules(enabled=True)
    time.sleep(WHILE)
    assert [person for _, _, person in manychat.calls if person] == []
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"user_id": 2})
    world.eventually(lambda: setting.shows(chat, FLOW_STAGE))
    assert (setting.flows_of(chat), setting.flows_of(other)) == (0, 0)
    assert not setting.shows(other, FLOW_STAGE)


def test_calls_never_come_faster_than_allowed_and_no_forbidden_one_is_made(setting: Setting) -> None:
    assert setting.manychat.most_in_a_second() <= 10
    with suppress(FileNotFoundError):
        assert "Traceback" not in setting.bridge.log.read_text()
    assert os.path.exists(setting.bridge.log)
