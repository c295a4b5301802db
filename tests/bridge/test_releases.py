"""What an operator meets where the tables are of another release than the bridge. The store's side: tests/store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from .conftest import Cli, World, contact, eventually

URL = {"database_url": "sqlite:///releases.db"}
LATER = "9000"


@pytest.fixture
def later_tables(cli: Cli, tmp_path: Path) -> Path:
    """A database that a later release has upgraded."""
    assert cli("db", "upgrade", **URL).returncode == 0
    change(tmp_path / "releases.db", f"UPDATE alembic_version SET version_num = '{LATER}'")
    return tmp_path / "releases.db"


def change(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_bridge_works_on_the_tables_of_a_later_release_and_says_so(
    cli: Cli, world: World, later_tables: Path
) -> None:
    bridge = world.start_bridge(database_url=f"sqlite:///{later_tables}")
    world.send(contact("MC1"))
    eventually(lambda: outcomes(later_tables) == ["stored"], "the event is stored")
    assert bridge.terminate() == 0
    assert [line["revision"] for line in bridge.lines("tables_of_later_release")] == [LATER]


def outcomes(file: Path) -> list[str | None]:
    connection = sqlite3.connect(file)
    try:
        return [row[0] for row in connection.execute("SELECT outcome FROM audit")]
    finally:
        connection.close()


@pytest.mark.usefixtures("later_tables")
def test_a_release_that_is_taken_back_finds_nothing_to_upgrade(cli: Cli) -> None:
    upgrade = cli("db", "upgrade", **URL)
    assert upgrade.returncode == 0
    assert f"revision {LATER}, of a later release" in " ".join(upgrade.stdout.split())
    assert cli("db", "current", **URL).returncode == 0


def test_tables_that_cannot_be_used_end_a_command_as_a_failure_and_no_misuse(cli: Cli, later_tables: Path) -> None:
    """Exit code 2 means that no restart helps: a supervisor gives up. Here it helps, once the tables are right."""
    change(later_tables, "ALTER TABLE audit DROP COLUMN warnings")
    for command in ("run", "api"):
        result = cli(command, **URL)
        assert result.returncode == 1, result.stderr
        assert "audit.warnings is missing" in result.stderr
        assert "Traceback" not in result.stderr
