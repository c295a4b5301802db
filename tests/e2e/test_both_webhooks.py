"""Odoo's webhook and the bridge's standby give the same answer to every request: a proxy may send a bot to either."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.webhook_cases import CASES, CONTACT, OPPORTUNITY, Case, opportunity
from tests.world import Chat, World

#: Headers that are part of the answer, and not of the server.
HEADERS = ("Content-Type", "Cache-Control", "Allow")


def ask(address: str, route: tuple[str, str], content: bytes, headers: dict[str, str]) -> tuple[int, dict, dict]:
    """Past the requests library, which would not send some of this."""
    connection = HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        encoded = {name: text.encode("latin-1") for name, text in headers.items()}
        connection.request(*route, body=content, headers=encoded)
        answer = connection.getresponse()
        return answer.status, {name: answer.headers[name] for name in HEADERS}, json.loads(answer.read())
    finally:
        connection.close()


def both(
    world: World, route: tuple[str, str], content: bytes, key: str | None = None, **headers: str
) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """The answers of Odoo and of the API."""
    sent = {"Content-Type": "application/json", "X-API-KEY": world.stack.webhook_key if key is None else key}
    sent = {name: text for name, text in {**sent, **headers}.items() if text}
    return [ask(address, route, content, sent) for address in (world.stack.odoo_url, world.stack.api_url)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_give_the_same_answer(world: World, case: Case) -> None:
    odoo, api = both(world, case.route, case.content, case.key, **case.headers)
    if case.status == 401 and 429 in (odoo[0], api[0]):
        pytest.skip("other tests have tried too many wrong keys from here just now")
    for status, _, body in (odoo, api):
        assert status == case.status, body
        assert (body.get("code") or "") == case.code
    for name in case.differs:
        assert name in odoo[2]
        assert name in api[2]
        del odoo[2][name], api[2][name]
    assert tuple(each["field"] for each in odoo[2].get("warnings", ())) == case.warnings
    if case.status == 200 and not case.is_dated:
        # Its id holds when each of them received it.
        assert odoo[2].pop("event_id") != api[2].pop("event_id")
    assert odoo == api


def test_both_slow_down_who_guesses_keys_in_the_same_words(world: World) -> None:
    for _ in range(10):
        both(world, CONTACT, b"{}", "mck_wrong")
    odoo, api = both(world, CONTACT, b"{}", "mck_wrong")
    assert odoo[0] == api[0] == 429
    assert odoo[2]["code"] == api[2]["code"] == "too_many_wrong_keys"


def test_an_event_sent_to_both_is_applied_once(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    content = json.dumps(chat.event(19, 1)).encode()
    odoo, api = both(world, OPPORTUNITY, content)
    assert odoo[2] == api[2]
    assert world.settled(api[2]["event_id"]) == ["moved"]
    assert len(chat.stage_changes) == 1


def test_one_event_that_comes_many_times_at_once_is_accepted_each_time(world: World) -> None:
    at_once, events = 16, 6
    for _ in range(events):
        content = world.chat().event(17)
        start = threading.Barrier(at_once)

        def send(_number: int, content: Any = content, start: threading.Barrier = start) -> Any:
            start.wait()
            answer = world.post("crm-opportunity", content)
            return answer.status_code, answer.text

        with ThreadPoolExecutor(at_once) as senders:
            answers = set(senders.map(send, range(at_once)))
        assert [status for status, _ in answers] == [200], answers
        rows = world.odoo("manychat.event", "search_count", [["manychat_id", "=", content["manychat_id"]]])
        assert rows == 1


def test_an_event_taken_in_by_the_standby_alone_is_in_odoos_log_too(world: World, chat: Chat) -> None:
    sent = {"Content-Type": "application/json", "X-API-KEY": world.stack.webhook_key}
    content = json.dumps(opportunity(manychat_id=chat.manychat_id)).encode()
    status, _, body = ask(world.stack.api_url, OPPORTUNITY, content, sent)
    assert status == 200
    assert world.settled(body["event_id"]) == ["created"]
    assert world.audit(body["event_id"])["source"] == "api"
    domain = [["event_id", "=", body["event_id"]]]
    (event,) = world.odoo("manychat.event", "search_read", domain, fields=["source", "state", "outcome"])
    assert (event["source"], event["state"], event["outcome"]) == ("api", "done", "created")
