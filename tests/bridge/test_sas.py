"""A shared access signature (SAS) instead of the key: the rights that are needed are enough, and are named."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from azure.storage.queue import AccountSasPermissions, ResourceTypes, generate_account_sas

from bridge.contract.payloads import CONTACT_QUEUE, DEAD_LETTER_QUEUE, DECISION_QUEUE
from bridge.errors import QueueDenied, QueueMissing, QueueRightMissing
from bridge.queue import Queue

from ..queue_sdk import sdk
from ..webhook_cases import CONTACT
from .conftest import Azurite, Cli, World, contact, eventually, stage
from .process import api_process


def sas(azurite: Azurite, rights: str, *, resources: str = "co", minutes: int = 60) -> str:
    """A connection string with a SAS of these rights (``sp``), resource types (``srt``) and duration."""
    parts = dict(part.split("=", 1) for part in azurite.connection_string.strip(";").split(";"))
    signature = generate_account_sas(
        parts["AccountName"],
        parts["AccountKey"],
        ResourceTypes.from_string(resources),
        AccountSasPermissions.from_string(rights),
        expiry=datetime.now(timezone.utc) + timedelta(minutes=minutes),
    )
    return f"QueueEndpoint={parts['QueueEndpoint']};SharedAccessSignature={signature}"


def drop(world: World, name: str) -> None:
    sdk(world.queues[name]).delete_queue()


def test_a_bridge_needs_no_right_to_create_queues_that_exist(world: World, azurite: Azurite, cli: Cli) -> None:
    secret = sas(azurite, "raup")
    events = [contact("MC1"), stage("MC2"), stage("MC3", stage_id=99)]
    world.send(*events)
    bridge = world.start_bridge(queue_connection_string=secret)

    assert world.settle(*events) == ["stored", "created", "dead_lettered"]
    assert len(world.notices()) == 1
    assert not bridge.lines("dependency_down")
    assert "ok     queue" in cli("check", queue_connection_string=secret).stdout
    world.odoo.stages[99] = "Nueva etapa"
    assert "Replayed 1." in cli("dlq", "replay", queue_connection_string=secret).stdout
    assert cli("reconcile", queue_connection_string=secret).returncode == 0
    eventually(lambda: world.outcomes(events[2]) == ["created"])


def test_the_standby_needs_only_the_right_to_add(world: World, azurite: Azurite, cli: Cli) -> None:
    environment = {**world.environment, "BRIDGE_QUEUE_CONNECTION_STRING": sas(azurite, "a", resources="o")}
    key = cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()
    with api_process(environment, world.folder) as api:
        answer = api.request(*CONTACT, json={"manychat_id": "MC1", "nombre_lead": "Ana"}, headers={"X-API-KEY": key})

    assert answer.json()["status"] == "accepted"
    assert world.queues[CONTACT_QUEUE].depth() == 1


@pytest.mark.parametrize(
    ("rights", "resources", "lacking"),
    [
        ("rap", "co", ["update"]),
        ("rau", "co", ["process"]),
        ("r", "co", ["add", "update", "process"]),
        ("aup", "co", ["read"]),
        # Azurite's own table of resource types, which differs from Azure's for two of them.
        ("raup", "o", ["read", "update", "process"]),
        ("raup", "c", ["add"]),
    ],
)
def test_check_names_the_rights_that_are_missing(
    queues: dict[str, Queue], azurite: Azurite, cli: Cli, rights: str, resources: str, lacking: list[str]
) -> None:
    found = cli("check", queue_connection_string=sas(azurite, rights, resources=resources))

    assert found.returncode == 1
    [line] = [line for line in found.stdout.splitlines() if "queue" in line and "FAILED" in line]
    assert f"the SAS lacks {' and '.join(lacking)} on" in line
    assert "sp=raup" in line
    # What it tried has left nothing behind.
    assert {queue.depth() for queue in queues.values()} == {0}


@pytest.mark.parametrize("rights", ["rap", "rau", "rup"])
def test_a_bridge_without_a_right_says_which_and_goes_on_when_it_gets_it(
    world: World, azurite: Azurite, rights: str
) -> None:
    event = contact()
    world.send(event)
    bridge = world.start_bridge(queue_connection_string=sas(azurite, rights))
    [line] = eventually(lambda: bridge.lines("dependency_down"))

    assert "the SAS lacks" in line["reason"]
    assert "sp=raup" in line["reason"]
    assert bridge.terminate() == 0
    assert world.queues[event.type.queue].depth() == 1


def test_a_queue_that_is_missing_is_created_if_the_sas_may(world: World, azurite: Azurite, cli: Cli) -> None:
    drop(world, CONTACT_QUEUE)
    refused = cli("check", queue_connection_string=sas(azurite, "raup"))
    assert refused.returncode == 1
    assert f"{CONTACT_QUEUE} does not exist, and the SAS may not create it" in refused.stdout
    bridge = world.start_bridge(queue_connection_string=sas(azurite, "raup"))
    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert "may not create it" in line["reason"]

    assert "ok     queue" in cli("check", queue_connection_string=sas(azurite, "raupc")).stdout
    # The bridge that waits finds it.
    event = contact()
    world.send(event)
    assert world.settle(event) == ["stored"]


def test_a_queue_that_is_missing_holds_up_its_own_events_only(world: World, azurite: Azurite) -> None:
    """As after an upgrade that brings a queue: the chat's events must not wait for the operator who makes it."""
    drop(world, DECISION_QUEUE)
    events = [contact("MC1"), stage("MC2"), stage("MC3", stage_id=99)]
    world.send(*events)
    bridge = world.start_bridge(queue_connection_string=sas(azurite, "raup"))

    assert world.settle(*events) == ["stored", "created", "dead_lettered"]
    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert line["dependency"] == DECISION_QUEUE
    assert f"{DECISION_QUEUE} does not exist, and the SAS may not create it" in line["reason"]

    world.queues[DECISION_QUEUE].create()
    decided = world.odoo.decide("MC2", "stage", stage=world.odoo.stages[25])
    world.send(decided)
    assert world.settle(decided) == ["stored"]
    assert [line["dependency"] for line in bridge.lines("dependency_up")] == [DECISION_QUEUE]


