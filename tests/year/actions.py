"""What bots, people, bridges and operators do, as calls that can be timed. None of them is a stand-in."""

from __future__ import annotations

import ast
import itertools
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree

import requests
from typer.testing import CliRunner

from bridge.cli.app import app
from bridge.contract import examples
from bridge.contract.event import accept
from bridge.contract.payloads import EventType
from bridge.odoo import Odoo

from .system import YearStack
from .tables import run

_numbers = itertools.count(1)
_EVENT_COLUMNS = [
    "received_at",
    "occurred_at",
    "type",
    "manychat_id",
    "lead_id",
    "stage_before_id",
    "stage_after_id",
    "outcome",
    "state",
    "reason",
    "warning_text",
]
_FUNNEL_MEASURES = ["entered", "in_stage", "left", "lost", "advanced", "conversion", "hours"]


class Person:
    """Odoo's administrator in a browser: a session, so that no password is checked for each call."""

    def __init__(self, stack: YearStack) -> None:
        self._stack = stack
        self._session = requests.Session()
        who = {"db": stack.database, "login": "admin", "password": stack.admin_password}
        self._post("/web/session/authenticate", who)

    def call(self, model: str, method: str, *arguments: Any, **options: Any) -> Any:
        parameters = {"model": model, "method": method, "args": arguments, "kwargs": options}
        return self._post(f"/web/dataset/call_kw/{model}/{method}", parameters)

    def _post(self, path: str, parameters: dict[str, Any]) -> Any:
        body = {"jsonrpc": "2.0", "method": "call", "params": parameters}
        answer = self._session.post(self._stack.odoo_url + path, json=body, timeout=600).json()
        assert "error" not in answer, answer["error"]["data"]["debug"]
        return answer.get("result")

    def typed(self, model: str, field: str, text: str) -> list[Any]:
        """The domain that the search view makes of ``text`` for ``field``."""
        view = self.call(model, "get_views", [[False, "search"]])["views"]["search"]["arch"]
        node = next(node for node in ElementTree.fromstring(view).iter("field") if node.get("name") == field)
        if domain := node.get("filter_domain"):
            # A list of literals, and the name for what was typed.
            return ast.literal_eval(domain.replace("self + 'g'", repr(f"{text}g")).replace("self", repr(text)))
        return [[field, node.get("operator") or "ilike", text]]


