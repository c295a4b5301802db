"""A bot asks how far one person is, of Odoo, of the API and of the proxy in front of both."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import requests

from bridge.contract.person import PATH
from tests.front import proxy
from tests.world import Chat, World

#: ManyChat gives up after this (seconds).
PATIENCE_OF_MANYCHAT = 10
#: What only the server that is asked can say.
OWN = ("as_of", "age_seconds")


@pytest.fixture(scope="module")
def key(world: World) -> str:
    """A key that an administrator made in Odoo, once the API takes it too."""
    dialog = world.odoo("manychat.api.key.create", "create", {"name": f"Asks {time.time_ns()}", "purpose": "ask"})
    made = world.odoo("manychat.api.key.create", "action_generate", [dialog])["context"]["default_key"]
    world.eventually(lambda: ask(world.stack.api_url, "nadie", made).status_code == 200)
    return str(made)


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from proxy(tmp_path_factory.mktemp("nginx"), world.stack.odoo_url, world.stack.api_url)


def ask(address: str, manychat_id: str, key: str, query: str = "", method: str = "GET") -> requests.Response:
    url = f"{address}{PATH}{quote(manychat_id, safe='')}{query}"
    return requests.request(method, url, headers={"X-API-KEY": key} if key else {}, timeout=30)


@pytest.mark.parametrize(
    ("manychat_id", "query", "method", "status"),
    [
        ("nadie", "", "GET", 200),
        ("12345678901234567890123", "", "GET", 200),
        ("Ñ a/b//c?d#e%2F+f", "", "GET", 200),
        ("nadie", "?format=dynamic&channel=whatsapp", "GET", 200),
        ("nadie", "?format=xml", "GET", 422),
        ("nadie", "?channel=sms", "GET", 422),
        ("{{user_id}}", "", "GET", 422),
        ("x" * 65, "", "GET", 422),
        ("\0", "", "GET", 422),
        ("nadie", "", "POST", 405),
        ("nadie", "?key=mck_abc", "GET", 401),
    ],
)
def test_both_give_the_same_answer(
    world: World, key: str, manychat_id: str, query: str, method: str, status: int
) -> None:
    odoo, api = (
        ask(address, manychat_id, key, query, method) for address in (world.stack.odoo_url, world.stack.api_url)
    )
    assert odoo.status_code == api.status_code == status, (odoo.text, api.text)
    assert odoo.json() == api.json()
    for name in ("Content-Type", "Cache-Control", "Allow"):
        assert odoo.headers.get(name) == api.headers.get(name)


def test_both_refuse_the_key_of_the_webhooks_in_the_same_words(world: World) -> None:
    odoo, api = (
        ask(address, "nadie", world.stack.webhook_key) for address in (world.stack.odoo_url, world.stack.api_url)
    )
    assert odoo.status_code == api.status_code == 403
    assert odoo.json() == api.json()


def test_what_a_user_of_odoo_decides_both_answer_alike(world: World, chat: Chat, key: str) -> None:
    """Moved, given to a salesperson, won, lost: in words, in a text of the stage, and for a merged person."""
    other = world.chat()
    world.settled(chat.enters(17, medical_advisor_id=4711), other.enters(18, medical_advisor_id=4713))
    rows = world.odoo("manychat.stage.map", "search_read", [], fields=["stage_id"])
    texts = {"answer_text": "{stage}: {salesperson}.\n\n{decided_on}\n\n{medical_advisor}"}
    world.odoo("manychat.stage.map", "write", [row["id"] for row in rows], texts)
    (advisor,) = world.odoo("manychat.advisor", "search", [["external_id", "=", 4711], ["role", "=", "medical"]])
    world.odoo("manychat.advisor", "write", [advisor], {"name": "Dra. Ruiz"})
    lead, user = chat.lead["id"], world.odoo("res.users", "search", [["login", "=", "admin"]])[0]
    stage = next(row["stage_id"][0] for row in rows if row["stage_id"][0] != chat.lead["stage_id"][0])
    won = world.odoo("manychat.stage.map", "search", [["stage_id.is_won", "=", True]])
    assert won
    _agree(world, key, chat.manychat_id, {"opportunity": "open", "decided_at": None})
    world.odoo("crm.lead", "write", [lead], {"stage_id": stage, "user_id": user})
    said = _agree(world, key, chat.manychat_id, {"opportunity": "open", "medical_advisor": "Dra. Ruiz"})
    assert said["decided_at"]
    assert said["salesperson"]
    world.odoo("crm.lead", "action_set_won", [lead])
    _agree(world, key, chat.manychat_id, {"opportunity": "won"})
    # Odoo 19 lets no won opportunity be lost.
    world.odoo("crm.lead", "write", [lead], {"stage_id": stage})
    world.odoo("crm.lead", "action_set_lost", [lead])
    _agree(world, key, chat.manychat_id, {"opportunity": "lost"})
    world.odoo("crm.lead", "action_unarchive", [lead])
    _agree(world, key, chat.manychat_id, {"opportunity": "open"})
    world.odoo("crm.lead", "action_set_won", [lead])
    # Odoo keeps the one that is further in the pipeline.
    world.odoo("crm.lead", "merge_opportunity", [lead, other.lead["id"]])
    assert world.odoo("crm.lead", "search", [["id", "in", [lead, other.lead["id"]]]]) == [lead]
    (survivor,) = world.odoo("crm.lead", "read", [lead], fields=["active", "stage_id"])
    (kept,) = world.odoo("crm.stage", "read", [survivor["stage_id"][0]], fields=["is_won"])
    assert (survivor["active"], kept["is_won"]) == (True, True)
    for person in (chat, other):
        is_survivor = person is chat
        said = _agree(world, key, person.manychat_id, {"opportunity": "won", "medical_advisor": "Dra. Ruiz"})
        assert said["odoo_stage"] == survivor["stage_id"][1]
        assert said["decided_at"]
        (row,) = world.sql("SELECT * FROM opportunities WHERE manychat_id = :id", id=person.manychat_id)
        assert (row["lead_id"], row["status"], row["merged_into"]) == (lead, "won", None if is_survivor else lead)
    # A user gives it to another medical adviser; then to none.
    second = world.odoo("manychat.advisor", "create", {"external_id": 4712, "role": "medical", "name": "Dr. Gómez"})
    for value, name in ((second, "Dr. Gómez"), (False, None)):
        world.odoo("crm.lead", "write", [lead], {"manychat_medical_advisor_id": value})
        for person in (chat, other):
            world.eventually(partial(_names, world, key, person, name))
            _agree(world, key, person.manychat_id, {"opportunity": "won", "medical_advisor": name})


def _names(world: World, key: str, person: Chat, advisor: str | None) -> bool:
    """Whether the API names the medical adviser, as Odoo does at once. Names reach SQL with a bridge's heartbeat."""
    return bool(ask(world.stack.api_url, person.manychat_id, key).json()["medical_advisor"] == advisor)


