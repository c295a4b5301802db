"""The loop: receive messages, handle them, then acknowledge, delay or dead-letter each one.

One consumer is one thread on one queue. A queue has several, so that the bridge prepares one batch while Odoo applies
another. :mod:`bridge.worker.polling` brings them messages, :mod:`bridge.worker.delivery` says what happens to a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from ..circuit_breaker import trip_breaker
from ..errors import Outage
from ..progress import Progress
from ..queue import Message
from . import outcome_log
from .delivery import DELETE, Batch, BatchProcessor
from .handlers import Handler
from .lease_renewal import LeaseKeeper
from .polling import Poller

log = structlog.get_logger()


class Consumer(threading.Thread):
    """Consumes one queue until ``stop`` is set; then finishes the batch in hand.

    :ivar crashed: a bug ended the thread
    :ivar progress: of this thread
    """

    def __init__(
        self,
        handler: Handler,
        poller: Poller,
        processor: BatchProcessor,
        leases: LeaseKeeper,
        pool: ThreadPoolExecutor,
        stop: threading.Event,
        progress: Progress,
    ):
        """
        :param poller: and ``processor``: of the queue; its consumers share them
        :param pool: deletes and hides messages, one request for each
        :param progress: of this thread
        """
        # A daemon: one that stands still must not keep the process from ending.
        super().__init__(name=handler.queue.name, daemon=True)
        self._queue = handler.queue
        self._breakers = handler.breakers
        self._poller = poller
        self._processor = processor
        self._leases = leases
        self._pool = pool
        self._stop_receiving = stop
        self.progress = progress
        self._settling: list[Future[None]] = []
        self.crashed = False

    def run(self) -> None:
        with self.progress.of_this_thread():
            try:
                while messages := self._poller.next_messages():
                    self._work_off(messages)
            except BaseException:
                # A bug. The process ends, so that its supervisor notices and starts it again.
                self.crashed = True
                self._stop_receiving.set()
                log.critical("consumer_crashed", queue=self._queue.name, exc_info=True)
            finally:
                wait(self._settling)

    def _work_off(self, messages: Sequence[Message]) -> None:
        """Process ``messages`` and settle each. During an outage, those that could be handled are settled for good."""
        outcome_log.batch_received(self._queue.name, len(messages))
        batch = Batch(messages)
        queue_is_up = True
        try:
            with self._leases.renew_while(self._queue, messages):
                self._processor.process(batch)
        except Outage as outage:
            queue_is_up = outage.dependency != "queue"
            # Before the messages go back to the queue: another consumer would take them at once, and fail as well.
            trip_breaker(self._breakers, outage)
        finally:
            # Without the queue the messages come again when their leases end, and their events are found finished.
            if queue_is_up:
                wait(self._settling)
                self._settling = [
                    self._pool.submit(self._settle, message, batch.settlements.get(message.id, 0))
                    for message in messages
                ]

    def _settle(self, message: Message, settlement: int) -> None:
        # In a thread of the pool, for which the consumer may wait.
        self.progress.mark()
        try:
            is_delete = settlement == DELETE
            if not (self._queue.delete(message) if is_delete else self._queue.hide(message, settlement)):
                log.info("lease_lost", queue=self._queue.name, message_id=message.id)
        except Outage as outage:
            trip_breaker(self._breakers, outage)
