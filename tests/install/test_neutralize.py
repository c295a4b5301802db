"""A neutralized copy of a database in use: Odoo's own command, on a copy that keeps the server's settings."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from bridge.contract.payloads import OPPORTUNITY_QUEUE
from deploy.local import azurite
from deploy.local.odoo import Odoo
from deploy.local.paths import STATE
from deploy.local.supervision import own_environment

from .conftest import database_name

IN_USE = """
from datetime import datetime, timezone
from bridge.contract.event import accept
from bridge.contract.payloads import EventType
keys = env["manychat.api.key"]
print("KEYS", keys._generate("bot"), keys._generate_bridge_key("bridge"))
payload = {"manychat_id": "MC-N", "state": {"stage_id": 17, "date": "2026-01-01T00:00:00Z"}}
event = accept(EventType.OPPORTUNITY, payload, received_at=datetime.now(timezone.utc), source="odoo")
env["manychat.event"]._enqueue(event, keys.search([], limit=1))
env.cr.commit()
"""
LOOK = """
import json, os
os.environ["MIASALUD_QUEUE_CONNECTION_STRING"] = {connection_string!r}
webhook_key, bridge_key = {keys!r}
relay = env.ref("miasalud_crm.cron_relay")
was_active = relay.active
relay.active = True  # a user runs the job by hand
env["manychat.event"]._cron_relay()
print("SEEN " + json.dumps(dict(
    webhook_key=bool(env["manychat.api.key"]._authenticate(webhook_key)),
    bridge_key=bool(env["res.users.apikeys"]._check_credentials(scope="rpc", key=bridge_key)),
    active=was_active,
    states=env["manychat.event"].search([]).mapped("state"),
    step=env["manychat.setup"].checklist()[1],
    button=env["res.config.settings"].action_manychat_test_queue()["params"]["message"],
)))
env.cr.commit()
"""


@pytest.fixture(scope="module")
def seen(odoo: Odoo) -> Iterator[dict[str, dict[str, Any]]]:
    """What the copy says, and then the original; both have the production queue in their environment."""
    name = database_name("neutralize", odoo)
    copy = f"{name}_copy"
    odoo.create(name, durable=False)
    odoo.install_modules(name, ["miasalud_crm"])
    with azurite.serving() as connection_string:
        try:
            printed = odoo.run_script(name, IN_USE)
            keys = next(line for line in printed.splitlines() if line.startswith("KEYS")).split()[1:]
            odoo.cluster.drop(copy)
            odoo.cluster.create(copy, name)
            neutralize(odoo, copy)
            answers = {}
            for role, database in (("copy", copy), ("original", name)):
                answers[role] = look(odoo, database, keys, connection_string)
                answers[role]["on_queue"] = on_queue(connection_string)
            yield answers
        finally:
            odoo.drop(name)
            odoo.drop(copy)


def neutralize(odoo: Odoo, database: str) -> None:
    configuration = STATE / "tmp" / f"{database}.conf"
    odoo.write_configuration(configuration, database)
    command = odoo.command("neutralize", "-c", configuration, "-d", database)
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=STATE, env=own_environment())
    assert "Neutralization finished" in done.stderr, done.stderr
    assert done.returncode == 0


def look(odoo: Odoo, database: str, keys: list[str], connection_string: str) -> dict[str, Any]:
    printed = odoo.run_script(database, LOOK.format(keys=keys, connection_string=connection_string))
    return json.loads(next(line for line in printed.splitlines() if line.startswith("SEEN "))[5:])


def on_queue(connection_string: str) -> int:
    with QueueClient.from_connection_string(connection_string, OPPORTUNITY_QUEUE) as queue:
        try:
            return queue.get_queue_properties().approximate_message_count or 0
        except ResourceNotFoundError:
            return 0


def test_the_original_works(seen: dict[str, Any]) -> None:
    original = seen["original"]
    assert original["webhook_key"]
    assert original["bridge_key"]
    assert original["active"]
    assert (original["states"], original["on_queue"]) == (["queued"], 1)
    assert original["step"]["state"] == "done"


def test_a_neutralized_copy_does_not_reach_the_queue(seen: dict[str, Any]) -> None:
    copy = seen["copy"]
    assert not copy["active"]
    assert (copy["states"], copy["on_queue"]) == (["pending"], 0)


def test_keys_do_not_work_in_a_neutralized_copy(seen: dict[str, Any]) -> None:
    copy = seen["copy"]
    assert not copy["webhook_key"]
    assert not copy["bridge_key"]


def test_a_neutralized_copy_says_what_it_is(seen: dict[str, Any]) -> None:
    copy = seen["copy"]
    assert copy["step"]["state"] == "warning"
    assert "neutralized copy" in copy["step"]["text"]
    assert "neutralized copy" in copy["button"]
