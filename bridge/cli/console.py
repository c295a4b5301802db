"""Shared by the commands: options, settings, output, questions and failures."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import Progress

from .. import connect, log
from .. import settings as configuration
from ..contract.payloads import EventQueue
from ..settings import Settings

#: Exit codes: something failed; a setting or an argument is missing or wrong.
FAILED = 1
MISUSED = 2

# Without markup: it would eat what stands in brackets, such as "pip install '.[azure-sql]'", of any text from anywhere.
out = Console(markup=False)


Queues = Annotated[
    list[EventQueue] | None,
    typer.Option("--queue", help="Only this queue; may be given several times. Default: all."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def queue_names(chosen: list[EventQueue] | None) -> list[str]:
    """Short names of the chosen queues, each once; default: all."""
    return list(dict.fromkeys(each.value for each in chosen or list(EventQueue)))


def fail(message: str, code: int) -> NoReturn:
    """End the process with a message on standard error."""
    typer.echo(message, err=True)
    sys.exit(code)


def load_settings() -> Settings:
    """Read the settings and configure the log.

    :raises bridge.errors.ConfigurationError:
    """
    settings = configuration.load()
    log.configure(settings.log_format, settings.log_level)
    return settings


def open_store(settings: Settings) -> sa.Engine:
    """The database, with its tables at this version's revision.

    :raises bridge.errors.ConfigurationError:
    """
    engine = connect.open_engine(settings)
    connect.require_schema(engine)
    return engine


def print_json(value: Mapping[str, Any], *, indent: int | None = None, ascii_only: bool = False) -> None:
    """Print one object for machines.

    :param ascii_only: escape all other characters: in text from outside they could control the terminal
    """
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=ascii_only))


def progress_bar() -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    return Progress(console=out, transient=True, disable=not out.is_terminal)


def confirm_bulk(question: str, count: int, yes: bool) -> None:
    """On a terminal, ask before changing more than one thing. Scripts are not asked."""
    if count > 1 and not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True)


def visible(text: str) -> str:
    """Text from outside, with control characters escaped, which could control the terminal."""
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\u{ord(character):04x}" for character in text
    )


def count_of(number: int, thing: str) -> str:
    """``1 dead letter``, ``2 dead letters``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def short_name(queue: str) -> str:
    """The part of a queue's name that differs: ``crm-opportunities`` of ``manychat-crm-opportunities-queue``."""
    return queue.removeprefix("manychat-").removesuffix("-queue")
