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

from .. import metrics, retry, spans
from ..circuit_breaker import CircuitBreaker, trip_breaker
from ..contract.fields import format_datetime
from ..errors import ManyChatRefused, Outage
from ..odoo import Odoo
from ..queue import Message, Queue
from ..store import manychat_writes
from ..store.engine import in_transaction, read
from ..store.manychat_writes import Claim, Idle
from . import outbound_queue
from .manychat_pace import PacedManyChat
from .outbound_queue import Call
from .pauses import Pauses
from .periodic import PeriodicThread
from .write_person import LeaseEnds, PersonWriter

log = structlog.get_logger()

#: People whom one bridge writes to at once: while ManyChat answers for one, the next has its turn.
THREADS = 2
#: Messages received at once. Few: each may need several calls, and all of them must end within the lease.
PAGE = 4
#: Seconds that a received message stays invisible. Far more than a page takes; SQL decides if it comes earlier.
VISIBILITY = 300
#: Seconds between two looks at an empty queue, and between two looks whether write-back was switched on.
POLL = 0.5
OFF_POLL = 5.0
#: Seconds until a message comes again whose person another bridge writes to, or that an outage interrupted.
AGAIN = 5
#: Attempts after which a fault of ManyChat's that may pass counts as a refusal.
ATTEMPTS = 5
#: Seconds between two reports to Odoo, and answers in one report.
REPORT_INTERVAL = 5.0
REPORTED = 200


class Outbound:
    """Writes people's states to ManyChat. Several threads may use it."""

    def __init__(
        self,
        engine: sa.Engine,
        queue: Queue,
        manychat: PacedManyChat,
        breakers: list[CircuitBreaker],
        pauses: Pauses,
        stop: threading.Event,
    ):
        """:param breakers: of SQL, the queue and ManyChat"""
        self._engine = engine
        self._queue = queue
        self._manychat = manychat
        self._breakers = breakers
        self._pauses = pauses
        self._stop = stop

    def run(self) -> None:
        """Write until ``stop`` is set."""
        while not self._stop.is_set():
            try:
                pause = self._turn()
            except Outage as outage:
                trip_breaker(self._breakers, outage)
                pause = POLL
            except Exception:
                # A bug must not end write-back for good: the message comes again.
                log.exception("manychat_write_failed")
                pause = AGAIN
            self._stop.wait(pause)

    def _turn(self) -> float:
        """Work off one page; the seconds until the next one.

        :raises Outage:
        """
        sql, queue, _ = self._breakers
        if not sql.wait_until_closed(self._stop) or not queue.wait_until_closed(self._stop):
            return 0.0
        # First of all: while it is off ManyChat gets no request, not even a probe.
        if not read(self._engine, manychat_writes.rules).enabled or self._pauses.is_paused(self._queue.name):
            return OFF_POLL
        self._queue.ensure()
        if not self._queue.depth():
            return POLL
        if not all(breaker.wait_until_closed(self._stop) for breaker in self._breakers):
            return 0.0
        messages = self._queue.receive(PAGE, VISIBILITY)
        left = list(messages)
        try:
            for message in messages:
                if self._stop.is_set():
                    break
                self.process(message)
                left.remove(message)
        finally:
            for message in left:
                self._queue.hide(message, 0 if self._stop.is_set() else AGAIN)
        return 0.0 if messages else POLL

    def process(self, message: Message) -> None:
        """Write what one message speaks of, and settle it.

        :raises Outage: a dependency is down; the caller gives the message back
        """
        call = Call.decode(message.content)
        if call is None:
            # SQL has what it was about, if anything.
            log.error("manychat_message_unreadable", message_id=message.id)
            self._queue.delete(message)
            return
        claimed_at = time.monotonic()
        found = in_transaction(self._engine, manychat_writes.claim, call.manychat_id, call.as_of, uuid.uuid4().hex)
        if isinstance(found, Idle):
            if found is Idle.BUSY:
                self._queue.hide(message, AGAIN)
                return
            metrics.WRITE_BACKS.labels("dropped" if found is Idle.OVERTAKEN else "equal").inc()
            self._queue.delete(message)
            return
        if not found.traceparent:
            self._write(message, found, claimed_at)
            return
        subject = spans.Subject(found.event_id, found.traceparent)
        if message.dequeue_count == 1:
            spans.waited(subject, self._queue.name, message.inserted_at)
        with spans.in_hand([subject], "write-back"):
            self._write(message, found, claimed_at)

    def _write(self, message: Message, found: Claim, claimed_at: float) -> None:
        rules = read(self._engine, manychat_writes.rules)
        writer = PersonWriter(self._manychat, self._engine, found, claimed_at)
        try:
            written = writer.write(rules, gives_up=message.dequeue_count >= ATTEMPTS) if rules.enabled else 0
        except (LeaseEnds, ManyChatRefused):
            in_transaction(self._engine, manychat_writes.release, found, writer.sent)
            self._queue.hide(message, retry.delay(message.dequeue_count))
            return
        except Outage:
            in_transaction(self._engine, manychat_writes.release, found, writer.sent)
            raise
        in_transaction(self._engine, manychat_writes.finish, found, writer.sent, writer.refused)
        result = "refused" if writer.refused else "written" if written else "equal"
        metrics.WRITE_BACKS.labels(result).inc()
        spans.say(found.event_id, outcome=result, failed=writer.refused is not None)
        about = {"event_id": found.event_id, "trace_id": found.trace_id, "manychat_id": found.manychat_id}
        log.info("manychat_written", **about, outcome=result)
        self._queue.delete(message)


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


def start(
    stack: ExitStack,
    engine: sa.Engine,
    queue: Queue,
    manychat: PacedManyChat,
    breakers: list[CircuitBreaker],
    pauses: Pauses,
    odoo: Odoo | None,
    stop: threading.Event,
) -> None:
    """Start the threads. ``stack`` waits for them: a call under way is finished.

    :param breakers: of SQL and the queue
    """
    breaker = CircuitBreaker("ManyChat", manychat.probe)
    outbound = Outbound(engine, queue, manychat, [*breakers, breaker], pauses, stop)
    threads: list[threading.Thread] = [*_periodic(engine, queue, odoo, stop)]
    threads += [threading.Thread(target=outbound.run, name=f"outbound_{each}", daemon=True) for each in range(THREADS)]
    for thread in threads:
        stack.callback(thread.join)
        thread.start()


def _periodic(engine: sa.Engine, queue: Queue, odoo: Odoo | None, stop: threading.Event) -> Iterator[PeriodicThread]:
    works: list[tuple[str, Callable[[], object], float]] = [
        ("outbound_fill", partial(outbound_queue.fill, engine, queue), outbound_queue.INTERVAL),
        ("outbound_upkeep", partial(outbound_queue.keep_up, engine, queue), outbound_queue.UPKEEP_INTERVAL),
    ]
    if odoo:
        works.append(("outbound_report", partial(report, engine, odoo), REPORT_INTERVAL))
    for name, work, interval in works:
        yield PeriodicThread(name, work, interval, failing_interval=max(interval, 5.0), jitter=0.2, closing=stop)
