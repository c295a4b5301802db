"""Whether an operator has paused a queue: a row in SQL, so that one command reaches all bridges."""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa
import structlog

from .. import progress
from ..errors import Outage
from ..store import pauses
from ..store.engine import in_transaction

log = structlog.get_logger()

#: Seconds that an answer of SQL is used: how soon bridges obey, against one small query each time.
MAX_AGE = 1.0


class Pauses:
    """The paused queues. All threads of a process share it, so that each change is logged once."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._lock = threading.Lock()
        self._asked_at = -MAX_AGE
        self._paused: frozenset[str] = frozenset()
        self._outage: Outage | None = None
        self._failed_at = 0.0

    def is_paused(self, queue: str) -> bool:
        """Whether no messages may be received from ``queue`` at present.

        :raises bridge.errors.Outage: SQL is down
        """
        came_at = time.monotonic()
        with progress.holding(self._lock):
            # This thread has waited for the answer that another one did not get. To ask again would take as long again.
            if self._outage and self._failed_at >= came_at:
                raise self._outage
            if time.monotonic() - self._asked_at >= MAX_AGE:
                self._refresh()
            return queue in self._paused

    def _refresh(self) -> None:
        try:
            found = in_transaction(self._engine, pauses.paused)
        except Outage as outage:
            self._outage, self._failed_at = outage, time.monotonic()
            raise
        before, self._paused = self._paused, frozenset(found)
        self._asked_at = time.monotonic()
        for queue in sorted(self._paused - before):
            log.warning("queue_paused", queue=queue)
        for queue in sorted(before - self._paused):
            log.info("queue_resumed", queue=queue)
