"""The running system as the tests speak of it: ManyChat on one end, the analysts and the salespeople on the other."""

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from azure.storage.queue import QueueClient

from bridge.events import OPPORTUNITY_QUEUE
from bridge.store import schema

#: Seconds after which something that should happen counts as not happening.
PATIENCE = 60
CONTACT = "POST /api/v1/manychat/webhook/contact"
ASSIGNMENT = "POST /api/v1/manychat/webhook/campaign-assignment"
UPDATE = "PUT /api/v1/manychat/campaign-contacts/update-by-manychat-id"
OPPORTUNITY = "POST /api/v1/manychat/webhook/crm-opportunity"

_numbers = itertools.count(1)


def eventually(look: Callable[[], Any], what: str) -> Any:
    """The first true value of ``look``; a failure if there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (value := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"Did not happen within {PATIENCE} s: {what}")
        time.sleep(0.05)
    return value


def minutes_ago(minutes: float) -> str:
    """A date as ManyChat sends it."""
    return (datetime.now(timezone.utc) - timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


class System:
    """Sends as ManyChat does, and looks at what became of it."""

    def __init__(self, stack: Any) -> None:
        self.stack = stack
        self.store = sa.create_engine(stack.database_url)
        self._http = requests.Session()

    def call(self, route: str, payload: dict[str, Any], **headers: str) -> requests.Response:
        """A request with the webhook's key; header names with _ for -."""
        method, path = route.split()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        keyed = {"X-API-KEY": self.stack.webhook_key, **named}
        return self._http.request(method, self.stack.odoo_url + path, json=payload, headers=keyed, timeout=30)

    def send(self, route: str, **payload: Any) -> str:
        """An event that must be accepted; its id."""
        answer = self.call(route, payload)
        assert answer.status_code == 202, answer.text
        return answer.json()["event_id"]

    def move(self, manychat_id: str, stage: int | str, date: str, **more: Any) -> str:
        """An opportunity event, the stage by number or by label; its id."""
        state = {"stage_id" if isinstance(stage, int) else "stage": stage, "date": date}
        return self.send(OPPORTUNITY, manychat_id=manychat_id, state=state, **more)

    def outcome(self, event_id: str) -> str | None:
        rows = self.rows("audit", event_id=event_id)
        return rows[0].outcome if rows else None

    def settle(self, *event_ids: str) -> list[str]:
        """Waits until each event is applied or given up; the audit's outcomes."""
        return [eventually(lambda event=event: self.outcome(event), f"an outcome of {event}") for event in event_ids]

    def rows(self, table: str, **where: Any) -> list[Any]:
        """Of the store."""
        columns = schema.metadata.tables[table]
        with self.store.connect() as connection:
            return list(connection.execute(sa.select(columns).filter_by(**where).order_by(columns.c.id)))

    def leads(self, manychat_id: str, *fields: str) -> list[dict[str, Any]]:
        """Of Odoo, lost ones too."""
        domain = [["x_manychat_id", "=", manychat_id]]
        context = {"active_test": False}
        return self.stack.rpc("crm.lead", "search_read", domain, fields=["stage_id", *fields], context=context)

    def stage(self, manychat_id: str) -> str:
        """The name of the stage of the one opportunity with that id."""
        (lead,) = self.leads(manychat_id)
        return lead["stage_id"][1]

    def stage_id(self, name: str) -> int:
        (stage,) = self.stack.rpc("crm.stage", "search", [["name", "=", name]])
        return stage

    def put(self, content: str, queue: str = OPPORTUNITY_QUEUE) -> None:
        """A message straight on a queue, as another producer would."""
        with QueueClient.from_connection_string(self.stack.connection_string, queue) as client:
            client.send_message(content, time_to_live=-1)

    def envelope(self, event_id: str) -> str:
        """An event of Odoo's log as its queue message."""
        domain = [["event_id", "=", event_id]]
        fields = ["event_id", "type", "received_at", "source", "payload"]
        (event,) = self.stack.rpc("manychat.event", "search_read", domain, fields=fields)
        received_at = event["received_at"].replace(" ", "T") + "Z"
        envelope = {"v": 1, "id": event["event_id"], "type": event["type"], "received_at": received_at}
        message = {**envelope, "source": event["source"], "payload": event["payload"]}
        return base64.b64encode(json.dumps(message).encode()).decode()


@pytest.fixture(scope="session")
def system(stack: Any) -> Iterator[System]:
    system = System(stack)
    yield system
    system.store.dispose()


@pytest.fixture
def manychat_id() -> str:
    """Of a person that no other test knows."""
    return f"E2E{next(_numbers)}"


@pytest.fixture(autouse=True)
def contacts_of_odoo_stay_untouched(system: System) -> Iterator[None]:
    """Whatever a test does, ``res.partner`` is as it was before."""

    def partners() -> Any:
        with system.stack.odoo.cluster.connect(system.stack.database) as connection:
            return connection.execute("SELECT count(*), max(id), max(write_date) FROM res_partner").fetchone()

    before = partners()
    yield
    assert partners() == before
