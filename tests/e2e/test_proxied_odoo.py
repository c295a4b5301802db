"""Odoo as in production, with workers and a process for open sockets, behind the proxy of deploy/proxy."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from deploy.local import ports
from deploy.local.supervision import own_environment
from tests.front import inside, nginx
from tests.world import PATIENCE, Chat, World

#: Another address of this machine, so that the client's is not the proxy's.
CLIENT = "127.0.0.9"
#: What a browser does, by a library that Odoo's environment has: prints what comes on the socket, until it is ended.
_BROWSER = """
import json, sys, websocket
url, origin, cookie, version = sys.argv[1:]
socket = websocket.create_connection(f"{url}?version={version}", origin=origin, cookie=cookie, timeout=60)
print(socket.status, flush=True)
socket.send(json.dumps({"event_name": "subscribe", "data": {"channels": [], "last": 0}}))
while True:
    print(socket.recv(), flush=True)
"""


@dataclass
class Front:
    """The proxy, a person who is signed in through it, and the log of the Odoo behind it."""

    url: str
    browser: requests.Session
    log: Path
    world: World

    def call(self, path: str, **parameters: Any) -> Any:
        """A request of Odoo's web client."""
        answer = self.browser.post(f"{self.url}{path}", json={"jsonrpc": "2.0", "params": parameters}, timeout=60)
        assert answer.ok, answer.text
        assert "error" not in answer.json(), answer.text
        return answer.json()["result"]

    def lines(self, pattern: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if re.search(pattern, line)]

    def remind(self, chat: Chat) -> None:
        """Give the person an activity, which Odoo tells their browser of."""
        (model,) = self.world.odoo("ir.model", "search", [["model", "=", "crm.lead"]])
        values = {"res_model_id": model, "res_id": chat.lead["id"], "user_id": 2, "summary": "Prueba"}
        self.world.odoo("mail.activity", "create", values)


def program(odoo: Any) -> Path:
    """Odoo's own script: with workers, `python -m odoo` cannot start the process for open sockets."""
    script = odoo.source.root / "odoo-bin"
    return script if script.exists() else odoo.source.root.parents[2] / "bin" / "odoo"


