"""Keys that were made in Odoo: the standby takes them by themselves, and they end there as they end in Odoo."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.keys import OdooKey, digest, prefix
from bridge.store import api_keys
from bridge.store.engine import in_transaction

from ..webhook_cases import CONTACT
from .api import Api
from .conftest import Cli, World, eventually

KEY = "mck_made-in-odoo-0123456789"
NOW = datetime(2026, 3, 2, tzinfo=timezone.utc)


def told(key: str = KEY, **fields: Any) -> dict[str, Any]:
    """A key as Odoo tells of it."""
    known = {"name": "Bot", "prefix": prefix(key), "digest": digest(key), "expires_at": None, "zone": None}
    return {**known, **fields}


def take_over(engine: sa.Engine, *keys: dict[str, Any]) -> int:
    return in_transaction(engine, api_keys.take_over, [OdooKey(**key) for key in keys])


def valid(engine: sa.Engine) -> set[str]:
    return {row.digest for row in in_transaction(engine, api_keys.valid_keys)}


def refresh(api: Api, *keys: dict[str, Any]) -> None:
    take_over(api.context.engine, *keys)
    api.context.keys.refresh()


def test_a_key_of_odoo_opens_the_webhooks_and_nothing_else(api: Api) -> None:
    refresh(api, told())
    assert api(*CONTACT, {"manychat_id": "MC1"}, key=KEY, status=200)
    assert api("GET", "/api/v1/contacts/", key=KEY, status=403)


def test_it_ends_when_it_ends_in_odoo_and_comes_back_with_it(api: Api) -> None:
    refresh(api, told())
    refresh(api)
    assert api(*CONTACT, {"manychat_id": "MC1"}, key=KEY, status=401)
    refresh(api, told())
    assert api(*CONTACT, {"manychat_id": "MC1"}, key=KEY, status=200)


def test_it_expires_here_without_word_from_odoo(api: Api) -> None:
    refresh(api, told(expires_at=(datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()))
    assert api(*CONTACT, {"manychat_id": "MC1"}, key=KEY, status=200)
    refresh(api, told(expires_at=(datetime.now(timezone.utc) - timedelta(seconds=1)).isoformat()))
    assert api(*CONTACT, {"manychat_id": "MC1"}, key=KEY, status=401)


def test_its_zone_comes_with_it(api: Api) -> None:
    body = {"manychat_id": "MC1", "datetime_actual": "20 Oct 2025, 05:41pm"}
    for zone, hour in (("America/Bogota", "22"), (None, "17")):
        refresh(api, told(zone=zone))
        seen = api(*CONTACT, body, key=KEY, status=200, headers={"X-Dry-Run": "1"})
        assert seen["payload"]["datetime_actual"] == f"2025-10-20T{hour}:41:00.000000Z"


def test_keys_that_were_made_here_are_not_odoos(api: Api) -> None:
    before = valid(api.context.engine)
    refresh(api, told())
    refresh(api)
    assert valid(api.context.engine) == before


def test_an_existing_key_that_an_operator_added_is_odoos_once_odoo_tells_of_it(api: Api) -> None:
    row = {"name": "Bot", "prefix": prefix(KEY), "digest": digest(KEY), "scope": "webhook"}
    in_transaction(api.context.engine, api_keys.add, **row)
    assert take_over(api.context.engine) == 0
    assert digest(KEY) in valid(api.context.engine)
    assert take_over(api.context.engine, told()) == 1
    assert take_over(api.context.engine, told()) == 0
    assert take_over(api.context.engine) == 1
    assert digest(KEY) not in valid(api.context.engine)


def test_what_an_operator_revoked_here_stays_revoked(api: Api) -> None:
    take_over(api.context.engine, told())
    (row,) = [row for row in in_transaction(api.context.engine, api_keys.all_keys) if row.digest == digest(KEY)]
    in_transaction(api.context.engine, api_keys.revoke, [row.id])
    take_over(api.context.engine, told())
    assert digest(KEY) not in valid(api.context.engine)


@pytest.mark.parametrize("odoo", [18, 19], indirect=True)
def test_a_running_bridge_brings_it_and_ends_it(world: World, cli: Cli) -> None:
    world.odoo.told = {"keys": [told(zone="America/Bogota")]}
    bridge = world.start_bridge()
    (row,) = eventually(lambda: world.rows("api_keys"))
    assert (row.digest, row.scope, row.zone, row.in_odoo) == (digest(KEY), "webhook", "America/Bogota", True)
    bridge.terminate()
    # An older addon says nothing of keys: those known last stay.
    world.odoo.told = {}
    beats = len(world.odoo.heartbeats)
    bridge = world.start_bridge()
    eventually(lambda: len(world.odoo.heartbeats) > beats)
    bridge.terminate()
    assert world.rows("api_keys")[0].in_odoo is True
    world.odoo.told = {"keys": []}
    world.start_bridge()
    eventually(lambda: world.rows("api_keys")[0].in_odoo is False)
    assert json.loads(cli("key", "list", "--json").stdout)["in_odoo"] is False
