"""Pushes that ManyChat sent into nothing, found and repaired by an operator, with a real Odoo, queue and bridge.

ManyChat is a stand-in: its bot sets a field, and no request reaches the webhook.
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest

from deploy.local.stack import PYTHON
from deploy.local.supervision import own_environment
from tests.manychat_stand_in import TOKEN, ManyChatStandIn
from tests.world import Chat, World

from .test_decisions import of, stage_id
from .test_pipeline import STAGES

FIELD = 11


@pytest.fixture
def manychat() -> Iterator[ManyChatStandIn]:
    stand_in = ManyChatStandIn()
    yield stand_in
    stand_in.stop()


class Operator:
    """Calls the command for what has happened since the test began: other tests' people are not in this ManyChat."""

    def __init__(self, world: World, manychat: ManyChatStandIn):
        self.world, self.manychat = world, manychat
        self.since = datetime.now(timezone.utc).isoformat()
        self.environment = own_environment() | {
            "BRIDGE_MANYCHAT_API_TOKEN": TOKEN,
            "BRIDGE_MANYCHAT_API_URL": manychat.url,
            "COLUMNS": "200",
        }
        world.eventually(lambda: world.sql("SELECT 1 FROM odoo_settings WHERE name = 'stage_texts'"))

    def finds(self, *options: str) -> dict[str, tuple[str, str]]:
        """What it finds and how it repairs that, by ManyChat id."""
        words = ["reconcile", "--with-manychat", "--older-than", "0s", "--since", self.since, "--json", "--from-start"]
        done = subprocess.run(
            [str(PYTHON), "-m", "bridge", *words, "--stage-field", str(FIELD), *options],
            check=False,
            cwd=self.world.stack.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        *found, summary = map(json.loads, done.stdout.splitlines())
        assert summary["finished"]
        return {each["manychat_id"]: (each["found"], each["repair"]) for each in found}


@pytest.fixture
def operator(world: World, manychat: ManyChatStandIn) -> Operator:
    return Operator(world, manychat)


def label(world: World, number: int) -> str:
    """ManyChat's label of a stage."""
    (row,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", number]], fields=["name"])
    return str(row["name"])


def enters(world: World, manychat: ManyChatStandIn, chat: Chat, number: int) -> str:
    """The bot sets its field and pushes; the event id."""
    manychat.bot_sets(chat.manychat_id, {11: label(world, number)})
    return chat.enters(number)


def test_lost_pushes_are_found_and_repaired_and_a_persons_decision_stays(
    world: World, manychat: ManyChatStandIn, operator: Operator
) -> None:
    ana, beto, carla, dora, eva = (world.chat() for _ in range(5))
    world.settled(*(enters(world, manychat, each, 17) for each in (ana, beto, carla, eva)))
    subscribed = {"manychat_id": dora.manychat_id, "nombre_lead": "Prueba", "whatsapp": "+521234567890"}
    world.settled(world.send("contact", subscribed))
    # Into nothing; of Carla's opportunity a user of Odoo decides afterwards, of Eva's SQL has not heard yet.
    for chat, number in ((beto, 20), (carla, 20), (dora, 18), (eva, 20)):
        manychat.bot_sets(chat.manychat_id, {11: label(world, number)})
    world.odoo("crm.lead", "write", [carla.lead["id"]], {"stage_id": stage_id(world, 22)})
    world.eventually(lambda: of(world, carla)["stage"] == STAGES[22])

    expected = {
        beto.manychat_id: ("push_lost", ""),
        carla.manychat_id: ("disputed", ""),
        dora.manychat_id: ("no_opportunity", ""),
        eva.manychat_id: ("push_lost", ""),
    }
    assert operator.finds() == expected
    assert {each.stage for each in (ana, beto, eva)} == {STAGES[17]}
    world.odoo("crm.lead", "write", [eva.lead["id"]], {"stage_id": stage_id(world, 23)})
    assert operator.finds("--repair", "--create")[dora.manychat_id] == ("no_opportunity", "event")
    world.eventually(lambda: world.odoo("crm.lead", "search_count", [["x_manychat_id", "=", dora.manychat_id]]))
    world.eventually(lambda: beto.stage == STAGES[20])
    world.eventually(lambda: of(world, eva)["stage"] == STAGES[23])
    by_hand = "SELECT outcome FROM audit WHERE source = 'cli' AND manychat_id = :id AND outcome IS NOT NULL"
    outcomes = world.eventually(lambda: world.sql(by_hand, id=carla.manychat_id))
    assert [row["outcome"] for row in outcomes] == ["stale"]
    assert (ana.stage, carla.stage, eva.stage, dora.stage) == (STAGES[17], STAGES[22], STAGES[23], STAGES[18])
    assert dora.lead["contact_name"] == "Prueba"
    assert beto.stage_changes == [(STAGES[17], STAGES[20])]

    # What is left is that ManyChat does not show what people decided: that is switched off.
    again = operator.finds("--repair", "--create")
    assert again == dict.fromkeys((carla.manychat_id, eva.manychat_id), ("not_written", ""))
    assert (ana.stage, carla.stage, eva.stage) == (STAGES[17], STAGES[22], STAGES[23])


@contextmanager
def telling_manychat(world: World, manychat: ManyChatStandIn) -> Iterator[None]:
    """An administrator has chosen the field and switched it on, and one bridge has ManyChat's token."""
    conf = world.stack.folder / "odoo.conf"
    before = conf.read_text()
    settings = f"manychat_api_token = {TOKEN}\nmanychat_api_url = {manychat.url}\n"
    conf.write_text(before.replace("[miasalud_crm]\n", f"[miasalud_crm]\n{settings}", 1))
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "action_refresh", [record])
    (item,) = world.odoo("manychat.account.item", "search", [["kind", "=", "field"], ["remote_id", "=", str(FIELD)]])
    world.odoo("manychat.write.back", "write", [record], {"enabled": True, "stage_field_id": item})
    environment = own_environment() | {
        "BRIDGE_MANYCHAT_API_TOKEN": TOKEN,
        "BRIDGE_MANYCHAT_API_URL": manychat.url,
        "BRIDGE_LOG_FORMAT": "json",
    }
    with (world.stack.folder / "bridge-with-manychat.log").open("w") as log:
        words = [str(PYTHON), "-m", "bridge", "run"]
        bridge = subprocess.Popen(words, cwd=world.stack.folder, env=environment, stdout=log, stderr=log)
        try:
            enabled = "SELECT 1 FROM odoo_settings WHERE name = 'write_back' AND value LIKE :on"
            world.eventually(lambda: world.sql(enabled, on='%"enabled": true%'))
            yield
        finally:
            world.odoo("manychat.write.back", "write", [record], {"enabled": False, "stage_field_id": False})
            conf.write_text(before)
            world.eventually(lambda: not world.sql(enabled, on='%"enabled": true%'))
            bridge.send_signal(signal.SIGTERM)
            bridge.wait(60)


def test_what_a_bot_set_after_our_write_is_newer_and_manychat_gets_what_it_missed(
    world: World, manychat: ManyChatStandIn, operator: Operator
) -> None:
    def shows(chat: Chat) -> Any:
        return manychat.people[chat.manychat_id].get(FIELD)

    ana, beto = world.chat(), world.chat()
    world.settled(*(enters(world, manychat, each, 17) for each in (ana, beto)))
    world.odoo("crm.lead", "write", [beto.lead["id"]], {"stage_id": stage_id(world, 20)})
    world.eventually(lambda: of(world, beto)["stage"] == STAGES[20])
    with telling_manychat(world, manychat):
        world.odoo("crm.lead", "write", [ana.lead["id"]], {"stage_id": stage_id(world, 20)})
        world.eventually(lambda: shows(ana) == label(world, 20))
        world.eventually(lambda: world.sql("SELECT 1 FROM manychat_writes WHERE sent_as_of = wanted_as_of"))
        # Back to what it had said before, and then on: the push of neither arrived.
        manychat.bot_sets(ana.manychat_id, {11: label(world, 17)})
        found = operator.finds("--repair")
        assert found == {ana.manychat_id: ("push_lost", "event"), beto.manychat_id: ("not_written", "written")}
        world.eventually(lambda: ana.stage == STAGES[17])
        world.eventually(lambda: shows(beto) == label(world, 20))
        assert beto.stage == STAGES[20]
        world.eventually(lambda: not set(operator.finds("--repair").values()))
    assert manychat.most_in_a_second() <= manychat.limit
    assert not manychat.stopped
