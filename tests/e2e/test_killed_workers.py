"""Workers of Odoo that are killed with events that they have accepted: another process sends them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from deploy.local import azurite, ports
from deploy.local.ports import HOST
from deploy.local.supervision import own_environment
from tests.world import Chat, World

from .test_proxied_odoo import program


@pytest.fixture
def deaf_queue() -> Iterator[int]:
    """The port of a queue service that takes connections and answers nothing."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def workers(world: World, deaf_queue: int, tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A second Odoo on the stack's database, with two workers: its address and its first process."""
    odoo, http = world.stack.odoo, ports.choose()
    odoo.write_configuration(
        tmp_path / "odoo.conf",
        world.stack.database,
        http_port=http,
        gevent_port=ports.choose(),
        workers=2,
        max_cron_threads=0,
        **{"miasalud_crm.queue_connection_string": azurite.connection_string(azurite.new_key(), deaf_queue)},
    )
    command = [odoo.python, program(odoo), "-c", tmp_path / "odoo.conf"]
    server = subprocess.Popen(list(map(str, command)), env=own_environment(), cwd=tmp_path)
    url = f"http://{HOST}:{http}"

    def answers() -> bool:
        try:
            return requests.get(f"{url}/health", timeout=10).ok
        except requests.ConnectionError:
            return False

    try:
        world.eventually(answers)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(60)


def test_an_event_that_a_killed_worker_was_sending_reaches_its_opportunity(
    world: World, chat: Chat, workers: tuple[str, psutil.Process]
) -> None:
    url, server = workers
    headers = {"X-API-KEY": world.stack.webhook_key}
    address = f"{url}/api/v1/manychat/webhook/crm-opportunity"
    answer = requests.post(address, json=chat.event(17), headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    event_id = answer.json()["event_id"]
    domain = [["event_id", "=", event_id], ["claimed_by", "!=", 0]]
    world.eventually(lambda: world.odoo("manychat.event", "search_count", domain))
    for process in server.children(recursive=True):
        process.kill()
    # No other webhook comes. The claim ended with its process.
    assert world.settled(event_id) == ["created"]
