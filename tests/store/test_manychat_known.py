"""What SQL knows of people, and the comparison of it with ManyChat (a stand-in), on each database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.contract.opportunity_state import read_state
from bridge.manychat import ManyChat
from bridge.results import Done
from bridge.store import (
    audit,
    contacts,
    manychat_known,
    manychat_writes,
    odoo_settings,
    opportunities,
    opportunity_states,
    schema,
)
from bridge.store.audit import ReceivedEvent
from bridge.worker.write_back.comparison import Difference, Options, WithManyChat
from bridge.worker.write_back.pace import PacedManyChat

from ..manychat_stand_in import TOKEN, ManyChatStandIn
from .conftest import NOON, STAGES, Store, contact, decision, opportunity, state

FIELD = 11
MAP = {str(number): {"label": label, "id": 15 + number} for number, label in STAGES.items()}
RULES = {"enabled": True, "stage_field": {"id": FIELD}}


@pytest.fixture
def manychat() -> Iterator[ManyChatStandIn]:
    stand_in = ManyChatStandIn(limit=1000)
    yield stand_in
    stand_in.stop()


def enters(store: Store, manychat_id: str, minute: float = 0) -> None:
    """The chat's event brought the opportunity into the first stage."""
    event = opportunity(minute, manychat_id, state={"stage_id": 16})
    store.run(audit.begin, [ReceivedEvent(event, event.type.queue, None)])
    store.run(opportunities.record, [event], NOON)
    done = Done("created", 7, None, STAGES[1], read_state(state(minute)))
    store.run(opportunities.finish, {event.id: (event, done)}, NOON)
    store.run(audit.finish, {event.id: done})


def compare(store: Store, manychat: ManyChatStandIn) -> list[Difference]:
    paced = PacedManyChat(ManyChat(TOKEN, manychat.url), store.engine, 1000, threading.Event())
    options = Options(FIELD, older_than=timedelta(0))
    run = WithManyChat(store.engine, paced, None, options, threading.Event(), from_start=True)
    return [each for page in run.pages() for each in page]


def some_people(store: Store, manychat: ManyChatStandIn) -> None:
    store.run(odoo_settings.take_over, {"stage_texts": MAP, "write_back": {**RULES, "enabled": False}})
    for manychat_id in ("1001", "1002", "1003"):
        enters(store, manychat_id)
        manychat.bot_sets(manychat_id, {11: STAGES[1]})
    store.run(contacts.apply_contacts, [contact(0, "1004")])
    manychat.bot_sets("1002", {11: STAGES[2]})
    manychat.bot_sets("1003", {11: STAGES[2]})
    manychat.bot_sets("1004", {11: STAGES[2]})
    store.run(opportunity_states.apply_decisions, [decision(5, 3, "1003")], NOON)


FOUND = {"1002": "push_lost", "1003": "disputed", "1004": "no_opportunity"}


def test_the_comparison_says_who_is_behind(store: Store, manychat: ManyChatStandIn) -> None:
    some_people(store, manychat)
    found = compare(store, manychat)
    assert {each.manychat_id: each.found for each in found} == FOUND
    since = {each.manychat_id: each.since for each in found}
    assert since == {**dict.fromkeys(FOUND, "2025-06-10T12:00:00.000000Z"), "1004": ""}


def test_the_command_says_the_same(store: Store, manychat: ManyChatStandIn, tmp_path: Path) -> None:
    some_people(store, manychat)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    environment |= {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "BRIDGE_DATABASE_URL": store.engine.url.render_as_string(hide_password=False),
        "BRIDGE_MANYCHAT_API_TOKEN": TOKEN,
        "BRIDGE_MANYCHAT_API_URL": manychat.url,
    }
    words = [sys.executable, "-m", "bridge", "reconcile", "--with-manychat", "--older-than", "0s", "--json"]
    done = subprocess.run(
        words, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *found, summary = map(json.loads, done.stdout.splitlines())
    assert {each["manychat_id"]: each["found"] for each in found} == FOUND
    assert (summary["checked"], summary["same"], summary["finished"]) == (4, 1, True)


def test_people_come_once_page_by_page(store: Store) -> None:
    store.run(contacts.apply_contacts, [contact(0, str(number)) for number in range(1001, 1008)])
    seen: list[str] = []
    after = 0
    while page := store.run(manychat_known.page, after, 3, None):
        assert store.run(manychat_known.count, after, None) == 7 - len(seen)
        seen += [row.manychat_id for row in page]
        after = page[-1].id
    assert seen == [str(number) for number in range(1001, 1008)]


def test_news_are_those_of_the_contact_or_of_the_opportunity(store: Store) -> None:
    for manychat_id in ("1001", "1002", "1003"):
        enters(store, manychat_id)
    with store.engine.begin() as connection:
        for table, who in ((schema.contacts, "1001"), (schema.opportunities, "1002")):
            old, new = NOON - timedelta(days=9), NOON
            connection.execute(table.update().values(updated_at=old))
            connection.execute(table.update().where(table.c.manychat_id == who).values(updated_at=new))
    since = NOON - timedelta(days=1)
    assert {row.manychat_id for row in store.run(manychat_known.page, 0, 9, since)} == {"1001", "1002"}
    assert store.run(manychat_known.count, 0, since) == 2


def wanted(store: Store) -> dict[str, Any]:
    return {row.manychat_id: row for row in store.rows("manychat_writes")}


def test_what_manychat_lacks_is_written_also_if_nothing_was_wanted_before(store: Store) -> None:
    enters(store, "1001")
    store.run(manychat_known.write_again, ["1001"])
    assert wanted(store) == {}  # it is off
    store.run(manychat_writes.take_over, {"write_back": RULES})
    store.run(manychat_known.write_again, ["1001", "1002"])
    row = wanted(store)["1001"]
    assert json.loads(row.wanted)["odoo_stage_id"] == 1
    assert (row.queued_at, row.sent_as_of, row.flow_event_id) == (None, None, None)
    assert list(wanted(store)) == ["1001"]
    with store.engine.begin() as connection:
        done = {"queued_at": NOON, "sent_as_of": row.wanted_as_of, "forget": False}
        connection.execute(schema.manychat_writes.update().values(done))
    assert not store.run(manychat_known.look_up, ["1001"])["1001"].is_unsent
    store.run(manychat_known.write_again, ["1001"])
    row = wanted(store)["1001"]
    assert (row.queued_at, row.sent_as_of, bool(row.forget)) == (None, None, True)
    assert store.run(manychat_known.look_up, ["1001"])["1001"].is_unsent
