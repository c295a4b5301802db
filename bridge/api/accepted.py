"""A row in SQL for each event that the standby webhooks accept, so that it is missed if its queue loses it.

The queue is what counts: without SQL an event is accepted all the same, and its answer waits a second at most.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..contract.event import Event
from ..errors import Outage
from ..log import kind
from ..store import audit
from ..store.engine import in_transaction

log = structlog.get_logger()

#: Rows written concurrently. More would wait for each other in SQLite, and take connections from other requests.
WRITERS = 4
#: Seconds that an answer waits for its row. It takes milliseconds unless SQL is down or very slow.
PATIENCE = 1.0
#: Seconds without further tries after a failed one, so that not every answer waits while SQL is down.
PAUSE = 15.0


class AcceptedEvents:
    """Writes the rows, and stops trying for a while when SQL does not answer. Used by many threads."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="accepted")
        self._lock = threading.Lock()
        self._paused_until = 0.0

    def note(self, event: Event) -> None:
        """Write the row of an event that is on its queue. Never raises; without SQL the event has no row."""
        if time.monotonic() < self._paused_until:
            return
        writing = self._writers.submit(in_transaction, self._engine, audit.accept, event)
        try:
            writing.result(PATIENCE)
        except (NotInTime, Outage, SQLAlchemyError) as error:
            writing.cancel()
            self._pause(kind(error))

    def _pause(self, reason: str) -> None:
        with self._lock:
            is_new = time.monotonic() >= self._paused_until
            self._paused_until = time.monotonic() + PAUSE
        if is_new:
            log.warning("accepted_events_not_noted", reason=reason)
