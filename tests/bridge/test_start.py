"""What a start of the program does not do: import what it does not need, and ask one queue after the other."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from typing import Any

import pytest
import typer

from bridge.cli.app import COMMANDS, app
from bridge.queue import Queue
from bridge.worker import process

#: Libraries that take longer to import than all of the list of commands.
HEAVY = {"alembic", "azure", "fastapi", "prometheus_client", "requests", "sqlalchemy", "structlog", "urllib3"}


def loaded_by(*arguments: str) -> set[str]:
    """The modules that ``python -m bridge ARGUMENTS`` has imported at its end."""
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['bridge', *{list(arguments)!r}]\n"
        "runpy.run_module('bridge', run_name='__main__', alter_sys=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage" in ended.stdout or arguments == ("--version",)
    return set(ended.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_loads_no_library_that_it_does_not_need(arguments: list[str]) -> None:
    loaded = loaded_by(*arguments)
    assert not (HEAVY | {"pydantic"}) & loaded
    ours = {name for name in loaded if name.startswith("bridge.")}
    assert ours <= {
        *("bridge.__main__", "bridge.cli", "bridge.cli.app", "bridge.cli.console", "bridge.cli.on_demand"),
        "bridge.errors",
    }


@pytest.mark.parametrize("command", ["run", "api"])
def test_the_help_of_what_runs_for_long_loads_no_database(command: str) -> None:
    loaded = loaded_by(command, "--help")
    assert f"bridge.cli.{command}" in loaded
    # typer itself asks pydantic about options.
    assert not HEAVY & loaded


def test_the_queues_are_tried_at_once() -> None:
    """Each answer comes only when all have been asked: one after the other, they would wait for ever."""
    together = threading.Barrier(3, timeout=20)

    class Slow(Queue):
        def ensure(self) -> None:
            together.wait()

        def missing_rights(self, *rights: str) -> list[str]:
            return []

    queues = [Slow("UseDevelopmentStorage=true", f"queue-{number}") for number in range(3)]
    process.probe_queues(queues[:2], queues[2])


def test_the_list_of_commands_says_of_each_what_its_own_help_says() -> None:
    command: Any = typer.main.get_command(app)
    assert list(command.commands) == list(COMMANDS)
    for name, line in COMMANDS.items():
        real = command.commands[name]
        assert inspect.cleandoc(real.help).split("\n\n")[0].replace("\n", " ") == line
        assert real.name == name


def test_a_command_that_lacks_a_library_names_it() -> None:
    code = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from bridge.cli import app\n"
        "sys.argv = ['bridge', 'purge']\n"
        "app.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "`purge` needs sqlalchemy" in ended.stderr
    assert "pip install '.[worker]'" in ended.stderr
    assert "Traceback" not in ended.stderr
