"""The running stack as others see it: ManyChat on one side, Odoo and SQL on the other."""

import itertools
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import requests
import sqlalchemy as sa

#: How long something may take on a machine that is busy with other tests (seconds). Nothing here measures time.
PATIENCE = 150
WEBHOOK = "/api/v1/manychat/webhook/"
_numbers = itertools.count(1)


class Chat:
    """ManyChat's side of one person's conversation.

    Times are minutes since it began, an hour ago: what people do in Odoo meanwhile happens later than all of it, unless
    a test sends events from after that.
    """

    def __init__(self, world: "World", manychat_id: str) -> None:
        self.world = world
        self.manychat_id = manychat_id
        self.began = datetime.now(timezone.utc) - timedelta(hours=1)

    def enters(self, stage: int | str, minute: float = 0, **payload: Any) -> str:
        """Sends an opportunity event through the webhook and returns its event id."""
        return self.world.send("crm-opportunity", self.event(stage, minute, **payload))

    def event(self, stage: int | str, minute: float = 0, **payload: Any) -> dict[str, Any]:
        state = {"date": (self.began + timedelta(minutes=minute)).isoformat()}
        state["stage_id" if isinstance(stage, int) else "stage"] = stage
        if "summary" in payload:
            state["summary"] = payload.pop("summary")
        return {"manychat_id": self.manychat_id, "first_name": "Prueba", "state": state, **payload}

    @property
    def lead(self) -> dict[str, Any]:
        """The person's one opportunity, lost or not."""
        fields = ["id", "stage_id", "active", "x_manychat_id", "contact_name", "write_date", "user_id"]
        domain = [["x_manychat_id", "=", self.manychat_id], ["active", "in", [True, False]]]
        leads = self.world.odoo("crm.lead", "search_read", domain, fields=fields)
        assert len(leads) == 1, leads
        return leads[0]

    @property
    def stage(self) -> str:
        return self.lead["stage_id"][1]

    @property
    def stage_changes(self) -> list[tuple[str, str]]:
        """The moves that the opportunity's chatter tells of, oldest first."""
        domain = [
            ["mail_message_id.model", "=", "crm.lead"],
            ["mail_message_id.res_id", "=", self.lead["id"]],
            ["field_id.name", "=", "stage_id"],
        ]
        fields = ["old_value_char", "new_value_char"]
        values = self.world.odoo("mail.tracking.value", "search_read", domain, fields=fields, order="id")
        return [(value["old_value_char"], value["new_value_char"]) for value in values]


class World:
    """The running stack, from outside."""

    def __init__(self, stack: Any, store: sa.Engine) -> None:
        self.stack = stack
        self._store = store

    def chat(self) -> Chat:
        """A person who has not been heard of yet."""
        return Chat(self, f"MC-E2E-{next(_numbers)}-{time.time_ns()}")

    def post(self, route: str, payload: Any, method: str = "POST", **headers: str) -> requests.Response:
        path = route if route.startswith("/") else WEBHOOK + route
        sent = {"X-API-KEY": self.stack.webhook_key, **headers}
        return requests.request(method, self.stack.odoo_url + path, json=payload, headers=sent, timeout=30)

    def send(self, route: str, payload: Any, method: str = "POST", **headers: str) -> str:
        answer = self.post(route, payload, method, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["event_id"]

    def odoo(self, model: str, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls Odoo as its administrator, as a person would."""
        return self.stack.rpc(model, method, *arguments, **options)

    def sql(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        with self._store.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), parameters).mappings()]

    def audit(self, event_id: str) -> dict[str, Any]:
        """The event's one row in `audit`, once it has an outcome."""

        def finished() -> dict[str, Any] | None:
            rows = self.sql("SELECT * FROM audit WHERE event_id = :event_id", event_id=event_id)
            assert len(rows) <= 1
            return rows[0] if rows and rows[0]["outcome"] else None

        return self.eventually(finished)

    def settled(self, *event_ids: str) -> list[str]:
        """The outcomes of these events, in their order, once all have one."""
        return [self.audit(event_id)["outcome"] for event_id in event_ids]

    def eventually(self, look: Callable[[], Any]) -> Any:
        """What `look` returns as soon as that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (seen := look()):
            assert time.monotonic() < deadline, f"{look.__qualname__}\n{self.stack.programs.log_tail('bridge')}"
            time.sleep(0.05)
        return seen
