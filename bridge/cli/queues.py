"""The option ``--queue`` of several commands."""

from __future__ import annotations

from typing import Annotated

import typer

from ..contract.payloads import EventQueue

Queues = Annotated[
    list[EventQueue] | None,
    typer.Option("--queue", help="Only this queue; may be given several times. Default: all."),
]


def queue_names(chosen: list[EventQueue] | None) -> list[str]:
    """Short names of the chosen queues, each once; default: all."""
    return list(dict.fromkeys(each.value for each in chosen or list(EventQueue)))
