"""What manifests may name of the bridge: its commands, settings and log lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer

from bridge.cli.app import app
from bridge.settings import Settings, variable

BRIDGE = Path(__file__).parents[2] / "bridge"


def parses(arguments: Sequence[str]) -> bool:
    """Whether ``python -m bridge`` takes these arguments. Nothing runs."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("bridge", [], resilient_parsing=True)
    rest = list(arguments)
    while hasattr(command, "commands"):
        command = command.commands.get(rest.pop(0) if rest else "")
        if command is None:
            return False
    try:
        command.make_context(command.name, rest, parent=context)
    except Exception as error:
        # Typer has a copy of click of its own, and so its errors too.
        if "UsageError" in {each.__name__ for each in type(error).__mro__}:
            return False
        raise
    return True


@cache
def setting_names() -> frozenset[str]:
    """The variables that the bridge reads, and for each the one with the name of a file that holds its value."""
    names = {variable(name) for name in Settings.model_fields}
    return frozenset(names | {f"{name}_FILE" for name in names})


@cache
def log_events() -> frozenset[str]:
    """The names of all log lines."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in BRIDGE.rglob("*.py"))
    return frozenset(re.findall(r"log\.(?:debug|info|warning|error|critical|exception)\(\s*\"(\w+)\"", text))
