"""What the commands share: how they read settings, print, ask and fail."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from rich.console import Console

from .. import log
from .. import settings as configuration
from ..settings import Settings

#: Exit codes: something failed; it is not set up, or called, rightly.
FAILED = 1
MISUSED = 2

out = Console()


def fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(code)


def load_settings() -> Settings:
    """Read the settings, and log as they say.

    :raises bridge.errors.ConfigurationError:
    """
    settings = configuration.load()
    log.configure(settings.log_format, settings.log_level)
    return settings


def confirm_bulk(question: str, count: int, yes: bool) -> None:
    """On a terminal, ask before changing more than one thing; scripts know what they do."""
    if count > 1 and not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True)


def visible(text: str) -> str:
    """Text from outside, without what would make a terminal do something."""
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\u{ord(character):04x}" for character in text
    )


def count_of(number: int, thing: str) -> str:
    """``1 dead letter``, ``2 dead letters``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def short_name(queue: str) -> str:
    """What tells a queue from the others: ``crm-opportunities`` of ``manychat-crm-opportunities-queue``."""
    return queue.removeprefix("manychat-").removesuffix("-queue")
