"""``python -m bridge pause`` and ``resume``."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ..contract.payloads import QUEUES, EventQueue
from ..store import pauses
from ..store.engine import in_transaction
from .console import load_settings, open_store, out
from .queues import Queues, queue_names


def pause(queue: Queues = None) -> None:
    """Stop all bridges from receiving messages until `resume`. They finish the events in hand; nothing is lost.

    A bridge obeys within about a second.
    """
    _switch(queue, pauses.pause)


def resume(queue: Queues = None) -> None:
    """Let all bridges receive messages again."""
    _switch(queue, pauses.resume)


def _switch(queue: list[EventQueue] | None, change: Callable[[sa.Connection, list[str]], None]) -> None:
    engine = open_store(load_settings())
    in_transaction(engine, change, sorted(QUEUES[name] for name in queue_names(queue)))
    paused = in_transaction(engine, pauses.paused)
    for name in QUEUES.values():
        state = f"paused since {paused[name]:%Y-%m-%d %H:%M:%S} UTC" if name in paused else "not paused"
        out.print(f"{name}: {state}", soft_wrap=True)
