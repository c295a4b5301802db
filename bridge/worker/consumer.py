"""The loop: take messages from one queue, have them handled, and give each message back in the way it deserves.

One consumer is one thread on one queue. What it does with a batch:

1. Read each message. What is no event becomes a dead letter at once.
2. Ask the audit how far each event got before. One that is done is only deleted. One whose last attempt never ended is
   tried alone: it may have killed the process, and must not take its neighbours along again.
3. Count the attempt in SQL, *then* make it.
4. Delete what is done, hide what shall be tried again later, and keep what is given up as a dead letter.

The messages are deleted last. Whatever kills the process before that, they come again, and every step is idempotent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
import structlog

from .. import metrics
from ..circuit_breaker import Dependency
from ..contract.errors import ContractError
from ..contract.event import Event, decode
from ..errors import Outage
from ..queue import Message, Queue
from ..results import Done, Failure, Outcome
from ..store import audit, dead_letters
from ..store.dead_letters import DeadLetter
from ..store.engine import in_transaction
from . import retry
from .bisect import isolate
from .dead_lettering import Failed, Failures, OnFailure, last_failure
from .lease_renewal import LeaseKeeper
from .pauses import Pauses

log = structlog.get_logger()

#: Seconds until the next look at a queue that has just run dry. Doubles up to BRIDGE_POLL_INTERVAL.
FIRST_PAUSE = 0.05
#: Seconds until a paused consumer looks again whether it may go on.
PAUSED = 1.0
#: What to do with a message: delete it; any number is the seconds after which it comes again.
DELETE = -1


@dataclass(frozen=True)
class Handler:
    """What a consumer does with the events of its queue.

    :ivar handle: applies a batch; see ``bridge.handlers``
    :ivar on_failure: notes failed events in the handler's own tables
    :ivar needs: what must be up before messages are taken
    """

    queue: Queue
    handle: Callable[[Sequence[Event]], dict[str, Outcome]]
    on_failure: OnFailure
    needs: Sequence[Dependency]


@dataclass
class _Delivery:
    """An event and the message (or messages) that brought it."""

    event: Event
    messages: list[Message]
    attempts: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


@dataclass
class _Batch:
    """What is known so far about the messages in hand.

    :ivar verdicts: by message id: :data:`DELETE` or seconds; a message without one goes back to the queue at once
    :ivar begun: events whose attempt is counted and has not ended
    """

    messages: Sequence[Message]
    verdicts: dict[str, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)

    def decide(self, messages: Iterable[Message], verdict: int) -> None:
        self.verdicts.update({message.id: verdict for message in messages})


class Consumer(threading.Thread):
    """Consumes one queue until ``stop`` is set; then finishes the batch in hand.

    :ivar crashed: it ended by an error that nobody foresaw
    """

    def __init__(
        self,
        handler: Handler,
        engine: sa.Engine,
        dead_letter_queue: Queue,
        leases: LeaseKeeper,
        pool: ThreadPoolExecutor,
        stop: threading.Event,
        pauses: Pauses,
        *,
        batch_size: int,
        visibility_timeout: int,
        max_attempts: int,
        poll_interval: float,
    ):
        super().__init__(name=handler.queue.name)
        self._handler = handler
        self._queue = handler.queue
        self._engine = engine
        self._failures = Failures(engine, dead_letter_queue)
        self._leases = leases
        self._pool = pool
        self._stop_taking = stop
        self._pauses = pauses
        self._batch_size = batch_size
        self._visibility_timeout = visibility_timeout
        self._max_attempts = max_attempts
        self._poll_interval = poll_interval
        self._disposals: list[Future[None]] = []
        #: Attempts to give back as soon as SQL answers again.
        self._owed: set[str] = set()
        self.crashed = False

    def run(self) -> None:
        try:
            self._consume()
        except Exception:
            # A bug. The process ends, so that whoever supervises it sees that, and starts it again.
            log.critical("consumer_crashed", queue=self._queue.name, exc_info=True)
            self.crashed = True
            self._stop_taking.set()
        finally:
            wait(self._disposals)

    def _consume(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop_taking.is_set():
            # While something is away no message is taken: its lease and its dequeue count would run for nothing.
            if not all(dependency.wait_until_up(self._stop_taking) for dependency in self._handler.needs):
                break
            try:
                self._give_back(self._owed)
                if self._pauses.holds(self._queue.name):
                    self._stop_taking.wait(PAUSED)
                    continue
                messages = self._queue.receive(self._batch_size, self._visibility_timeout)
                if messages:
                    self._work_off(messages)
            except Outage as outage:
                self._report(outage)
                continue
            if messages:
                pause = FIRST_PAUSE
            else:
                self._stop_taking.wait(pause)
                pause = min(2 * pause, self._poll_interval)

    def _work_off(self, messages: Sequence[Message]) -> None:
        """Handle ``messages`` and give each back to the queue.

        :raises Outage: after giving back what could not be handled
        """
        metrics.taken(self._queue.name, len(messages))
        batch = _Batch(messages)
        queue_is_up = True
        try:
            with self._leases.holding(self._queue, messages):
                self._process(batch)
        except Outage as outage:
            self._report(outage)
            queue_is_up = outage.dependency != "queue"
            self._owed |= batch.begun
            self._give_back(self._owed)
            raise
        finally:
            # Without the queue the messages come again when their leases end, and find their events done.
            if queue_is_up:
                wait(self._disposals)
                self._disposals = [
                    self._pool.submit(self._dispose, message, batch.verdicts.get(message.id, 0)) for message in messages
                ]

    def _dispose(self, message: Message, verdict: int) -> None:
        try:
            if not (self._queue.delete(message) if verdict == DELETE else self._queue.hide(message, verdict)):
                log.info("lease_lost", queue=self._queue.name, message_id=message.id)
        except Outage as outage:
            self._report(outage)

    def _process(self, batch: _Batch) -> None:
        deliveries = self._read(batch)
        if not deliveries:
            return
        before, given_up = in_transaction(self._engine, lambda connection: _look_up(connection, deliveries.values()))
        together: list[_Delivery] = []
        alone: list[_Delivery] = []
        exhausted: list[_Delivery] = []
        for delivery in deliveries.values():
            known = before.get(delivery.event.id)
            if known is None:
                metrics.begun(delivery.event, self._queue.name, delivery.messages[0].inserted_at)
                together.append(delivery)
                continue
            if known.is_overruled_by(delivery.event):
                (alone if known.attempt_in_progress else together).append(delivery)
                continue
            delivery.started_at = known.started_at
            delivery.attempts = known.attempts
            if known.is_done:
                batch.decide(delivery.messages, DELETE)
                metrics.known(delivery.event)
                log.info("event_known", **_about(delivery.event), outcome=known.outcome)
            elif known.is_dead:
                if given_up.get(delivery.event.id) in [message.id for message in delivery.messages]:
                    # The very message that was given up: we were killed before its notice or its end.
                    self._failures.notify([message.id for message in delivery.messages])
                    batch.decide(delivery.messages, DELETE)
                else:
                    # Sent again on purpose, by `dlq replay` or by Odoo once its stage is mapped: it starts afresh.
                    together.append(delivery)
            elif known.attempts >= self._max_attempts:
                exhausted.append(delivery)
            elif known.attempt_in_progress:
                alone.append(delivery)
            else:
                together.append(delivery)

        self._give_up_exhausted(batch, exhausted, before)
        for group in ([together] if together else []) + [[delivery] for delivery in alone]:
            # What has not begun when we are told to stop goes back to the queue; another bridge takes it.
            if self._stop_taking.is_set() and group is not together:
                break
            self._attempt(batch, group)

    def _read(self, batch: _Batch) -> dict[str, _Delivery]:
        """The events in the messages, by id; what is none becomes a dead letter."""
        deliveries: dict[str, _Delivery] = {}
        letters: list[DeadLetter] = []
        now = datetime.now(timezone.utc)
        for message in batch.messages:
            try:
                event = decode(message.content, queue=self._queue.name, inserted_at=message.inserted_at)
            except ContractError as error:
                letters.append(self._unreadable(message, error, now))
                metrics.dead_lettered(None, error.code)
                log.error("message_unreadable", queue=self._queue.name, message_id=message.id, code=error.code)
            else:
                delivery = deliveries.setdefault(event.id, _Delivery(event, []))
                delivery.messages.append(message)
                if event.retries > delivery.event.retries:
                    delivery.event = event
        if letters:
            self._failures.keep(letters)
            self._failures.notify([letter.message_id for letter in letters])
            unreadable = {letter.message_id for letter in letters}
            batch.decide((message for message in batch.messages if message.id in unreadable), DELETE)
        return deliveries

    def _attempt(self, batch: _Batch, group: Sequence[_Delivery]) -> None:
        taken = [
            audit.ReceivedEvent(delivery.event, self._queue.name, delivery.messages[0].inserted_at)
            for delivery in group
        ]
        before = in_transaction(self._engine, lambda connection: audit.begin(connection, taken))
        batch.begun |= {delivery.event.id for delivery in group}
        for delivery in group:
            known = before.get(delivery.event.id)
            afresh = known is None or known.is_dead or known.is_overruled_by(delivery.event)
            delivery.attempts = 1 if known is None or afresh else known.attempts + 1

        misplaced = [delivery for delivery in group if delivery.event.type.queue != self._queue.name]
        events = [delivery.event for delivery in group if delivery not in misplaced]
        outcomes = isolate(events, self._handler.handle) if events else {}
        for delivery in misplaced:
            about = f"Events of type {delivery.event.type.value} belong on {delivery.event.type.queue}."
            outcomes[delivery.event.id] = Failure("wrong_queue", about, permanent=True)
        self._settle(batch, group, outcomes)

    def _settle(self, batch: _Batch, group: Sequence[_Delivery], outcomes: Mapping[str, Outcome]) -> None:
        """Decide on the messages of events that were tried, and note what failed."""
        postponed: list[_Delivery] = []
        retried: list[tuple[_Delivery, Failure]] = []
        given_up: list[tuple[_Delivery, Failure]] = []
        for delivery in group:
            outcome = outcomes[delivery.event.id]
            if isinstance(outcome, Done):
                batch.begun.discard(delivery.event.id)
                batch.decide(delivery.messages, DELETE)
                metrics.applied(delivery.event, outcome.status, delivery.started_at)
                log.info("event_applied", **_about(delivery.event), **_result(delivery, outcome))
            elif isinstance(outcome, Failure):
                dead = retry.is_given_up(outcome, delivery.attempts, self._max_attempts)
                (given_up if dead else retried).append((delivery, outcome))
            else:
                postponed.append(delivery)
        if postponed:
            ids = {delivery.event.id for delivery in postponed}
            self._give_back(ids.copy())
            batch.begun -= ids
            for delivery in postponed:
                batch.decide(delivery.messages, retry.POSTPONED_DELAY)
                metrics.retried(delivery.event, "postponed")
                log.info("event_postponed", **_about(delivery.event))
        if retried:
            self._note(batch, retried, dead=False)
            for delivery, failure in retried:
                seconds = retry.delay(delivery.attempts)
                batch.decide(delivery.messages, seconds)
                metrics.retried(delivery.event, failure.code)
                log.warning("event_retried", **_about(delivery.event), **_problem(delivery, failure), retry_in=seconds)
        if given_up:
            self._give_up(batch, given_up)

    def _give_up_exhausted(
        self, batch: _Batch, exhausted: Sequence[_Delivery], before: Mapping[str, audit.AttemptState]
    ) -> None:
        if exhausted:
            self._give_up(batch, [(delivery, last_failure(before[delivery.event.id])) for delivery in exhausted])

    def _give_up(self, batch: _Batch, failures: Sequence[tuple[_Delivery, Failure]]) -> None:
        self._note(batch, failures, dead=True)
        self._failures.notify([delivery.messages[0].id for delivery, _ in failures])
        for delivery, failure in failures:
            batch.decide(delivery.messages, DELETE)
            metrics.dead_lettered(delivery.event, failure.code)
            log.error("event_dead_lettered", **_about(delivery.event), **_problem(delivery, failure))

    def _note(self, batch: _Batch, failures: Sequence[tuple[_Delivery, Failure]], *, dead: bool) -> None:
        failed = [
            Failed(
                event=delivery.event,
                failure=failure,
                attempts=delivery.attempts,
                first_tried_at=delivery.started_at,
                queue=self._queue.name,
                message_id=delivery.messages[0].id,
                body=delivery.messages[0].content,
                enqueued_at=delivery.messages[0].inserted_at,
            )
            for delivery, failure in failures
        ]
        self._failures.note(failed, self._handler.on_failure, dead=dead)
        batch.begun -= {delivery.event.id for delivery, _ in failures}

    def _unreadable(self, message: Message, error: ContractError, now: datetime) -> DeadLetter:
        return DeadLetter(
            event_id=None,
            message_id=message.id,
            queue=self._queue.name,
            type=None,
            manychat_id=None,
            body=message.content,
            enqueued_at=message.inserted_at,
            code=error.code,
            message=error.message,
            attempts=1,
            first_tried_at=now,
        )

    def _give_back(self, event_ids: set[str]) -> None:
        """Take back the counted attempts of ``event_ids``, and empty it; without SQL, remember them instead."""
        if not event_ids:
            return
        try:
            in_transaction(self._engine, lambda connection: audit.release_attempt(connection, event_ids))
        except Outage as outage:
            self._report(outage)
            self._owed |= event_ids
        else:
            event_ids.clear()

    def _report(self, outage: Outage) -> None:
        for dependency in self._handler.needs:
            if dependency.name == outage.dependency:
                dependency.report(outage)


def _look_up(
    connection: sa.Connection, deliveries: Iterable[_Delivery]
) -> tuple[dict[str, audit.AttemptState], dict[str, str]]:
    before = audit.attempt_states(connection, [delivery.event.id for delivery in deliveries])
    dead = [event_id for event_id, known in before.items() if known.is_dead]
    return before, dead_letters.messages_given_up(connection, dead)


def _about(event: Event) -> dict[str, Any]:
    about = {"event_id": event.id, "manychat_id": event.manychat_id, "type": event.type.value}
    # A bot with a wrong clock is for somebody to mend: its events are ordered by their receipt until then.
    return {**about, "clock_is_wrong": True} if event.clock_is_wrong else about


def _result(delivery: _Delivery, done: Done) -> dict[str, Any]:
    took = datetime.now(timezone.utc) - delivery.event.received_at
    result: dict[str, Any] = {
        "outcome": done.status,
        "attempts": delivery.attempts,
        "ms": round(took.total_seconds() * 1000),
    }
    return {**result, "lead_id": done.lead_id} if done.lead_id else result


def _problem(delivery: _Delivery, failure: Failure) -> dict[str, Any]:
    return {"code": failure.code, "attempts": delivery.attempts}
