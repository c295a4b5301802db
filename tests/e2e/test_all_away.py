"""Odoo and SQL away at the same time: the API answers a bot in time, and takes its events.

The API has a store of its own in PostgreSQL, behind a proxy that freezes or refuses it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa

from bridge.contract.payloads import EventType
from deploy.local import ports
from deploy.local.ports import HOST
from deploy.local.supervision import own_environment
from tests.freezer import Freezer
from tests.front import proxy
from tests.world import Chat, World

from .test_people import PATIENCE_OF_MANYCHAT, ask

#: Bots that ask at the same time: more than the threads that the API has for them.
AT_ONCE = 16
STORE = "all_away"


@dataclass
class Standby:
    """The API with its store.

    :ivar front: the address of the proxy in front of Odoo and of this API
    :ivar sql: in front of the store
    """

    front: str
    ask_key: str
    webhook_key: str
    sql: Freezer

    def asked(self, chat: Chat) -> tuple[requests.Response, float]:
        """The answer, and after how many seconds it came."""
        started = time.monotonic()
        return ask(self.front, chat.manychat_id, self.ask_key), time.monotonic() - started


@pytest.fixture(scope="module")
def known(world: World) -> Chat:
    """A person whose opportunity is in Odoo."""
    chat = world.chat()
    world.settled(chat.enters(17))
    return chat


@pytest.fixture(scope="module")
def standby(world: World, known: Chat, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    folder, cluster = tmp_path_factory.mktemp("standby"), world.stack.odoo.cluster
    cluster.drop(STORE)
    cluster.create(STORE, durable=False)
    url = sa.make_url(cluster.sqlalchemy_url(STORE))
    sql = Freezer(HOST, cluster.port)
    port = ports.choose()
    settings = {
        "BRIDGE_DATABASE_URL": url.set(host=HOST, port=sql.port).render_as_string(hide_password=False),
        "BRIDGE_API_PORT": str(port),
        "BRIDGE_API_KEYS_FILE": str(folder / "keys.json"),
    }
    environment = own_environment() | world.stack.bridge_environment() | settings

    def bridge(*arguments: str) -> str:
        command = [sys.executable, "-m", "bridge", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    bridge("db", "upgrade")
    bridge("reconcile", "--from-odoo")
    keys = [bridge("key", "create", scope, "--scope", scope).splitlines()[-1] for scope in ("ask", "webhook")]
    with _api(folder, environment, port):
        addresses = proxy(tmp_path_factory.mktemp("nginx"), world.stack.odoo_url, f"http://{HOST}:{port}")
        yield Standby(next(addresses), *keys, sql)
        addresses.close()  # type: ignore[attr-defined]
    sql.end()
    cluster.drop(STORE)


@contextmanager
def _api(folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    with open(folder / "api.log", "wb") as log:
        command = [sys.executable, "-m", "bridge", "api"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                if requests.get(f"http://{HOST}:{port}/health", timeout=30).ok:
                    break
            except requests.RequestException:
                assert process.poll() is None, (folder / "api.log").read_text()
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _frozen_odoo(world: World) -> Iterator[None]:
    world.stack.programs.signal_program("odoo", signal.SIGSTOP)
    try:
        yield
    finally:
        world.stack.programs.signal_program("odoo", signal.SIGCONT)


def test_a_back_fill_from_nothing_lets_the_standby_answer(world: World, standby: Standby, known: Chat) -> None:
    with _frozen_odoo(world):
        answer, seconds = standby.asked(known)
    assert (answer.status_code, answer.json()["found"], answer.json()["opportunity"]) == (200, True, "open")
    assert answer.json()["age_seconds"] >= 0
    assert seconds < PATIENCE_OF_MANYCHAT


def test_sql_frozen_too_every_bot_gets_its_error_in_time_and_events_are_taken(
    world: World, standby: Standby, known: Chat
) -> None:
    with _frozen_odoo(world):
        standby.sql.freeze()
        try:
            with ThreadPoolExecutor(AT_ONCE) as bots:
                asked = list(bots.map(lambda _: standby.asked(known), range(AT_ONCE)))
            started = time.monotonic()
            event = known.event(18, 1)
            path = f"{standby.front}{EventType.OPPORTUNITY.spec.path}"
            taken = requests.post(path, json=event, headers={"X-API-KEY": standby.webhook_key}, timeout=30)
            seconds = time.monotonic() - started
        finally:
            standby.sql.thaw()
        print(f"{len(asked)} answers, the slowest after {max(each for _, each in asked):.2f} s")
        for answer, waited in asked:
            assert (answer.status_code, answer.json()["status"]) == (503, "error"), answer.text
            assert answer.json()["code"] == "unavailable"
            assert answer.json()["message"]
            assert waited < PATIENCE_OF_MANYCHAT
        assert (taken.status_code, taken.json()["status"]) == (200, "accepted"), taken.text
        assert seconds < PATIENCE_OF_MANYCHAT
        # It is back as soon as SQL is, while Odoo is not.
        world.eventually(lambda: standby.asked(known)[0].status_code == 200)


def test_odoo_stopped_and_sql_refusing_the_error_comes_at_once(world: World, standby: Standby, known: Chat) -> None:
    """The last of this file: the store does not come back."""
    world.stack.programs.stop_program("odoo")
    try:
        standby.sql.end()
        for _ in range(3):
            answer, seconds = standby.asked(known)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
            assert seconds < PATIENCE_OF_MANYCHAT
    finally:
        world.stack.programs.start_program("odoo")
        world.stack.wait_for_odoo()
