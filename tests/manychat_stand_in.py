"""A small HTTP server that STANDS IN FOR MANYCHAT. Nothing else in these tests is not the real thing.

It keeps what the API's own text names (``https://api.manychat.com/swagger``): fields, tags and flows of an account,
people with their values, the bearer token, limits, errors of HTTP 400 with a message, details or a code. Some come as
HTTP 200, as others report. Most words of its errors are examples: ManyChat documents few.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deploy.local import ports

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

    :ivar fields: names of the custom fields, by id; their type is text, unless ``types`` says another one
    :ivar tags: names of the tags, by id
    :ivar flows: names of the flows, by ``flow_ns``
    :ivar people: custom fields of each person by id; whoever is not here is created at the first call
    :ivar tagged: ids of each person's tags
    :ivar started: (person, flow) of every flow that started, in order
    :ivar calls: (moment, path, person) of each request, in order
    :ivar unknown: people whom it does not know
    :ivar closed: people outside WhatsApp's window of 24 hours: no flow starts for them
    :ivar hangs: seconds that each call waits before anything is done
    :ivar late: seconds that each answer waits once everything is done
    :ivar is_silent: it takes calls, gives no answers and does nothing, for as long as this is set
    :ivar cuts: it does what it is asked, and gives no answer
    :ivar troubles: answers to give in place of the next ones: (HTTP status, JSON or bytes[, header ``Retry-After``])
    :ivar trouble: the same, for as long as it is set
    :ivar broken: people for whom every call is answered by HTTP 500
    :ivar failing: the HTTP status of every answer, without JSON; 0: none
    :ivar stopped: it has taken no calls since the limit was passed
    :ivar stops: how many calls came into each stop of :meth:`stop_for`
    :ivar changes: (person, field, value) of each call that changed a value, in order
    :ivar ports: the ports of the clients that made each call, by its name
    :ivar waiting: calls that wait for an answer: the client's port → path
    """

    def __init__(self, limit: int = LIMIT):
        self.limit = limit
        self.fields = {11: "etapa", 12: "etapa_id", 13: "asesor", 14: "estado"}
        self.types = {12: "number"}
        self.tags = {21: "ganado", 22: "perdido"}
        self.flows = {"content1": "Bienvenida", "content2": "Seguimiento"}
        self.people: dict[str, dict[int, Any]] = defaultdict(dict)
        self.tagged: dict[str, set[int]] = defaultdict(set)
        self.started: list[tuple[str, str]] = []
        self.calls: list[tuple[float, str, str]] = []
        self.unknown: set[str] = set()
        self.closed: set[str] = set()
        self.broken: set[str] = set()
        self.failing = 0
        self.hangs = 0.0
        self.late = 0.0
        self.is_silent = False
        self.cuts = False
        self.troubles: list[tuple[Any, ...]] = []
        self.trouble: tuple[Any, ...] | None = None
        self.stopped = False
        self.stops: list[int] = []
        self.changes: list[tuple[str, int, Any]] = []
        self.ports: dict[str, set[int]] = defaultdict(set)
        self.waiting: dict[int, str] = {}
        self._stop_ends = 0.0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        # None that an outgoing connection may take while we are stopped.
        self.port = ports.choose()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; on the same port as before, after :meth:`stop`."""
        stand_in = self
        self._listens = True

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
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Take no connections, and drop those that are there."""
        assert self._server
        self._listens = False
        self._server.shutdown()
        self._server.server_close()

    def wait_until_answered(self) -> None:
        """Return when no request is under way: a client may have given up waiting for its answer."""
        while self.waiting:
            time.sleep(0.01)

    def most_in_a_second(self) -> int:
        """The most calls that came within any second."""
        moments, most, first = sorted(moment for moment, _, _ in self.calls), 0, 0
        for last, moment in enumerate(moments):
            while moments[first] <= moment - 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    def changes_after(self, count: int) -> list[tuple[str, int, Any]]:
        """What calls changed, after the first ``count`` changes."""
        with self._lock:
            return self.changes[count:]

    def bot_sets(self, person: str, values: dict[int, Any]) -> None:
        """A step of a bot sets a person's fields, by id. The push that should follow is the test's affair."""
        with self._lock:
            self.people[person].update(values)

    def calls_of(self, name: str) -> list[str]:
        """The people of all calls of that name, in order."""
        return [person for _, path, person in self.calls if path.endswith(f"/{name}")]

    def stop_for(self, seconds: float) -> None:
        """Take no calls, as after the limit; each answer says after how many seconds to come again."""
        with self._lock:
            self.stops.append(0)
            self._stop_ends = time.monotonic() + seconds

    def _answer(self, request: Any, body: dict[str, Any]) -> None:
        url = urlsplit(request.path)
        person = str(body.get("subscriber_id") or parse_qs(url.query).get("subscriber_id", [""])[0])
        port = request.client_address[1]
        if not self._listens:
            request.close_connection = True
            return
        with self._lock:
            self.calls.append((time.monotonic(), url.path, person))
            self.ports[url.path.rsplit("/", 1)[1]].add(port)
            trouble = self.troubles.pop(0) if self.troubles else self.trouble
            self.waiting[port] = url.path
        time.sleep(self.hangs)
        is_heard = not self.is_silent
        while self.is_silent:
            time.sleep(0.1)
        if is_heard:
            with self._lock:
                status, answer, after = self._reply(url.path, person, body, request.headers, trouble)
            time.sleep(self.late)
        with self._lock:
            self.waiting.pop(port, None)
        if self.cuts or not is_heard:
            request.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        if after:
            request.send_header("Retry-After", after)
        if 300 <= status < 400:
            request.send_header("Location", "http://[")  # no address, as an odd server between may send
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        with contextlib.suppress(OSError):  # nobody may be waiting any more
            request.end_headers()
            request.wfile.write(data)

    def _reply(
        self, path: str, person: str, body: dict[str, Any], headers: Any, trouble: tuple[Any, ...] | None
    ) -> tuple[int, Any, str]:
        """HTTP status and JSON of the answer, and its header ``Retry-After``."""
        if trouble:
            return (*trouble, "")[:3]
        if self.failing or person in self.broken:
            return self.failing or 500, None, ""
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, _error("Wrong token"), ""
        stopped = _error("Too many requests: your requests are blocked for 24 hours")
        if (after := self._stop_ends - time.monotonic()) > 0:
            self.stops[-1] += 1
            return 429, stopped, str(int(after) + 1)
        if self._is_stopped():
            return 200, stopped, ""
        answer = self._do(path, person, body)
        return 400 if "details" in answer or "code" in answer else 200, answer, ""

    def _is_stopped(self) -> bool:
        now = time.monotonic()
        if sum(1 for moment, _, _ in self.calls if moment > now - 1) > self.limit:
            self.stopped = True
        return self.stopped

    def _do(self, path: str, person: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path not in FORBIDDEN, path
        if path.startswith("/fb/page/"):
            found = self._lists().get(path.removeprefix("/fb/page/"))
            return _error("Unknown method") if found is None else _success(found)
        if person in self.unknown:
            return _error("Validation error", "Subscriber does not exist")
        name = path.rsplit("/", 1)[1]
        if name in ("setCustomField", "setCustomFields"):
            fields = body.get("fields") or [body]
            if any(each["field_id"] not in self.fields for each in fields):
                return _error("Validation error", "Field does not exist")
            if any(not self._takes(each["field_id"], each["field_value"]) for each in fields):
                return _error("Validation error", "Field value is invalid")
            self._set(person, {each["field_id"]: each["field_value"] for each in fields})
        elif name in ("addTag", "removeTag"):
            if body["tag_id"] not in self.tags:
                return _error("Validation error", "Tag does not exist")
            (self.tagged[person].add if name == "addTag" else self.tagged[person].discard)(body["tag_id"])
        elif name == "sendFlow":
            if person in self.closed:
                return _error("Content can't be sent to subscriber without message tag.", code=3011)
            if body["flow_ns"] not in self.flows:
                return _error("Validation error", "Flow does not exist")
            self.started.append((person, body["flow_ns"]))
        elif name == "getInfo":
            return _success(self._info(person))
        else:
            return _error("Unknown method")
        return _success()

    def _set(self, person: str, values: dict[int, Any]) -> None:
        known = self.people[person]
        self.changes += [(person, field, value) for field, value in values.items() if known.get(field) != value]
        known.update(values)

    def _lists(self) -> dict[str, Any]:
        """What an account has, as the API's text describes it."""
        return {
            "getInfo": {"id": 7, "name": ACCOUNT, "timezone": "America/Lima"},
            "getCustomFields": [
                {"id": key, "name": name, "type": self._type(key)} for key, name in self.fields.items()
            ],
            "getTags": [{"id": key, "name": name} for key, name in self.tags.items()],
            "getFlows": {
                "flows": [{"ns": key, "name": name, "folder_id": 0} for key, name in self.flows.items()],
                "folders": [],
            },
        }

    def _takes(self, field: int, value: Any) -> bool:
        is_number = isinstance(value, int | float)
        return is_number if self._type(field) == "number" else isinstance(value, str)

    def _type(self, field: Any) -> str:
        return self.types.get(field, "number" if self.fields[field].endswith("_id") else "text")

    def _info(self, person: str) -> dict[str, Any]:
        """A ``Subscriber`` of the API's text: those of its properties that matter here."""
        fields = [
            {"id": key, "name": name, "type": self._type(key), "description": "", "value": self.people[person].get(key)}
            for key, name in self.fields.items()
        ]
        return {
            "id": person,
            "name": "Prueba",
            "phone": None,
            "whatsapp_phone": "+521234567890",
            "custom_fields": fields,
            "tags": [{"id": key, "name": self.tags[key]} for key in self.tagged[person]],
        }


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


def _error(message: str, detail: str = "", code: int = 0) -> dict[str, Any]:
    more: dict[str, Any] = {"details": {"messages": [{"message": detail}]}} if detail else {}
    return {"status": "error", "message": message, **more, **({"code": code} if code else {})}
