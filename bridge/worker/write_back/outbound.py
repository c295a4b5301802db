"""What people decide in Odoo, on its way to ManyChat: the threads that `run` adds when it has ManyChat's token.

The queue only says whom to look at. What is to be written stands in SQL, so a message that is older than its row, comes
twice or got lost changes nothing. Nothing here becomes a dead letter: while ManyChat is down, messages stay.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import sqlalchemy as sa
import structlog

from ... import metrics, retry, spans
from ...circuit_breaker import CircuitBreaker, trip_breaker
from ...contract.fields import format_datetime
from ...errors import ManyChatRefused, Outage, PageUndelivered, QueueMissing, QueueRightMissing
from ...odoo import Odoo
from ...queue import Message, Queue
from ...store import manychat_writes
from ...store.engine import in_transaction, read
from ...store.manychat_writes import Claim, Idle
from ..pauses import Pauses
from ..periodic import PeriodicThread
from ..polling import Pace
from . import outbound_queue
from .outbound_queue import Call
from .pace import PacedManyChat, Stopping
from .person import LeaseEnds, PersonWriter

log = structlog.get_logger()

#: People whom one bridge writes to at once: while ManyChat answers for one, the next has its turn.
THREADS = 2
#: Messages received at once. Few: each may need several calls.
PAGE = 2
#: Seconds until a message comes again whose bridge was killed: until then no other one may write to its person.
#: A page may take longer. Then a message comes while it is worked on, and SQL decides.
VISIBILITY = int(manychat_writes.LEASE)
#: Seconds within which a thread that waits at the empty queue notices that the bridge stops.
STOPS = 0.5
#: Seconds between two looks whether write-back was switched on.
OFF = 5.0
#: Seconds until the queue is tried again that this bridge may not use.
DENIED = 30.0
#: Seconds until a message comes again whose person another bridge writes to, or that an outage interrupted.
AGAIN = 5
#: Attempts after which a fault of ManyChat's that may pass counts as a refusal.
ATTEMPTS = 5
#: Seconds between two reports to Odoo, and answers in one report.
REPORT_INTERVAL = 5.0
REPORTED = 200
#: Seconds that a thread has for the call in hand when the bridge stops.
END_WITHIN = 30


class Outbound:
    """Writes people's states to ManyChat. Several threads may use it."""

    def __init__(
        self,
        engine: sa.Engine,
        queue: Queue,
        manychat: PacedManyChat,
        breakers: list[CircuitBreaker],
        pauses: Pauses,
        pace: Pace,
        stop: threading.Event,
    ):
        """
        :param breakers: of SQL, the queue and ManyChat
        :param pace: of the queue
        """
        self._engine = engine
        self._queue = queue
        self._manychat = manychat
        self._breakers = breakers
        self._pauses = pauses
        self._pace = pace
        self._stop = stop
        #: An empty queue is asked by one thread at a time.
        self._turn = threading.Lock()
        self._filled = threading.Event()

    def start(self, stack: ExitStack, odoo: Odoo | None) -> None:
        """Start the threads. ``stack`` waits for them: a call under way is finished.

        :param odoo: gets reports of what ManyChat answered
        """
        threads: list[threading.Thread] = [*self._periodic(odoo)]
        threads += [threading.Thread(target=self.run, name=f"outbound_{each}", daemon=True) for each in range(THREADS)]
        for thread in threads:
            # A call that trickles in for ever must not keep the process from ending.
            stack.callback(thread.join, END_WITHIN)
            thread.start()

    def _periodic(self, odoo: Odoo | None) -> Iterator[PeriodicThread]:
        keep_up = partial(outbound_queue.keep_up, self._engine, self._queue)
        works: list[tuple[str, Callable[[], object], float]] = [
            ("outbound_fill", self.fill, outbound_queue.INTERVAL),
            ("outbound_upkeep", keep_up, outbound_queue.UPKEEP_INTERVAL),
        ]
        if odoo:
            works.append(("outbound_report", partial(report, self._engine, odoo), REPORT_INTERVAL))
        for name, work, interval in works:
            failing = max(interval, 5.0)
            yield PeriodicThread(name, work, interval, failing_interval=failing, jitter=0.2, closing=self._stop)

    def fill(self) -> None:
        """Put on the queue what is committed, and look there at once.

        :raises Outage: SQL or the queue is down
        """
        if outbound_queue.fill(self._engine, self._queue):
            self._pace.received()
            self._filled.set()

    def run(self) -> None:
        """Write until ``stop`` is set."""
        while not self._stop.is_set():
            try:
                self.work()
            except Stopping:
                break
            except QueueRightMissing as denied:
                # Of this queue. The events' queues must not wait for an operator who gives the right.
                log.error("manychat_queue_denied", queue=self._queue.name, reason=str(denied))
                self._stop.wait(DENIED)
            except Outage as outage:
                trip_breaker(self._breakers, outage)
            except Exception:
                # A bug must not end write-back for good: the message comes again.
                log.exception("manychat_write_failed")
                self._stop.wait(AGAIN)

    def work(self) -> None:
        """Wait for a page of messages and work it off, or return after a pause without one.

        :raises Outage:
        """
        with self._turn:
            messages = [] if self._stop.is_set() else self._receive()
        left = list(messages)
        try:
            while left and not self._stop.is_set():
                self.process(left.pop(0))
        finally:
            for message in left:
                self._queue.hide(message, 0 if self._stop.is_set() else AGAIN)

    def _receive(self) -> list[Message]:
        *ours, manychat = self._breakers
        if not all(breaker.wait_until_closed(self._stop) for breaker in ours):
            return []
        # First of all: while it is off neither the queue nor ManyChat gets a request, not even a probe.
        if not read(self._engine, manychat_writes.rules).enabled or self._pauses.is_paused(self._queue.name):
            self._stop.wait(OFF)
            return []
        try:
            # Nor is ManyChat asked while nothing waits.
            if not manychat.is_closed():
                if not self._queue.depth():
                    return self._wait()
                # Meanwhile it may have been switched off.
                manychat.wait_until_closed(self._stop)
                return []
            messages = self._queue.receive(PAGE, VISIBILITY)
        except QueueMissing:
            # The first message makes it.
            return self._wait()
        except PageUndelivered:
            # Only a program that is not ours puts such a message there. SQL has what ours were about.
            log.warning("page_undelivered", queue=self._queue.name)
            return self._wait()
        if not messages:
            return self._wait()
        self._pace.received()
        return messages

    def _wait(self) -> list[Message]:
        until = time.monotonic() + self._pace.pause(urgent=False)
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            if self._filled.wait(min(left, STOPS)):
                self._filled.clear()
                break
        return []

    def process(self, message: Message) -> None:
        """Write what one message speaks of, and settle it.

        :raises Outage: a dependency is down; the message comes again
        """
        again: int | None = AGAIN
        outage: Outage | None = None
        try:
            again, outage = self._work_off(message)
        finally:
            # Without SQL, too.
            if again is None:
                self._queue.delete(message)
            else:
                self._queue.hide(message, again)
        if outage:
            raise outage

    def _work_off(self, message: Message) -> tuple[int | None, Outage | None]:
        """
        :return: seconds until the message comes again, ``None``: never; and what is down
        :raises Outage: SQL is down
        """
        call = Call.decode(message.content)
        if call is None:
            # SQL has what it was about, if anything.
            log.error("manychat_message_unreadable", message_id=message.id)
            return None, None
        claimed_at = time.monotonic()
        found = in_transaction(self._engine, manychat_writes.claim, call.manychat_id, call.as_of, uuid.uuid4().hex)
        if found is Idle.BUSY:
            return AGAIN, None
        if isinstance(found, Idle):
            metrics.WRITE_BACKS.labels("dropped" if found is Idle.OVERTAKEN else "equal").inc()
            return None, None
        if not found.traceparent:
            return self._write(found, claimed_at)
        subject = spans.Subject(found.event_id, found.traceparent)
        if message.dequeue_count == 1:
            spans.waited(subject, self._queue.name, message.inserted_at)
        with spans.in_hand([subject], "write-back"):
            return self._write(found, claimed_at)

    def _write(self, claim: Claim, claimed_at: float) -> tuple[int | None, Outage | None]:
        rules = read(self._engine, manychat_writes.rules)
        writer = PersonWriter(self._manychat, self._engine, claim, claimed_at)
        try:
            written = rules.enabled and writer.write(rules, gives_up=claim.attempts + 1 >= ATTEMPTS)
        except (LeaseEnds, ManyChatRefused, Outage) as error:
            in_transaction(self._engine, manychat_writes.release, claim, writer.sent, in_vain=writer.failed)
            # It may be this person's own fault, and must not hold up the others each time.
            again = retry.delay(claim.attempts + 1) if writer.failed else AGAIN
            return again, error if isinstance(error, Outage) else None
        in_transaction(self._engine, manychat_writes.finish, claim, writer.sent, writer.refused)
        result = "refused" if writer.refused else "written" if written else "equal"
        metrics.WRITE_BACKS.labels(result).inc()
        spans.say(claim.event_id, outcome=result, failed=writer.refused is not None)
        about = {"event_id": claim.event_id, "trace_id": claim.trace_id, "manychat_id": claim.manychat_id}
        log.info("manychat_written", **about, outcome=result)
        return None, None


def probe(engine: sa.Engine, manychat: PacedManyChat) -> None:
    """Find out whether ManyChat takes calls; none is made while write-back is off.

    :raises Outage:
    """
    if read(engine, manychat_writes.rules).enabled:
        manychat.probe()


def report(engine: sa.Engine, odoo: Odoo) -> None:
    """Report to Odoo what ManyChat answered, for people to see on the opportunity.

    :raises Outage: Odoo or SQL is down
    :raises OdooRefused:
    """
    while rows := read(engine, manychat_writes.unreported, REPORTED):
        odoo.record_write_back(
            [
                {
                    "manychat_id": row.manychat_id,
                    "event_id": row.event_id,
                    "code": row.refused_code or "",
                    "message": row.refused or "",
                    "at": format_datetime(row.result_at),
                }
                for row in rows
            ]
        )
        in_transaction(engine, manychat_writes.mark_reported, rows)
        if len(rows) < REPORTED:
            break
