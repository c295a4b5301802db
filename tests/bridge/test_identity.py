"""Queues without a key: a real bridge logs in by azure-identity. Entra ID and Azure's roles are stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge import identity
from bridge.contract.payloads import CONTACT_QUEUE, DEAD_LETTER_QUEUE
from bridge.errors import QueueRightMissing
from bridge.queue import Queue

from ..queue_sdk import sdk
from ..webhook_cases import CONTACT
from . import entra
from .conftest import QUEUES, Azurite, Cli, World, contact, eventually, find_azurite, stage
from .entra import OBJECT_ID, Certificate, Entra
from .odoo_stand_in import OdooStandIn
from .process import api_process
from .roles import gateway

SOURCES = ("system-assigned", "user-assigned", "service principal", "workload")
URL = "BRIDGE_QUEUE_ACCOUNT_URL"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def https_azurite(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Azurite]:
    azurite = Azurite(find_azurite(), tmp_path_factory.mktemp("https-azurite"), certificate)
    yield azurite
    azurite.stop()


@pytest.fixture
def tenant(certificate: Certificate) -> Iterator[Entra]:
    tenant = Entra(certificate)
    yield tenant
    tenant.stop()


@pytest.fixture
def world(
    https_azurite: Azurite,
    tenant: Entra,
    engine: sa.Engine,
    odoo: OdooStandIn,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """A world whose bridges have the account's URL. The tests themselves look into its queues with the key."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tenant.certificate.certificate))
    queues = {name: Queue(https_azurite.connection_string, name) for name in QUEUES}
    for queue in queues.values():
        queue.create()
        sdk(queue).clear_messages()
    del environment["BRIDGE_QUEUE_CONNECTION_STRING"]
    environment |= {URL: https_azurite.account_url, **tenant.environment("system-assigned")}
    world = World(queues, engine, odoo, environment, tmp_path)
    yield world
    for bridge in world.bridges:
        if bridge.process.poll() is None:
            bridge.kill()
    for queue in queues.values():
        queue.close()


def as_source(world: World, tenant: Entra, source: str) -> None:
    for name in [name for name in world.environment if name.startswith(("AZURE_", "IDENTITY_"))]:
        del world.environment[name]
    world.environment |= tenant.environment(source)


@pytest.mark.parametrize("source", SOURCES)
def test_a_bridge_receives_updates_deletes_and_sends_as_each_kind_of_identity(
    world: World, tenant: Entra, source: str
) -> None:
    as_source(world, tenant, source)
    events = [contact("MC1"), stage("MC2"), stage("MC3", stage_id=99)]
    # It creates the queue that is missing, and sends a notice to it.
    sdk(world.queues[DEAD_LETTER_QUEUE]).delete_queue()
    world.send(*events)
    bridge = world.start_bridge()

    assert world.settle(*events) == ["stored", "created", "dead_lettered"]
    assert len(eventually(world.notices)) == 1
    assert bridge.terminate() == 0
    assert not bridge.lines("dependency_down")
    # One token for all queues and threads of the process.
    assert len(tenant.asked) == 1
    chosen = entra.CLIENT_ID in tenant.asked[0]
    assert chosen == (source != "system-assigned")


def test_every_command_works_with_the_url_and_none_prints_a_token_or_a_secret(
    world: World, tenant: Entra, cli: Cli
) -> None:
    as_source(world, tenant, "service principal")
    cli.environment = world.environment
    bad = stage("MC3", stage_id=99)
    world.send(bad, contact("MC1"))
    bridge = world.start_bridge(log_level="DEBUG")
    world.settle(bad)

    assert "ok     queue" in cli("check").stdout
    status = cli("status", "--json")
    assert status.returncode == 0, status.stdout
    world.odoo.stages[99] = "Nueva etapa"
    assert "Replayed 1." in cli("dlq", "replay").stdout
    eventually(lambda: world.outcomes(bad) == ["created"])
    assert cli("reconcile").returncode == 0
    erased = cli("erase", "--manychat-id", "MC1", "--yes")
    assert erased.returncode == 0
    assert "unknown" not in erased.stdout
    key = cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()
    with api_process(world.environment, world.folder) as api:
        request: Any = {"json": {"manychat_id": "MC9", "nombre_lead": "Ana"}, "headers": {"X-API-KEY": key}}
        # On a machine that is busy with other tests, the first token may come too late for the first request.
        eventually(lambda: api.request(*CONTACT, **request).status_code == 200)
        report = api.log.read_text()
    for text in (cli.printed, bridge.log.read_text(), report):
        assert entra.CLIENT_SECRET not in text
        assert "eyJ" not in text