@pytest.fixture(scope="module")
def front(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A second Odoo on the stack's database, with two workers."""
    folder = tmp_path_factory.mktemp("workers")
    odoo, http, sockets, log = world.stack.odoo, ports.choose(), ports.choose(), folder / "odoo.log"
    odoo.write_configuration(
        folder / "odoo.conf",
        world.stack.database,
        http_port=http,
        gevent_port=sockets,
        workers=2,
        max_cron_threads=0,
        proxy_mode=True,
        logfile=log,
    )
    # Signing in would change the stack's address.
    world.odoo("ir.config_parameter", "set_param", "web.base.url.freeze", "True")
    command = [odoo.python, program(odoo), "-c", folder / "odoo.conf"]
    server = subprocess.Popen(list(map(str, command)), env=own_environment(), cwd=folder)
    try:
        for port, path in ((http, "/health"), (sockets, "/websocket/health")):
            world.eventually(lambda url=f"http://127.0.0.1:{port}{path}": _answers(url))
        upstreams = inside(f"127.0.0.1:{http}", f"127.0.0.1:{sockets}", world.stack.api_url)
        for url in nginx(folder, "fail-over", upstreams):
            browser = requests.Session()
            browser.mount("http://", _From(CLIENT))
            browser.headers["X-Forwarded-For"] = "203.0.113.9"
            signed_in = Front(url, browser, log, world)
            signed_in.call(
                "/web/session/authenticate",
                db=world.stack.database,
                login="admin",
                password=world.stack.admin_password,
            )
            yield signed_in
    finally:
        server.terminate()
        server.wait(60)
        world.odoo("ir.config_parameter", "set_param", "web.base.url.freeze", False)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.ConnectionError:
        return False


class _From(HTTPAdapter):
    """Connects from an address of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(self._address, 0))


@pytest.fixture
def socket(front: Front) -> Iterator[subprocess.Popen[str]]:
    """A browser's socket, open through the proxy."""
    # A browser of another version is asked to load the page again.
    source = (front.world.stack.odoo.source.root / "addons" / "bus" / "websocket.py").resolve()
    if not source.exists():
        source = front.world.stack.odoo.source.root / "odoo" / "addons" / "bus" / "websocket.py"
    version = re.search(r'_VERSION = "([\w.-]+)"', source.read_text())
    assert version
    cookie = f"session_id={front.browser.cookies['session_id']}"
    arguments = [front.url.replace("http", "ws", 1) + "/websocket", front.url, cookie, version[1]]
    browser = subprocess.Popen(
        [str(front.world.stack.odoo.python), "-c", _BROWSER, *arguments], stdout=subprocess.PIPE, text=True
    )
    yield browser
    browser.kill()
    browser.wait(30)


def test_a_browser_hears_of_an_activity_over_its_socket(
    front: Front, socket: subprocess.Popen[str], chat: Chat
) -> None:
    assert socket.stdout
    assert socket.stdout.readline().strip() == "101"
    front.world.settled(chat.enters(17))
    deadline = time.monotonic() + PATIENCE
    front.remind(chat)
    while "mail.activity/updated" not in (received := socket.stdout.readline()):
        assert received, "the socket was closed"
        assert time.monotonic() < deadline


def test_without_sockets_a_browser_asks_and_hears_of_it(front: Front, chat: Chat) -> None:
    """What Odoo calls long polling: for networks that let no socket through."""
    front.world.settled(chat.enters(17))
    seen = front.call("/websocket/peek_notifications", channels=[], last=0, is_first_poll=True)
    last = max((each["id"] for each in seen["notifications"]), default=0)
    front.remind(chat)
    assert front.world.eventually(
        lambda: (
            "mail.activity/updated"
            in json.dumps(front.call("/websocket/peek_notifications", channels=[], last=last, is_first_poll=False))
        )
    )


def test_odoo_knows_the_clients_own_address(front: Front) -> None:
    """In the line about the sign-in; what the client says of itself is not believed."""
    (line,) = front.lines("Login successful")[:1]
    assert CLIENT in line
    assert "203.0.113.9" not in front.log.read_text()


def test_odoo_knows_the_address_that_people_use(front: Front) -> None:
    """Its redirects stay at the proxy."""
    answer = requests.get(f"{front.url}/web", allow_redirects=False, timeout=60)
    assert answer.status_code in (302, 303)
    assert answer.headers["Location"].removeprefix(front.url).startswith(("/web/login", "/odoo"))


def test_events_are_taken_by_the_workers(front: Front, chat: Chat) -> None:
    sent = {"X-API-KEY": front.world.stack.webhook_key}
    url = f"{front.url}/api/v1/manychat/webhook/crm-opportunity"
    events = [chat.event(17), chat.event(18, minute=1)]
    answers = [requests.post(url, json=event, headers=sent, timeout=30).json() for event in events]
    # Two workers send them on, and the second one may come first.
    outcomes = front.world.settled(*(answer["event_id"] for answer in answers))
    assert outcomes in (["created", "moved"], ["stale", "created"])
    assert front.lines("POST /api/v1/manychat/webhook/crm-opportunity")


def test_a_file_of_a_hundred_megabytes_arrives(front: Front, chat: Chat) -> None:
    front.world.settled(chat.enters(17))
    page = front.browser.get(f"{front.url}/web", timeout=60).text
    token = re.search(r'csrf_token: "(\w+)"', page)
    assert token
    form = {"csrf_token": token[1], "model": "crm.lead", "id": str(chat.lead["id"])}
    upload = {"ufile": ("large.bin", b"x" * 100 * 2**20)}
    answer = front.browser.post(f"{front.url}/web/binary/upload_attachment", data=form, files=upload, timeout=170)
    assert answer.ok, answer.text
    assert "error" not in answer.text
    domain = [["res_model", "=", "crm.lead"], ["res_id", "=", chat.lead["id"]], ["name", "=", "large.bin"]]
    (attachment,) = front.world.odoo("ir.attachment", "search_read", domain, fields=["file_size"])
    assert attachment["file_size"] == 100 * 2**20
    front.world.odoo("ir.attachment", "unlink", [attachment["id"]])
