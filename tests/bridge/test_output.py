"""Output to a full disk, to a reader that has read enough, to nothing, and in another encoding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PATIENCE, Cli, World, contact, eventually
from .program import Program

FULL = Path("/dev/full")
COMMANDS = [
    ("--help",),
    ("--version",),
    ("check",),
    ("check", "--json"),
    ("status",),
    ("status", "--json"),
    ("status", "--watch"),
    ("status", "--watch", "--json"),
    ("trace", "MC1"),
    ("trace", "MC1", "--json"),
    ("pause",),
    ("resume",),
    ("reconcile",),
    ("purge", "--older-than", "90d", "--dry-run"),
    ("erase", "--manychat-id", "MC1", "--dry-run"),
    ("dlq", "list"),
    ("dlq", "list", "--csv"),
    ("dlq", "replay"),
    ("dlq", "discard", "--all"),
    ("key", "list"),
    ("key", "create", "Bot", "--scope", "read"),
    ("key", "revoke", "1", "--yes"),
    ("db", "upgrade"),
    ("db", "current"),
    ("db", "sql"),
    ("db", "downgrade", "base", "--yes"),
]


@pytest.fixture
def known(world: World, cli: Cli) -> World:
    event = contact("MC1")
    world.send(event)
    bridge = world.start_bridge()
    world.settle(event)
    bridge.terminate()
    assert cli("key", "create", "Primera", "--scope", "read").returncode == 0
    return world


def test_a_full_disk_is_one_sentence(cli: Cli, known: World) -> None:
    for command in COMMANDS:
        errors = cli.folder / "errors.txt"
        program = Program(command, cli.environment, cli.folder, stdout=FULL, stderr=errors)
        assert program.wait(PATIENCE) == 1, command
        said = errors.read_text().splitlines()
        assert "No space left on device" in said[-1], command
        assert len(said) <= 2, said


def test_a_key_that_could_not_be_shown_is_not_valid(cli: Cli, known: World) -> None:
    errors = cli.folder / "errors.txt"
    command = ("key", "create", "Bot", "--scope", "read")
    assert Program(command, cli.environment, cli.folder, stdout=FULL, stderr=errors).wait(PATIENCE) == 1
    assert "so it was revoked" in errors.read_text()
    [_, made] = known.rows("api_keys")
    assert made.revoked_at
    assert cli(*command).returncode == 0


def test_a_key_without_an_output_is_not_valid_either(cli: Cli, world: World) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bridge key create Bot --scope write >&-"],
        env=cli.environment,
        cwd=cli.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "revoked" in done.stderr
    [key] = world.rows("api_keys")
    assert key.revoked_at


def test_what_cannot_be_said_on_a_full_disk_is_left_unsaid(cli: Cli, known: World) -> None:
    for command, code in ((("dlq", "show", "99"), 1), (("dlq", "discard"), 2), (("key", "list"), 1)):
        assert Program(command, cli.environment, cli.folder, stdout=FULL, stderr=FULL).wait(PATIENCE) == code


def test_a_bridge_whose_log_cannot_be_written_goes_on(cli: Cli, world: World) -> None:
    program = Program(["run"], cli.environment, cli.folder, stdout=FULL, stderr=FULL)
    try:
        events = [contact("MC1"), contact("MC2")]
        world.send(*events)
        eventually(lambda: world.outcomes(*events) == ["stored", "stored"])
        program.terminate()
        assert program.wait(PATIENCE) == 0
    finally:
        program.kill()


@pytest.mark.parametrize("command", ["--help", "status --watch", "dlq list", "db sql", "key list", "check"])
def test_a_reader_that_has_read_enough_hears_no_complaint(cli: Cli, known: World, command: str) -> None:
    for reader in ("head -c 1", "true"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m bridge {command} | {reader}"],
            env=cli.environment,
            cwd=cli.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        complaints = [line for line in done.stderr.splitlines() if not line.startswith("Settings: the environment")]
        assert complaints == []


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(cli: Cli, known: World, streams: str) -> None:
    for command, code in (("key list", 0), ("dlq discard --all", 0), ("key revoke 1", 2), ("dlq show 99", 1)):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m bridge {command} {streams}"],
            env=cli.environment,
            cwd=cli.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_a_terminal_of_any_encoding_gets_everything(cli: Cli, known: World, encoding: str) -> None:
    cli.environment = cli.environment | {"PYTHONIOENCODING": encoding}
    for command, code in (("status", 1), ("check", 0), ("key list", 0), ("--help", 0), ("trace MC1", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *command.split()],
            env=cli.environment,
            cwd=cli.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stderr
        assert b"Error" not in done.stderr