def test_an_identity_endpoint_that_is_down_is_an_outage_that_the_bridge_waits_out(world: World, tenant: Entra) -> None:
    tenant.stop()
    events = [contact("MC1"), stage("MC2")]
    world.send(*events)
    bridge = world.start_bridge(max_attempts=1)
    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert line["dependency"] == "queue"
    assert "managed identity (no answer)" in line["reason"]
    tenant.start()

    assert world.settle(*events) == ["stored", "created"]
    assert world.rows("dead_letters") == []
    assert len(bridge.lines("dependency_down")) == 1


def test_tokens_that_end_while_the_endpoint_is_down_lose_nothing(world: World, tenant: Entra) -> None:
    tenant.seconds = 3
    first, second = contact("MC1"), stage("MC2")
    world.send(first)
    bridge = world.start_bridge(max_attempts=1)
    world.settle(first)
    tenant.stop()
    eventually(lambda: bridge.lines("dependency_down"))
    world.send(second)
    tenant.start()

    assert world.settle(first, second) == ["stored", "created"]
    assert world.rows("dead_letters") == []
    assert len(tenant.asked) > 1
    assert bridge.terminate() == 0


def test_the_standby_has_its_token_before_the_first_event(world: World, tenant: Entra, cli: Cli) -> None:
    cli.environment = world.environment
    key = cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()
    tenant.asked.clear()
    with api_process(world.environment, world.folder) as api:
        eventually(lambda: tenant.asked, "a token without an event")
        eventually(lambda: api.request("GET", "/health").status_code == 200)
        request: Any = {"json": {"manychat_id": "MC1", "nombre_lead": "Ana"}, "headers": {"X-API-KEY": key}}
        assert api.request(*CONTACT, **request).status_code == 200
    assert len(tenant.asked) == 1, "the event used the same token"


def test_the_standby_answers_503_while_it_has_no_token(world: World, tenant: Entra, cli: Cli) -> None:
    cli.environment = world.environment
    key = cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()
    tenant.stop()
    with api_process(world.environment, world.folder) as api:
        request: Any = {"json": {"manychat_id": "MC1", "nombre_lead": "Ana"}, "headers": {"X-API-KEY": key}}
        assert api.request(*CONTACT, **request).status_code == 503
        assert world.queues[CONTACT_QUEUE].depth() == 0
        tenant.start()
        eventually(lambda: api.request(*CONTACT, **request).status_code == 200)
    assert world.queues[CONTACT_QUEUE].depth() == 1


