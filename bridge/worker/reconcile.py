"""Find events and opportunities that were left unfinished, and finish them.

An event without a message (an operator emptied the queue, a storage account was restored) is still in the audit,
without an outcome. An opportunity may still read pending if its bridge was killed at the wrong moment. The audit has
the whole event, and applying it is idempotent. So it is applied again, and Odoo answers with the outcome of an event
that it has applied before. Odoo keeps the order: an old event never reverts what a user decided later.

An event that no bridge has ever received is missed too: :mod:`.losses` finds out what a queue has lost. Odoo's log has
the events of its webhook and sends them again; the audit has those of the standby API; a dead letter that was replayed
is opened again.

It is safe beside running bridges and other reconciles: an event that was tried lately is left alone, and each event is
claimed in SQL first. Attempts count as everywhere: an event that always fails becomes a dead letter.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from .. import retry
from ..circuit_breaker import trip_breaker
from ..contract.event import Event
from ..contract.payloads import EventType
from ..errors import Outage
from ..odoo import Odoo
from ..queue import Queue
from ..results import Done, Failure, Outcome
from ..store import audit, dead_letters, opportunities
from ..store.engine import in_transaction
from ..store.rows import AuditRow, OpportunityRow
from . import outcome_log
from .audited import event_of
from .bisect import bisect_batch
from .dead_lettering import DeadLetterer, FailedEvent, last_failure
from .handlers import Handler
from .losses import Losses
from .overdue import Overdue
from .pauses import Pauses
from .repair import DRY_RUN, FAILED, REPAIRED, SKIPPED, Repair

#: Events applied together.
BATCH = 32
#: Events of the standby API, accepted and lost, that one round applies for each queue.
MOST_UNTRIED = 500
#: Share of the interval between two rounds that is random, so that several bridges do not reconcile at the same moment.
JITTER = 0.2

_RowAndEvent = tuple[AuditRow, Event]


def grace(visibility_timeout: int) -> timedelta:
    """How long after its last attempt a bridge may still work on an event: the longest delay before another attempt,
    and the leases before and after it.

    :param visibility_timeout: seconds
    """
    return timedelta(seconds=retry.LAST_DELAY + 2 * visibility_timeout)


class Reconcile:
    """One round over everything unfinished whose last attempt began before ``cutoff``."""

    def __init__(
        self,
        engine: sa.Engine,
        handlers: Mapping[str, Handler],
        dead_letter_queue: Queue,
        odoo: Odoo | None,
        *,
        max_attempts: int,
        cutoff: datetime,
        dry_run: bool = False,
        stop: threading.Event | None = None,
    ):
        """
        :param handlers: by the name of their queue; events of other queues are left alone
        :param odoo: asked for events that have been on their queue for long; ``None``: there is no Odoo
        :param stop: once it is set, no further attempt begins
        """
        self._engine = engine
        self._handlers = handlers
        self._dead_letterer = DeadLetterer(engine, dead_letter_queue)
        self._odoo = odoo
        self._losses = Losses(engine, {name: handler.queue for name, handler in handlers.items()}, cutoff)
        self._max_attempts = max_attempts
        self._cutoff = cutoff
        self._dry_run = dry_run
        self._stop = stop or threading.Event()

    def repairs(self) -> Iterator[Repair]:
        """Finish what is unfinished, one repair after the other.

        :raises bridge.errors.Outage: what is done by then stays done; the rest is for the next round
        """
        types = [kind.value for kind in EventType if kind.queue in self._handlers]
        yield from self._finish(in_transaction(self._engine, audit.unfinished, self._cutoff, types))
        if EventType.OPPORTUNITY.queue in self._handlers:
            yield from self._synchronise(in_transaction(self._engine, self._unsynced))
        yield from self._recover_accepted()
        yield from self._reopen_replayed()
        if self._odoo is not None:
            yield from Overdue(self._engine, self._odoo, self._handlers, self._losses, dry_run=self._dry_run).repairs()

    # --- events without an outcome -----------------------------------------------------------------------------------

    def _finish(self, rows: Sequence[AuditRow]) -> Iterator[Repair]:
        together: dict[str, list[_RowAndEvent]] = {}
        for row in rows:
            event = event_of(row)
            if event is None:
                yield Repair(row.event_id, row.manychat_id, _found(row), SKIPPED, "Its payload was removed.")
            elif self._dry_run:
                yield Repair(event.id, event.manychat_id, _found(row), DRY_RUN, f"Tried {row.attempts} times.")
            elif row.attempt_in_progress:
                # It may have killed the process: alone, it takes no neighbours along.
                yield from self._apply([(row, event)])
            else:
                together.setdefault(event.type.queue, []).append((row, event))
        for group in together.values():
            for start in range(0, len(group), BATCH):
                yield from self._apply(group[start : start + BATCH])

    def _apply(self, group: Sequence[_RowAndEvent]) -> Iterator[Repair]:
        if self._stop.is_set():
            return
        claimed = in_transaction(self._engine, self._claim, group)
        exhausted = {row.event_id for row, _ in claimed if row.attempts >= self._max_attempts}
        events = [event for _, event in claimed if event.id not in exhausted]
        outcomes: dict[str, Outcome] = {
            row.event_id: last_failure(row) for row, _ in claimed if row.event_id in exhausted
        }
        try:
            if events:
                outcomes.update(bisect_batch(events, self._handlers[events[0].type.queue].handle))
        except Outage:
            in_transaction(self._engine, audit.release_attempt, [event.id for _, event in claimed])
            raise
        for row, event in claimed:
            attempts = row.attempts + (event.id not in exhausted)
            yield self._settle(row, event, outcomes[event.id], attempts)

    def _claim(self, connection: sa.Connection, group: Sequence[_RowAndEvent]) -> list[_RowAndEvent]:
        # By id, the order in which every transaction locks audit rows.
        by_id = sorted(group, key=lambda item: item[1].id)
        return [(row, event) for row, event in by_id if audit.claim(connection, event.id, self._cutoff)]

    def _settle(self, row: AuditRow, event: Event, outcome: Outcome, attempts: int) -> Repair:
        if isinstance(outcome, Done):
            outcome_log.applied(event, outcome, attempts=attempts, first_tried_at=row.started_at)
            return Repair(event.id, event.manychat_id, _found(row), REPAIRED, outcome.status, event.trace_id)
        if isinstance(outcome, Failure):
            reason = self._record_failure(row, event, outcome, attempts)
            return Repair(event.id, event.manychat_id, _found(row), FAILED, f"{outcome.code}: {reason}", event.trace_id)
        in_transaction(self._engine, audit.release_attempt, [event.id])
        outcome_log.conflict(event)
        reason = "A concurrent transaction held its opportunity. The next round tries again."
        return Repair(event.id, event.manychat_id, _found(row), FAILED, reason, event.trace_id)

    def _record_failure(self, row: AuditRow, event: Event, failure: Failure, attempts: int) -> str:
        """Record the failed attempt; what comes next, in words."""
        is_dead = retry.is_given_up(failure, attempts, self._max_attempts)
        # There is no message any more: the dead letter holds the message that the event would travel as.
        failed = FailedEvent(
            event=event,
            failure=failure,
            attempts=attempts,
            first_tried_at=row.started_at,
            queue=event.type.queue,
            message_id=f"reconcile-{event.id[:48]}",
            body=event.encode(),
            enqueued_at=row.enqueued_at,
        )
        self._dead_letterer.record_failure([failed], self._handlers[event.type.queue].on_failure, dead=is_dead)
        if is_dead:
            self._dead_letterer.send_notice([failed.message_id])
            outcome_log.dead_lettered(event, failure, attempts=attempts)
            return "given up: see `dlq list`"
        outcome_log.retried(event, failure, attempts=attempts, retry_in=None)
        return f"attempt {attempts} of {self._max_attempts}, again later"

    # --- opportunities that SQL thinks are not in Odoo ---------------------------------------------------------------

    def _unsynced(self, connection: sa.Connection) -> list[tuple[OpportunityRow, AuditRow | None]]:
        rows = opportunities.unsynced(connection, self._cutoff)
        newest = audit.rows(connection, [row.event_id for row in rows if row.event_id])
        return [(row, newest.get(row.event_id or "")) for row in rows]

    def _synchronise(self, found: Sequence[tuple[OpportunityRow, AuditRow | None]]) -> Iterator[Repair]:
        handle = self._handlers[EventType.OPPORTUNITY.queue].handle
        for opportunity, row in found:
            if self._stop.is_set():
                return
            if row is not None and row.outcome is None:
                # An unfinished event: `_finish` or a bridge applies it.
                continue
            event = event_of(row) if row else None
            obstacle = _obstacle(row, event)
            if row is None or event is None or obstacle:
                result, reason = SKIPPED, obstacle
            elif self._dry_run:
                result, reason = DRY_RUN, f"Its newest event was applied: {row.outcome}."
            else:
                outcome = bisect_batch([event], handle)[event.id]
                result, reason = (
                    (REPAIRED, outcome.status)
                    if isinstance(outcome, Done)
                    else (FAILED, outcome.code if isinstance(outcome, Failure) else "again later")
                )
            yield Repair(
                opportunity.event_id or "",
                opportunity.manychat_id,
                opportunity.odoo_sync_status,
                result,
                reason,
                event.trace_id if event else "",
            )

    # --- events that a queue lost before a bridge received them ------------------------------------------------------

    def _recover_accepted(self) -> Iterator[Repair]:
        """Apply the lost events of the standby API, which only SQL keeps."""
        for queue in self._handlers:
            before = self._losses.lost_before(queue)
            yield from self._finish(in_transaction(self._engine, audit.untried, queue, before, MOST_UNTRIED))

    def _reopen_replayed(self) -> Iterator[Repair]:
        for letter in in_transaction(self._engine, dead_letters.unanswered_replays, self._cutoff):
            queue = next((kind.queue for kind in EventType if kind.value == letter.type), letter.queue)
            if queue in self._handlers and letter.replayed_at and letter.replayed_at < self._losses.lost_before(queue):
                if not self._dry_run:
                    in_transaction(self._engine, dead_letters.reopen, letter)
                result = DRY_RUN if self._dry_run else REPAIRED
                reason = "The queue lost its replay: it is an open dead letter again."
                yield Repair(letter.event_id or "", letter.manychat_id or "", "lost", result, reason)


def _found(row: AuditRow) -> str:
    return "unfinished" if row.tried_at or row.attempts else "lost"


def _obstacle(row: AuditRow | None, event: Event | None) -> str:
    """The reason why an opportunity's newest event is not applied again; empty if there is none."""
    if row is None or (event is None and row.outcome not in (audit.DEAD_LETTERED, audit.DISCARDED)):
        return "The payload of its newest event was removed; the person's next event brings it up to date."
    if row.outcome == audit.DEAD_LETTERED:
        return f"Its newest event was given up ({row.error_code}): `dlq show {row.event_id}`, then `dlq replay`."
    if row.outcome == audit.DISCARDED:
        return "Its newest event was discarded; the person's next event brings it up to date."
    return ""


