"""Odoo's relay without a key, in a real Odoo: azure-identity logs in. Entra ID and Azure's roles are stand-ins."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.contract.payloads import OPPORTUNITY_QUEUE, QUEUES
from bridge.queue import Queue
from deploy.local.odoo import Odoo

from ..bridge.conftest import Azurite, find_azurite
from ..bridge.entra import CLIENT_SECRET, OBJECT_ID, Certificate, Entra
from ..bridge.roles import gateway
from .conftest import database_name

#: A fresh process each time, as after a restart of Odoo.
RELAY = """
import json, logging, os, sys
os.environ.update({environment!r})
{before}
from datetime import datetime, timezone
from bridge.contract.event import accept
from bridge.contract.payloads import EventType
lines = []
class Keep(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
logging.getLogger().addHandler(Keep())
Event = env["manychat.event"]
Event.search([]).unlink()
for number in range({events}):
    payload = {{"manychat_id": f"MC-{{number}}", "state": {{"stage_id": 17, "date": "2026-01-01T00:00:00Z"}}}}
    event = accept(EventType.OPPORTUNITY, payload, received_at=datetime.now(timezone.utc), source="odoo")
    Event._enqueue(event, env["manychat.api.key"])
env.cr.commit()
Event._cron_relay()
# The commit has woken the thread of this process, which may be the one that sends.
from odoo.addons.miasalud_crm import relay_thread
for thread in list(relay_thread._threads.values()):
    thread.join(10)
env.cr.commit()
from odoo.addons.miasalud_crm.queues import queue_report
report = queue_report(env)
print("SEEN " + json.dumps(dict(
    states=Event.search([]).mapped("state"),
    report=report,
    step=[step for step in env["manychat.setup"].checklist() if step["name"] == "queue"][0],
    button=env["res.config.settings"].action_manychat_test_queue()["params"]["message"],
    lines=lines,
)))
"""


@pytest.fixture(scope="module")
def database(odoo: Odoo) -> Iterator[str]:
    name = database_name("identity", odoo)
    odoo.create(name, durable=False)
    odoo.install_modules(name, ["miasalud_crm"])
    yield name
    odoo.drop(name)


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entra]:
    tenant = Entra(Certificate(tmp_path_factory.mktemp("certificate")))
    yield tenant
    tenant.stop()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory, tenant: Entra) -> Iterator[Azurite]:
    azurite = Azurite(find_azurite(), tmp_path_factory.mktemp("azurite"), tenant.certificate)
    yield azurite
    azurite.stop()


class Relay:
    """Runs Odoo's relay once, in a process of its own."""

    def __init__(self, odoo: Odoo, database: str, tenant: Entra, azurite: Azurite):
        self.odoo, self.database, self.tenant, self.azurite = odoo, database, tenant, azurite

    def __call__(self, url: str, source: str, *, events: int = 3, before: str = "", **settings: str) -> dict[str, Any]:
        environment = self.tenant.environment(source) | {"MIASALUD_QUEUE_ACCOUNT_URL": url, **settings}
        script = RELAY.format(environment=environment, events=events, before=before)
        printed = self.odoo.run_script(self.database, script)
        assert CLIENT_SECRET not in printed
        assert "eyJ" not in printed
        line = next(line for line in printed.splitlines() if line.startswith("SEEN "))
        seen: dict[str, Any] = json.loads(line.removeprefix("SEEN "))
        return seen


@pytest.fixture
def relay(odoo: Odoo, database: str, tenant: Entra, azurite: Azurite) -> Relay:
    return Relay(odoo, database, tenant, azurite)


def test_the_relay_sends_and_counts_as_odoos_roles_allow(
    relay: Relay, azurite: Azurite, tenant: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tenant.certificate.certificate))
    # These roles create no queue.
    for name in QUEUES.values():
        Queue(azurite.connection_string, name).create()
    queue = Queue(azurite.connection_string, OPPORTUNITY_QUEUE)
    roles = ("Storage Queue Data Message Sender", "Storage Queue Data Reader")
    with gateway(azurite.account_url, tenant.certificate, *roles) as azure:
        seen = relay(azure.account_url, "user-assigned", events=20)

    assert set(seen["states"]) == {"queued"}
    assert queue.depth() == seen["report"]["depth"][OPPORTUNITY_QUEUE] == 20
    assert seen["step"]["state"] != "todo"
    assert "The queue answers" in seen["button"]
    # One token for all queues, the relay's, the report's and the checklist's.
    assert len(tenant.asked) == 1


def test_a_service_principal_creates_the_queues_that_are_missing(relay: Relay, azurite: Azurite) -> None:
    seen = relay(azurite.account_url, "service principal")
    assert set(seen["states"]) == {"queued"}
    assert seen["report"]["status"] == "ok"


def test_without_a_role_events_wait_and_odoo_names_the_role_and_the_identity(
    relay: Relay, azurite: Azurite, tenant: Entra
) -> None:
    with gateway(azurite.account_url, tenant.certificate) as azure:
        seen = relay(azure.account_url, "system-assigned")
    assert set(seen["states"]) == {"pending"}
    assert seen["report"]["status"] == "not_allowed"
    for text in (seen["step"]["text"], seen["button"]):
        assert "Storage Queue Data Message Sender" in text
        assert OBJECT_ID in text
    assert any("wait" in line and "role" in line for line in seen["lines"])


def test_while_the_identity_endpoint_is_down_events_wait(relay: Relay, azurite: Azurite, tenant: Entra) -> None:
    tenant.stop()
    try:
        seen = relay(azurite.account_url, "system-assigned")
    finally:
        tenant.start()
    assert set(seen["states"]) == {"pending"}
    assert seen["report"]["status"] == "unreachable"
    assert "none is lost" in seen["button"]


def test_a_machine_without_an_identity_is_said_to_have_none(relay: Relay, azurite: Azurite) -> None:
    nowhere = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9"}
    seen = relay(azurite.account_url, "none", **nowhere)
    assert set(seen["states"]) == {"pending"}
    assert "tried service principal" in seen["button"]


@pytest.mark.parametrize(
    ("before", "settings", "words"),
    [
        ("sys.modules['azure.identity'] = None", {}, "pip install azure-identity"),
        ("", {"MIASALUD_QUEUE_CONNECTION_STRING": "UseDevelopmentStorage=true"}, "both set"),
        ("", {"MIASALUD_QUEUE_ACCOUNT_URL": "not an account"}, "queue_account_url: not a URL"),
    ],
)
def test_a_setting_that_cannot_work_is_a_sentence(
    relay: Relay, azurite: Azurite, before: str, settings: dict[str, str], words: str
) -> None:
    seen = relay(settings.pop("MIASALUD_QUEUE_ACCOUNT_URL", azurite.account_url), "none", before=before, **settings)
    assert set(seen["states"]) == {"pending"}
    assert seen["report"]["status"] == "malformed"
    assert words in seen["button"]
    assert any(words in line for line in seen["lines"])


def test_a_neutralized_copy_uses_no_queue(relay: Relay, azurite: Azurite, tenant: Entra) -> None:
    tenant.asked.clear()
    neutralize = "env['ir.config_parameter'].set_param('database.is_neutralized', True)"
    seen = relay(azurite.account_url, "system-assigned", before=neutralize)
    relay.odoo.run_script(
        relay.database, "env['ir.config_parameter'].set_param('database.is_neutralized', False); env.cr.commit()"
    )
    assert set(seen["states"]) == {"pending"}
    assert seen["report"] == {"status": "neutralized"}
    assert tenant.asked == []
