"""Finding what was left unfinished, and finishing it.

An event whose message is gone (a queue emptied by hand, a storage account restored) is still in the audit, without an
outcome; an opportunity whose bridge was killed at the wrong moment may still read pending. The audit has the whole
event, and applying it is idempotent: so it is simply applied again, and Odoo answers for an event that it knows with
what became of it then. Order is Odoo's to keep; an old event never reverts what a person decided since.

Safe beside running bridges and other reconciles: what somebody has tried lately is left alone, and each event is
claimed in SQL first. Attempts count, as everywhere: what always fails becomes a dead letter.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
import structlog

from .. import metrics
from ..contract.errors import ContractError
from ..contract.event import Event, from_envelope
from ..contract.fields import format_datetime
from ..contract.payloads import EventType
from ..contract.strict_json import parse_json
from ..errors import Outage
from ..queue import Queue
from ..results import Done, Failure, Outcome
from ..store import audit, opportunities
from ..store.engine import in_transaction
from . import retry
from .bisect import isolate
from .consumer import Handler
from .dead_lettering import Failed, Failures, last_failure
from .pauses import Pauses

log = structlog.get_logger()

#: Events applied together.
BATCH = 32

REPAIRED, EXPLAINED, FAILED, WOULD = "repaired", "explained", "failed", "would be asked again"


@dataclass(frozen=True)
class Case:
    """Something that was found, and what became of it.

    :ivar result: one of the words above
    :ivar about: why, for people; quotes nobody's data
    """

    event_id: str
    manychat_id: str
    found: str
    result: str
    about: str


def grace(visibility_timeout: int) -> timedelta:
    """How long after its last attempt an event may still be on somebody's mind: the longest pause before another
    attempt, and the leases before and after it.

    :param visibility_timeout: seconds
    """
    return timedelta(seconds=retry.LAST_DELAY + 2 * visibility_timeout)


class Reconcile:
    """One round over everything that nobody has tried since ``cutoff``."""

    def __init__(
        self,
        engine: sa.Engine,
        handlers: Mapping[str, Handler],
        dead_letter_queue: Queue,
        *,
        max_attempts: int,
        cutoff: datetime,
        dry_run: bool = False,
        stop: threading.Event | None = None,
    ):
        """
        :param handlers: by the name of their queue; events of other queues are left alone
        :param stop: once it is set, no further events are begun
        """
        self._engine = engine
        self._handlers = handlers
        self._failures = Failures(engine, dead_letter_queue)
        self._max_attempts = max_attempts
        self._cutoff = cutoff
        self._dry_run = dry_run
        self._stop = stop or threading.Event()

    def cases(self) -> Iterator[Case]:
        """
        :raises bridge.errors.Outage: what is done until then is done; the rest is for the next time
        """
        types = [kind.value for kind in EventType if kind.queue in self._handlers]
        yield from self._finish(in_transaction(self._engine, lambda c: audit.unfinished(c, self._cutoff, types)))
        if EventType.OPPORTUNITY.queue in self._handlers:
            yield from self._synchronise(in_transaction(self._engine, self._unsynced))

    # --- events without an outcome -----------------------------------------------------------------------------------

    def _finish(self, rows: Sequence[Any]) -> Iterator[Case]:
        together: dict[str, list[tuple[Any, Event]]] = {}
        for row in rows:
            event = event_of(row)
            if event is None:
                yield Case(row.event_id, row.manychat_id, "unfinished", EXPLAINED, "What it said is no longer known.")
            elif self._dry_run:
                yield Case(event.id, event.manychat_id, "unfinished", WOULD, f"Tried {row.attempts} times.")
            elif row.attempt_in_progress:
                # It may have killed the process: alone, it takes no neighbours along.
                yield from self._apply([(row, event)])
            else:
                together.setdefault(event.type.queue, []).append((row, event))
        for group in together.values():
            for start in range(0, len(group), BATCH):
                yield from self._apply(group[start : start + BATCH])

    def _apply(self, group: Sequence[tuple[Any, Event]]) -> Iterator[Case]:
        if self._stop.is_set():
            return
        claimed = in_transaction(
            self._engine,
            # By id, as everybody who locks several audit rows does.
            lambda connection: [
                (row, event)
                for row, event in sorted(group, key=lambda item: item[1].id)
                if audit.claim(connection, event.id, self._cutoff)
            ],
        )
        exhausted = {row.event_id for row, _ in claimed if row.attempts >= self._max_attempts}
        events = [event for _, event in claimed if event.id not in exhausted]
        outcomes: dict[str, Outcome] = {
            row.event_id: last_failure(row) for row, _ in claimed if row.event_id in exhausted
        }
        try:
            if events:
                outcomes.update(isolate(events, self._handlers[events[0].type.queue].handle))
        except Outage:
            ids = [event.id for _, event in claimed]
            in_transaction(self._engine, lambda connection: audit.release_attempt(connection, ids))
            raise
        for row, event in claimed:
            attempts = row.attempts + (event.id not in exhausted)
            yield self._settle(row, event, outcomes[event.id], attempts)

    def _settle(self, row: Any, event: Event, outcome: Outcome, attempts: int) -> Case:
        found = "unfinished"
        if isinstance(outcome, Done):
            metrics.applied(event, outcome.status, row.started_at)
            return Case(event.id, event.manychat_id, found, REPAIRED, outcome.status)
        if isinstance(outcome, Failure):
            dead = retry.is_given_up(outcome, attempts, self._max_attempts)
            # There is no message any more: what goes into a letter is what the event would travel as.
            failed = Failed(
                event=event,
                failure=outcome,
                attempts=attempts,
                first_tried_at=row.started_at,
                queue=event.type.queue,
                message_id=f"reconcile-{event.id[:48]}",
                body=event.encode(),
                enqueued_at=row.enqueued_at,
            )
            self._failures.note([failed], self._handlers[event.type.queue].on_failure, dead=dead)
            if dead:
                metrics.dead_lettered(event, outcome.code)
                self._failures.notify([failed.message_id])
            about = "given up: see `dlq list`" if dead else f"try {attempts} of {self._max_attempts}, again later"
            return Case(event.id, event.manychat_id, found, FAILED, f"{outcome.code}: {about}")
        in_transaction(self._engine, lambda connection: audit.release_attempt(connection, [event.id]))
        return Case(event.id, event.manychat_id, found, FAILED, "Others work on the same opportunity: again later.")

    # --- opportunities that SQL thinks are not in Odoo ---------------------------------------------------------------

    def _unsynced(self, connection: sa.Connection) -> list[tuple[Any, Any]]:
        rows = opportunities.unsynced(connection, self._cutoff)
        newest = audit.rows(connection, [row.event_id for row in rows if row.event_id])
        return [(row, newest.get(row.event_id)) for row in rows]

    def _synchronise(self, found: Sequence[tuple[Any, Any]]) -> Iterator[Case]:
        handle = self._handlers[EventType.OPPORTUNITY.queue].handle
        for opportunity, row in found:
            if self._stop.is_set():
                return
            if row is not None and row.outcome is None:
                # The first part's business, or that of a bridge.
                continue
            event = event_of(row) if row else None
            explained = _why_not(row, event)
            if event is None or explained:
                result, about = EXPLAINED, explained
            elif self._dry_run:
                result, about = WOULD, f"Its newest event was applied: {row.outcome}."
            else:
                outcome = isolate([event], handle)[event.id]
                result, about = (
                    (REPAIRED, outcome.status)
                    if isinstance(outcome, Done)
                    else (FAILED, outcome.code if isinstance(outcome, Failure) else "again later")
                )
            yield Case(opportunity.event_id or "", opportunity.manychat_id, opportunity.odoo_sync_status, result, about)


def event_of(row: Any) -> Event | None:
    """The event of an audit row; ``None`` if its payload was removed, or keeps no contract of ours."""
    try:
        return from_envelope(
            {
                "v": 1,
                "id": row.event_id,
                "type": row.type,
                "received_at": format_datetime(row.received_at),
                "source": row.source,
                "payload": parse_json(row.payload),
                "retries": row.retries,
            }
        )
    except ContractError:
        return None


def _why_not(row: Any, event: Event | None) -> str:
    """Why an opportunity's newest event is not sent again; empty if it is."""
    if row is None or (event is None and row.outcome not in (audit.DEAD_LETTERED, audit.DISCARDED)):
        return "What its newest event said is no longer known; the person's next event brings it up to date."
    if row.outcome == audit.DEAD_LETTERED:
        return f"Its newest event was given up ({row.error_code}): `dlq show {row.event_id}`, then `dlq replay`."
    if row.outcome == audit.DISCARDED:
        return "Its newest event was discarded; the person's next event brings it up to date."
    return ""


