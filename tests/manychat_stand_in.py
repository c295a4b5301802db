"""A small HTTP server that STANDS IN FOR MANYCHAT. Nothing else in these tests is not the real thing.

It keeps what the API's own text names (``https://api.manychat.com/swagger``): fields, tags and flows of an account,
people with their values, the bearer token, limits, errors that come as HTTP 200. The words of its errors are examples:
ManyChat documents none.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "stand-in:token"
#: Name of the account, as Odoo's *Test* shows it.
ACCOUNT = "MiaSalud"
#: Where odoo.conf has the settings of the addon.
SECTION = "[miasalud_crm]\n"
#: Calls in any second beyond which ManyChat takes none for 24 hours.
LIMIT = 10
FORBIDDEN = ("/fb/page/removeTag", "/fb/subscriber/createSubscriber")


class ManyChatStandIn:
    """The server and what it knows.

    :ivar fields: names of the custom fields, by id
    :ivar tags: names of the tags, by id
    :ivar flows: names of the flows, by ``flow_ns``
    :ivar people: custom fields of each person by id; whoever is not here is created at the first call
    :ivar tagged: ids of each person's tags
    :ivar started: (person, flow) of every flow that started, in order
    :ivar calls: (moment, path, person) of each request, in order
    :ivar unknown: people whom it does not know
    :ivar closed: people outside WhatsApp's window of 24 hours: no flow starts for them
    :ivar hangs: seconds that each answer takes
    :ivar troubles: answers to give in place of the next ones: (HTTP status, JSON)
    :ivar stopped: it has taken no calls since the limit was passed
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.fields = {11: "etapa", 12: "etapa_id", 13: "asesor", 14: "estado"}
        self.tags = {21: "ganado", 22: "perdido"}
        self.flows = {"content1": "Bienvenida", "content2": "Seguimiento"}
        self.people: dict[str, dict[int, Any]] = defaultdict(dict)
        self.tagged: dict[str, set[int]] = defaultdict(set)
        self.started: list[tuple[str, str]] = []
        self.calls: list[tuple[float, str, str]] = []
        self.unknown: set[str] = set()
        self.closed: set[str] = set()
        self.hangs = 0.0
        self.troubles: list[tuple[int, Any]] = []
        self.stopped = False
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; on the same port as before, after :meth:`stop`."""
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stand_in._answer(self, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stand_in._answer(self, json.loads(body or b"{}"))

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Take no connections."""
        assert self._server
        self._server.shutdown()
        self._server.server_close()

    def most_in_a_second(self) -> int:
        """The most calls that came within any second."""
        moments = sorted(moment for moment, _, _ in self.calls)
        return max((sum(1 for each in moments if start <= each < start + 1) for start in moments), default=0)

    def calls_of(self, name: str) -> list[str]:
        """The people of all calls of that name, in order."""
        return [person for _, path, person in self.calls if path.endswith(f"/{name}")]

    def _answer(self, request: Any, body: dict[str, Any]) -> None:
        url = urlsplit(request.path)
        person = str(body.get("subscriber_id") or parse_qs(url.query).get("subscriber_id", [""])[0])
        with self._lock:
            self.calls.append((time.monotonic(), url.path, person))
            trouble = self.troubles.pop(0) if self.troubles else None
        time.sleep(self.hangs)
        with self._lock:
            if trouble:
                status, answer = trouble
            elif request.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, answer = 401, _error("Wrong token")
            elif self._is_stopped():
                status, answer = 200, _error("Too many requests: your requests are blocked for 24 hours")
            else:
                status, answer = 200, self._do(url.path, person, body)
        data = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _is_stopped(self) -> bool:
        now = time.monotonic()
        if sum(1 for moment, _, _ in self.calls if moment > now - 1) > self.limit:
            self.stopped = True
        return self.stopped

    def _do(self, path: str, person: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path not in FORBIDDEN, path
        if path.startswith("/fb/page/"):
            return self._page(path.removeprefix("/fb/page/"))
        if person in self.unknown:
            return _error("Validation error", {"subscriber_id": "Subscriber does not exist"})
        name = path.rsplit("/", 1)[1]
        if name in ("setCustomField", "setCustomFields"):
            fields = body.get("fields") or [body]
            if any(each["field_id"] not in self.fields for each in fields):
                return _error("Validation error", {"field_id": "Field does not exist"})
            self.people[person].update({each["field_id"]: each["field_value"] for each in fields})
        elif name in ("addTag", "removeTag"):
            if body["tag_id"] not in self.tags:
                return _error("Validation error", {"tag_id": "Tag does not exist"})
            (self.tagged[person].add if name == "addTag" else self.tagged[person].discard)(body["tag_id"])
        elif name == "sendFlow":
            if person in self.closed:
                return _error("Message can not be sent: the 24-hour window is closed")
            if body["flow_ns"] not in self.flows:
                return _error("Validation error", {"flow_ns": "Flow does not exist"})
            self.started.append((person, body["flow_ns"]))
        elif name == "getInfo":
            values = self.people[person].items()
            fields = [{"id": key, "name": self.fields[key], "value": value} for key, value in values]
            tags = [{"id": key, "name": self.tags[key]} for key in self.tagged[person]]
            return _success({"id": person, "custom_fields": fields, "tags": tags})
        else:
            return _error("Unknown method")
        return _success()

    def _page(self, name: str) -> dict[str, Any]:
        """What the account has, in the shapes of the API's text."""
        if name == "getInfo":
            return _success({"id": 7, "name": ACCOUNT, "timezone": "America/Lima"})
        if name == "getCustomFields":
            return _success([{"id": key, "name": each, "type": "text"} for key, each in self.fields.items()])
        if name == "getTags":
            return _success([{"id": key, "name": each} for key, each in self.tags.items()])
        if name == "getFlows":
            flows = [{"ns": key, "name": each, "folder_id": 0} for key, each in self.flows.items()]
            return _success({"flows": flows, "folders": []})
        return _error("Unknown method")


@contextmanager
def asked_by_odoo(stack: Any) -> Iterator[ManyChatStandIn]:
    """One whose address and token are in the running Odoo's odoo.conf, which Odoo reads anew for each use."""
    conf = stack.folder / "odoo.conf"
    before = conf.read_text()
    assert SECTION in before
    stand_in = ManyChatStandIn()
    settings = f"manychat_api_token = {TOKEN}\nmanychat_api_url = {stand_in.url}\n"
    conf.write_text(before.replace(SECTION, SECTION + settings, 1))
    try:
        yield stand_in
    finally:
        conf.write_text(before)
        stand_in.stop()


def _success(data: Any = None) -> dict[str, Any]:
    return {"status": "success", "data": data}


def _error(message: str, details: Any = None) -> dict[str, Any]:
    return {"status": "error", "message": message, **({"details": details} if details else {})}
