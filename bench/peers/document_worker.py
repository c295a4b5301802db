"""The worker of the user's document, as its description has it: one message after the other.

Receive one message, search the opportunity by RPC, write or create it by RPC, insert one row into SQL, delete the
message. The queue's SDK, JSON-RPC, one commit for each row: what each part's own documentation shows first.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from azure.storage.queue import QueueClient

from bench.drain import PATIENCE
from bench.measure import Sample, WrongAnswer
from bench.system import BenchStack
from bridge.contract.event import Event

#: What the bench calls its time: the worker runs in the bench's own process.
WORKER = "worker"
_AUDIT = """
CREATE TABLE IF NOT EXISTS peer_audit (id bigserial PRIMARY KEY, manychat_id text, payload text, lead_id int,
                                       created_at timestamptz DEFAULT now());
"""
_CONTACTS = """
CREATE TABLE IF NOT EXISTS peer_contacts (id bigserial PRIMARY KEY, manychat_id text UNIQUE, first_name text,
                                          last_name text, phone text, last_state text, updated_at timestamptz);
"""


class DocumentWorker:
    """One process, one thread, no batches."""

    def __init__(self, stack: BenchStack, queue_name: str) -> None:
        self._stack = stack
        self._queue = QueueClient.from_connection_string(stack.connection_string, queue_name)
        self._sql = psycopg.connect(stack.odoo.cluster.url(stack.store_database), autocommit=True)
        self._sql.execute(_AUDIT)
        self._sql.execute(_CONTACTS)
        self._http = stack.session()
        self._stages = {number: stage for number, (stage, _is_won) in stack.stages.items()}
        self._stack.rpc("crm.lead", "search", [["x_manychat_id", "=", "nobody"]])

    def work_off(self, events: Sequence[Event]) -> Sample:
        """Put ``events`` on the queue, and apply them until it is empty."""
        queue = self._stack.queue(self._queue.queue_name)
        queue.put_all([event.encode() for event in events])
        apply = self._contact if events[0].type.value == "contact" else self._opportunity
        meter = self._stack.meter()
        began, done = time.perf_counter(), 0
        while message := self._queue.receive_message(visibility_timeout=60):
            apply(json.loads(base64.b64decode(message.content))["payload"])
            self._queue.delete_message(message)
            done += 1
            if time.perf_counter() - began > PATIENCE:
                raise WrongAnswer("the worker of the document does not come to an end")
        seconds = time.perf_counter() - began
        cpu = meter.seconds()
        cpu[WORKER] = cpu.pop("load")
        if done != len(events):
            raise WrongAnswer(f"the worker of the document got {done} of {len(events)} messages")
        return Sample(done, seconds, cpu)

    def close(self) -> None:
        self._queue.close()
        self._sql.close()
        self._http.close()

    def _opportunity(self, payload: dict[str, Any]) -> None:
        values = {"stage_id": self._stages[int(payload["state"]["stage_id"])]}
        found = self._call("search", [["x_manychat_id", "=", payload["manychat_id"]]], limit=1)
        if found:
            self._call("write", found, values)
        else:
            values |= {
                "name": payload["first_name"],
                "contact_name": payload["first_name"],
                "phone": payload["phone"],
                "type": "opportunity",
                "x_manychat_id": payload["manychat_id"],
            }
            found = [self._call("create", values)]
        self._sql.execute(
            "INSERT INTO peer_audit (manychat_id, payload, lead_id) VALUES (%s, %s, %s)",
            [payload["manychat_id"], json.dumps(payload), found[0]],
        )

    def _contact(self, payload: dict[str, Any]) -> None:
        self._sql.execute(
            "INSERT INTO peer_contacts (manychat_id, first_name, last_name, phone, last_state, updated_at) "
            "VALUES (%(manychat_id)s, %(nombre_lead)s, %(apellido_lead)s, %(whatsapp)s, %(ultimo_estado)s, now()) "
            "ON CONFLICT (manychat_id) DO UPDATE SET last_state = EXCLUDED.last_state, updated_at = now()",
            payload,
        )
        self._sql.execute(
            "INSERT INTO peer_audit (manychat_id, payload) VALUES (%s, %s)",
            [payload["manychat_id"], json.dumps(payload)],
        )

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        credentials = [self._stack.database, 2, self._stack.admin_password]
        parameters = {"service": "object", "method": "execute_kw"}
        body = {
            "jsonrpc": "2.0",
            "method": "call",
            "params": {**parameters, "args": [*credentials, "crm.lead", method, list(arguments), options]},
        }
        answer = self._http.post(f"{self._stack.odoo_url}/jsonrpc", json=body, timeout=60).json()
        if "error" in answer:
            raise WrongAnswer(str(answer["error"]))
        return answer["result"]
