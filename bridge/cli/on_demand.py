"""Commands whose files are imported when they are called: the list of all commands needs none of them.

Nearly all of a short command's time goes into imports, and most commands need libraries that others do not.
"""

from __future__ import annotations

import gc
import sys
from collections import UserDict
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

#: Files with more than the command of their name.
_FILES = {"resume": "pause"}


class OnDemand(TyperGroup):
    """Lists its commands as they were added to the application, and calls those of their files.

    A file has a function of the command's name, or an application ``app`` with commands of its own.
    """

    def __init__(self, **attributes: Any):
        super().__init__(**attributes)
        self._listed = dict(self.commands)
        self.commands = _Loaded(self._listed)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._listed)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What the list of commands shows."""
        return self._listed.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """What is called."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, self.commands[name] if name and found else found, rest


class _Loaded(UserDict[str, Any]):
    """Commands by name; to look one up imports its file."""

    def __getitem__(self, name: str) -> Any:
        if not isinstance(self.data[name], _Found):
            self.data[name] = _Found(_load(name))
        return self.data[name].command


class _Found(NamedTuple):
    command: Any


def _load(name: str) -> Any:
    file = _FILES.get(name, name)
    try:
        module = import_module(f"{__package__}.{file}")
    except ModuleNotFoundError as error:
        # Odoo's environment may have what the list of commands needs, and no more.
        sys.exit(f"`{name}` needs {error.name}. In a checkout, run: pip install '.[worker]'")
    if not gc.isenabled():
        # See bridge.__main__.
        gc.freeze()
        gc.enable()
    if app := getattr(module, "app", None):
        command: Any = typer.main.get_group(app)
    else:
        app = typer.Typer(add_completion=False)
        app.command()(getattr(module, name))
        command = typer.main.get_command(app)
    command.name = name
    return command
