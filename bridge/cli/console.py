"""Shared by the commands: options, settings, output, questions and failures."""

from __future__ import annotations

import contextlib
import difflib
import json
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    # The list of commands needs none of these.
    import sqlalchemy as sa
    from rich.progress import Progress

    from ..settings import Settings

#: Exit codes: something failed; a setting or an argument is missing or wrong.
FAILED = 1
MISUSED = 2

# Without markup: it would eat what stands in brackets, such as "pip install '.[azure-sql]'", of any text from anywhere.
out = Console(markup=False)


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. Needed without a terminal.")]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
JsonObject = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def fail(message: str, code: int) -> NoReturn:
    """End the process with a message on standard error."""
    complain(message)
    sys.exit(code)


def complain(message: str) -> None:
    """Print a line on standard error, if it can be written to."""
    with contextlib.suppress(OSError):
        typer.echo(visible(message), err=True)


def load_settings() -> Settings:
    """Read the settings and configure the log.

    :raises bridge.errors.ConfigurationError:
    """
    from .. import log
    from .. import settings as configuration

    settings = configuration.load()
    log.configure(settings.log_format, settings.log_level)
    return settings


def open_store(settings: Settings) -> sa.Engine:
    """The database, with its tables at this version's revision.

    :raises bridge.errors.ConfigurationError:
    """
    from .. import connect

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
    from rich.progress import Progress

    return Progress(console=out, transient=True, disable=not out.is_terminal)


def confirm(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone. Every such command asks by this function, and in the same way.

    Without a terminal there is no one to answer: the command ends with 2 unless it got `--yes`.
    """
    if yes:
        return
    if not is_terminal():
        fail(
            f"{question} There is no terminal for the answer, so nothing was changed. In a script, add --yes.", MISUSED
        )
    if not typer.confirm(question, err=True):
        fail("Nothing was changed.", FAILED)


def confirm_bulk(question: str, count: int, yes: bool) -> None:
    """On a terminal, ask before changing more than one thing that can be changed back. Scripts are not asked."""
    if count > 1 and is_terminal():
        confirm(question, yes)


def is_terminal() -> bool:
    """Whether a person can be asked. A process without standard input has ``None`` for it."""
    return sys.stdin is not None and sys.stdin.isatty()


def did_you_mean(word: str, known: Collection[str]) -> str:
    """``Did you mean x? `` if some known word is near, else nothing."""
    near = difflib.get_close_matches(word.casefold(), sorted(known), n=1)
    return f"Did you mean {near[0]}? " if near else ""


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
