"""Every option and argument of every command with odd values: an answer in words, never a fault, never silence."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from bridge.cli import app as command_line
from bridge.contract.payloads import CONTACT_QUEUE
from bridge.store import dead_letters
from bridge.store.contacts import apply_contacts
from bridge.store.dead_letters import DeadLetter

from .conftest import World, contact

ODD = (
    *("", " ", "-", "--", "0", "-1", "1.5", "nan", "inf", "1e400", "9" * 25, "x" * 10_000, "9999w", "abcdef", "1:2:3"),
    *(
        "ñandú 🌻",
        "{{user_id}}",
        "null",
        "../../../etc/passwd",
        "/",
        "/dev/full",
        "http://",
        "http://[::1",
        "http://ñ/",
    ),
    *("\x1b[2J\x07", "\u202eabc", "a\nb", "'; DROP TABLE contacts; --", "%s%n", "\udcff\udcfe"),
    *("2999-01-01", "0000-00-00", "contact,campaign", "sqlite://", "mssql+pyodbc://x"),
)
#: What a command needs besides the value that is tried.
NEEDED = {
    "send": ["payload.json", "--key", "k", "--url", "http://127.0.0.1:9"],
    "trace": ["MC1"],
    "erase": ["--manychat-id", "MC1", "--dry-run"],
    "purge": ["--older-than", "90d", "--dry-run"],
    "dlq show": ["1"],
    "dlq replay": ["--dry-run"],
    "dlq discard": ["--all", "--dry-run"],
    "key create": ["Nombre", "--scope", "read"],
    "key revoke": ["1"],
    "db downgrade": ["base"],
}
#: These run until they are stopped: a right value would start them.
ENDLESS = {("run", "--queue"), ("api", "--port"), ("api", "--host"), ("status", "--every")}


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """Each parameter that takes a value, with its command."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, click.Parameter]]:
        for name, each in getattr(command, "commands", {}).items():
            yield from walk(each, f"{path} {name}".strip())
        if not hasattr(command, "commands"):
            yield from ((path, each) for each in command.params if not getattr(each, "is_flag", False))

    for path, parameter in walk(typer.main.get_command(command_line.app), ""):
        if parameter.name != "help" and (path, parameter.opts[0]) not in ENDLESS:
            yield path, parameter


@pytest.fixture
def call(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[Any, str, str]]:
    """``python -m bridge ARGUMENTS`` in this process: exit code, output, errors."""
    for name, value in world.environment.items():
        if name.startswith("BRIDGE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BRIDGE_WEBHOOK_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payload.json").write_text('{"manychat_id": "1", "nombre_lead": "Ana"}')
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - for as long as the test lives

    def run(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["bridge", *arguments])
        with pytest.raises(SystemExit) as end:
            command_line.main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def arguments_for(path: str, parameter: click.Parameter, value: str) -> list[str]:
    needed = list(NEEDED.get(path, []))
    if parameter.param_type_name == "argument":
        options = ["--scope", "read"] if path == "key create" else []
        return [*path.split(), *options, "--", value]
    option = next(each for each in parameter.opts if each.startswith("--"))
    if option in needed:
        position = needed.index(option)
        needed[position : position + 2] = []
    return [*path.split(), *needed, f"{option}={value}"]


def faults(code: Any, output: str, errors: str) -> list[str]:
    """What is wrong with the answer of a command."""
    printed = output + errors
    found = []
    if code not in (0, 1, 2):
        found.append(f"exit code {code}")
    if "Traceback" in printed or "A fault in the bridge" in printed:
        found.append("a fault")
    if code and not (errors.strip() or "FAILED" in output or "✗" in output):
        found.append("silence")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", printed):
        found.append("control characters")
    return [f"{each}:\n{output[-400:]}\n{errors[-400:]}" for each in found]


@pytest.fixture
def filled(world: World) -> World:
    """A store with a person and a dead letter."""
    now = datetime.now(timezone.utc)
    with world.engine.begin() as connection:
        apply_contacts(connection, [contact("MC1")])
        letter = DeadLetter(None, "m1", CONTACT_QUEUE, None, None, "…", now, "not_json", "No.", 1, now)
        dead_letters.put(connection, [letter])
    return world


PATHS = sorted({path for path, _ in parameters()})


def test_every_command_with_a_value_is_tried() -> None:
    assert {"send", "trace", "erase", "purge", "reconcile", "dlq list", "key create", "db sql", "db adopt"} <= set(
        PATHS
    )
    assert sum(len(ODD) for _ in parameters()) > 1000


@pytest.mark.parametrize("path", PATHS)
def test_odd_values_get_an_answer(filled: World, call: Callable[..., tuple[Any, str, str]], path: str) -> None:
    found = []
    for parameter in (each for command, each in parameters() if command == path):
        for value in ODD:
            arguments = arguments_for(path, parameter, value)
            found += [f"{[each[:60] for each in arguments]}: {fault}" for fault in faults(*call(*arguments))]
    assert found == []
    assert len(filled.rows("dead_letters", status="open")) == 1
    assert len(filled.rows("contacts")) == 1


AWAY = {
    "no database server": {"BRIDGE_DATABASE_URL": "postgresql+psycopg://x:y@127.0.0.1:9/z"},
    "no tables": {"BRIDGE_DATABASE_URL": "sqlite:///empty.db"},
    "a folder": {"BRIDGE_DATABASE_URL": "sqlite:////tmp"},
    "no database": {"BRIDGE_DATABASE_URL": ""},
    "no queue": {"BRIDGE_QUEUE_CONNECTION_STRING": ""},
    "no Odoo": {"BRIDGE_ODOO_URL": ""},
    "Odoo is away": {"BRIDGE_ODOO_URL": "http://127.0.0.1:9"},
    "a wrong setting": {"BRIDGE_BATCH_SIZE": "many"},
}


@pytest.mark.parametrize("away", AWAY)
def test_what_is_missing_or_away_is_said_by_every_command(
    call: Callable[..., tuple[Any, str, str]], monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    for name, value in AWAY[away].items():
        monkeypatch.setenv(name, value)
    found = []
    for path in sorted({path for path, _ in parameters()} | {"check", "status", "pause", "key list", "db current"}):
        if path not in ("run", "api"):
            found += [f"{path}: {fault}" for fault in faults(*call(*path.split(), *NEEDED.get(path, [])))]
    assert found == []
