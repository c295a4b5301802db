"""The keys of the API: what each opens, and how they come and go without a restart."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from bridge.contract.keys import digest
from bridge.store import api_keys
from bridge.store.engine import in_transaction

from ..webhook_cases import CONTACT
from .api import Api
from .conftest import Cli, World, eventually
from .process import api_process

READ = ("GET", "/api/v1/contacts/")
WRITE = ("POST", "/api/v1/contacts/")


@pytest.mark.parametrize(
    ("scope", "opens"),
    [("webhook", {CONTACT: 200, READ: 403, WRITE: 403}), ("read", {CONTACT: 403, READ: 200, WRITE: 403}),
     ("write", {CONTACT: 200, READ: 200, WRITE: 201})],
)  # fmt: skip
def test_a_key_opens_what_its_scope_says(api: Api, scope: str, opens: dict[tuple[str, str], int]) -> None:
    for route, status in opens.items():
        answer = api(*route, None if route == READ else {"manychat_id": "MC1"}, key=scope)
        assert answer.status_code == status, answer.text
        if status == 403:
            assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("route", [READ, WRITE, ("DELETE", "/api/v1/contacts/1"), ("GET", "/api/v1/audit/")])
def test_without_a_key_nothing_opens_and_nothing_of_the_body_is_looked_at(api: Api, route: tuple[str, str]) -> None:
    for key in (None, "mck_wrong"):
        assert api(*route, b"{" if route == WRITE else None, key=key, status=401)["code"] == "unauthorized"


def test_an_expired_key_is_none(api: Api) -> None:
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    row = {"name": "a", "prefix": "mck_expiring", "digest": digest("mck_expiring-soon"), "scope": "read"}
    in_transaction(api.context.engine, api_keys.add, expires_at=soon, **row)
    api.context.keys.refresh()
    assert api(*READ, key="mck_expiring-soon", status=200)
    # The one in memory expires too, without anybody reading SQL again.
    (known,) = [key for key in api.context.keys._keys or () if key.expires_at]
    object.__setattr__(known, "expires_at", datetime.now(timezone.utc))
    assert api(*READ, key="mck_expiring-soon", status=401)


def test_a_running_api_takes_new_keys_and_refuses_revoked_ones(world: World, cli: Cli) -> None:
    with api_process(world.environment, world.folder) as api:
        made = cli("key", "create", "Informes", "--scope", "read", "--expires-in", "90d")
        key = made.stdout.strip()
        headers = {"X-API-KEY": key}
        eventually(lambda: api.request(*READ, headers=headers).status_code == 200)
        listed = cli.start("key", "list").stdout
        assert "Informes" in listed
        assert key not in listed
        fields = json.loads(cli("key", "list", "--json").stdout)
        assert (fields["name"], fields["scope"], fields["prefix"]) == ("Informes", "read", key[:12])
        eventually(lambda: world.rows("api_keys")[0].last_used_at)
        assert "1 key revoked." in cli.start("key", "revoke", key[:12], "--yes").stdout
        eventually(lambda: api.request(*READ, headers=headers).status_code in (401, 429))
    assert key not in str(world.rows("api_keys"))


def test_a_bots_key_of_odoo_is_taken_in(cli: Cli, world: World) -> None:
    key = "mck_made-in-odoo-0123456789"
    assert "Imported" in cli("key", "create", "Bot", "--scope", "webhook", "--existing", stdin=f"{key}\n").stdout
    (row,) = world.rows("api_keys")
    assert (row.digest, row.scope) == (digest(key), "webhook")
    for text in (key, "corta", "con espacios dentro de ella", "ñandú-ñandú-ñandú-ñandú"):
        refused = cli("key", "create", "Bot", "--scope", "webhook", "--existing", stdin=text)
        assert refused.returncode == 2
        assert text not in refused.stderr + refused.stdout
    assert cli("key", "revoke", "77", "--yes").returncode == 1


def test_a_key_is_made_with_the_zone_of_its_bots_dates(cli: Cli) -> None:
    for zone in ("America/Bogota", None):
        cli("key", "create", f"Bot {zone}", "--scope", "webhook", *(["--zone", zone] if zone else []))
    listed = [json.loads(line)["zone"] for line in cli("key", "list", "--json").stdout.splitlines()]
    assert listed == ["America/Bogota", "UTC"]
    for unknown in ("Bogotá", "America", "../etc/passwd", ""):
        assert cli("key", "create", "Bot", "--scope", "webhook", "--zone", unknown).returncode == 2


def test_a_date_without_an_offset_is_of_the_keys_zone(api: Api) -> None:
    row = {"name": "a", "prefix": "mck_bogota", "digest": digest("mck_bogota-bot"), "scope": "webhook"}
    in_transaction(api.context.engine, api_keys.add, zone="America/Bogota", **row)
    api.context.keys.refresh()
    body = {"manychat_id": "MC1", "datetime_actual": "20 Oct 2025, 05:41pm"}
    for key, hour in (("mck_bogota-bot", "22"), ("webhook", "17")):
        seen = api(*CONTACT, body, key=key, status=200, headers={"X-Dry-Run": "1"})
        assert seen["payload"]["datetime_actual"] == f"2025-10-20T{hour}:41:00.000000Z"


def test_who_wrote_what_is_in_the_log_and_people_are_not(world: World, cli: Cli) -> None:
    key = cli("key", "create", "Importación", "--scope", "write").stdout.strip()
    with api_process(world.environment, world.folder) as api:
        body = {"manychat_id": "MC1", "first_name": "Zoraida", "phone": "+520000000009"}
        assert api.request(*WRITE, json=body, headers={"X-API-KEY": key}).status_code == 201
        bad = {"manychat_id": "MC2", "first_name": ["Zoraida"], "apodo": "+520000000009"}
        assert api.request(*WRITE, json=bad, headers={"X-API-KEY": key}).status_code == 422
        assert api.stop() == 0
    text = api.log.read_text()
    (line,) = [json.loads(line) for line in text.splitlines() if '"api_write"' in line]
    assert (line["table"], line["row_id"], line["outcome"], line["key"]) == ("contacts", 1, "created", "Importación")
    for private in ("Zoraida", "+520000000009", key):
        assert private not in text


def test_a_port_that_is_taken_is_said_in_one_line(world: World, cli: Cli) -> None:
    with api_process(world.environment, world.folder) as api:
        refused = cli("api", "--port", str(api.port))
        assert refused.returncode == 2
        assert "BRIDGE_API_PORT" in refused.stderr
