"""The loop: receive messages, handle them, then acknowledge, delay or dead-letter each one.

One consumer is one thread on one queue. :mod:`bridge.worker.delivery` says what happens to a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from .. import metrics, retry
from ..circuit_breaker import trip_breaker
from ..errors import Outage
from ..progress import Progress
from ..queue import Message
from . import outcome_log
from .delivery import DELETE, Batch, BatchProcessor
from .handlers import Handler
from .lease_renewal import LeaseKeeper
from .pauses import Pauses
from .receiving import Receiver

log = structlog.get_logger()

#: Seconds between two checks whether a paused queue is resumed.
PAUSED = 1.0


class Consumer(threading.Thread):
    """Consumes one queue until ``stop`` is set; then finishes the batch in hand.

    :ivar crashed: a bug ended the thread
    :ivar progress: of this thread
    """

    def __init__(
        self,
        handler: Handler,
        receiver: Receiver,
        processor: BatchProcessor,
        leases: LeaseKeeper,
        pool: ThreadPoolExecutor,
        stop: threading.Event,
        pauses: Pauses,
        progress: Progress,
        *,
        poll_interval: float,
    ):
        """
        :param pool: deletes and hides messages, one request for each
        :param progress: of this thread
        :param poll_interval: longest pause in seconds between two requests to an empty queue
        """
        # A daemon: one that stands still must not keep the process from ending.
        super().__init__(name=handler.queue.name, daemon=True)
        self._queue = handler.queue
        self._breakers = handler.breakers
        self._receiver = receiver
        self._processor = processor
        self._leases = leases
        self._pool = pool
        self._stop_receiving = stop
        self._pauses = pauses
        self.progress = progress
        metrics.PROGRESS_AGE.labels(self._queue.name).set_function(progress.age)
        self._idle = retry.idle_queue(poll_interval)
        self._settling: list[Future[None]] = []
        self.crashed = False

    def run(self) -> None:
        with self.progress.of_this_thread():
            try:
                self._consume()
            except BaseException:
                # A bug. The process ends, so that its supervisor notices and starts it again.
                self.crashed = True
                self._stop_receiving.set()
                log.critical("consumer_crashed", queue=self._queue.name, exc_info=True)
            finally:
                wait(self._settling)

    def _consume(self) -> None:
        empty = 0
        while not self._stop_receiving.is_set():
            self.progress.mark()
            # While a dependency is down no message is received: its lease and dequeue count would run for nothing.
            if not all(breaker.wait_until_closed(self._stop_receiving) for breaker in self._breakers):
                break
            try:
                self._processor.release_interrupted()
                if self._pauses.is_paused(self._queue.name):
                    self._stop_receiving.wait(PAUSED)
                    continue
                messages = self._receiver.receive()
                if messages:
                    self._work_off(messages)
            except Outage as outage:
                trip_breaker(self._breakers, outage)
                continue
            empty = 0 if messages else empty + 1
            if empty:
                self._stop_receiving.wait(retry.seconds(self._idle, empty))

    def _work_off(self, messages: Sequence[Message]) -> None:
        """Process ``messages`` and settle each.

        :raises Outage: after settling what could be handled
        """
        outcome_log.batch_received(self._queue.name, len(messages))
        batch = Batch(messages)
        queue_is_up = True
        try:
            with self._leases.renew_while(self._queue, messages):
                self._processor.process(batch)
        except Outage as outage:
            queue_is_up = outage.dependency != "queue"
            raise
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