@pytest.mark.parametrize(
    ("source", "change", "refusal", "words"),
    [
        ("none", {}, None, ["service principal", "workload identity", "managed identity", "Give this machine"]),
        ("service principal", {"AZURE_CLIENT_SECRET": "x"}, None, ["secret is wrong", "AZURE_CLIENT_SECRET"]),
        ("service principal", {"AZURE_TENANT_ID": "no tenant"}, None, ["no such tenant", "AZURE_TENANT_ID"]),
        ("service principal", {"AZURE_AUTHORITY_HOST": "http://x"}, None, ["https", "AZURE_AUTHORITY_HOST"]),
        ("service principal", {"REQUESTS_CA_BUNDLE": ""}, None, ["certificate is not trusted"]),
        ("workload", {"AZURE_FEDERATED_TOKEN_FILE": "/nowhere"}, None, ["workload identity", "a file"]),
        ("system-assigned", {"AZURE_TOKEN_CREDENTIALS": "x"}, None, ["AZURE_TOKEN_CREDENTIALS"]),
        (
            "user-assigned",
            {},
            (400, {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found"}),
            ["no such identity", "AZURE_CLIENT_ID"],
        ),
        ("system-assigned", {}, (503, {"statusCode": 503, "message": "busy"}), ["no answer", "Can this machine reach"]),
        (
            "workload",
            {},
            (400, {"error": "invalid_grant", "error_description": "AADSTS700213: No matching federated identity"}),
            ["no federated credential", "service account"],
        ),
        (
            "service principal",
            {},
            (400, {"error": "x", "error_description": "AADSTS53003: Blocked by Conditional Access for ana@x.test"}),
            ["AADSTS53003"],
        ),
    ],
)
def test_check_says_in_one_sentence_why_there_is_no_token(
    world: World,
    tenant: Entra,
    cli: Cli,
    source: str,
    change: dict[str, str],
    refusal: tuple[int, dict[str, Any]] | None,
    words: list[str],
) -> None:
    as_source(world, tenant, source)
    tenant.refusal = refusal
    # Nothing listens there: a machine outside of Azure.
    nowhere = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9"} if source == "none" else {}
    cli.environment = world.environment | nowhere | change
    result = cli("check")

    assert result.returncode == 1
    line = next(line for line in result.stdout.splitlines() if "queue" in line)
    assert [word for word in words if word not in line] == []
    assert "ana@x.test" not in cli.printed
    assert entra.CLIENT_SECRET not in cli.printed


@pytest.mark.parametrize(
    ("roles", "lacking"),
    [
        (["Storage Queue Data Reader"], "add and update and process"),
        (["Storage Queue Data Message Sender"], "read"),
        (
            ["Storage Queue Data Message Processor", "Storage Queue Data Message Sender", "Storage Queue Data Reader"],
            "update",
        ),
        ([], "read"),
    ],
)
def test_check_names_the_role_that_is_missing_and_the_identity(
    world: World, certificate: Certificate, cli: Cli, roles: list[str], lacking: str
) -> None:
    with gateway(world.environment[URL], certificate, *roles) as azure:
        cli.environment = world.environment | {URL: azure.account_url}
        result = cli("check")
    assert result.returncode == 1
    line = next(line for line in result.stdout.splitlines() if "queue" in line)
    assert f"lacks {lacking}" in line
    assert OBJECT_ID in line
    assert "Storage Queue Data Contributor" in line


def test_the_named_role_is_enough_and_a_bridge_that_waits_for_it_goes_on_when_it_has_it(
    world: World, certificate: Certificate, cli: Cli
) -> None:
    event = stage("MC1")
    world.send(event)
    with gateway(world.environment[URL], certificate) as azure:
        bridge = world.start_bridge(queue_account_url=azure.account_url, max_attempts=1)
        [line] = eventually(lambda: bridge.lines("dependency_down"))
        assert "Storage Queue Data Contributor" in line["reason"]
        azure.roles = ["Storage Queue Data Contributor"]
        assert world.settle(event) == ["created"]
        cli.environment = world.environment | {URL: azure.account_url}
        assert "ok     queue" in cli("check").stdout
        assert bridge.terminate() == 0
    assert world.rows("dead_letters") == []


@pytest.fixture
def own_identity(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has the identity of the bridges."""
    for name, value in world.environment.items():
        if name.startswith(("IDENTITY_", "AZURE_")):
            monkeypatch.setenv(name, value)
    identity._identity.cache_clear()
    yield
    identity._identity.cache_clear()


@pytest.mark.usefixtures("own_identity")
def test_each_request_of_the_bridge_is_allowed_by_its_role(world: World, certificate: Certificate) -> None:
    sdk(world.queues[CONTACT_QUEUE]).delete_queue()
    with gateway(world.environment[URL], certificate, "Storage Queue Data Contributor") as azure:
        queue = Queue(azure.account_url, CONTACT_QUEUE)
        queue.ensure()
        queue.send("bWVzc2FnZQ==")
        assert len(queue.peek()) == 1
        [message] = queue.receive(32, 60)
        assert queue.hide(message, 30)
        assert queue.delete(message)
        assert not queue.delete(message)
        assert queue.depth() == 0
        queue.close()


@pytest.mark.usefixtures("own_identity")
def test_odoos_roles_send_and_count_and_create_no_queue(world: World, certificate: Certificate) -> None:
    roles = ("Storage Queue Data Message Sender", "Storage Queue Data Reader")
    with gateway(world.environment[URL], certificate, *roles) as azure:
        queue = Queue(azure.account_url, CONTACT_QUEUE)
        queue.send_or_create("bWVzc2FnZQ==")
        assert queue.depth() == 1
        sdk(world.queues[CONTACT_QUEUE]).delete_queue()
        with pytest.raises(QueueRightMissing, match=f"{OBJECT_ID}.*may not create it.*Contributor"):
            queue.send_or_create("bWVzc2FnZQ==")
        queue.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, "InvalidAuthenticationInfo"), ["401 InvalidAuthenticationInfo", OBJECT_ID, "tenant"]),
        ((403, "AuthorizationFailure"), ["network rules", "Networking"]),
        ((403, "KeyBasedAuthenticationNotPermitted"), ["takes no keys", "URL"]),
        ((403, "AccountIsDisabled"), ["disabled"]),
        ((503, "ServerBusy"), ["503 ServerBusy"]),
    ],
)
def test_what_the_service_says_instead_is_a_sentence(
    world: World, certificate: Certificate, cli: Cli, answer: tuple[int, str], words: list[str]
) -> None:
    with gateway(world.environment[URL], certificate) as azure:
        azure.answer = answer
        cli.environment = world.environment | {URL: azure.account_url}
        result = cli("check")
    line = next(line for line in result.stdout.splitlines() if "queue" in line)
    assert [word for word in words if word not in line] == []
