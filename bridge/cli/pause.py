"""``python -m bridge pause`` and ``resume``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import sqlalchemy as sa
import typer

from ..contract.payloads import OUTBOUND_QUEUE, QUEUES, EventQueue
from ..store import manychat_slots, pauses
from ..store.engine import in_transaction, read
from .console import load_settings, open_store, out
from .queues import Queues, queue_names


def pause(
    queue: Queues = None,
    manychat: Annotated[
        bool, typer.Option("--manychat", help="Only what goes back to ManyChat, or this too beside --queue.")
    ] = False,
) -> None:
    """Stop all bridges from receiving messages until `resume`. They finish the events in hand; nothing is lost.

    A bridge obeys within about a second. Without an option it stops everything, what goes back to ManyChat included.
    """
    _switch(queue, pauses.pause, manychat=manychat)


def resume(
    queue: Queues = None,
    manychat: Annotated[
        bool,
        typer.Option(
            "--manychat",
            help="Only what goes back to ManyChat, or this too beside --queue. It also ends the time in which no calls "
            "are made because ManyChat answered that there were too many: do so only if ManyChat takes them again.",
        ),
    ] = False,
) -> None:
    """Let all bridges receive messages again."""
    engine = _switch(queue, pauses.resume, manychat=manychat)
    if manychat:
        in_transaction(engine, manychat_slots.resume)
    elif stop := read(engine, manychat_slots.paused):
        until = f"{stop.until:%Y-%m-%d %H:%M:%S} UTC"
        out.print(f"ManyChat takes no calls until {until}. `resume --manychat` ends that.", soft_wrap=True)


def _switch(
    queue: list[EventQueue] | None, change: Callable[[sa.Connection, list[str]], None], *, manychat: bool
) -> sa.Engine:
    names = [QUEUES[name] for name in queue_names(queue)] if queue or not manychat else []
    if manychat or not queue:
        names.append(OUTBOUND_QUEUE)
    engine = open_store(load_settings())
    in_transaction(engine, change, sorted(names))
    paused = in_transaction(engine, pauses.paused)
    for name in (*QUEUES.values(), OUTBOUND_QUEUE):
        state = f"paused since {paused[name]:%Y-%m-%d %H:%M:%S} UTC" if name in paused else "not paused"
        out.print(f"{name}: {state}", soft_wrap=True)
    return engine