class Reconciler:
    """The rounds that ``run`` makes beside its consumers, for queues that are up and not paused."""

    def __init__(
        self,
        engine: sa.Engine,
        handlers: Sequence[Handler],
        dead_letter_queue: Queue,
        odoo: Odoo | None,
        pauses: Pauses,
        stop: threading.Event,
        *,
        max_attempts: int,
        visibility_timeout: int,
    ):
        """
        :param stop: once it is set, no further attempt begins
        :param visibility_timeout: seconds
        """
        self._engine = engine
        self._all_handlers = handlers
        self._dead_letter_queue = dead_letter_queue
        self._odoo = odoo
        self._pauses = pauses
        self._stop = stop
        self._max_attempts = max_attempts
        self._grace = grace(visibility_timeout)

    def reconcile(self) -> None:
        """Make one round. An outage ends it and trips the breaker, so that consumers wait too."""
        try:
            for repair in self._round().repairs():
                outcome_log.reconciled(repair)
        except Outage as outage:
            trip_breaker([breaker for handler in self._all_handlers for breaker in handler.breakers], outage)

    def _round(self) -> Reconcile:
        handlers = {
            handler.queue.name: handler
            for handler in self._all_handlers
            if all(breaker.is_closed() for breaker in handler.breakers)
            and not self._pauses.is_paused(handler.queue.name)
        }
        return Reconcile(
            self._engine,
            handlers,
            self._dead_letter_queue,
            self._odoo,
            max_attempts=self._max_attempts,
            cutoff=datetime.now(timezone.utc) - self._grace,
            stop=self._stop,
        )
