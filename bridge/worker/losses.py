"""Which events their queue has lost: an operator emptied it, a storage account was restored, another program took them.

No program can list the messages of a queue. But a queue hands out its messages in the order in which they came, and its
count includes the invisible ones. So what was put on it before a certain moment, and has never been received, is lost:
before now if the queue is empty, else before the newest event that a bridge has received.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from ..errors import QueueDenied, QueueMissing
from ..queue import Queue
from ..store import audit
from ..store.engine import in_transaction

#: Clocks of two machines differ, and several senders put messages on a queue at the same moment.
MARGIN = timedelta(minutes=1)
#: Events received earlier do not count. A queue that has stood still for so long hides its losses until it moves.
WINDOW = timedelta(days=7)
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


class Losses:
    """What the queues had lost at the moment of the first question about each."""

    def __init__(self, engine: sa.Engine, queues: Mapping[str, Queue], cutoff: datetime):
        """
        :param queues: by their names
        :param cutoff: a message received after it may be on its way
        """
        self._engine = engine
        self._queues = queues
        self._cutoff = cutoff
        self._before: dict[str, datetime] = {}

    def lost_before(self, queue: str) -> datetime:
        """What was put on ``queue`` before this moment, and which no bridge has received, is lost.

        Ask before looking up what bridges have received: a message may be received in between.

        :raises bridge.errors.Outage: the queue or SQL is down
        """
        if queue not in self._before:
            self._before[queue] = self._cutoff if self._is_empty(queue) else self._passed(queue)
        return self._before[queue]

    def _is_empty(self, queue: str) -> bool:
        try:
            # https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata: never lower than the real number
            return self._queues[queue].depth() == 0
        except QueueMissing:
            return True
        except QueueDenied:
            return False  # a key that may only process messages: the events received later decide

    def _passed(self, queue: str) -> datetime:
        newest = in_transaction(self._engine, audit.newest_begun, queue, self._cutoff - WINDOW, self._cutoff)
        return min(newest - MARGIN, self._cutoff) if newest else _NEVER
