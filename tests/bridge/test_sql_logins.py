"""A database that lets no bridge in: each command says why, and a bridge waits as long as the server may mend it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bridge.store import odbc

from ..store.tds import Tds, serving
from .conftest import Cli, World, eventually, stage
from .entra import Certificate

needs_driver = pytest.mark.skipif(
    odbc.packaged_driver() is None, reason="the wheel mssql-python-odbc (Microsoft's ODBC Driver 18) is not installed"
)
FIREWALL = "Cannot open server 'srv' requested by the login. Client with IP address '203.0.113.7' is not allowed."
SENTENCE = "the server's firewall refuses this address, 203.0.113.7 (42000 40615)"


@pytest.fixture
def tds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tds]:
    certificate = Certificate(tmp_path_factory.mktemp("certificate"))
    with serving(certificate.certificate, certificate.key, number=40615, text=FIREWALL) as tds:
        yield tds


def url(tds: Tds) -> str:
    return f"mssql+pyodbc://u:p@127.0.0.1:{tds.port}/crm?TrustServerCertificate=yes"


@needs_driver
def test_every_command_says_the_same_sentence(world: World, cli: Cli, tds: Tds) -> None:
    for command in (["check"], ["db", "upgrade"], ["db", "current"], ["status"], ["dlq", "list"], ["reconcile"]):
        result = cli(*command, database_url=url(tds))
        assert result.returncode == 1, command
        assert SENTENCE in " ".join((result.stdout + result.stderr).split()), command
    [finding] = [json.loads(line) for line in cli("check", "--json", database_url=url(tds)).stdout.splitlines()][1:2]
    assert "Add a rule for it" in finding["advice"]


@needs_driver
def test_status_names_each_dependency_however_long_its_reason_is(cli: Cli, tds: Tds) -> None:
    cli.environment["COLUMNS"] = "80"
    shown = cli("status", database_url=url(tds)).stdout.splitlines()
    [sql] = [line for line in shown if line.split()[:2] == ["SQL", "unavailable"]]
    assert "ms  the server's firewall" in sql


@needs_driver
def test_a_bridge_waits_for_what_the_server_may_mend(world: World, tds: Tds) -> None:
    event = stage()
    world.send(event)
    bridge = world.start_bridge(database_url=url(tds), max_attempts=1)
    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert SENTENCE in line["reason"]
    eventually(lambda: tds.logins > 2)
    assert world.queues[event.type.queue].depth() == 1
    assert bridge.terminate() == 0


@pytest.mark.parametrize(
    ("database_url", "words"),
    [
        ("mssql+pyodbc://u:p@127.0.0.1/db?driver=Nothing+of+the+Kind", "the ODBC driver"),
        ("mssql+pyodbc://@127.0.0.1/db?Authentication=ActiveDirectoryDefault", "ActiveDirectoryMsi"),
        (
            "postgresql+psycopg://u:p@127.0.0.1:9/db?nosuch=1",
            "BRIDGE_DATABASE_OPTIONS, or what stands behind the question mark",
        ),
    ],
)
def test_a_bridge_ends_at_its_start_if_only_another_setting_helps(cli: Cli, database_url: str, words: str) -> None:
    result = cli("run", database_url=database_url)
    assert result.returncode == 2
    assert "BRIDGE_DATABASE_URL" in result.stderr
    assert words in result.stderr


def test_a_bridge_waits_for_a_postgresql_that_is_not_there(world: World) -> None:
    bridge = world.start_bridge(database_url="postgresql+psycopg://u:p@127.0.0.1:9/db")
    [line] = eventually(lambda: bridge.lines("dependency_down"))
    assert line["reason"].startswith("nothing listens at this address and port")
    assert bridge.terminate() == 0
