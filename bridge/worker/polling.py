"""Ask a queue for messages: one consumer of a queue at a time, often while events come, and seldom while none come.

Azure's queues cannot be waited on: each look is a request, which costs money and time. A customer who has just done
something in a chat soon does the next thing. So the pause between two looks is a share of the time since the process
last received messages, from whichever queue.

While a batch is in hand, another one is begun beside it if there is a backlog. Else what comes meanwhile is gathered
into one batch: each batch costs Odoo a transaction and one of its workers, which answer webhooks too.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence

from .. import progress
from ..circuit_breaker import CircuitBreaker, trip_breaker
from ..errors import Outage
from ..queue import Message
from .delivery import BatchProcessor
from .pauses import Pauses
from .receiving import Receiver

#: Seconds between two checks whether a paused queue is resumed.
PAUSED = 1.0
#: Shortest pause, in seconds. An event that comes while others do waits half of it on average.
SHORTEST = 0.02
#: The pause as a share of the time without messages: for a second after the last message a queue is asked at least ten
#: times a second, and a message costs about fifty further requests in all.
SHARE = 0.1
#: How much less often the queues are asked for which no customer waits.
UNHURRIED = 9
#: Longest pause of any queue, in seconds: a consumer that begins no step for twice as long stands still.
LONGEST = 60.0
#: A pause is this much shorter at random, so that several bridges do not ask in step.
JITTER = 0.25
#: Seconds for which messages are gathered at most: a batch that takes longer must not hold up others.
GATHERING = 0.25


class Pace:
    """How long the queues of one process are left alone. Its threads share it."""

    def __init__(self, longest: float):
        """:param longest: pause in seconds between two looks at an empty queue for which a customer waits"""
        self._longest = longest
        # What waits at the start is found by the first look, which comes without a pause.
        self._received_at = -math.inf

    def received(self) -> None:
        """Note that messages came."""
        self._received_at = time.monotonic()

    def pause(self, *, urgent: bool) -> float:
        """Seconds until an empty queue is asked again.

        :param urgent: a customer waits for its events
        """
        quiet = time.monotonic() - self._received_at
        pause = min(max(quiet * SHARE, SHORTEST), self._longest) * (1 if urgent else UNHURRIED)
        return min(pause, LONGEST) * random.uniform(1 - JITTER, 1)  # noqa: S311


class Poller:
    """Brings the consumers of one queue their messages. They take turns: an idle queue is asked by one of them."""

    def __init__(
        self,
        receiver: Receiver,
        processor: BatchProcessor,
        breakers: Sequence[CircuitBreaker],
        pauses: Pauses,
        pace: Pace,
        stop: threading.Event,
        *,
        queue: str,
        urgent: bool,
    ):
        """
        :param breakers: of the dependencies that must be up before messages are received
        :param stop: once it is set, no further message is received
        :param urgent: a customer waits for the events of this queue
        """
        self._receiver = receiver
        self._processor = processor
        self._breakers = breakers
        self._pauses = pauses
        self._pace = pace
        self._stop = stop
        self._queue = queue
        self._urgent = urgent
        self._turn = threading.Lock()
        self._has_backlog = False
        self._batch_ended = threading.Condition()
        #: Ids of the threads that have a batch in hand.
        self._working: set[int] = set()

    def next_messages(self) -> Sequence[Message]:
        """Wait for messages. The calling thread has ended the batch that it got before.

        :return: a page of them; none once ``stop`` is set
        """
        with self._batch_ended:
            self._working.discard(threading.get_ident())
            self._batch_ended.notify_all()
        while not self._stop.is_set():
            # To wait for one's turn is no standstill: the consumer whose turn it is is watched itself. If it does stand
            # still, a stop must not wait for it.
            progress.mark()
            if self._turn.acquire(timeout=1.0):
                try:
                    return self._poll()
                finally:
                    self._turn.release()
        return []

    def _poll(self) -> Sequence[Message]:
        while not self._stop.is_set():
            progress.mark()
            if not self._has_backlog:
                with self._batch_ended:
                    self._batch_ended.wait_for(lambda: not self._working, GATHERING)
            # While a dependency is down no message is received: its lease and dequeue count would run for nothing.
            if not all(breaker.wait_until_closed(self._stop) for breaker in self._breakers):
                break
            try:
                self._processor.release_interrupted()
                if self._pauses.is_paused(self._queue):
                    self._stop.wait(PAUSED)
                    continue
                messages = self._receiver.receive()
            except Outage as outage:
                trip_breaker(self._breakers, outage)
                continue
            self._has_backlog = self._receiver.got_all_it_asked_for
            if messages:
                self._pace.received()
                with self._batch_ended:
                    self._working.add(threading.get_ident())
                return messages
            self._stop.wait(self._pace.pause(urgent=self._urgent))
        return []
