"""A bridge without loops, for a host that receives the messages and keeps the time, such as Azure Functions.

The host gives one message to a call, deletes it if the call returns, and delivers it again if the call raises. It does
not know how long an event must wait, nor that an outage is not the event's fault. So a message that must come again is
hidden here, under its lease, until then. That gives it a new pop receipt, and the host's delete finds nothing.
"""

from __future__ import annotations

import threading
from functools import partial

import sqlalchemy as sa
import structlog

from .. import connect
from ..circuit_breaker import CircuitBreaker, trip_breaker
from ..contract.payloads import DEAD_LETTER_QUEUE, QUEUES
from ..errors import Outage
from ..odoo import Odoo
from ..progress import Watch
from ..queue import Message
from ..settings import Settings
from . import heartbeat, outcome_log, reporter
from .delivery import DELETE, Batch, BatchProcessor
from .handlers import Handler, make_handlers
from .pauses import Pauses
from .periodic import PeriodicWork
from .process import probe_queues, probe_sql
from .reconcile import Reconciler

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
        self._heartbeat = PeriodicWork("heartbeat", partial(_send_heartbeat, self._engine, self._odoo))
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

    def heartbeat(self) -> None:
        """Show Odoo that a bridge is alive, and bring back what Odoo users decided."""
        self._heartbeat.call()

    def report(self) -> None:
        """Report all outcomes that Odoo does not know yet."""
        self._report.call()

    def reconcile(self) -> None:
        """Finish what was left unfinished."""
        self._reconcile.call()

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
            self._require_up(handler)
        self._reconciler.reconcile()


def _send_heartbeat(engine: sa.Engine, odoo: Odoo) -> None:
    # No consumer of ours can stand still: the host ends a call that takes too long.
    heartbeat.send_heartbeat(odoo, Watch(), partial(reporter.take_over, engine, odoo))
