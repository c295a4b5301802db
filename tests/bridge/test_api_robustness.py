"""Hasty, broken and hostile requests: each has a clear answer, and none is a failure of the API."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from bridge.contract.keys import digest
from bridge.store import api_keys
from bridge.store.engine import in_transaction

from ..webhook_cases import CONTACT
from .api import Api
from .conftest import World, eventually
from .process import ApiProcess, api_process

CONTACTS = "/api/v1/contacts/"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"manychat_id": NaN}', 400),
        (b'{"manychat_id": -Infinity}', 400),
        (b'{"manychat_id": "a", "manychat_id": "b"}', 400),
        (b'{"manychat_id": "\xff"}', 400),
        ('{"manychat_id": "a"}'.encode("utf-16"), 400),
        (b'{"a":' * 3_000 + b"1" + b"}" * 3_000, 400),
        (b'{"manychat_id": ' + b"9" * 5_000 + b"}", 400),
        (b'{"manychat_id": "' + b"x" * 40_000 + b'"}', 413),
        (b'{"manychat_id": 1e400}', 422),
        (b'{"manychat_id": true}', 422),
        (b'{"manychat_id": {"a": 1}}', 422),
        (b'{"manychat_id": "a", "\\ud800": 1}', 422),
        (b'{"manychat_id": "a", "a\\u0000": 1}', 422),
        (b'{"manychat_id": "a", "channel_id": 9223372036854775808}', 422),
        (b'{"manychat_id": "a", "channel_id": 1.5}', 422),
        (b'{"manychat_id": "a", "subscribed_at": "9999-12-31T23:59:59-23:59"}', 422),
        (b'{"manychat_id": "a", "subscribed_at": "2099-01-01"}', 422),
    ],
)
def test_a_body_that_is_none_is_refused_whatever_the_method(api: Api, body: bytes, status: int) -> None:
    made = api("POST", CONTACTS, {"manychat_id": "MC1"}, status=201)
    for method, path in (("POST", CONTACTS), ("PUT", f"{CONTACTS}{made['id']}"), ("PATCH", f"{CONTACTS}{made['id']}")):
        assert api(method, path, body, headers=JSON, status=status)["status"] == "error"
    assert api("GET", CONTACTS, status=200)["items"] == [made]


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\u0007b", "ab\\u001b"])
def test_what_no_database_takes_is_removed_from_texts(api: Api, text: str) -> None:
    body = f'{{"manychat_id": "{text}", "first_name": "{text}", "last_state": "\\ud83d"}}'.encode()
    made = api("POST", CONTACTS, body, headers=JSON, status=201)
    assert (made["manychat_id"], made["first_name"], made["last_state"]) == ("ab", "ab", "\ufffd")


@pytest.mark.parametrize(
    "row_id",
    ["0", "-1", "2147483648", "9223372036854775808", "9" * 300, "abc", "1e3", "%00", "1%00", "%2e%2e", "%D9%A1"],
)
def test_an_id_that_no_row_can_have_is_refused(api: Api, row_id: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        refused = api(method, f"{CONTACTS}{row_id}", {} if method == "PATCH" else None, status=422)
        assert [error["field"] for error in refused["errors"]] == ["row_id"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=1000000000",
        "limit=-1",
        "limit=NaN",
        "sort=id;DROP TABLE contacts",
        "sort=--id",
        "%00=1",
        "channel_id=9223372036854775808",
        "manychat_id=%00",
        "updated_since=0001-01-01",
        "updated_since=03/04/2025",
        "state=a&state=b",
    ],
)
def test_a_parameter_that_means_nothing_is_refused(api: Api, query: str) -> None:
    assert api("GET", f"{CONTACTS}?{query}", status=422)["errors"]


def test_a_moment_without_a_zone_is_in_utc(api: Api) -> None:
    made = api("POST", CONTACTS, {"manychat_id": "MC1"}, status=201)
    moment = made["updated_at"].rstrip("Z")
    assert api("GET", f"{CONTACTS}?updated_since={moment}", status=200)["items"] == [made]
    later = f"{int(moment[:4]) + 1}{moment[4:]}"
    assert api("GET", f"{CONTACTS}?updated_since={later}", status=200)["items"] == []


def test_eight_who_change_one_row_at_once_lose_nothing_of_each_other(api: Api) -> None:
    row = api("POST", CONTACTS, {"manychat_id": "MC1"}, status=201)
    fields = ("first_name", "last_name", "phone", "email", "initial_state", "last_state")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda field: api("PATCH", f"{CONTACTS}{row['id']}", {field: "x"}), fields))
    assert {answer.status_code for answer in answers} == {200}
    now = api("GET", f"{CONTACTS}{row['id']}", status=200)
    assert [now[field] for field in fields] == ["x"] * len(fields)


def test_rows_that_come_and_change_while_a_client_turns_pages_shift_nothing(api: Api) -> None:
    before = [api("POST", CONTACTS, {"manychat_id": f"MC{number}"}, status=201)["id"] for number in range(10)]
    for sort in ("id", "-id"):
        seen: list[int] = []
        cursor = ""
        while True:
            page = api("GET", f"{CONTACTS}?limit=3&sort={sort}{cursor}", status=200)
            seen += [row["id"] for row in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
            api("POST", CONTACTS, {"manychat_id": f"new-{sort}-{len(seen)}"}, status=201)
            api("PATCH", f"{CONTACTS}{before[0]}", {"first_name": str(len(seen))}, status=200)
        assert set(before) <= set(seen)
        assert len(seen) == len(set(seen))


# --- The process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def process(world: World) -> Any:
    with api_process(world.environment, world.folder) as api:
        yield api


def _key(world: World, process: ApiProcess, name: str) -> str:
    """A key that the process knows."""
    key = f"mck_test-{name}-{'x' * 32}"
    row = {"name": name, "prefix": key[:12], "digest": digest(key), "scope": "write"}
    in_transaction(world.engine, api_keys.add, **row)
    eventually(lambda: process.request("GET", CONTACTS, headers={"X-API-KEY": key}).status_code == 200)
    return key


def test_a_client_that_hangs_up_while_it_sends_is_no_failure_of_ours(world: World, process: ApiProcess) -> None:
    key = _key(world, process, "Bot")
    with socket.create_connection(("127.0.0.1", process.port)) as connection:
        head = (
            f"{CONTACT[0]} {CONTACT[1]} HTTP/1.1\r\nHost: x\r\nX-API-KEY: {key}\r\nContent-Type: application/json\r\n"
        )
        connection.sendall(f'{head}Content-Length: 1000\r\n\r\n{{"manychat_id"'.encode())
    counted = 'miasalud_webhook_requests_total{answer="not_json",type="contact"} 1.0'
    eventually(lambda: counted in process.request("GET", "/metrics").text, counted)
    assert "request_failed" not in process.log.read_text()


def test_keys_change_under_load_and_no_valid_one_is_refused(world: World, process: ApiProcess) -> None:
    current = [_key(world, process, "first")]
    stop = threading.Event()

    def work(_: int) -> set[int]:
        statuses = set()
        with requests.Session() as session:
            while not stop.is_set():
                key = current[-1]
                status = session.get(f"{process.url}{CONTACTS}", headers={"X-API-KEY": key}, timeout=30).status_code
                # Revoked while it was on its way: then it may be refused.
                statuses.add(status if key == current[-1] else 200)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(4)]
        try:
            for number in range(3):
                new, old = _key(world, process, f"key-{number}"), current[-1]
                current.append(new)
                ids = [row.id for row in world.rows("api_keys", digest=digest(old))]
                in_transaction(world.engine, api_keys.revoke, ids)
                eventually(
                    lambda old=old: (
                        process.request("GET", CONTACTS, headers={"X-API-KEY": old}).status_code in (401, 429)
                    ),
                    "the old one is refused",
                )
        finally:
            stop.set()
        assert set().union(*(each.result() for each in working)) == {200}
