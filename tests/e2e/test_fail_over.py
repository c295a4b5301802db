"""The example proxy of deploy/proxy: Odoo stopped, ManyChat's events still accepted, all applied after it is back."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from deploy.local import ports
from tests.front import proxy
from tests.world import Chat, World

WEBHOOK = "/api/v1/manychat/webhook/"
UPDATE = "/api/v1/manychat/campaign-contacts/update-by-manychat-id"


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from proxy(tmp_path_factory.mktemp("nginx"), world.stack.odoo_url, world.stack.api_url)


def send(world: World, front: str, path: str, payload: Any, method: str = "POST", **headers: str) -> requests.Response:
    sent = {"X-API-KEY": world.stack.webhook_key, **headers}
    return requests.request(method, front + path, json=payload, headers=sent, timeout=30)


def source(world: World, event_id: str) -> str:
    return world.audit(event_id)["source"]


def test_odoo_takes_the_events_while_it_is_there(world: World, chat: Chat, front: str) -> None:
    answer = send(world, front, f"{WEBHOOK}crm-opportunity", chat.event(17))
    assert answer.status_code == 200
    assert world.settled(answer.json()["event_id"]) == ["created"]
    assert source(world, answer.json()["event_id"]) == "odoo"
    assert requests.get(f"{front}/web/login", timeout=60).ok  # and Odoo's own pages are where they were


def test_what_is_refused_is_final(world: World, front: str) -> None:
    """A refusal does not go on to the other: it is Odoo's, kept there for the bot's builder."""
    before = world.odoo("manychat.event", "search_count", [["state", "=", "refused"]])
    for _ in range(2):
        answer = send(world, front, f"{WEBHOOK}crm-opportunity", {"manychat_id": "MC-NO"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert world.odoo("manychat.event", "search_count", [["state", "=", "refused"]]) == before + 2
    answer = send(world, front, f"{WEBHOOK}crm-opportunity", {}, **{"X-API-KEY": "mck_wrong"})
    assert answer.status_code in (401, 429)


def test_errors_that_are_not_ours_have_our_shape(front: str) -> None:
    unknown = requests.post(f"{front}/api/v1/manychat/nothing", json={}, timeout=30)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    long = requests.post(f"{front}{WEBHOOK}contact", data=b"x" * 2_000_000, timeout=30)
    assert (long.status_code, long.json()["code"]) == (413, "too_large")


def test_odoo_stopped_events_are_accepted_and_applied_once_it_is_back(world: World, front: str) -> None:
    chats = [world.chat() for _ in range(3)]
    before = [send(world, front, f"{WEBHOOK}crm-opportunity", chat.event(17)).json()["event_id"] for chat in chats]
    world.settled(*before)
    world.stack.programs.stop_program("odoo")
    try:
        accepted = []
        for minute, stage in enumerate((18, 19, 21), start=1):
            for chat in chats:
                answer = send(world, front, f"{WEBHOOK}crm-opportunity", chat.event(stage, minute))
                assert answer.status_code == 200, answer.text
                accepted.append(answer.json()["event_id"])
        person = {"manychat_id": chats[0].manychat_id, "nombre_lead": "Zoë", "canal_entrada": "Facebook"}
        answers = [
            send(world, front, f"{WEBHOOK}contact", person),
            send(world, front, f"{WEBHOOK}campaign-assignment", person | {"campaign_id": 85}),
            send(world, front, UPDATE, person | {"last_state": "Cotiza"}, "PUT"),
        ]
        assert [answer.status_code for answer in answers] == [200] * 3
        # What needs only SQL does not wait for Odoo.
        assert world.settled(*(answer.json()["event_id"] for answer in answers)) == ["stored"] * 3
        refused = send(world, front, f"{WEBHOOK}contact", {})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    finally:
        world.stack.programs.start_program("odoo")
        world.stack.wait_for_odoo()
    outcomes = world.settled(*accepted)
    assert set(outcomes) <= {"moved", "stale"}
    for chat in chats:
        assert chat.stage == "Derivado a AE"
    assert {source(world, event_id) for event_id in accepted} == {"api"}
    world.eventually(
        lambda: source(world, send(world, front, f"{WEBHOOK}contact", person).json()["event_id"]) == "odoo"
    )


def answered_by_odoo(world: World) -> int:
    """How many opportunity events Odoo's webhook has answered, by Odoo's own log."""
    return world.stack.programs.log_tail("odoo", 100_000).count(f"POST {WEBHOOK}crm-opportunity")


@contextmanager
def frozen(world: World, program: str) -> Iterator[None]:
    """The program keeps its connections and takes new ones, and answers none."""
    world.stack.programs.signal_program(program, signal.SIGSTOP)
    try:
        yield
    finally:
        world.stack.programs.signal_program(program, signal.SIGCONT)


@pytest.mark.parametrize("date", ["", "2099-01-01T00:00:00Z"], ids=["undated", "in-the-future"])
def test_odoo_frozen_an_undated_event_that_both_take_is_one_event_of_its_moment(
    world: World, chat: Chat, front: str, date: str
) -> None:
    """19 reaches Odoo, which sleeps, and the standby. 25 comes. Then Odoo wakes, and takes in its 19 as well."""

    def enters(stage: int) -> str:
        body = {"manychat_id": chat.manychat_id, "first_name": "Prueba", "state": {"stage_id": stage, "date": date}}
        answer = send(world, front, f"{WEBHOOK}crm-opportunity", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["event_id"]

    world.eventually(lambda: source(world, enters(17)) == "odoo")
    before = answered_by_odoo(world)
    with frozen(world, "odoo"):
        taken = [enters(19), enters(25)]
    world.eventually(lambda: answered_by_odoo(world) > before)
    assert {source(world, event_id) for event_id in taken} == {"api"}
    domain = [["manychat_id", "=", chat.manychat_id], ["occurred_at", ">=", chat.began.strftime("%Y-%m-%d %H:%M:%S")]]
    fields = ["event_id", "state", "stage_after_id"]

    def done() -> list[dict[str, Any]]:
        rows = world.odoo("manychat.event", "search_read", domain, fields=fields)
        return rows if all(row["state"] == "done" for row in rows) else []

    world.settled(*taken)
    assert {row["event_id"] for row in world.eventually(done)} >= set(taken)
    assert chat.stage == "Comienza Cotización"
    assert len(world.sql("SELECT 1 FROM audit WHERE manychat_id = :person", person=chat.manychat_id)) == len(done())
    assert chat.stage_changes[-1][1] == "Comienza Cotización"


def test_with_both_away_the_bot_hears_so_in_our_shape(tmp_path: Path) -> None:
    nothing = f"127.0.0.1:{ports.choose()}"
    for front in proxy(tmp_path, nothing, nothing):
        answer = requests.post(f"{front}{WEBHOOK}contact", data=json.dumps({}), timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
