"""The parallel run before the move: the old system answers the bots, and Odoo gets a copy of each request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.test_fail_over import WEBHOOK, frozen
from tests.front import nginx
from tests.world import Chat, World

OLD_ANSWER = {"message": "answered by the old system"}


class OldSystem(BaseHTTPRequestHandler):
    """A stand-in for the system before this one, which is not ours to run: it keeps and answers every request."""

    received: list[tuple[str, str, bytes, dict[str, str]]] = []

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.received.append((self.command, self.path, body, dict(self.headers)))
        content = json.dumps(OLD_ANSWER).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the library's names

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel") / "parallel-run.log"


@pytest.fixture(scope="module")
def front(world: World, log: Path) -> Iterator[str]:
    old = ThreadingHTTPServer(("127.0.0.1", 0), OldSystem)
    threading.Thread(target=old.serve_forever, daemon=True).start()
    values = {"OLD": f"127.0.0.1:{old.server_port}", "ODOO": world.stack.odoo_url, "LOG": str(log)}
    yield from nginx(log.parent, "parallel-run", values)
    old.shutdown()
    old.server_close()


@pytest.fixture(scope="module")
def key(world: World) -> Iterator[str]:
    """The key that the bots have sent to the old system all along; Odoo has taken it in."""
    key = "old-system-key-of-the-tests-0001"
    dialog = world.odoo(
        "manychat.api.key.create", "create", {"name": "Old bots", "purpose": "webhook", "existing_key": key}
    )
    world.odoo("manychat.api.key.create", "action_generate", [dialog])
    yield key
    known = world.odoo("manychat.api.key", "search", [["name", "=", "Old bots"]])
    world.odoo("manychat.api.key", "action_revoke", known)


def send(front: str, path: str, payload: Any, key: str, method: str = "POST", **headers: str) -> requests.Response:
    return requests.request(method, front + path, json=payload, headers={"X-API-KEY": key, **headers}, timeout=30)


def copies(log: Path, path: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line["path"] == path]


def test_the_bot_gets_the_old_answer_and_odoo_a_copy_that_changes_nothing(
    world: World, chat: Chat, front: str, key: str, log: Path
) -> None:
    path = f"{WEBHOOK}crm-opportunity"
    before = len(copies(log, path))
    payload = chat.event(17)
    answer = send(front, path, payload, key, **{"X-Dry-Run": "0"})
    assert (answer.status_code, answer.json()) == (202, OLD_ANSWER)
    method, at, body, headers = OldSystem.received[-1]
    assert (method, at, json.loads(body)) == ("POST", path, payload)
    assert (headers["X-API-KEY"], headers["X-Dry-Run"]) == (key, "0")
    line = world.eventually(lambda: copies(log, path)[before:])[0]
    assert (line["method"], line["status"]) == ("POST", "200")
    assert world.odoo("manychat.event", "search_count", [["manychat_id", "=", chat.manychat_id]]) == 0
    assert chat.manychat_id not in log.read_text()


def test_what_stands_in_the_way_is_seen_in_odoo(world: World, chat: Chat, front: str, key: str) -> None:
    label = f"Etapa de prueba {chat.manychat_id}"
    send(front, f"{WEBHOOK}crm-opportunity", chat.event(label), key)
    found = [["name", "=", label], ["is_open", "=", True]]
    assert world.eventually(lambda: world.odoo("manychat.stage.alias", "search_count", found)) == 1
    send(front, f"{WEBHOOK}contact", {"nombre_lead": "Prueba"}, key)
    refused = [["state", "=", "refused"], ["code", "=", "invalid"], ["key_name", "=", "Old bots"]]
    world.eventually(lambda: world.odoo("manychat.event", "search_count", refused))
    assert world.odoo("manychat.event", "search_count", [["manychat_id", "=", chat.manychat_id]]) == 0


def test_a_frozen_odoo_delays_no_bot(world: World, chat: Chat, front: str, key: str, log: Path) -> None:
    path = f"{WEBHOOK}crm-opportunity"
    before = len(copies(log, path))
    with frozen(world, "odoo"):
        answer = send(front, path, chat.event(17), key)
        assert answer.json() == OLD_ANSWER
        assert copies(log, path)[before:] == []  # the answer did not wait for the copy


def test_other_addresses_reach_the_old_system_only(front: str, key: str, log: Path) -> None:
    assert send(front, "/api/v1/odoo/contacts/?limit=1", None, key, "GET").json() == OLD_ANSWER
    assert copies(log, "/api/v1/odoo/contacts/") == []
