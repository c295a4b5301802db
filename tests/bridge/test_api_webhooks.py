"""The standby webhooks. That Odoo gives the same answers is shown by tests/e2e/test_both_webhooks.py."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from bridge.contract.event import decode
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE, WEBHOOKS, EventType
from bridge.contract.throttle import Throttle
from bridge.queue import Queue
from bridge.store.audit import ReceivedEvent, begin
from bridge.store.engine import in_transaction

from ..queue_sdk import sdk
from ..webhook_cases import CASES, CONTACT, OPPORTUNITY, UPDATE, Case, opportunity
from .api import KEYS, Api, running
from .conftest import Azurite, Cli, World, contact, eventually, free_port
from .test_metrics import Scraped


def messages(queues: dict[str, Queue]) -> list[str]:
    """What is on the queues of work."""
    return [message.content for queue in queues.values() for message in queue.receive(32, 5)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_case_has_its_answer(api: Api, queues: dict[str, Queue], case: Case) -> None:
    method, path = case.route
    key = "webhook" if case.key is None else case.key
    headers = {"Content-Type": "application/json", **case.headers}
    if not key.isascii():
        headers["X-API-KEY"], key = key.encode("latin-1"), None  # type: ignore[assignment]
    answer = api(method, path, case.content, key=key, headers=headers)
    assert answer.status_code == case.status, answer.text
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    if case.is_stored:
        assert body == {"status": "accepted", "event_id": body["event_id"], "warnings": body["warnings"]}
    if case.status == 200:
        assert tuple(each["field"] for each in body["warnings"]) == case.warnings
    if case.code:
        assert body.keys() == {"status", "code", "message", "errors"}
        assert (body["status"], body["code"]) == ("error", case.code)
        assert tuple(error["field"] for error in body["errors"]) == case.fields
    assert len(messages(queues)) == case.is_stored


def test_what_is_accepted_is_on_its_queue(api: Api, queues: dict[str, Queue]) -> None:
    for event_type in WEBHOOKS:
        body = {**event_type.spec.example, "manychat_id": "MC1", "ad_id": 7, "channel": [], "ultimo_estado": []}
        answer = api(*event_type.route, body, key="webhook", status=200)
        queue = queues[event_type.queue]
        (message,) = queue.receive(32, 60)
        event = decode(message.content, queue=queue.name, inserted_at=message.inserted_at)
        assert (event.type, event.source, event.manychat_id) == (event_type, "api", "MC1")
        assert (event.id, list(event.warnings)) == (answer["event_id"], answer["warnings"])
        assert event.extra["ad_id"] == 7
        queue.delete(message)


def ids(api: Api, route: tuple[str, str], body: object, *headers: dict[str, str]) -> set[str]:
    """The ids of the events that these requests are."""
    sent = [{"Content-Type": "application/json", **each} for each in headers]
    return {api(*route, body, key="webhook", status=200, headers=each)["event_id"] for each in sent}


def test_what_makes_two_requests_one_event(api: Api) -> None:
    stamps = [{"X-Request-Stamp": f"{time.time():.3f} {digit * 32}"} for digit in "ab"]
    key = {"Idempotency-Key": "k"}
    dated, undated = (OPPORTUNITY, opportunity()), (UPDATE, {"manychat_id": "MC1", "last_state": "x"})
    assert len(ids(api, *dated, {}, {})) == 1
    assert len(ids(api, *dated, *stamps)) == 1
    assert len(ids(api, *dated, {}, key)) == 2
    assert len(ids(api, *undated, {}, {})) == 2
    assert len(ids(api, *undated, stamps[0], stamps[0])) == 1
    assert len(ids(api, *undated, *stamps)) == 2
    assert len(ids(api, *undated, key, key, {**key, **stamps[0]})) == 1


def test_a_dry_run_knows_events_that_were_taken_before(api: Api) -> None:
    body = {"manychat_id": "MC1", "datetime_actual": "2026-03-02"}
    event = contact(**body, nombre_lead=None, whatsapp=None, ultimo_estado=None)
    dry = {"headers": {"X-Dry-Run": "1"}}
    assert api(*CONTACT, body, key="webhook", status=200, **dry)["duplicate"] is False
    taken = [ReceivedEvent(event, CONTACT_QUEUE, None)]
    in_transaction(api.context.engine, begin, taken)
    forecast = api(*CONTACT, body, key="webhook", status=200, **dry)
    assert (forecast["duplicate"], forecast["event_id"]) == (True, event.id)


def test_a_body_in_chunks_is_no_longer_than_another(api: Api) -> None:
    def chunks() -> object:
        for _ in range(40):
            yield b"x" * 1024

    headers = {"X-API-KEY": KEYS["webhook"], "Content-Type": "application/json"}
    answer = api.client.request(*CONTACT, content=chunks(), headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_address_that_guesses_keys_is_slowed_down_and_a_valid_key_is_not(api: Api) -> None:
    for _ in range(Throttle.TRIES):
        assert api(*CONTACT, b"{}", key="mck_wrong", status=401)["code"] == "unauthorized"
    refused = api(*CONTACT, b"{}", key="mck_wrong")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_wrong_keys")
    assert 0 < int(refused.headers["Retry-After"]) <= Throttle.WINDOW
    assert api(*CONTACT, {"manychat_id": "MC1"}, key="webhook", status=200)


def test_the_queue_is_made_if_it_is_not_there(api: Api, queues: dict[str, Queue]) -> None:
    sdk(queues[CONTACT_QUEUE]).delete_queue()
    assert api(*CONTACT, {"manychat_id": "MC1"}, key="webhook", status=200)


def test_without_the_queue_nothing_is_accepted(empty_store: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'api.db')}"
    nowhere = (
        f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;QueueEndpoint=http://127.0.0.1:{free_port()}/a;"
    )
    with running(queue_connection_string=nowhere, database_url=url) as api:
        refused = api(*CONTACT, {"manychat_id": "MC1"}, key="webhook")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert "127.0.0.1" not in refused.text
        assert api("GET", "/health", key=None, status=200) == {"status": "ok"}


def test_without_sql_events_are_accepted_by_the_keys_last_known(
    api: Api, queues: dict[str, Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A SQLite file cannot be "away" while it is open, so the engine is taken to another that is.
    import sqlalchemy as sa

    away = sa.create_engine("sqlite:////nowhere/at/all.db")
    monkeypatch.setattr(api.context.keys, "_engine", away)
    object.__setattr__(api.context, "engine", away)
    assert api("GET", "/api/v1/contacts/", key="read", status=503)["code"] == "unavailable"
    assert api(*CONTACT, {"manychat_id": "MC1"}, key="webhook", status=200)
    dry = {"headers": {"X-Dry-Run": "1"}}
    assert api(*CONTACT, {"manychat_id": "MC1"}, key="webhook", status=200, **dry)["duplicate"] is None
    assert len(messages(queues)) == 1


def test_an_api_that_has_never_seen_sql_says_to_try_again(azurite: Azurite) -> None:
    with running(queue_connection_string=azurite.connection_string, database_url="sqlite:////nowhere/at/all.db") as api:
        assert api(*CONTACT, {"manychat_id": "MC1"}, key="webhook", status=503)["code"] == "unavailable"
        assert api("GET", "/health", key=None, status=200) == {"status": "ok"}


def test_events_taken_in_here_are_applied(world: World, cli: Cli) -> None:
    """The process itself, started and stopped as an operator does; a bridge beside it."""
    from .process import api_process

    key = cli("key", "create", "Prueba", "--scope", "webhook").stdout.strip()
    bridge = world.start_bridge(metrics_port=free_port())
    with api_process(world.environment, world.folder) as api:
        assert api.request("GET", "/health").status_code == 200
        payload = json.loads(json.dumps(opportunity(manychat_id="MC-API")))
        answer = api.request(*OPPORTUNITY, json=payload, headers={"X-API-KEY": key})
        assert answer.status_code == 200
        event_id = answer.json()["event_id"]
        rows = eventually(lambda: [row for row in world.rows("audit", event_id=event_id) if row.outcome])
        assert (rows[0].outcome, rows[0].source, rows[0].type) == ("created", "api", EventType.OPPORTUNITY.value)
        assert api.stop() == 0
    # From this receipt on, as from Odoo's.
    scraped = Scraped(bridge)
    assert scraped.value("miasalud_event_latency_seconds_count", type="opportunity") == 1
    assert scraped.value("miasalud_event_hop_seconds_count", queue=OPPORTUNITY_QUEUE, hop="outbox") == 1
    lines = api.log.read_text()
    assert "event_accepted" in lines
    assert key not in lines
