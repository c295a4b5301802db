"""A storage account's keys are replaced while all is running: nothing is lost, and no dead letter is made."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.contract.payloads import CONTACT_QUEUE
from bridge.queue import Queue

from ..webhook_cases import CONTACT
from .conftest import QUEUES, Azurite, Cli, World, contact, eventually, find_azurite, stage
from .process import api_process


@pytest.fixture
def account(tmp_path: Path, world: World) -> Iterator[Azurite]:
    """A storage account of our own, with two keys, whose queues are the world's."""
    folder = tmp_path / "own azurite"
    folder.mkdir()
    azurite = Azurite(find_azurite(), folder)
    look_into(world, azurite)
    for name in QUEUES:
        world.queues[name].create()
    yield azurite
    azurite.stop()


def look_into(world: World, azurite: Azurite) -> None:
    """Let the test itself use a key that is valid."""
    world.queues = {name: Queue(azurite.connection_string, name) for name in QUEUES}


def regenerate(azurite: Azurite) -> None:
    """Replace the first key, as the portal's button does."""
    azurite.stop()
    azurite.keys[0] = base64.b64encode(secrets.token_bytes(32)).decode()
    azurite.start()


def test_a_bridge_whose_key_was_regenerated_waits_and_one_with_the_new_key_goes_on(
    world: World, account: Azurite, cli: Cli
) -> None:
    revoked = account.connection_string
    bridge = world.start_bridge(queue_connection_string=revoked, max_attempts=1)
    first, second = contact("MC1"), stage("MC2")
    world.send(first)
    world.settle(first)
    regenerate(account)
    look_into(world, account)
    world.send(second)
    eventually(lambda: bridge.lines("dependency_down"))
    assert "403 AuthenticationFailed" in cli("check", queue_connection_string=revoked).stdout
    assert world.outcomes(second) == [None]
    assert bridge.terminate() == 0
    world.start_bridge(queue_connection_string=account.connection_string)

    assert world.settle(first, second) == ["stored", "created"]
    assert world.rows("dead_letters") == []


@pytest.mark.parametrize("where", ["secret file", ".env"])
def test_a_new_key_in_a_file_needs_no_restart(world: World, account: Azurite, where: str) -> None:
    name = "BRIDGE_QUEUE_CONNECTION_STRING"
    del world.environment[name]
    file, text = world.folder / ".env", f"{name}={{}}\n"
    if where == "secret file":
        file, text = world.folder / "queue", "{}\n"
        world.environment[f"{name}_FILE"] = str(file)
    file.write_text(text.format(account.connection_string))
    bridge = world.start_bridge(max_attempts=1)
    first, second = contact("MC1"), stage("MC2")
    world.send(first)
    world.settle(first)
    regenerate(account)
    look_into(world, account)
    # A half-written file is no better than the old key.
    file.write_text(text.format("AccountName=tests;Acc"))
    world.send(second)
    eventually(lambda: bridge.lines("dependency_down"))
    assert world.outcomes(second) == [None]
    file.write_text(text.format(account.connection_string))

    assert world.settle(first, second) == ["stored", "created"]
    assert world.rows("dead_letters") == []
    assert bridge.terminate() == 0


def test_the_standby_accepts_nothing_that_it_cannot_queue_and_takes_a_new_key(
    world: World, account: Azurite, cli: Cli
) -> None:
    file = world.folder / ".env"
    del world.environment["BRIDGE_QUEUE_CONNECTION_STRING"]
    file.write_text(f"BRIDGE_QUEUE_CONNECTION_STRING={account.connection_string}\n")
    key = cli("key", "create", "Bot", "--scope", "webhook").stdout.strip()

    def post(number: int) -> int:
        body = {"manychat_id": f"MC{number}", "nombre_lead": "Ana"}
        return api.request(*CONTACT, json=body, headers={"X-API-KEY": key}).status_code

    with api_process(world.environment, world.folder) as api:
        assert post(1) == 200
        regenerate(account)
        assert post(2) == 503
        file.write_text(f"BRIDGE_QUEUE_CONNECTION_STRING={account.connection_string}\n")
        # Not even this one is refused: ManyChat would not try again.
        assert post(3) == 200
    look_into(world, account)
    assert world.queues[CONTACT_QUEUE].depth() == 2
