"""What failed is noted; what is given up is kept as a dead letter, of which a notice goes onto the dead-letter queue.

The same for an event that a message brought and for one that ``reconcile`` found. In this order: the letter is safe in
SQL before its notice is sent, and the notice before anybody forgets the message.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..contract.event import Event
from ..contract.fields import format_datetime
from ..queue import Queue
from ..results import Failure
from ..store import audit, dead_letters
from ..store.dead_letters import DeadLetter
from ..store.engine import in_transaction

#: Notes failed events in a handler's own tables.
OnFailure = Callable[[sa.Connection, Sequence[tuple[Event, Failure]]], None]


@dataclass(frozen=True)
class Failed:
    """An event, and the attempt of it that failed.

    :ivar attempts: made so far, this one included
    :ivar first_tried_at: aware
    :ivar message_id: of the message that brought it, or what stands for one
    :ivar body: the message as the queue delivered it
    """

    event: Event
    failure: Failure
    attempts: int
    first_tried_at: datetime
    queue: str
    message_id: str
    body: str
    enqueued_at: datetime | None

    def letter(self) -> DeadLetter:
        return DeadLetter(
            event_id=self.event.id,
            message_id=self.message_id,
            queue=self.queue,
            type=self.event.type.value,
            manychat_id=self.event.manychat_id,
            body=self.body,
            enqueued_at=self.enqueued_at,
            code=self.failure.code,
            message=self.failure.message,
            attempts=self.attempts,
            first_tried_at=self.first_tried_at,
        )


class Failures:
    """Where failures are noted."""

    def __init__(self, engine: sa.Engine, dead_letter_queue: Queue):
        self._engine = engine
        self._dead_letter_queue = dead_letter_queue

    def note(self, failed: Sequence[Failed], on_failure: OnFailure, *, dead: bool) -> None:
        """Note ``failed`` in one transaction.

        :param dead: they are given up: keep them as dead letters too; what is left to do then is :meth:`notify`
        :raises bridge.errors.Outage: SQL is away
        """

        def work(connection: sa.Connection) -> None:
            audit.fail(connection, {each.event.id: each.failure for each in failed}, dead=dead)
            on_failure(connection, [(each.event, each.failure) for each in failed])
            if dead:
                dead_letters.put(connection, [each.letter() for each in failed])

        in_transaction(self._engine, work)

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Keep messages that are no events; :meth:`notify` comes next here too.

        :raises bridge.errors.Outage: SQL is away
        """
        in_transaction(self._engine, lambda connection: dead_letters.put(connection, letters))

    def notify(self, message_ids: Sequence[str]) -> None:
        """Put notices of dead letters on the dead-letter queue, those of them that are not there yet.

        :raises bridge.errors.Outage: SQL or the queue is away
        """
        letters = in_transaction(self._engine, lambda connection: dead_letters.unnotified(connection, message_ids))
        for letter in letters:
            self._dead_letter_queue.send(_notice(letter))
        if letters:
            ids = [letter.id for letter in letters]
            in_transaction(self._engine, lambda connection: dead_letters.notified(connection, ids))


def last_failure(known: Any) -> Failure:
    """Why an event is given up that has no attempts left, from its audit row."""
    if known.attempt_in_progress or not known.error_code:
        about = f"Each of its {known.attempts} attempts ended with the bridge being killed."
        return Failure("crashed", about, permanent=True)
    return Failure(known.error_code, known.error or "", permanent=True)


def _notice(letter: Any) -> str:
    """The message that tells of a dead letter: Base64 of JSON, without the body, which may be as long as a message."""
    told = {
        "v": 1,
        "dead_letter_id": letter.id,
        "event_id": letter.event_id,
        "type": letter.type,
        "queue": letter.queue,
        "code": letter.code,
        "attempts": letter.attempts,
        "first_tried_at": format_datetime(letter.first_tried_at),
        "last_tried_at": format_datetime(letter.last_tried_at),
    }
    return base64.b64encode(json.dumps(told).encode()).decode("ascii")
