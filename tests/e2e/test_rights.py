"""What the two machine users may do, tried from outside with their own keys."""

import time

import pytest
import requests

from tests.world import WEBHOOK, World


def call(world: World, model: str, method: str, *arguments: object) -> dict:
    """A call over JSON-RPC as the bridge's own user; Odoo's raw answer."""
    stack = world.stack
    user = world.odoo("res.users", "search", [["login", "=", "manychat_bridge"]])[0]
    parameters = [stack.database, user, stack.bridge_key, model, method, list(arguments), {}]
    body = {"jsonrpc": "2.0", "params": {"service": "object", "method": "execute_kw", "args": parameters}}
    return requests.post(f"{stack.odoo_url}/jsonrpc", json=body, timeout=30).json()


@pytest.mark.parametrize(
    ("model", "method", "arguments"),
    [
        ("crm.lead", "search_read", [[]]),
        ("crm.lead", "create", [{"name": "Intruso"}]),
        ("crm.lead", "_manychat_apply_bisecting", [[]]),
        ("res.partner", "search_read", [[]]),
        ("res.partner", "create", [{"name": "Intruso"}]),
        ("manychat.event", "search_read", [[]]),
        ("manychat.api.key", "search_read", [[]]),
        ("manychat.api.key", "_generate", ["Intruso"]),
        ("ir.config_parameter", "get_param", ["database.secret"]),
        ("mail.mail", "onchange", [[], {"mail_message_id": 1}, ["mail_message_id"], {"body_html": {}}]),
        ("res.users", "onchange", [[], {"partner_id": 1}, ["partner_id"], {"email": {}}]),
        ("res.users", "write", [[1], {"signature": "Intruso"}]),
        ("res.users", "has_group", ["base.group_user"]),
    ],
)
def test_the_bridges_key_opens_nothing_else(world: World, model: str, method: str, arguments: list) -> None:
    answer = call(world, model, method, *arguments)
    assert "error" in answer
    assert "result" not in answer


def test_the_bridges_key_applies_events_and_tells_that_the_bridge_lives(world: World) -> None:
    assert call(world, "crm.lead", "manychat_apply", [])["result"] == []
    assert "discarded" in call(world, "manychat.bridge", "heartbeat", "prueba", "0")["result"]


def test_the_bridges_key_hears_of_events_and_bridges_and_nothing_that_people_said(world: World) -> None:
    event_id = (chat := world.chat()).enters(17, phone="+520000000009", summary="Algo privado")
    world.settled(event_id)
    told = call(world, "manychat.event", "get_history", event_id)["result"]
    assert [each["event_id"] for each in told] == [event_id]
    for text in ("Prueba", "520000000009", "privado"):
        assert text not in str(told)
    assert told == call(world, "manychat.event", "get_history", "", chat.manychat_id)["result"]
    assert call(world, "manychat.bridge", "get_active")["result"]


def test_a_webhook_key_opens_no_rpc(world: World) -> None:
    stack = world.stack
    for login in ("admin", "manychat_webhook", "manychat_bridge"):
        body = {
            "jsonrpc": "2.0",
            "params": {"service": "common", "method": "login", "args": [stack.database, login, stack.webhook_key]},
        }
        assert not requests.post(f"{stack.odoo_url}/jsonrpc", json=body, timeout=30).json().get("result")


def at_standby(world: World, key: str) -> int:
    """The status of the standby's answer to an event of nobody."""
    time.sleep(2)  # in which it reads its keys again; each try too many would count as guessing
    headers = {"X-API-KEY": key}
    return requests.post(f"{world.stack.api_url}{WEBHOOK}contact", json={}, headers=headers, timeout=30).status_code


def test_revoking_a_key_works_at_once_and_at_the_standby_soon(world: World) -> None:
    # A key of its own: a revoked one stays revoked.
    dialog = world.odoo("manychat.api.key.create", "create", {"name": "Revoked bot"})
    key: str = world.odoo("manychat.api.key.create", "action_generate", [dialog])["context"]["default_key"]
    ids = world.odoo("manychat.api.key", "search", [["prefix", "=", key[:12]]])
    chat, header = world.chat(), {"X-API-KEY": key}
    assert world.post("crm-opportunity", chat.event(17), **header).status_code == 200
    # The standby hears of both by the next heartbeat.
    world.eventually(lambda: world.sql("SELECT 1 FROM api_keys WHERE in_odoo AND prefix = :prefix", prefix=key[:12]))
    world.eventually(lambda: at_standby(world, key) == 422)
    world.odoo("manychat.api.key", "action_revoke", ids)
    # 429 if other tests have tried too many wrong keys from here just now
    assert world.post("crm-opportunity", chat.event(18, 1), **header).status_code in (401, 429)
    world.eventually(lambda: at_standby(world, key) in (401, 429))
    assert world.post("crm-opportunity", chat.event(18, 1)).status_code == 200
