"""Record failed events. An event out of attempts becomes a dead-letter row, and a notice goes to the dead-letter queue.

The consumer uses this for events from a message, ``reconcile`` for events without one. The order matters: the row is
committed before its notice is sent, and the notice is sent before the message is deleted.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from ..contract.event import Event
from ..contract.fields import format_datetime
from ..contract.outcomes import ErrorCode
from ..contract.sentences import sentence
from ..errors import QueueDenied, QueueMissing
from ..queue import Message, Queue
from ..results import Failure
from ..store import audit, dead_letters, notices
from ..store.audit import AttemptState
from ..store.dead_letters import DeadLetter
from ..store.engine import in_transaction
from ..store.notices import Notice
from ..store.refusal import write_events
from ..store.rows import AuditRow, DeadLetterRow

log = structlog.get_logger()

#: Seconds that a notice stays on the dead-letter queue if nothing takes it away earlier: seven days.
NOTICE_SECONDS = 7 * 24 * 3600
#: A queue with so many messages gets no further notices. The letters themselves are in SQL.
MOST_NOTICES = 10_000
#: Seconds between two searches for notices of letters that are closed, and the share of it that is random.
INTERVAL = 20
JITTER = 0.2

#: Records failed events in a handler's own tables.
OnFailure = Callable[[sa.Connection, Sequence[tuple[Event, Failure]]], None]


@dataclass(frozen=True)
class FailedEvent:
    """An event and its failed attempt.

    :ivar attempts: made so far, this one included
    :ivar first_tried_at: aware
    :ivar message_id: of the message that brought the event; an id of our own if there is no message
    :ivar body: the message as the queue delivered it
    :ivar sent_again: an Odoo user sent it again since its earlier attempts
    """

    event: Event
    failure: Failure
    attempts: int
    first_tried_at: datetime
    queue: str
    message_id: str
    body: str
    enqueued_at: datetime | None
    sent_again: bool = False

    def dead_letter(self) -> DeadLetter:
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


class DeadLetterer:
    """Records failures, keeps dead letters and sends their notices."""

    def __init__(self, engine: sa.Engine, dead_letter_queue: Queue):
        self._engine = engine
        self._dead_letter_queue = dead_letter_queue

    def record_failure(self, failed: Sequence[FailedEvent], on_failure: OnFailure, *, dead: bool) -> dict[str, str]:
        """Record failed attempts in one transaction, or each in its own if SQL refuses that.

        What makes SQL refuse an event may make it refuse every change of the event's rows. Then only its audit row and
        its dead letter are written.

        :param dead: the events are given up: store their dead letters too; :meth:`send_notice` comes next
        :return: outcomes, by event id, of events that ended otherwise meanwhile, which this changes nothing about: they
            are applied, discarded or erased, or a copy of the message had given them up, whose dead letter and notice
            stand for both
        :raises bridge.errors.Outage: SQL is down
        """

        def record(connection: sa.Connection, each: Sequence[FailedEvent], *, everywhere: bool) -> dict[str, str]:
            audit.fail(connection, {one.event.id: one.failure for one in each}, dead=dead)
            ended = audit.done(connection, [one.event.id for one in each])
            each = [one for one in each if one.event.id not in ended]
            if everywhere:
                on_failure(connection, [(one.event, one.failure) for one in each])
            if not dead:
                return ended
            sent_again = {one.event.id for one in each if one.sent_again}
            copies = dead_letters.put(connection, [one.dead_letter() for one in each], sent_again=sent_again)
            return ended | dict.fromkeys(copies, audit.DEAD_LETTERED)

        try:
            return write_events(self._engine, record, failed, everywhere=True)
        except DBAPIError:
            if len(failed) == 1:
                return in_transaction(self._engine, record, failed, everywhere=False)
        ended: dict[str, str] = {}
        for one in failed:
            ended |= self.record_failure([one], on_failure, dead=dead)
        return ended

    def store(self, letters: Sequence[DeadLetter]) -> set[str]:
        """Store messages that are not events, or events without an audit row; :meth:`send_notice` comes next.

        :return: events that a copy of the message had given up meanwhile
        :raises bridge.errors.Outage: SQL is down
        """
        return in_transaction(self._engine, dead_letters.put, letters)

    def send_notice(self, message_ids: Sequence[str]) -> None:
        """Put a notice of each dead letter on the dead-letter queue, unless it was sent before.

        A queue that no program reads gets :data:`MOST_NOTICES` at most.

        :raises bridge.errors.Outage: SQL or the queue is down
        """
        letters = in_transaction(self._engine, notices.missing, message_ids)
        if not letters:
            return
        if self._has_too_many():
            log.warning("notices_left_out", queue=self._dead_letter_queue.name, count=len(letters))
            return
        sent: dict[int, Notice] = {}
        for letter in letters:
            message = self._dead_letter_queue.send(_notice(letter), time_to_live=NOTICE_SECONDS)
            sent[letter.id] = Notice(message.id, message.pop_receipt)
        in_transaction(self._engine, notices.mark_sent, sent)

    def _has_too_many(self) -> bool:
        try:
            return self._dead_letter_queue.depth() >= MOST_NOTICES
        except QueueDenied:
            return False  # the bridge may add notices, and not count them


def remove_outlived(engine: sa.Engine, dead_letter_queue: Queue) -> None:
    """Delete the notices of letters that are not open any more: closed here, by a command or in Odoo.

    :raises bridge.errors.Outage: SQL or the queue is down
    """
    while gone := in_transaction(engine, notices.outlived):
        for notice in gone.values():
            # Without the right, or without the queue, the notice ends by its time to live.
            with contextlib.suppress(QueueDenied, QueueMissing):
                dead_letter_queue.delete(Message(notice.id, "", datetime.now(timezone.utc), notice.receipt, 0))
        in_transaction(engine, notices.mark_gone, gone)
        if len(gone) < notices.LIMIT:
            return


def last_failure(known: AttemptState | AuditRow) -> Failure:
    """The reason why an event without further attempts is given up.

    :param known: its earlier attempts
    """
    if known.attempt_in_progress or not known.error_code:
        message = sentence(
            "Each of its attempts ended because the bridge was killed. Attempts: %(count)s.", count=known.attempts
        )
        return Failure(ErrorCode.CRASHED.value, message, permanent=True)
    return Failure(known.error_code, known.error or "", permanent=True)


def _notice(letter: DeadLetterRow) -> str:
    """The message about a dead letter: Base64 of JSON, without the body, which may be as long as a message."""
    payload = {
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
    return base64.b64encode(json.dumps(payload).encode()).decode("ascii")
