"""``python -m bridge dlq replay``: put dead letters back on the queue they came from."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .events import ContractError, decode
from .queue import Queue
from .store import dead_letters
from .store.engine import in_transaction


def replay(engine: sa.Engine, queue: Queue, letter: Any) -> None:
    """Put ``letter`` back on ``queue``, and note that. Killed in between, it may go back twice: harmless.

    :raises bridge.outage.Outage: the queue or SQL is away
    """
    queue.send(message_of(letter))
    in_transaction(engine, lambda connection: dead_letters.replayed(connection, letter))


def message_of(letter: Any) -> str:
    """The message to send: the same event with the same id, or, if it never was an event, what came then."""
    try:
        # Not the body as it came: a bare payload without a date has an id that depends on when its message was put.
        return decode(letter.body, queue=letter.queue, inserted_at=letter.enqueued_at).encode()
    except ContractError:
        return str(letter.body)
