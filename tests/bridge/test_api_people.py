"""A bot asks the API how far one person is: from SQL, with the age of the answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from bridge.api import people as route
from bridge.contract import person
from bridge.contract.keys import OdooKey, digest, prefix
from bridge.store import api_keys, people
from bridge.store.contacts import ensure_contacts
from bridge.store.engine import in_transaction
from bridge.store.schema import odoo_settings, opportunities

from .api import Api

NOW = datetime.now(timezone.utc)
ASK = "mck_made-in-odoo-to-ask-0123456789"
STAGE = {"label": "Comienza Cotización", "id": 25, "text": "Su asesora es {salesperson}.", "date_format": "%d/%m/%Y"}


def put(api: Api, manychat_id: str = "MC1", **values: Any) -> None:
    """An opportunity as the bridge writes it."""

    def insert(connection: sa.Connection) -> None:
        contact = ensure_contacts(connection, [manychat_id], NOW)[manychat_id]
        row = {
            "lead_id": 7,
            "stage": "Cotiza",
            "stage_id": 3,
            "status": "open",
            "salesperson": "Ana",
            "odoo_as_of": NOW,
        }
        fixed = {
            "contact_id": contact,
            "odoo_sync_status": "success",
            "attempts": 0,
            "created_at": NOW,
            "updated_at": NOW,
        }
        connection.execute(opportunities.insert().values(manychat_id=manychat_id, **fixed, **{**row, **values}))

    in_transaction(api.context.engine, insert)


def set_in_odoo(api: Api, **settings: Any) -> None:
    rows = [{"name": name, "value": json.dumps(value), "updated_at": NOW} for name, value in settings.items()]
    in_transaction(api.context.engine, lambda connection: connection.execute(odoo_settings.insert(), rows))


def ask(api: Api, manychat_id: str = "MC1", query: str = "", key: str = "ask", status: int | None = 200) -> Any:
    return api("GET", f"{person.PATH}{quote(manychat_id, safe='')}{query}", key=key, status=status)


def test_the_answer_says_how_far_the_person_is_and_how_old_that_is(api: Api) -> None:
    set_in_odoo(api, stage_texts={"3": STAGE}, medical_advisors={"101": "Dra. Ruiz", "102": "102"})
    decided_at = NOW - timedelta(hours=1)
    put(api, odoo_as_of=NOW - timedelta(minutes=5), decided_at=decided_at, medical_advisor_id=None)
    said = ask(api)
    assert said.pop("age_seconds") >= 300
    assert said.pop("as_of") < said.pop("decided_at").replace("T", "U")
    assert said == {
        "status": "ok",
        "manychat_id": "MC1",
        "found": True,
        "stage": "Comienza Cotización",
        "stage_id": 25,
        "odoo_stage": "Cotiza",
        "opportunity": "open",
        "salesperson": "Ana",
        "medical_advisor": None,
    }


def test_the_map_of_today_counts_and_before_odoo_sent_one_the_state_does(api: Api) -> None:
    put(api, manychat_stage="Antes", manychat_stage_id=24)
    assert (ask(api)["stage"], ask(api)["stage_id"]) == ("Antes", 24)
    set_in_odoo(api, stage_texts={"3": STAGE})
    assert (ask(api)["stage"], ask(api)["stage_id"]) == ("Comienza Cotización", 25)
    put(api, "MC2", stage_id=99, manychat_stage="Antes", manychat_stage_id=24)
    assert (ask(api, "MC2")["stage"], ask(api, "MC2")["stage_id"]) == (None, None)


def test_the_texts_of_the_stage_come_as_a_dynamic_block(api: Api) -> None:
    set_in_odoo(api, stage_texts={"3": STAGE})
    put(api)
    said = ask(api, query="?format=dynamic&channel=whatsapp")
    assert said["content"] == {"type": "whatsapp", "messages": [{"type": "text", "text": "Su asesora es Ana."}]}


def test_who_has_no_opportunity_in_odoo_is_not_found(api: Api) -> None:
    put(api, "waits", lead_id=None, status=None, odoo_as_of=None)
    put(api, "deleted", status="deleted")
    for manychat_id in ("nadie", "waits", "deleted"):
        assert ask(api, manychat_id)["found"] is False
        assert ask(api, manychat_id, "?format=dynamic")["content"]["messages"] == []


def test_a_row_from_before_decisions_is_found_without_a_status(api: Api) -> None:
    put(api, status=None, stage_id=None, odoo_as_of=None, salesperson=None)
    said = ask(api)
    assert (said["found"], said["opportunity"], said["odoo_stage"], said["age_seconds"]) == (True, None, "Cotiza", None)


@pytest.mark.parametrize("status", ["won", "lost"])
def test_won_and_lost_are_said(api: Api, status: str) -> None:
    put(api, status=status)
    assert ask(api)["opportunity"] == status


@pytest.mark.parametrize(
    "manychat_id", ["12345678901234567890123", "MC-Ñ", "a/b", "a//b", "a?b", "a b", "a%2Fb", "mc1"]
)
def test_an_id_of_any_characters_is_text_and_names_one_person(api: Api, manychat_id: str) -> None:
    put(api)
    put(api, manychat_id, salesperson="Otra")
    said = ask(api, manychat_id)
    assert (said["manychat_id"], said["salesperson"]) == (manychat_id, "Otra")
    assert ask(api)["salesperson"] == "Ana"


@pytest.mark.parametrize(
    ("key", "status"), [("ask", 200), ("write", 200), ("webhook", 403), ("read", 403), ("mck_wrong", 401)]
)
def test_only_a_key_of_its_scope_opens_it(api: Api, key: str, status: int) -> None:
    put(api)
    answer = ask(api, key=key, status=None)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert "Ana" not in answer.text


def test_a_key_to_ask_opens_nothing_else(api: Api) -> None:
    for method, path in (("GET", "/api/v1/contacts/"), ("POST", "/api/v1/manychat/webhook/contact")):
        answer = api(method, path, {"manychat_id": "MC1"} if method == "POST" else None, key="ask", status=403)
        assert answer["code"] == "forbidden"


def test_a_key_to_ask_that_was_made_in_odoo_opens_it(api: Api) -> None:
    put(api)
    told = {"name": "Bot", "prefix": prefix(ASK), "digest": digest(ASK), "expires_at": None, "zone": None}
    for scope, status in (("webhook", 403), ("ask", 200), ("future", 401)):
        in_transaction(api.context.engine, api_keys.take_over, [OdooKey(**told, scope=scope)])
        api.context.keys.refresh()
        assert ask(api, key=ASK, status=None).status_code == status


def test_monitors_may_send_head_and_bots_must_not_post(api: Api) -> None:
    put(api)
    head = api("HEAD", f"{person.PATH}MC1", key="ask")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Cache-Control"] == "no-store"
    posted = api("POST", f"{person.PATH}MC1", {}, key="ask")
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET")


def test_there_is_no_list_and_a_bot_that_fills_in_no_id_hears_so(api: Api) -> None:
    for path in (person.PATH, person.PATH.removesuffix("/"), f"{person.PATH}%20", f"{person.PATH}%0A"):
        answer = api("GET", path, key="ask")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "manychat_id")
    assert api("GET", person.PATH, key="read").status_code == 403


def test_an_id_with_a_line_break_behind_it_is_that_id(api: Api) -> None:
    put(api)
    for written in ("MC1\n", "\r\nMC1", "MC1 \n"):
        assert ask(api, written)["found"] is True


def test_an_answer_takes_two_queries(api: Api) -> None:
    set_in_odoo(api, stage_texts={"3": STAGE})
    put(api)
    with _statements(api.context.engine) as statements:
        ask(api)
    assert len(statements) == 2, statements


def test_sql_that_hangs_gets_an_answer_in_time_and_stops_no_webhook(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """More questions than threads: those that have no thread are answered in time as well."""
    free = threading.Event()
    monkeypatch.setattr(person, "SECONDS", 0.5)
    monkeypatch.setattr(route.people, "find", lambda *_: free.wait(60))
    try:
        for _ in range(12):
            started = time.monotonic()
            answer = ask(api, status=503)
            assert time.monotonic() - started < 3
            assert answer["code"] == "unavailable"
        event = {"manychat_id": "MC1"}
        assert api("POST", "/api/v1/manychat/webhook/contact", event, key="webhook", status=200)
    finally:
        free.set()


def test_the_store_knows_the_names_that_odoo_sends() -> None:
    assert (people.STAGE_TEXTS, people.MEDICAL_ADVISORS) == ("stage_texts", "medical_advisors")


@contextmanager
def _statements(engine: sa.Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
