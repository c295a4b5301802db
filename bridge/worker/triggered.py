"""A bridge without loops, for a host that receives the messages and keeps the time, such as Azure Functions.

The host gives one message to a call, deletes it if the call returns, and delivers it again if the call raises. It does
not know how long an event must wait, nor that an outage is not the event's fault. So a message that must come again is
hidden here, under its lease, until then. That gives it a new pop receipt, and the host's delete finds nothing.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial

import sqlalchemy as sa
import structlog

from .. import connect
from ..circuit_breaker import CircuitBreaker, trip_breaker
from ..contract.payloads import DEAD_LETTER_QUEUE, OUTBOUND_QUEUE, QUEUES
from ..errors import Outage, QueueUnavailable
from ..odoo import Odoo
from ..progress import Watch
from ..queue import Message
from ..settings import Settings
from ..store import manychat_writes
from ..store.engine import read
from . import heartbeat, outcome_log, reporter
from .delivery import DELETE, Batch, BatchProcessor
from .handlers import Handler, make_handlers
from .pauses import Pauses
from .periodic import PeriodicWork
from .polling import Pace
from .process import probe_queues, probe_sql
from .reconcile import Reconciler
from .write_back import outbound, outbound_queue
from .write_back.pace import PacedManyChat
from .write_back.readiness import WriteBackReport

log = structlog.get_logger()

#: Seconds until a message comes again while a dependency is down, or its queue is paused. Below the margin within which
#: :mod:`.losses` takes messages to be in order.
OUTAGE_DELAY = 30
#: Where the Functions host puts a message that was delivered too often: beside its queue.
POISON = "-poison"


class LeaseLostError(Exception):
    """The message must come again, and only the host has its current pop receipt. So the host must not delete it."""


class TriggeredBridge:
    """All queues, and the periodic work beside them. May be used by several threads at once."""

    def __init__(self, settings: Settings):
        """Open what the settings name. No other system is asked yet.

        :raises ConfigurationError: a setting is missing or wrong
        """
        self._engine = connect.open_engine(settings)
        self._open_queue = partial(connect.open_queue, settings)
        queues = {name: self._open_queue(QUEUES[name]) for name in QUEUES}
        dead_letter_queue = self._open_queue(DEAD_LETTER_QUEUE)
        self._odoo = connect.open_odoo(settings)
        sql = CircuitBreaker("SQL", partial(probe_sql, self._engine))
        queue = CircuitBreaker("queue", partial(probe_queues, list(queues.values()), dead_letter_queue))
        handlers = make_handlers(self._engine, queues, sql, queue, self._odoo)
        self._handlers = {handler.queue.name: handler for handler in handlers}
        # Nothing sets it: the host waits for calls that run, and then ends the process.
        stop = threading.Event()
        self._processors = {
            name: BatchProcessor(handler, self._engine, dead_letter_queue, stop, max_attempts=settings.max_attempts)
            for name, handler in self._handlers.items()
        }
        self._pauses = Pauses(self._engine)
        self._reconciler = Reconciler(
            self._engine,
            handlers,
            dead_letter_queue,
            self._odoo,
            self._pauses,
            stop,
            max_attempts=settings.max_attempts,
            visibility_timeout=settings.visibility_timeout,
        )
        self._schema = threading.Lock()
        self._schema_fits = False
        self._write_back = _WriteBack(settings, self._engine, self._odoo, [sql, queue], self._pauses, stop)
        said = self._write_back.readiness
        self._heartbeat = PeriodicWork("heartbeat", partial(_send_heartbeat, self._engine, self._odoo, said))
        self._outbound = PeriodicWork("outbound", self._write_back.fill_and_report)
        self._upkeep = PeriodicWork("outbound_upkeep", self._write_back.keep_up)
        self._report = PeriodicWork("report", partial(reporter.report_outcomes, self._engine, self._odoo))
        self._reconcile = PeriodicWork("reconcile", self._reconcile_when_up)

    def process(self, queue: str, message: Message) -> None:
        """Process one message.

        :param queue: name of the queue that it came from, or of the host's queue for poison messages beside it
        :param message: received by the host, and deleted by it if this returns
        :raises LeaseLostError: the host must deliver the message again
        :raises bridge.errors.Outage: the same: the queue does not answer
        :raises ConfigurationError: the same: the tables are of another version
        """
        handler = self._handlers[queue.removesuffix(POISON)]
        settlement = self._settlement(handler, message)
        if settlement == DELETE:
            return
        source = handler.queue if queue == handler.queue.name else self._open_queue(queue)
        if not source.hide(message, settlement):
            # The host has renewed the lease meanwhile. If this returned, it would delete the message.
            log.info("lease_lost", queue=queue, message_id=message.id)
            raise LeaseLostError(f"{message.id} comes again, as the host decides.")

    def write_back(self, message: Message) -> None:
        """Write to ManyChat what one message of its queue speaks of.

        :param message: received by the host, and deleted by it if this returns
        :raises LeaseLostError: the host must deliver the message again
        :raises bridge.errors.Outage: the same
        """
        self._write_back.process(message)

    def heartbeat(self) -> None:
        """Show Odoo that a bridge is alive, and bring back what Odoo users decided."""
        self._heartbeat.call()

    def report(self) -> None:
        """Report all outcomes that Odoo does not know yet, and put on its queue what must go to ManyChat."""
        self._report.call()
        self._outbound.call()

    def reconcile(self) -> None:
        """Finish what was left unfinished."""
        self._reconcile.call()
        self._upkeep.call()

    def _settlement(self, handler: Handler, message: Message) -> int:
        """What becomes of the message: :data:`DELETE`, or the seconds after which it comes again."""
        name = handler.queue.name
        batch = Batch([message])
        try:
            self._require_up(handler)
        except Outage:
            # Known by now. Another call may have found it over meanwhile: not to open the breaker again.
            return OUTAGE_DELAY
        try:
            if self._pauses.is_paused(name):
                return OUTAGE_DELAY
            outcome_log.batch_received(name, 1)
            self._processors[name].release_interrupted()
            self._processors[name].process(batch)
        except Outage as outage:
            trip_breaker(handler.breakers, outage)
        return batch.settlements.get(message.id, OUTAGE_DELAY)

    def _require_up(self, handler: Handler) -> None:
        """
        :raises Outage: a dependency is down: no attempt is made, so none is counted
        :raises ConfigurationError: the tables are of another version
        """
        for breaker in handler.breakers:
            breaker.require_closed()
        if not self._schema_fits:
            with self._schema:
                connect.require_schema(self._engine)
                self._schema_fits = True

    def _reconcile_when_up(self) -> None:
        # The reconciler leaves queues alone whose dependencies are not known to be up.
        for handler in self._handlers.values():
            with suppress(QueueUnavailable):
                self._require_up(handler)
        self._reconciler.reconcile()


class _WriteBack:
    """What goes back to ManyChat; nothing without a token.

    :ivar readiness: what the heartbeat says of it
    """

    def __init__(
        self,
        settings: Settings,
        engine: sa.Engine,
        odoo: Odoo,
        breakers: list[CircuitBreaker],
        pauses: Pauses,
        stop: threading.Event,
    ):
        """:param breakers: of SQL and the queue"""
        self._engine, self._odoo, self._pauses = engine, odoo, pauses
        self._outbound: outbound.Outbound | None = None
        self._breakers, breaker = breakers, None
        if settings.manychat_api_token:
            self._queue = connect.open_queue(settings, OUTBOUND_QUEUE)
            client = connect.open_manychat(settings)
            manychat = PacedManyChat(client, engine, settings.manychat_calls_per_second, stop)
            breaker = CircuitBreaker("ManyChat", partial(outbound.probe, engine, manychat))
            self._breakers = [*breakers, breaker]
            pace = Pace(settings.poll_interval)
            self._outbound = outbound.Outbound(engine, self._queue, manychat, self._breakers, pauses, pace, stop)
        self.readiness = WriteBackReport(breaker)

    def process(self, message: Message) -> None:
        """Write, or hide the message while that is off, paused or in vain."""
        assert self._outbound is not None
        try:
            # First of all: while it is off ManyChat gets no request, not even a probe.
            if read(self._engine, manychat_writes.rules).enabled and not self._pauses.is_paused(OUTBOUND_QUEUE):
                for breaker in self._breakers:
                    breaker.require_closed()
                # It settles the message itself. If the host has renewed the lease, the host deletes the message, and
                # `keep_up` finds what it spoke of.
                self._outbound.process(message)
                return
        except Outage as outage:
            trip_breaker(self._breakers, outage)
        if not self._queue.hide(message, OUTAGE_DELAY):
            raise LeaseLostError(f"{message.id} comes again, as the host decides.")

    def fill_and_report(self) -> None:
        if self._outbound:
            self._outbound.fill()
            outbound.report(self._engine, self._odoo)

    def keep_up(self) -> None:
        if self._outbound:
            outbound_queue.keep_up(self._engine, self._queue)


def _send_heartbeat(engine: sa.Engine, odoo: Odoo, write_back: WriteBackReport) -> None:
    # No consumer of ours can stand still: the host ends a call that takes too long.
    heartbeat.send_heartbeat(odoo, Watch(), partial(reporter.take_over, engine, odoo), write_back)
