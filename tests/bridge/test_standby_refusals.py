"""What the standby webhooks refuse is counted, shown by ``status``, and reported to Odoo."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.api import refusals
from bridge.odoo import Odoo
from bridge.progress import Watch
from bridge.store import schema
from bridge.worker.heartbeat import send_heartbeat
from bridge.worker.reporter import take_over

from ..webhook_cases import CONTACT, OPPORTUNITY
from .api import KEYS, Api, running
from .conftest import World, eventually
from .odoo_stand_in import DATABASE, KEY, LOGIN
from .test_health import alive, look, settings  # noqa: F401

WRONG = "mck_abcdefgh-a-key-that-was-never-made"
JSON = {"headers": {"Content-Type": "application/json"}}
SECRET = "La rodilla de Ana"


def rows(api: Api) -> list[Any]:
    """What SQL has once the API has written."""
    api.context.refusals.write()
    with api.context.engine.connect() as connection:
        return list(connection.execute(sa.select(schema.standby_refusals).order_by(sa.text("id"))))


def refuse(api: Api) -> None:
    """One request of each answer that a bot with a valid key may get."""
    plain = {"headers": {"Content-Type": "text/plain"}}
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    api(*CONTACT, {"summary": SECRET}, key="webhook", status=422)
    api(*CONTACT, b"{}", key="webhook", status=415, **plain)
    api(*OPPORTUNITY, b'{"x": "' + b"x" * 40_000 + b'"}', key="webhook", status=413, **JSON)
    api(*CONTACT, {"manychat_id": "MC1"}, key="read", status=403)


def test_each_refused_request_is_counted_by_key_path_and_answer(api: Api) -> None:
    refuse(api)
    api(*CONTACT, b"[", key="webhook", status=400, **JSON)
    found = {(row.key_name, row.path, row.code): row.requests for row in rows(api)}
    assert found == {
        ("Prueba webhook", CONTACT[1], "not_json"): 2,
        ("Prueba webhook", CONTACT[1], "invalid"): 1,
        ("Prueba webhook", CONTACT[1], "unsupported_media_type"): 1,
        ("Prueba webhook", OPPORTUNITY[1], "too_large"): 1,
        ("Prueba read", CONTACT[1], "forbidden"): 1,
    }
    assert {row.key_prefix for row in rows(api)} == {KEYS[scope][:12] for scope in ("webhook", "read")}
    assert {row.address for row in rows(api)} == {""}
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    assert max(row.requests for row in rows(api)) == 3


def test_accepted_requests_and_dry_runs_are_not_counted(api: Api) -> None:
    api(*CONTACT, {"manychat_id": "MC1"}, key="webhook", status=200)
    api(*CONTACT, b"{", key="webhook", status=400, headers=JSON["headers"] | {"X-Dry-Run": "1"})
    api("GET", "/api/v1/contacts/", key="wrong", status=401)
    assert rows(api) == []


def test_wrong_keys_are_counted_by_address_and_beginning_and_no_more_of_the_key_is_kept(api: Api) -> None:
    api(*CONTACT, {"manychat_id": "MC1"}, key=WRONG, status=401)
    api(*CONTACT, {"manychat_id": "MC1"}, key="a secret of another kind", status=401)
    api(*CONTACT, {"manychat_id": "MC1"}, key=None, status=401)
    api(CONTACT[0], f"{CONTACT[1]}?key={WRONG.replace('mck_', 'm%63k_')}", {"manychat_id": "MC1"}, status=401)
    for _ in range(10):
        api(*CONTACT, {"manychat_id": "MC1"}, key=WRONG)  # the last ones are 429
    found = {(row.code, row.key_prefix): row.requests for row in rows(api)}
    assert found == {
        ("wrong_key", "mck_abcdefgh"): 11,
        ("wrong_key", ""): 1,
        ("missing_key", ""): 1,
        ("key_in_address", "mck_abcdefgh"): 1,
    }
    assert {(row.address, row.key_name) for row in rows(api)} == {("testclient", "")}
    kept = json.dumps([list(row) for row in rows(api)], default=str)
    assert WRONG[12:] not in kept
    assert "secret" not in kept


def test_nothing_of_a_body_is_kept(api: Api) -> None:
    refuse(api)
    assert SECRET not in json.dumps([list(row) for row in rows(api)], default=str)


def test_a_flood_of_wrong_keys_waits_as_few_counts_and_all_are_counted(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MOST_WAITING", 5)
    for number in range(20):
        api.context.refusals.note(CONTACT[1], "wrong_key", address=f"192.0.2.{number}")
    api.context.refusals.note(CONTACT[1], "not_json", key_id=1)
    assert len(api.context.refusals._waiting) == 7
    assert sorted(row.requests for row in rows(api)) == [1, 1, 1, 1, 1, 1, 15]


def test_counts_wait_until_sql_is_up(api: Api) -> None:
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    table = schema.standby_refusals.name
    with api.context.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO away"))
    api.context.refusals.write()
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    with api.context.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE away RENAME TO {table}"))
    assert [row.requests for row in rows(api)] == [2]


def test_the_api_writes_by_itself_and_once_more_when_it_ends(api: Api) -> None:
    counts = refusals.RefusalCounts(api.context.engine)
    counts.start()
    counts.note(CONTACT[1], "not_json", key_id=1)
    assert eventually(lambda: rows(api))
    counts.note(CONTACT[1], "not_json", key_id=1)
    counts.close()
    assert [row.requests for row in rows(api)] == [2]


def test_what_the_standby_refused_is_in_the_report_and_on_the_terminal(world: World, settings: Any) -> None:  # noqa: F811
    alive(world)
    with running_on(settings) as api:
        refuse(api)
        api(*CONTACT, b"{", key="webhook", status=400, **JSON)
        api(*CONTACT, b"{", key=WRONG, status=401, **JSON)
        api.context.refusals.write()
    report = look(settings)
    assert report["status"] == "ok", "the bridge has no fault"
    bot = "Prueba webhook"
    named = f"{bot}: not_json 2, Prueba read: forbidden 1, {bot}: invalid 1"
    assert report["notices"] == [
        f"requests that the standby refused in the last 24 hours 6 ({named}, 2 more)",
        "requests without a valid key at the standby in the last 24 hours 1 (mck_abcdefgh…: wrong_key 1)",
    ]
    first = report["standby_refusals"][0]
    assert (first["key_name"], first["path"], first["code"], first["requests"]) == (bot, CONTACT[1], "not_json", 2)
    assert len(report["standby_refusals"]) == 6


def running_on(settings: Any) -> Any:  # noqa: F811
    """An API on the database and queues of ``settings``."""
    return running(
        database_url=settings.database_url,
        queue_connection_string=settings.queue_connection_string,
    )


def beat(world: World, engine: sa.Engine) -> None:
    """One heartbeat, as a bridge sends it."""
    odoo = Odoo(world.odoo.url, DATABASE, LOGIN, KEY)
    send_heartbeat(odoo, Watch(), lambda answer: take_over(engine, odoo, answer))


def test_a_heartbeat_reports_totals_to_odoo_and_only_those_that_have_grown(world: World, api: Api) -> None:
    engine = api.context.engine
    world.odoo.told = {"takes_refusals": True}
    beat(world, engine)
    assert world.odoo.standby_refusals == []
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    api(*CONTACT, b"{", key=WRONG, status=401, **JSON)
    rows(api)
    beat(world, engine)
    beat(world, engine)
    [reported] = world.odoo.standby_refusals
    assert [(each["key_name"], each["code"], each["requests"]) for each in reported] == [
        ("Prueba webhook", "not_json", 1),
        ("", "wrong_key", 1),
    ]
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    rows(api)
    beat(world, engine)
    assert [(each["code"], each["requests"]) for each in world.odoo.standby_refusals[1]] == [("not_json", 2)]


def test_an_older_addon_is_not_asked_and_gets_the_counts_once_it_is_upgraded(world: World, api: Api) -> None:
    engine = api.context.engine
    api(*CONTACT, b"{", key="webhook", status=400, **JSON)
    rows(api)
    beat(world, engine)
    assert len(world.odoo.heartbeats) == 1, "the bridge counts as alive"
    world.odoo.told = {"takes_refusals": True}
    beat(world, engine)
    assert [len(each) for each in world.odoo.standby_refusals] == [1]
