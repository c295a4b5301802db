"""``python -m bridge dlq replay``: put dead letters back on a queue."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..contract.errors import ContractError
from ..contract.event import Event, decode
from ..queue import Queue
from ..store import dead_letters
from ..store.engine import in_transaction


def event_of(letter: Any) -> Event | None:
    """The event in ``letter``; ``None`` if it (still) is none, so that sending it again would be no use."""
    try:
        return decode(letter.body, queue=letter.queue, inserted_at=letter.enqueued_at)
    except ContractError:
        return None


def replay(engine: sa.Engine, queue: Queue, letter: Any) -> None:
    """Put the event in ``letter`` on ``queue``, and note that.

    Killed in between, it may be sent twice: harmless, since it has one id, and is applied once.

    :param queue: that of the event's type, which heals one that came by another
    :raises bridge.errors.Outage: the queue or SQL is away
    """
    event = event_of(letter)
    assert event is not None
    # Not the body as it came: a bare payload without a date has an id that depends on when its message was put.
    queue.send(event.encode())
    in_transaction(engine, lambda connection: dead_letters.replayed(connection, letter, event))
