"""A real queue (Azurite), a real database (SQLite), real bridge processes; only Odoo is a stand-in here."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract import payloads
from bridge.contract.event import Event, accept
from bridge.contract.payloads import DEAD_LETTER_QUEUE, EventType
from bridge.monitoring.probes import check_queue
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.store import migrate, schema
from bridge.store.engine import create_engine
from deploy.local import ports

from ..queue_sdk import sdk
from .api import Api, running
from .entra import Certificate
from .odoo_stand_in import DATABASE, OdooStandIn
from .program import Program
from .write_back import manychat, manychat_queue, write_back  # noqa: F401

ROOT = Path(__file__).parents[2]
QUEUES = (*payloads.QUEUES.values(), payloads.DEAD_LETTER_QUEUE)
#: Seconds after which something that should happen counts as not happening.
PATIENCE = 150


def eventually(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true value of ``condition``; a failure if there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"Did not happen within {PATIENCE} s: {what or condition}")
        time.sleep(0.05)
    return value


def free_port() -> int:
    # None that an outgoing connection may take before our server does.
    return ports.choose()


class Azurite:
    """An Azurite of our own, on a free port, with an account of its own."""

    def __init__(
        self,
        executable: Path,
        folder: Path,
        certificate: Certificate | None = None,
        *,
        skip_version_check: bool = True,
    ):
        """
        :param certificate: for HTTPS, on which it also takes the tokens of an identity
        :param skip_version_check: take requests of newer versions of the protocol, such as those of Microsoft's client
        """
        self.port = free_port()
        scheme = "https" if certificate else "http"
        self.account_url = f"{scheme}://127.0.0.1:{self.port}/tests"
        #: As Azure has them, so that one can be replaced while the other is in use.
        self.keys = [base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2)]
        self._command = [
            str(executable),
            *("--queueHost", "127.0.0.1", "--queuePort", str(self.port), "-l", str(folder)),
            *("--silent", "--disableTelemetry"),
            *(["--skipApiVersionCheck"] if skip_version_check else []),
        ]
        if certificate:
            self._command += ["--oauth", "basic", "--cert", str(certificate.certificate), "--key", str(certificate.key)]
        self._output = folder / "output.log"
        self.start()

    @property
    def connection_string(self) -> str:
        """With the first key."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName=tests;AccountKey={self.keys[0]};"
            f"QueueEndpoint={self.account_url};"
        )

    def start(self) -> None:
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"tests:{':'.join(self.keys)}"}
        with self._output.open("a") as output:
            self._process = subprocess.Popen(self._command, env=environment, stdout=output, stderr=output)
        eventually(self._listens, f"Azurite listens; its output: {self._output}")

    def _listens(self) -> bool:
        assert self._process.poll() is None, f"Azurite ended: {self._output.read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        # SIGTERM, never SIGKILL: it saves what it has acknowledged only every 5 s.
        self._process.terminate()
        self._process.wait(PATIENCE)


