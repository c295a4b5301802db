"""Write-back of one bridge without its threads: real queue, real SQL. Only ManyChat is a stand-in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.circuit_breaker import CircuitBreaker
from bridge.contract.opportunity_state import Actor, OpportunityState
from bridge.contract.payloads import OUTBOUND_QUEUE
from bridge.manychat import ManyChat
from bridge.queue import Message, Queue
from bridge.store import manychat_wishes, schema
from bridge.store.engine import in_transaction
from bridge.store.manychat_wishes import Wish
from bridge.worker.pauses import Pauses
from bridge.worker.polling import Pace
from bridge.worker.write_back import outbound_queue
from bridge.worker.write_back.outbound import Outbound
from bridge.worker.write_back.pace import PacedManyChat

from ..manychat_stand_in import TOKEN, ManyChatStandIn
from ..queue_sdk import sdk

RULES = {
    "enabled": True,
    "stage_field": {"id": 11, "name": "etapa"},
    "stage_id_field": {"id": 12, "name": "etapa_id"},
    "salesperson_field": {"id": 13, "name": "asesor"},
    "status_field": {"id": 14, "name": "estado"},
    "won_tag": {"id": 21, "name": "ganado"},
    "lost_tag": {"id": 22, "name": "perdido"},
    "flows": {"7": {"ns": "content1", "name": "Bienvenida"}},
}
#: A quarter of an hour ago: a flow is not started for what is long past.
NOON = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=15)


@pytest.fixture
def manychat() -> Iterator[ManyChatStandIn]:
    stand_in = ManyChatStandIn()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def manychat_queue(azurite: Any) -> Iterator[Queue]:
    queue = Queue(azurite.connection_string, OUTBOUND_QUEUE)
    queue.create()
    sdk(queue).clear_messages()
    yield queue
    queue.close()


def chat_rests(engine: sa.Engine) -> None:
    """As time does when the chat says nothing more."""
    with engine.begin() as connection:
        table = schema.manychat_writes
        connection.execute(table.update().where(table.c.queued_at.is_(None)).values(updated_at=NOON))


class WriteBack:
    """One bridge's write-back, without its threads."""

    def __init__(self, engine: sa.Engine, queue: Queue, manychat: ManyChatStandIn):
        self.engine, self.queue, self.manychat = engine, queue, manychat
        self.stop = threading.Event()
        client = ManyChat(TOKEN, manychat.url, read_seconds=2)
        self.paced = PacedManyChat(client, engine, 1000, self.stop)
        breakers = [CircuitBreaker(name, lambda: None) for name in ("SQL", "queue", "ManyChat")]
        self.outbound = Outbound(engine, queue, self.paced, breakers, Pauses(engine), Pace(0.1), self.stop)
        self.rules(RULES)

    def rules(self, rules: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            connection.execute(schema.odoo_settings.delete())
            row = {"name": "write_back", "value": json.dumps(rules), "updated_at": NOON}
            connection.execute(schema.odoo_settings.insert(), row)

    def want(self, *wishes: Wish) -> None:
        in_transaction(self.engine, manychat_wishes.want, wishes)

    def work(self) -> None:
        """Put on the queue what is wanted, and write until the queue is empty. The chat has come to rest."""
        chat_rests(self.engine)
        outbound_queue.fill(self.engine, self.queue)
        while self.queue.depth():
            for message in self.queue.receive(32, 30):
                self.outbound.process(message)

    def message(self) -> Message:
        """The one message that speaks of what is wanted."""
        chat_rests(self.engine)
        outbound_queue.fill(self.engine, self.queue)
        [message] = self.queue.receive(1, 30)
        return message

    def end_leases(self) -> None:
        """As time does when their bridges were killed."""
        with self.engine.begin() as connection:
            connection.execute(schema.manychat_writes.update().values(leased_until=NOON))

    def row(self, manychat_id: str = "1001") -> Any:
        with self.engine.connect() as connection:
            table = schema.manychat_writes
            return connection.execute(sa.select(table).where(table.c.manychat_id == manychat_id)).one()


@pytest.fixture
def write_back(engine: sa.Engine, manychat_queue: Queue, manychat: ManyChatStandIn) -> WriteBack:
    return WriteBack(engine, manychat_queue, manychat)


def wish(minute: float = 0, manychat_id: str = "1001", event_id: str = "", **more: Any) -> Wish:
    kinds = {name: more.pop(name) for name in ("by", "moved", "said", "overruled") if name in more}
    fields = {
        "lead_id": 1, "as_of": NOON + timedelta(minutes=minute), "status": "open", "stage_id": 6,
        "manychat_stage": "Seguimiento", "manychat_stage_id": 24, "salesperson": "Laura Prueba", **more,
    }  # fmt: skip
    kinds = {"by": Actor.PERSON, **kinds}
    return Wish(manychat_id, OpportunityState.model_validate(fields), event_id=event_id or f"e{minute}", **kinds)