class Actions:
    """The actions on one system."""

    def __init__(self, stack: YearStack) -> None:
        self.stack = stack
        self.person = Person(stack)
        self.bot = requests.Session()
        self.bridge = Odoo(stack.odoo_url, stack.database, "manychat_bridge", stack.bridge_key)
        with stack.superuser(stack.database) as connection:
            rows = run(connection, "SELECT manychat_id FROM manychat_identity ORDER BY lead_id DESC LIMIT 30")
            #: People of whom the system knows for long.
            self.someone = itertools.cycle([manychat_id for (manychat_id,) in rows])
            [(self.lead_id,)] = run(connection, "SELECT max(lead_id) FROM manychat_identity")
            rows = run(
                connection,
                "SELECT event_id FROM manychat_event WHERE type = 'opportunity' AND state = 'done' "
                "ORDER BY id DESC LIMIT 50",
            )
            self.events = itertools.cycle([event_id for (event_id,) in rows])
        #: The same people in every system, who talk now; the first call of each creates their opportunities.
        self.talking = itertools.cycle(f"MC-YEAR-{number}" for number in range(64))

    def all(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name and call of each."""
        yield "webhook: contact", lambda: self.webhook("contact", examples.CONTACT)
        yield "webhook: opportunity", lambda: self.webhook("crm-opportunity", self.moved())
        yield "manychat_apply: 32 known people move", self.apply
        yield from self.lists()
        yield from self.funnel()
        yield from self.screens()
        yield from self.bridge_calls()
        yield from self.commands()
        yield from self.rest()

    # --- bots and bridges --------------------------------------------------------------------------------------------

    def webhook(self, route: str, payload: dict[str, Any]) -> None:
        answer = self.bot.post(
            f"{self.stack.odoo_url}/api/v1/manychat/webhook/{route}",
            json={**payload, "manychat_id": next(self.talking)},
            headers={"X-API-KEY": self.stack.webhook_key, "Idempotency-Key": f"{next(_numbers)}-{time.time()}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text

    def moved(self) -> dict[str, Any]:
        stage = 16 + next(_numbers) % 11
        return examples.OPPORTUNITY | {"state": {"stage_id": stage, "date": _now().isoformat(), "summary": "Sí."}}

    def apply(self) -> None:
        received = _now()
        payloads = [{**self.moved(), "manychat_id": next(self.talking)} for _ in range(32)]
        events = [
            accept(EventType.OPPORTUNITY, each, received_at=received, source="odoo", idempotency_key=str(time.time()))
            for each in payloads
        ]
        results = self.bridge.apply([event.envelope() for event in events])
        assert {each["status"] for each in results} <= {"created", "moved", "updated", "unchanged", "stale", "retry"}

    def bridge_calls(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "bridge: heartbeat", lambda: self.bridge.heartbeat("year/1", "1")
        yield "bridge: get_overdue", self.bridge.get_overdue
        yield "bridge: get_history of an event", lambda: self.bridge.get_history(event_id=next(self.events))
        yield "bridge: get_history of a person", lambda: self.bridge.get_history(manychat_id=next(self.someone))

    # --- people ------------------------------------------------------------------------------------------------------

    def lists(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        week = [["received_at", ">=", (_now() - timedelta(days=7)).strftime("%Y-%m-%d")]]

        def page(domain: list[Any]) -> Callable[[], Any]:
            columns = {name: {} for name in _EVENT_COLUMNS}
            related = {"fields": {"display_name": {}}}
            specification = {**columns, "lead_id": related, "stage_before_id": related, "stage_after_id": related}
            return lambda: self.person.call(
                "manychat.event", "web_search_read", domain, specification, limit=80, count_limit=10001
            )

        def groups(by: str, domain: list[Any]) -> Callable[[], Any]:
            if self.stack.odoo.source.version == "18.0":
                return lambda: self.person.call("manychat.event", "web_read_group", domain, ["seconds:avg"], [by])
            return lambda: self.person.call("manychat.event", "web_read_group", domain, [by], ["__count"])

        def typed(field: str, text: str) -> list[Any]:
            return self.person.typed("manychat.event", field, text)

        yield "events: first page, last 7 days", page(week)
        yield "events: first page, all", page([])
        yield "events: of a person, by ManyChat ID", page(typed("manychat_id", next(self.someone)))
        yield "events: by the beginning of an event ID", page(typed("event_id", next(self.events)[:12]))
        yield "events: of an opportunity, by its name", page(typed("lead_id", "Persona 7"))
        for name, domain in (
            ("failed", [["state", "=", "failed"]]),
            ("waiting", [["state", "=", "pending"]]),
            ("on the queue", [["state", "=", "queued"]]),
            ("lost", [["state", "in", ["pending", "queued"]], ["resends", ">", 0]]),
            ("discarded", [["state", "=", "discarded"]]),
            ("with warnings, last 7 days", [["warnings", "!=", False], *week]),
        ):
            yield f"events: {name}", page(domain)
        yield "events: by outcome, last 7 days", groups("outcome", week)
        yield "events: by day, last 7 days", groups("received_at:day", week)

    def funnel(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        for name, days in (("12 months", 365), ("last 7 days", 7)):
            since = (_now() - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")
            for view, measures in (("graph", ["entered"]), ("pivot", _FUNNEL_MEASURES)):
                aggregates = [f"{name}:{_AGGREGATES.get(name, 'count_distinct')}" for name in measures]
                yield f"funnel: {view}, {name}", self._funnel([["entered_at", ">=", since]], aggregates)
        domain = [["lead_id", "=", self.lead_id]]
        yield "funnel: one opportunity", self._funnel(domain, ["entered:count_distinct", "advanced:count_distinct"])

    def _funnel(self, domain: list[Any], aggregates: list[str]) -> Callable[[], Any]:
        if self.stack.odoo.source.version == "18.0":
            return lambda: self.person.call("manychat.funnel", "read_group", domain, aggregates, ["map_id"])
        return lambda: self.person.call("manychat.funnel", "formatted_read_group", domain, ["map_id"], aggregates)

    def screens(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "opportunity: its form", lambda: self.person.call(
            "crm.lead",
            "web_read",
            [self.lead_id],
            {
                name: {}
                for name in ("name", "stage_id", "x_manychat_id", "manychat_event_count", "manychat_stage_count",
                             "manychat_summary", "manychat_chat_url")
            },
        )  # fmt: skip
        yield (
            "opportunity: found by ManyChat ID",
            lambda: self.person.call(
                "crm.lead",
                "web_search_read",
                self.person_domain(),
                {"name": {}, "stage_id": {}, "x_manychat_id": {}},
                limit=80,
                count_limit=10001,
            ),
        )
        yield "getting started: checklist", lambda: self.person.call("manychat.setup", "checklist")
        yield (
            "stage map",
            lambda: self.person.call("manychat.stage.map", "web_search_read", [], {"name": {}, "needs_attention": {}}),
        )
        yield "health report of Odoo", self.health

    def person_domain(self) -> list[Any]:
        if not hasattr(self, "_typed"):
            self._typed = self.person.typed("crm.lead", "x_manychat_id", "SOMEONE")
        text = next(self.someone)
        return ast.literal_eval(repr(self._typed).replace("SOMEONE", text))

    def health(self) -> None:
        address = f"{self.stack.odoo_url}/api/v1/reports/health"
        assert self.bot.get(address, headers={"X-API-KEY": self.stack.webhook_key}, timeout=60).ok

    # --- operators ---------------------------------------------------------------------------------------------------

    def commands(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "status", lambda: self.command("status")
        yield "trace an event", lambda: self.command("trace", next(self.events))
        yield "trace by 12 digits", lambda: self.command("trace", next(self.events)[:12])
        yield "trace a person", lambda: self.command("trace", next(self.someone))
        yield "dlq list", lambda: self.command("dlq", "list")
        yield "reconcile --dry-run", lambda: self.command("reconcile", "--dry-run")
        yield "purge --dry-run", lambda: self.command("purge", "--older-than", "400d", "--dry-run")

    def command(self, *words: str) -> None:
        """One command in this process: the start of an interpreter would hide what the command costs."""
        before = dict(os.environ)
        os.environ |= self.stack.bridge_environment()
        try:
            result = CliRunner().invoke(app, list(words))
        finally:
            os.environ.clear()
            os.environ |= before
        assert result.exit_code in (0, 1), (words, result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)

    def rest(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        for path in (
            "audit/",
            "audit/?outcome=moved",
            "audit/?outcome=open",
            f"audit/?manychat_id={next(self.someone)}",
            "audit/?sort=-received_at",
            "contacts/?sort=-updated_at",
            "contacts/?state=Nuevo%20Lead",
            "opportunities/?sort=-updated_at",
            "opportunities/?odoo_sync_status=error",
            "campaign-contacts/?campaign_id=85",
        ):
            yield f"API: {path}", lambda path=path: self.get(f"/api/v1/{path}")
        yield "API: health report", lambda: self.get("/api/v1/reports/health")
        yield "API: /metrics", lambda: self.get("/metrics")

    def get(self, path: str) -> None:
        answer = self.bot.get(self.stack.api_url + path, headers={"X-API-KEY": self.stack.api_key}, timeout=600)
        assert answer.ok, (path, answer.text)


_AGGREGATES = {"conversion": "avg", "hours": "avg"}


def _now() -> datetime:
    return datetime.now(timezone.utc)