def test_a_queue_that_is_deleted_meanwhile_holds_up_its_own_events_only(world: World, azurite: Azurite) -> None:
    first, second = contact("MC1"), contact("MC2")
    world.send(first)
    bridge = world.start_bridge(queue_connection_string=sas(azurite, "raup"))
    world.settle(first)
    assert not bridge.lines("dependency_down")

    drop(world, DECISION_QUEUE)
    eventually(lambda: bridge.lines("dependency_down"))
    world.send(second)
    assert world.settle(second) == ["stored"]
    assert {line["dependency"] for line in bridge.lines("dependency_down")} == {DECISION_QUEUE}


def test_a_message_is_put_with_the_right_to_add_alone(queues: dict[str, Queue], azurite: Azurite) -> None:
    """As Odoo's relay does it."""
    queue = Queue(sas(azurite, "a", resources="o"), CONTACT_QUEUE)
    queue.send_or_create("bWVzc2FnZQ==")
    assert queues[CONTACT_QUEUE].depth() == 1
    sdk(queues[CONTACT_QUEUE]).delete_queue()
    with pytest.raises(QueueRightMissing, match="may not create it"):
        queue.send_or_create("bWVzc2FnZQ==")
    queue.close()


def test_an_expired_sas_is_a_refused_key_and_no_missing_right(queues: dict[str, Queue], azurite: Azurite) -> None:
    queue = Queue(sas(azurite, "raup", minutes=-5), DEAD_LETTER_QUEUE)
    with pytest.raises(QueueDenied, match="may have expired") as caught:
        queue.ensure()
    assert not isinstance(caught.value, (QueueRightMissing, QueueMissing))
    queue.close()