def find_azurite() -> Path:
    for candidate in (os.environ.get("AZURITE"), str(ROOT / ".miasalud/azurite/node_modules/.bin/azurite-queue")):
        if candidate and Path(candidate).exists():
            return Path(candidate)
    pytest.fail(
        "These tests need Azurite: run `make setup`, or `npm install azurite` somewhere and set AZURITE to its "
        "node_modules/.bin/azurite-queue",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    azurite = Azurite(find_azurite(), tmp_path_factory.mktemp("azurite"))
    yield azurite
    azurite.stop()


@pytest.fixture
def queues(azurite: Azurite) -> Iterator[dict[str, Queue]]:
    """The four queues, by name, empty."""
    queues = {name: Queue(azurite.connection_string, name) for name in QUEUES}
    for queue in queues.values():
        queue.create()
        sdk(queue).clear_messages()
    yield queues
    for queue in queues.values():
        queue.close()


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """The connection string of a queue service that takes connections and then never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        key = base64.b64encode(b"no key").decode()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/hangs"
        yield f"DefaultEndpointsProtocol=http;AccountName=hangs;AccountKey={key};QueueEndpoint={address};"


@pytest.fixture
def odoo(request: pytest.FixtureRequest) -> Iterator[OdooStandIn]:
    """The stand-in for Odoo."""
    odoo = OdooStandIn(getattr(request, "param", 18))
    yield odoo
    odoo.stop()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to be copied: making them takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    engine = create_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(database_url: str, empty_store: Path) -> Iterator[sa.Engine]:
    engine = create_engine(database_url)
    shutil.copy(empty_store, str(engine.url.database))
    yield engine
    engine.dispose()


class Bridge:
    """A bridge process, and what it logs."""

    def __init__(self, environment: dict[str, str], arguments: list[str], log: Path):
        self.log = log
        self.process = Program(["run", *arguments], environment, log.parent, stdout=log, stderr=log)

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log lines so far, or those of one ``event``."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if event in (None, line["event"])]

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(PATIENCE)


class World:
    """A queue, a database, a stand-in for Odoo, and any number of bridges between them."""

    def __init__(
        self, queues: dict[str, Queue], engine: sa.Engine, odoo: OdooStandIn, environment: dict[str, str], folder: Path
    ):
        self.queues = queues
        self.engine = engine
        self.odoo = odoo
        self.environment = environment
        self.folder = folder
        self.bridges: list[Bridge] = []

    def start_bridge(self, *arguments: str, **settings: Any) -> Bridge:
        """``python -m bridge run ARGUMENTS`` with further settings, such as ``max_attempts=2``."""
        extra = {f"BRIDGE_{name.upper()}": str(value) for name, value in settings.items()}
        log = self.folder / f"bridge-{len(self.bridges)}.log"
        bridge = Bridge({**self.environment, **extra}, list(arguments), log)
        self.bridges.append(bridge)
        return bridge

    def settings(self, **settings: Any) -> Settings:
        """What such a bridge has as its settings, for one in this process."""
        mine = {
            name.removeprefix("BRIDGE_").lower(): value
            for name, value in self.environment.items()
            if name.startswith("BRIDGE_")
        }
        return Settings(_env_file=None, **{**mine, **settings})

    def send(self, *events: Event) -> None:
        for event in events:
            self.queues[event.type.queue].send(event.encode())

    def rows(self, table: str, **where: Any) -> list[Any]:
        with self.engine.connect() as connection:
            statement = sa.select(schema.metadata.tables[table]).filter_by(**where)
            return list(connection.execute(statement.order_by(sa.text("id"))))

    def outcomes(self, *events: Event) -> list[str | None]:
        """The audit's outcome of each event; ``None`` while there is none."""
        rows = {row.event_id: row.outcome for row in self.rows("audit")}
        return [rows.get(event.id) for event in events]

    def settled(self, *events: Event) -> bool:
        """Whether each event has an outcome and all queues of work are empty."""
        return None not in self.outcomes(*events) and not any(
            # A missing one is an empty one.
            check_queue(queue).depth
            for name, queue in self.queues.items()
            if name != DEAD_LETTER_QUEUE
        )

    def settle(self, *events: Event) -> list[str | None]:
        """Wait until all is settled; the outcomes."""
        eventually(lambda: self.settled(*events), f"outcomes: {self.outcomes(*events)}")
        return self.outcomes(*events)

    def notices(self) -> list[dict[str, Any]]:
        """The notices on the dead-letter queue."""
        messages = self.queues[DEAD_LETTER_QUEUE].receive(32, 1)
        return [json.loads(base64.b64decode(message.content)) for message in messages]


@pytest.fixture
def environment(azurite: Azurite, odoo: OdooStandIn, database_url: str) -> dict[str, str]:
    """What a bridge process gets as its environment."""
    return {
        **{name: value for name, value in os.environ.items() if not re.match("BRIDGE_|COVERAGE_", name)},
        "PYTHONPATH": str(ROOT),
        "BRIDGE_QUEUE_CONNECTION_STRING": azurite.connection_string,
        "BRIDGE_DATABASE_URL": database_url,
        "BRIDGE_ODOO_URL": odoo.url,
        "BRIDGE_ODOO_DATABASE": DATABASE,
        "BRIDGE_ODOO_API_KEY": odoo.key,
        "BRIDGE_LOG_FORMAT": "json",
        "BRIDGE_API_PORT": str(free_port()),
    }


@pytest.fixture
def world(
    queues: dict[str, Queue],
    engine: sa.Engine,
    odoo: OdooStandIn,
    environment: dict[str, str],
    tmp_path: Path,
) -> Iterator[World]:
    world = World(queues, engine, odoo, environment, tmp_path)
    yield world
    for bridge in world.bridges:
        if bridge.process.poll() is None:
            bridge.kill()


@pytest.fixture
def api(queues: dict[str, Queue], azurite: Azurite, empty_store: Path, tmp_path: Path) -> Iterator[Api]:
    """The API, with empty tables and queues."""
    path = shutil.copy(empty_store, tmp_path / "api.db")
    with running(queue_connection_string=azurite.connection_string, database_url=f"sqlite:///{path}") as api:
        yield api


class Cli:
    """``python -m bridge`` as an operator calls it. Keeps all that was printed."""

    def __init__(self, environment: dict[str, str], folder: Path):
        self.environment = environment
        self.folder = folder
        self.printed = ""
        self._numbers = itertools.count(1)

    def __call__(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """A command with further settings, such as ``webhook_key="x"``; it waits until it has ended."""
        number = next(self._numbers)
        given, output, errors = (self.folder / f"command-{number}-{name}.txt" for name in ("in", "out", "err"))
        given.write_text(stdin)
        environment = self._with(settings)
        program = Program(arguments, environment, self.folder, stdin=given, stdout=output, stderr=errors)
        try:
            code = program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
        return self._keep(subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text()))

    def start(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """The same by a start from nothing. One for each command is enough: it costs as much as twenty others."""
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            env=self._with(settings),
            cwd=self.folder,
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return self._keep(done)

    def _with(self, settings: dict[str, str]) -> dict[str, str]:
        return {
            **self.environment,
            "COLUMNS": "200",
            **{f"BRIDGE_{name.upper()}": value for name, value in settings.items()},
        }

    def _keep(self, done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        self.printed += done.stdout + done.stderr
        for fault in ("Traceback", "A fault in the bridge", "Exception ignored"):
            assert fault not in done.stdout + done.stderr
        return done


@pytest.fixture
def cli(environment: dict[str, str], tmp_path: Path) -> Cli:
    return Cli(environment, tmp_path)


def make(event_type: EventType, manychat_id: str, **payload: Any) -> Event:
    """An event as the webhook would accept it now."""
    return accept(
        event_type, {"manychat_id": manychat_id, **payload}, received_at=datetime.now(timezone.utc), source="odoo"
    )


def contact(manychat_id: str = "MC1", **payload: Any) -> Event:
    payload = {"nombre_lead": "Ana", "whatsapp": "+521234567891", "ultimo_estado": "Nuevo Lead", **payload}
    return make(EventType.CONTACT, manychat_id, **payload)


def assignment(manychat_id: str = "MC1", campaign_id: int = 85, **payload: Any) -> Event:
    return make(EventType.CAMPAIGN_ASSIGNMENT, manychat_id, campaign_id=campaign_id, comercial_id=3, **payload)


def stage(manychat_id: str = "MC1", stage_id: int = 16, minute: int = 0, **payload: Any) -> Event:
    """The chat of ``manychat_id`` entered ``stage_id`` at that minute of some hour."""
    state = {"stage_id": stage_id, "date": f"2025-07-11T17:{minute:02}:31.220Z"}
    return make(EventType.OPPORTUNITY, manychat_id, state=state, first_name="Ana", **payload)