def _agree(world: World, key: str, manychat_id: str, expected: dict[str, Any]) -> dict[str, Any]:
    """What both servers say of the person, as soon as they say the same."""
    servers = (world.stack.odoo_url, world.stack.api_url)

    def answers() -> list[list[Any]]:
        plain = [_without_own(ask(server, manychat_id, key)) for server in servers]
        return [plain, [ask(server, manychat_id, key, "?format=dynamic&channel=whatsapp").json() for server in servers]]

    deadline = time.monotonic() + 30
    while (seen := answers()) and any(odoo != api for odoo, api in seen):
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
    said: dict[str, Any] = seen[0][0]
    assert {name: said[name] for name in expected} == expected
    return said


def test_odoo_stopped_the_proxy_asks_the_api_and_the_answer_says_how_old_it_is(
    world: World, chat: Chat, key: str, front: str
) -> None:
    world.settled(chat.enters(17))
    before = ask(front, chat.manychat_id, key).json()
    assert (before["found"], before["opportunity"], before["age_seconds"]) == (True, "open", 0)
    world.stack.programs.stop_program("odoo")
    try:
        for _ in range(3):
            answer = ask(front, chat.manychat_id, key)
            assert answer.status_code == 200, answer.text
            assert answer.json()["odoo_stage"] == before["odoo_stage"]
            assert ask(front, "Ñ a/b", key).json()["manychat_id"] == "Ñ a/b"
    finally:
        world.stack.programs.start_program("odoo")
        world.stack.wait_for_odoo()


def test_odoo_frozen_every_answer_comes_before_manychat_gives_up(
    world: World, chat: Chat, key: str, front: str
) -> None:
    world.settled(chat.enters(17))
    seconds: list[float] = []
    world.stack.programs.signal_program("odoo", signal.SIGSTOP)
    try:
        for _ in range(8):
            started = time.monotonic()
            answer = ask(front, chat.manychat_id, key)
            seconds.append(time.monotonic() - started)
            assert (answer.status_code, answer.json()["found"]) == (200, True), answer.text
    finally:
        world.stack.programs.signal_program("odoo", signal.SIGCONT)
    print(f"{len(seconds)} answers, the slowest after {max(seconds):.2f} s")
    assert max(seconds) < PATIENCE_OF_MANYCHAT


def _without_own(answer: requests.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name not in OWN}


def test_odoo_and_the_api_frozen_the_bot_gets_an_error_before_manychat_gives_up(
    world: World, chat: Chat, key: str, front: str
) -> None:
    """The bot then takes its own way for an error. It never waits for an answer that does not come."""
    world.settled(chat.enters(17))
    frozen = ("odoo", "api")
    for program in frozen:
        world.stack.programs.signal_program(program, signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = ask(front, chat.manychat_id, key)
        seconds = time.monotonic() - started
    finally:
        for program in frozen:
            world.stack.programs.signal_program(program, signal.SIGCONT)
    assert (answer.status_code, answer.json()["status"]) == (503, "error"), answer.text
    assert seconds < PATIENCE_OF_MANYCHAT
    world.eventually(lambda: ask(front, chat.manychat_id, key).status_code == 200)
