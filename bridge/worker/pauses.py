"""Looking whether somebody has paused a queue, in SQL, so that one command reaches all bridges."""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa
import structlog

from ..store import pauses
from ..store.engine import in_transaction

log = structlog.get_logger()

#: Seconds that an answer counts: how soon bridges obey, against one small query each time.
GOOD_FOR = 1.0


class Pauses:
    """Which queues are paused. Shared by the threads of a process; says each change once in the log."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._lock = threading.Lock()
        self._asked_at = -GOOD_FOR
        self._paused: frozenset[str] = frozenset()

    def holds(self, queue: str) -> bool:
        """Whether messages must not be taken from ``queue`` just now.

        :raises bridge.errors.Outage: SQL is away
        """
        with self._lock:
            if time.monotonic() - self._asked_at >= GOOD_FOR:
                self._ask()
            return queue in self._paused

    def _ask(self) -> None:
        before, self._paused = self._paused, frozenset(in_transaction(self._engine, pauses.paused))
        self._asked_at = time.monotonic()
        for queue in sorted(self._paused - before):
            log.warning("paused", queue=queue)
        for queue in sorted(before - self._paused):
            log.info("resumed", queue=queue)
