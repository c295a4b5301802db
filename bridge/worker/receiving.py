"""Receive pages of messages, and go down to single messages where the service cannot deliver a page.

One message that XML cannot carry (a raw control character) is enough: Azurite then takes the whole page, hides it for
the visibility timeout, and answers with an error. Nothing can delete such a message, since its pop receipt is not
delivered either. So its neighbours are received one by one until it stands alone; it comes back each time its lease
ends, and is then received alone again. In between, pages are full.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
import structlog

from ..errors import PageUndelivered, QueueDenied
from ..queue import PAGE, Message, Queue
from ..store import dead_letters
from ..store.engine import in_transaction
from .dead_lettering import DeadLetterer

log = structlog.get_logger()

#: Seconds before the end of a lease from which its message is expected: clocks and requests are not exact.
MARGIN = 2.0
#: So many single messages in a row that cannot be delivered are no bad messages: the service has a fault.
MOST_IN_A_ROW = 32


@dataclass
class _Hidden:
    """Messages that were taken and not delivered.

    :ivar end: when their lease ends, and they come back
    :ivar alone: one message, which is known to be bad; else a page with any number of bad ones
    :ivar left: how many more messages are received one by one from then on, in case they do not come back: another
        bridge has them, or they are gone
    """

    end: float
    alone: bool
    left: int = PAGE


class Receiver:
    """Receives the messages of one queue, for one consumer at a time."""

    def __init__(self, queue: Queue, page_size: int, visibility_timeout: int, known: Undeliverable):
        """
        :param page_size: 32 at most
        :param visibility_timeout: seconds
        :param known: hears of each message that cannot be delivered
        """
        self._queue = queue
        self._page_size = page_size
        self._visibility_timeout = visibility_timeout
        self._known = known
        self._hidden: list[_Hidden] = []
        self._failures = 0
        self._started = False
        #: Whether the last request found as many messages as it asked for: there may be more.
        self.got_all_it_asked_for = False

    def receive(self) -> list[Message]:
        """Receive messages; none if there are none, or if what was taken cannot be delivered.

        :raises bridge.errors.Outage: the queue or SQL is down
        """
        if not self._started:
            # An earlier process met such a message, and may hold it still: not to lose a page to it again.
            if self._known.is_open():
                self._hide(alone=False)
            self._started = True
        count = 1 if self._is_careful() else self._page_size
        self.got_all_it_asked_for = False
        try:
            messages = self._queue.receive(count, self._visibility_timeout)
        except PageUndelivered:
            self._require_service()
            self._failures += 1
            if self._failures > MOST_IN_A_ROW:
                raise
            self._lose(count)
            return []
        self._failures = 0
        self.got_all_it_asked_for = len(messages) == count
        self._count_down(len(messages))
        # A bridge that is behind has not seen for long what is still there.
        if not self._hidden:
            self._known.forget_if_gone()
        return messages

    def _require_service(self) -> None:
        """:raises bridge.errors.Outage: nothing works, so no message is at fault"""
        # A refusal is an answer too: to read the depth is another right than to receive.
        with suppress(QueueDenied):
            self._queue.depth()

    def _is_careful(self) -> bool:
        """Whether a bad message may be visible now. A lost page may hold several, and the next page one more."""
        return any(not each.alone or self._is_due(each) for each in self._hidden)

    def _is_due(self, hidden: _Hidden) -> bool:
        return hidden.end - MARGIN <= time.monotonic()

    def _hide(self, *, alone: bool) -> None:
        self._hidden.append(_Hidden(time.monotonic() + self._visibility_timeout, alone))

    def _lose(self, count: int) -> None:
        if count > 1:
            log.warning("page_undelivered", queue=self._queue.name, count=count)
            self._hide(alone=False)
            return
        log.warning("message_undeliverable", queue=self._queue.name)
        # The one that was expected first, come back, or a new one.
        expected = [each for each in self._hidden if each.alone and self._is_due(each)]
        if expected:
            self._hidden.remove(min(expected, key=lambda each: each.end))
        self._hide(alone=True)
        self._known.record()

    def _count_down(self, received: int) -> None:
        """Expect no longer what has not come back after so many messages, or when the queue has no more."""
        now = time.monotonic()
        for each in self._hidden:
            if each.end < now:
                each.left -= received or PAGE
        self._hidden = [each for each in self._hidden if each.left > 0]


class Undeliverable:
    """The dead letter for the messages of one queue that cannot be delivered. Bridges share it, in SQL."""

    def __init__(self, engine: sa.Engine, dead_letter_queue: Queue, queue: str, visibility_timeout: int):
        self._engine = engine
        self._dead_letterer = DeadLetterer(engine, dead_letter_queue)
        self._queue = queue
        self._visibility_timeout = visibility_timeout
        self._is_open = True  # as far as is known
        self._look_at = 0.0

    def is_open(self) -> bool:
        """:raises bridge.errors.Outage: SQL is down"""
        self._is_open = self._queue in in_transaction(self._engine, dead_letters.undeliverable)
        return self._is_open

    def record(self) -> None:
        """Note that a message was taken alone and not delivered.

        :raises bridge.errors.Outage: SQL or the queue is down
        """
        in_transaction(self._engine, dead_letters.put_undeliverable, self._queue, self._gone_before())
        self._dead_letterer.send_notice([dead_letters.undeliverable_id(self._queue)])
        self._is_open = True

    def forget_if_gone(self) -> None:
        """Close the dead letter if no bridge has met such a message for several leases.

        :raises bridge.errors.Outage: SQL is down
        """
        if not self._is_open or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._visibility_timeout
        in_transaction(self._engine, dead_letters.resolve_undeliverable, self._queue, self._gone_before())
        if not self.is_open():
            log.info("queue_delivers", queue=self._queue)

    def _gone_before(self) -> datetime:
        return datetime.now(timezone.utc) - timedelta(seconds=3 * self._visibility_timeout)