class Reconciler(threading.Thread):
    """Reconciles every now and then, beside the consumers, until ``stop`` is set."""

    def __init__(
        self,
        engine: sa.Engine,
        handlers: Sequence[Handler],
        dead_letter_queue: Queue,
        pauses: Pauses,
        stop: threading.Event,
        *,
        interval: int,
        max_attempts: int,
        visibility_timeout: int,
    ):
        """:param interval: seconds; 0: never"""
        super().__init__(name="reconcile")
        self._engine = engine
        self._all_handlers = handlers
        self._dead_letter_queue = dead_letter_queue
        self._pauses = pauses
        self._stop_reconciling = stop
        self._interval = interval
        self._max_attempts = max_attempts
        self._grace = grace(visibility_timeout)

    def run(self) -> None:
        if not self._interval:
            return
        # Not on the dot: several bridges started together would come together.
        while not self._stop_reconciling.wait(self._interval * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                self._round()
            except Outage as outage:
                for dependency in {id(need): need for handler in self._all_handlers for need in handler.needs}.values():
                    if dependency.name == outage.dependency:
                        dependency.report(outage)
            except Exception:
                # A bug here must not stop the events that flow.
                log.exception("reconcile_failed")

    def _round(self) -> None:
        handlers = {
            handler.queue.name: handler
            for handler in self._all_handlers
            if all(need.is_up() for need in handler.needs) and not self._pauses.holds(handler.queue.name)
        }
        round_ = Reconcile(
            self._engine,
            handlers,
            self._dead_letter_queue,
            max_attempts=self._max_attempts,
            cutoff=datetime.now(timezone.utc) - self._grace,
            stop=self._stop_reconciling,
        )
        for case in round_.cases():
            metrics.RECONCILED.labels(case.result).inc()
            if case.result != EXPLAINED:
                log.warning("reconciled", event_id=case.event_id, manychat_id=case.manychat_id, outcome=case.result)
