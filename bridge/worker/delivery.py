"""One batch of messages: read them, look their events up, attempt the events, and settle each message.

1. A message that is not an event becomes a dead letter at once.
2. The audit says how far each event got before. A finished event is not applied again. An event whose last attempt has
   not ended is tried alone: it may have killed the process, and must not take other events along again.
3. An attempt is counted in SQL, *then* made.
4. Each message is settled: deleted, or hidden until the event is tried again.

The messages are deleted last. If the process is killed before that, they come again, and every step is idempotent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from .. import retry, spans
from ..contract.errors import ContractError
from ..contract.event import decode
from ..contract.outcomes import ErrorCode
from ..contract.sentences import sentence
from ..errors import Outage
from ..queue import Message, Queue
from ..results import Done, Failure, Outcome
from ..store import audit
from ..store.dead_letters import DeadLetter
from ..store.engine import in_transaction
from ..store.refusal import write_events
from . import outcome_log
from .bisect import bisect_batch, failure_of
from .dead_lettering import DeadLetterer, FailedEvent, last_failure
from .handlers import Handler
from .in_hand import PeopleInHand
from .look_up import look_up
from .steps import Delivery, Step, next_step

#: How a message is settled: delete it. Any other number is the seconds after which it comes again.
DELETE = -1


@dataclass
class Batch:
    """The messages in hand, and what is decided so far.

    :ivar settlements: by message id: :data:`DELETE` or seconds; a message without one goes back to the queue at once
    :ivar open_attempts: ids of events whose attempt is counted and has not ended
    """

    messages: Sequence[Message]
    settlements: dict[str, int] = field(default_factory=dict)
    open_attempts: set[str] = field(default_factory=set)

    def settle(self, messages: Iterable[Message], settlement: int) -> None:
        self.settlements.update({message.id: settlement for message in messages})


class BatchProcessor:
    """Applies the events of one queue, batch by batch. May be used by several threads at once."""

    def __init__(
        self,
        handler: Handler,
        engine: sa.Engine,
        dead_letter_queue: Queue,
        stop: threading.Event,
        *,
        max_attempts: int,
    ):
        """:param stop: once it is set, no further attempt begins"""
        self._handler = handler
        self._queue_name = handler.queue.name
        self._engine = engine
        self._dead_letterer = DeadLetterer(engine, dead_letter_queue)
        self._stop = stop
        self._max_attempts = max_attempts
        self._in_hand = PeopleInHand()
        self._lock = threading.Lock()
        #: Events whose counted attempt an outage ended.
        self._interrupted: set[str] = set()

    def process(self, batch: Batch) -> None:
        """Apply the events in ``batch`` and settle its messages.

        :raises bridge.errors.Outage: a dependency is down; what is settled by then stays settled
        """
        try:
            self._process(batch)
        except Outage:
            with self._lock:
                self._interrupted |= batch.open_attempts
            # Without SQL: at the next call.
            with suppress(Outage):
                self.release_interrupted()
            raise

    def release_interrupted(self) -> None:
        """Undo the counting of attempts that an outage ended. Call it before messages are received.

        :raises bridge.errors.Outage: SQL is down; the next call does it
        """
        with self._lock:
            event_ids = set(self._interrupted)
        if event_ids:
            in_transaction(self._engine, audit.release_attempt, event_ids)
            with self._lock:
                self._interrupted -= event_ids

    def _process(self, batch: Batch) -> None:
        left = self._read(batch)
        while left:
            with self._in_hand.claim({delivery.event.manychat_id for delivery in left.values()}) as mine:
                if not mine:
                    break
                self._apply(batch, {key: each for key, each in left.items() if each.event.manychat_id in mine})
            left = {key: each for key, each in left.items() if each.event.manychat_id not in mine}
        # No attempt of these was begun.
        for delivery in left.values():
            self._come_again(batch, delivery)

    def _apply(self, batch: Batch, deliveries: Mapping[str, Delivery]) -> None:
        with spans.in_hand(delivery.event for delivery in deliveries.values()):
            self._apply_in_hand(batch, deliveries)

    def _apply_in_hand(self, batch: Batch, deliveries: Mapping[str, Delivery]) -> None:
        states, given_up, begun = look_up(self._engine, self._received(deliveries.values()))
        batch.open_attempts |= begun
        steps: dict[Step, list[Delivery]] = {step: [] for step in Step}
        for event_id, delivery in deliveries.items():
            known = states.get(event_id)
            if known is None:
                outcome_log.first_attempt(delivery.event, self._queue_name, delivery.messages[0].inserted_at)
            elif known.is_overruled_by(delivery.event):
                delivery.sent_again = True
            else:
                delivery.first_tried_at = known.started_at
                delivery.attempts = known.attempts
                delivery.dead = known if known.is_dead else None
            steps[next_step(delivery, known, given_up.get(event_id), self._max_attempts)].append(delivery)

        for delivery in steps[Step.DELETE_DUPLICATE]:
            batch.settle(delivery.messages, DELETE)
            outcome_log.duplicate(delivery.event, states[delivery.event.id].outcome)
        for delivery in steps[Step.SEND_NOTICE]:
            self._dead_letterer.send_notice([message.id for message in delivery.messages])
            batch.settle(delivery.messages, DELETE)
        if exhausted := steps[Step.GIVE_UP]:
            self._give_up(batch, [(delivery, last_failure(states[delivery.event.id])) for delivery in exhausted])
        for delivery in steps[Step.TRY_ONCE]:
            delivery.may_be_copy = True
        if together := steps[Step.TRY] + steps[Step.TRY_ONCE]:
            self._attempt(batch, together)
        for delivery in steps[Step.TRY_ALONE]:
            # Events that have not begun go back to the queue, and another bridge receives them.
            if self._stop.is_set():
                break
            self._attempt(batch, [delivery])

    def _read(self, batch: Batch) -> dict[str, Delivery]:
        """The events in the messages, by id. A message that is not an event becomes a dead letter."""
        deliveries: dict[str, Delivery] = {}
        letters: list[DeadLetter] = []
        now = datetime.now(timezone.utc)
        for message in batch.messages:
            try:
                event = decode(message.content, queue=self._queue_name, inserted_at=message.inserted_at)
            except ContractError as error:
                letters.append(_unreadable_letter(message, self._queue_name, error, now))
                outcome_log.unreadable(self._queue_name, message.id, error.code)
            else:
                delivery = deliveries.setdefault(event.id, Delivery(event, []))
                delivery.messages.append(message)
                if event.retries > delivery.event.retries:
                    delivery.event = event
        if letters:
            unreadable = {letter.message_id for letter in letters}
            self._dead_letterer.store(letters)
            self._dead_letterer.send_notice(sorted(unreadable))
            batch.settle((message for message in batch.messages if message.id in unreadable), DELETE)
        return deliveries

    def _received(self, deliveries: Iterable[Delivery]) -> list[audit.ReceivedEvent]:
        return [
            audit.ReceivedEvent(delivery.event, self._queue_name, delivery.messages[0].inserted_at)
            for delivery in deliveries
        ]

    def _attempt(self, batch: Batch, group: Sequence[Delivery]) -> None:
        try:
            uncounted = [delivery for delivery in group if delivery.event.id not in batch.open_attempts]
            dead = {delivery.event.id: delivery.dead for delivery in uncounted if delivery.dead}
            received = self._received(uncounted)
            before = write_events(self._engine, audit.begin, received, dead=dead) if uncounted else {}
        except DBAPIError as error:
            # SQL refuses even to note the attempt of one of them.
            if len(group) == 1:
                self._fail_uncounted(batch, group[0], failure_of(error))
            else:
                for delivery in group:
                    self._attempt(batch, [delivery])
            return
        batch.open_attempts |= {delivery.event.id for delivery in group}
        for delivery in group:
            known = before.get(delivery.event.id)
            afresh = known is None or known.is_dead or known.is_overruled_by(delivery.event)
            delivery.attempts = 1 if known is None or afresh else known.attempts + 1

        misplaced = [delivery for delivery in group if delivery.event.type.queue != self._queue_name]
        events = [delivery.event for delivery in group if delivery not in misplaced]
        outcomes = bisect_batch(events, self._handler.handle) if events else {}
        for delivery in misplaced:
            message = sentence(
                "Events of type %(type)s belong on %(queue)s.",
                type=delivery.event.type.value,
                queue=delivery.event.type.queue,
            )
            outcomes[delivery.event.id] = Failure(ErrorCode.WRONG_QUEUE.value, message, permanent=True)
        self._settle(batch, group, outcomes)

    def _fail_uncounted(self, batch: Batch, delivery: Delivery, failure: Failure) -> None:
        """Settle an event that cannot have an audit row. Its message tells how often it was tried."""
        message = delivery.messages[0]
        attempts = message.dequeue_count
        if not retry.is_given_up(failure, attempts, self._max_attempts):
            seconds = retry.delay(attempts)
            batch.settle(delivery.messages, seconds)
            outcome_log.retried(delivery.event, failure, attempts=attempts, retry_in=seconds)
            return
        failed = self._failed_event(delivery, failure, attempts)
        copies = self._dead_letterer.store([failed.dead_letter()])
        self._dead_letterer.send_notice([message.id])
        batch.settle(delivery.messages, DELETE)
        if delivery.event.id in copies:
            outcome_log.duplicate(delivery.event, audit.DEAD_LETTERED)
        else:
            outcome_log.dead_lettered(delivery.event, failure, attempts=attempts)

    def _settle(self, batch: Batch, group: Sequence[Delivery], outcomes: Mapping[str, Outcome]) -> None:
        """Settle the messages of events that were tried, and record failures."""
        conflicts: list[Delivery] = []
        retried: list[tuple[Delivery, Failure]] = []
        given_up: list[tuple[Delivery, Failure]] = []
        for delivery in group:
            outcome = outcomes[delivery.event.id]
            if isinstance(outcome, Done):
                batch.open_attempts.discard(delivery.event.id)
                batch.settle(delivery.messages, DELETE)
                outcome_log.applied(
                    delivery.event, outcome, attempts=delivery.attempts, first_tried_at=delivery.first_tried_at
                )
            elif isinstance(outcome, Failure):
                is_dead = delivery.may_be_copy or retry.is_given_up(outcome, delivery.attempts, self._max_attempts)
                (given_up if is_dead else retried).append((delivery, outcome))
            else:
                conflicts.append(delivery)
        if conflicts:
            self._postpone(batch, conflicts)
        if retried:
            self._retry(batch, retried)
        if given_up:
            self._give_up(batch, given_up)

    def _postpone(self, batch: Batch, deliveries: Sequence[Delivery]) -> None:
        event_ids = {delivery.event.id for delivery in deliveries}
        in_transaction(self._engine, audit.release_attempt, event_ids)
        batch.open_attempts -= event_ids
        for delivery in deliveries:
            self._come_again(batch, delivery)

    def _come_again(self, batch: Batch, delivery: Delivery) -> None:
        batch.settle(delivery.messages, retry.CONFLICT_DELAY)
        outcome_log.conflict(delivery.event)

    def _retry(self, batch: Batch, failures: Sequence[tuple[Delivery, Failure]]) -> None:
        self._record(batch, failures, dead=False)
        for delivery, failure in failures:
            seconds = retry.delay(delivery.attempts)
            batch.settle(delivery.messages, seconds)
            outcome_log.retried(delivery.event, failure, attempts=delivery.attempts, retry_in=seconds)

    def _give_up(self, batch: Batch, failures: Sequence[tuple[Delivery, Failure]]) -> None:
        ended = self._record(batch, failures, dead=True)
        self._dead_letterer.send_notice([delivery.messages[0].id for delivery, _ in failures])
        for delivery, failure in failures:
            batch.settle(delivery.messages, DELETE)
            if delivery.event.id in ended:
                outcome_log.duplicate(delivery.event, ended[delivery.event.id])
            else:
                outcome_log.dead_lettered(delivery.event, failure, attempts=delivery.attempts)

    def _record(self, batch: Batch, failures: Sequence[tuple[Delivery, Failure]], *, dead: bool) -> dict[str, str]:
        failed = [self._failed_event(delivery, failure, delivery.attempts) for delivery, failure in failures]
        ended = self._dead_letterer.record_failure(failed, self._handler.on_failure, dead=dead)
        batch.open_attempts -= {delivery.event.id for delivery, _ in failures}
        return ended

    def _failed_event(self, delivery: Delivery, failure: Failure, attempts: int) -> FailedEvent:
        return FailedEvent(
            event=delivery.event,
            failure=failure,
            attempts=attempts,
            first_tried_at=delivery.first_tried_at,
            queue=self._queue_name,
            message_id=delivery.messages[0].id,
            body=delivery.messages[0].content,
            enqueued_at=delivery.messages[0].inserted_at,
            sent_again=delivery.sent_again,
        )


def _unreadable_letter(message: Message, queue: str, error: ContractError, now: datetime) -> DeadLetter:
    return DeadLetter(
        event_id=None,
        message_id=message.id,
        queue=queue,
        type=None,
        manychat_id=None,
        body=message.content,
        enqueued_at=message.inserted_at,
        code=error.code,
        message=error.message,
        attempts=1,
        first_tried_at=now,
    )
