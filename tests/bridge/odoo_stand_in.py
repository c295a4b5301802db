"""A small HTTP server that STANDS IN FOR ODOO in the bridge's own tests.

It speaks Odoo's RPC protocols (18: /jsonrpc, 19: /json/2) and keeps to the agreement on ``crm.lead.manychat_apply`` in
the simplest way that is right, so that the bridge can be tested without an Odoo. Whether the agreement describes the
real Odoo is for the end-to-end suite to show.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bridge.contract.event import Event, accept, from_envelope
from bridge.contract.payloads import EventType
from deploy.local import ports

STAGES = {16: "Recién Suscrito Sin Asignar", 17: "Recién Suscrito Pendiente AC", 25: "Comienza Cotización"}
DATABASE, LOGIN, KEY = "stand-in", "manychat_bridge", "stand-in-key"


class OdooStandIn:
    """The server and what it knows.

    :ivar leads: per ManyChat id: lead id, stage, and the order of the newest applied event
    :ivar moves: (ManyChat id, stage) of every creation and move, in order: what a chatter would show
    :ivar calls: event ids of every call of ``manychat_apply`` that was not empty
    :ivar signed_off: names of the bridges that said that they end
    :ivar ended: what ``manychat.bridge.get_ended`` answers
    :ivar refusals: what ``manychat.bridge.get_refusals`` answers
    :ivar erased: ManyChat ids of those whom it was told to forget
    :ivar logged: what ``manychat.event.get_history`` knows
    :ivar reports: what it was told of events, in order
    :ivar takes_reports: whether it is new enough to
    :ivar refused_reports: event ids of which it will not hear
    :ivar discarded: events that people gave up there, and that nobody has reported as discarded yet
    :ivar overdue: what ``manychat.event.get_overdue`` answers: see :meth:`hold`
    :ivar sent_again: ids of the events that it was asked to send again
    :ivar met: ManyChat ids of those who were in two calls at once
    :ivar meeting: two calls wait here for each other
    :ivar keeps_decisions: whether an event that is older than a user's decision is stale, as in the real one
    :ivar tells_states: whether it is new enough to send the states of opportunities
    :ivar busy: ManyChat ids whose opportunity another transaction holds; each is free after it was asked for
    :ivar past_moves: what it remembers of the time before decisions
    :ivar troubles: per ManyChat id, how to treat its events: see ``_trouble``
    """

    def __init__(self, version: int = 18):
        self.version = version
        self.leads: dict[str, dict[str, Any]] = {}
        self.moves: list[tuple[str, str]] = []
        self.calls: list[list[str]] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.signed_off: list[str] = []
        self.ended: list[dict[str, Any]] = []
        self.standby_refusals: list[list[dict[str, Any]]] = []
        self.refusals = {"refused": 0, "warned": 0, "wrong_keys": 0}
        self.erased: list[str] = []
        self.logged: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.takes_reports = True
        self.refused_reports: set[str] = set()
        self.discarded: dict[str, int] = {}
        self.told: dict[str, Any] = {}
        self.overdue: list[dict[str, Any]] = []
        self.sent_again: list[str] = []
        self.met: list[str] = []
        self.meeting = threading.Barrier(2, timeout=30)
        self.keeps_decisions = False
        self.tells_states = True
        self.busy: set[str] = set()
        self.past_moves: list[dict[str, Any]] = []
        self.asked_for_states: list[dict[str, Any]] = []
        self.troubles: dict[str, str] = {}
        self._in_call: Counter[str] = Counter()
        self.key = KEY
        self.stages = dict(STAGES)
        self.answers: dict[str, dict[str, Any]] = {}
        self._retried: set[str] = set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        # None that an outgoing connection may take while we are down.
        self.port = ports.choose()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Come up, on the same port as before."""
        stand_in = self

        class Handler(_Handler):
            odoo = stand_in

        self._server = _Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Go down: connections end, and are refused from now on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            for connection in self._server.connections:
                # Those that are closed already refuse.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._server = None

    # --- the agreement -----------------------------------------------------------------------------------------------

    def manychat_apply(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        people = [event["payload"]["manychat_id"] for event in events]
        with self._lock:
            if events:
                self.calls.append([event["id"] for event in events])
            self.met.extend(set(people) & self._in_call.keys())
            self._in_call.update(people)
        try:
            for event in events:
                self._trouble(event)
            with self._lock:
                results = [self._apply(event) for event in events]
                if self.tells_states:
                    # As they are after all of the events.
                    results = [
                        {**result, "state": result["lead_id"] and self._state(who)}
                        for result, who in zip(results, people, strict=True)
                    ]
                return results
        finally:
            with self._lock:
                self._in_call -= Counter(people)

    def _trouble(self, event: dict[str, Any]) -> None:
        """Troubles that take the whole call down."""
        trouble = self.troubles.get(event["payload"]["manychat_id"])
        if trouble == "fault":
            raise Fault("odoo.exceptions.ValidationError", "No way, says +34 600 000 000")
        if trouble == "cut":
            raise ConnectionAbortedError
        if trouble == "access":
            raise Fault("odoo.exceptions.AccessError", "not allowed")
        if trouble == "slow":
            time.sleep(4)
        if trouble == "brief":
            time.sleep(0.05)
        if trouble == "meets another":
            self.meeting.wait()

    def _apply(self, envelope: dict[str, Any]) -> dict[str, Any]:
        event = from_envelope(envelope)
        result: dict[str, Any] = {
            "event_id": event.id,
            "status": "error",
            "lead_id": False,
            "stage_before": False,
            "stage_after": False,
            "code": False,
            "message": False,
        }
        if event.id in self.answers:
            return {**self.answers[event.id], "code": "duplicate"}
        trouble = self.troubles.get(event.manychat_id)
        if trouble == "refused":
            return {**result, "code": "refused", "message": "Odoo raised something about Ana García"}
        if trouble == "discarded":
            return {**result, "code": "discarded", "message": "Somebody discarded it."}
        if trouble == "retry" or (trouble == "retry once" and event.id not in self._retried):
            self._retried.add(event.id)
            return {**result, "status": "retry"}
        state = event.payload.state  # type: ignore[attr-defined]
        labels = {name.casefold(): name for name in self.stages.values()}
        stage = self.stages.get(state.stage_id) or labels.get((state.stage or "").casefold())
        if stage is None:
            return {**result, "code": "unmapped_stage", "message": "No stage is mapped to this ManyChat stage."}
        lead = self.leads.get(event.manychat_id)
        if lead is None:
            lead_id = 1 + max((each["id"] for each in self.leads.values()), default=0)
            lead = self.leads[event.manychat_id] = {"id": lead_id, "stage": stage, "order": event.order}
            result.update(status="created", stage_after=stage)
            self.moves.append((event.manychat_id, stage))
        elif event.order < lead["order"]:
            result.update(status="stale", stage_before=lead["stage"], stage_after=lead["stage"])
        elif lead["stage"] == stage:
            result.update(status="unchanged", stage_before=stage, stage_after=stage)
            lead["order"] = event.order
        else:
            result.update(status="moved", stage_before=lead["stage"], stage_after=stage)
            lead.update(stage=stage, order=event.order)
            self.moves.append((event.manychat_id, stage))
        result["lead_id"] = lead["id"]
        self.answers[event.id] = result
        return result

    def _state(self, manychat_id: str) -> dict[str, Any] | bool:
        lead = self.leads.get(manychat_id)
        if lead is None:
            return False
        stage_ids = {name: stage_id for stage_id, name in self.stages.items()}
        stage = {"stage": lead["stage"], "stage_id": stage_ids.get(lead["stage"])}
        mapped = {f"manychat_{name}": value for name, value in stage.items()}
        as_of = datetime.now(timezone.utc).isoformat()
        return {"lead_id": lead["id"], "as_of": as_of, "status": "open", **stage, **mapped, **lead.get("more", {})}

    def decide(self, manychat_id: str, *decided: str, stage: str | None = None, **more: Any) -> Event:
        """A user changes an opportunity; the event by which Odoo tells.

        :param more: fields of its state
        """
        with self._lock:
            lead = self.leads[manychat_id]
            before = lead["stage"]
            lead["stage"] = stage or before
            now = datetime.now(timezone.utc)
            if self.keeps_decisions:
                lead["order"] = max(lead["order"], (now, now, ""))
            lead["more"] = {**lead.get("more", {}), "decided_at": now.isoformat(), **more}
            payload = {
                "manychat_id": manychat_id,
                "decided": decided,
                "by": "person",
                "user_id": 9,
                "stage_before": before,
                "state": self._state(manychat_id),
            }
            if "deleted" in decided:
                del self.leads[manychat_id]
        return accept(EventType.DECISION, payload, received_at=datetime.now(timezone.utc), source="odoo")

    def manychat_get_states(
        self, after: int = 0, limit: int = 0, manychat_ids: list[str] | None = None
    ) -> dict[str, Any]:
        with self._lock:
            self.asked_for_states.append({"after": after, "limit": limit, "manychat_ids": manychat_ids})
            people = sorted(self.leads, key=lambda each: self.leads[each]["id"])
            if manychat_ids is None:
                people = [each for each in people if self.leads[each]["id"] > after][:limit]
            else:
                people = [each for each in people if each in manychat_ids]
            last = self.leads[people[-1]]["id"] if people and manychat_ids is None else False
            busy = [each for each in people if each in self.busy]
            self.busy -= {*busy}
            states = [{"manychat_id": each, **self._state(each)} for each in people if each not in busy]  # type: ignore[dict-item]
            unknown = sorted({*(manychat_ids or ())} - self.leads.keys())
            return {"states": states, "busy": busy, "after": last, "unknown": unknown}

    def manychat_get_stage_history(self, manychat_ids: list[str]) -> list[dict[str, Any]]:
        with self._lock:
            return [move for move in self.past_moves if move["manychat_id"] in manychat_ids]

    def erase(self, manychat_id: str) -> dict[str, Any]:
        with self._lock:
            self.erased.append(manychat_id)
            lead = self.leads.get(manychat_id)
            moves = [move for move in self.moves if move[0] == manychat_id]
            return {"events": len(moves), "rejections": 0, "lead_ids": [lead["id"]] if lead else []}

    def get_history(self, event_id: str = "", manychat_id: str = "") -> list[dict[str, Any]]:
        """What it applied, told as the real one tells it; ``logged`` events are there without having been applied."""
        told = [
            {**row, "outcome": answer["status"], "lead_id": answer["lead_id"], "stage_after": answer["stage_after"]}
            if (answer := self.answers.get(row["event_id"]))
            else row
            for row in self.logged
        ]
        return [
            row
            for row in told
            if (event_id and row["event_id"].startswith(event_id))
            or (manychat_id and row["manychat_id"] == manychat_id)
        ]

    def log(self, event: Any, state: str = "pending") -> None:
        """Have the event in its log, as the webhook leaves it there."""
        nothing = dict.fromkeys(
            ("queued_at", "applied_at", "outcome", "code", "stage_before", "stage_after", "lead_id", "lead_stage"),
            False,
        )
        self.logged.append(
            {
                "event_id": event.id,
                "type": event.type.value,
                "manychat_id": event.manychat_id,
                "source": event.source,
                "state": state,
                "received_at": event.received_at.isoformat(),
                "occurred_at": event.occurred_at.isoformat(),
                "lead_active": True,
                **nothing,
            }
        )

    def hold(self, event: Any, queued_at: datetime, retries: int = 0) -> None:
        """Have the event in its log as on its queue since then, which is long ago."""
        item = {"event_id": event.id, "type": event.type.value, "manychat_id": event.manychat_id, "retries": retries}
        self.overdue.append({**item, "queued_at": queued_at.isoformat()})

    def send_again(self, event_ids: list[str]) -> list[str]:
        with self._lock:
            self.sent_again += event_ids
            self.overdue = [item for item in self.overdue if item["event_id"] not in event_ids]
            return event_ids

    def record_outcomes(self, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        with self._lock:
            if self.refused_reports & {outcome["event_id"] for outcome in outcomes}:
                raise Fault("odoo.exceptions.ValidationError", "No")
            self.reports += outcomes
            for outcome in outcomes:
                if outcome["state"] == "discarded":
                    self.discarded.pop(outcome["event_id"], None)
            return {"busy": []}

    def call(self, model: str, method: str, arguments: dict[str, Any]) -> Any:
        if (model, method) == ("crm.lead", "manychat_apply"):
            return self.manychat_apply(**arguments)
        if method in ("manychat_get_states", "manychat_get_stage_history") and self.tells_states:
            return getattr(self, method)(**arguments)
        if (model, method) == ("manychat.bridge", "heartbeat"):
            self.heartbeats.append(arguments)
            return {"discarded": dict(self.discarded), **self.told} if self.takes_reports else True
        if (model, method) == ("manychat.event", "record_outcomes") and self.takes_reports:
            return self.record_outcomes(**arguments)
        if (model, method) == ("manychat.event", "send_again"):
            return self.send_again(**arguments)
        if (model, method) == ("manychat.bridge", "sign_off") and self.takes_reports:
            self.signed_off.append(arguments["name"])
            return True
        if (model, method) == ("manychat.bridge", "get_active"):
            return [{"seconds": 1, **beat} for beat in self.heartbeats if beat["name"] not in self.signed_off]
        if (model, method) == ("manychat.bridge", "record_refusals") and self.told.get("takes_refusals"):
            self.standby_refusals.append(arguments["refusals"])
            return True
        questions = {"get_ended": self.ended, "get_refusals": self.refusals, "get_overdue": self.overdue}
        if method in questions and self.takes_reports:
            return questions[method]
        if (model, method) == ("manychat.event", "get_history"):
            return self.get_history(**arguments)
        if (model, method) == ("manychat.event", "erase"):
            return self.erase(**arguments)
        raise Fault("builtins.AttributeError", f"The method '{model}.{method}' does not exist")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *args: Any):
        self.connections: list[socket.socket] = []
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends in the middle of a request, as a killed bridge does, is no fault of this server."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)


class Fault(Exception):
    def __init__(self, name: str, message: str):
        super().__init__(name)
        self.data = {"name": name, "message": message, "arguments": [message], "context": {}, "debug": "…"}


class _Handler(BaseHTTPRequestHandler):
    odoo: OdooStandIn
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; without this each answer would wait 40 ms for the client's ACK.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path.startswith("/json/2/") and self.odoo.version >= 19:
                self._json2(body)
            else:
                self._jsonrpc(body["params"])
        except ConnectionAbortedError:
            # As when a worker of Odoo is killed: the connection ends without an answer.
            self.close_connection = True

    def _json2(self, arguments: dict[str, Any]) -> None:
        if self.headers["Authorization"] != f"bearer {self.odoo.key}" or self.headers["X-Odoo-Database"] != DATABASE:
            self._answer(401, {"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"})
            return
        _, _, _, model, method = self.path.split("/")
        try:
            self._answer(200, self.odoo.call(model, method, arguments))
        except Fault as fault:
            self._answer(422, fault.data)

    def _jsonrpc(self, parameters: dict[str, Any]) -> None:
        try:
            self._answer(200, {"jsonrpc": "2.0", "id": None, "result": self._result(parameters)})
        except Fault as fault:
            error = {"code": 200, "message": "Odoo Server Error", "data": fault.data}
            self._answer(200, {"jsonrpc": "2.0", "id": None, "error": error})

    def _result(self, parameters: dict[str, Any]) -> Any:
        if self.path == "/web/webclient/version_info":
            return {"server_version_info": [self.odoo.version, 0, 0, "final", 0, ""]}
        if parameters["service"] == "common":
            database, login, key, _ = parameters["args"]
            return 7 if (database, login, key) == (DATABASE, LOGIN, self.odoo.key) else False
        database, uid, key, model, method, _positional, arguments = parameters["args"]
        if (database, uid, key) != (DATABASE, 7, self.odoo.key):
            raise Fault("odoo.exceptions.AccessDenied", "Access Denied")
        return self.odoo.call(model, method, arguments)

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
