"""A row in SQL for each event that the standby webhooks accept, so that it is missed if its queue loses it.

The queue is what counts: without SQL an event is accepted all the same, and its answer waits a second at most. Its row
is then written when SQL is up again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
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
from ..store.refusal import write_events

log = structlog.get_logger()

#: Rows written concurrently. More would wait for each other in SQLite, and take connections from other requests.
WRITERS = 4
#: Seconds that an answer waits for its row. It takes milliseconds unless SQL is down or very slow.
PATIENCE = 1.0
#: Seconds between tries while SQL is down.
RETRY_INTERVAL = 1.0
#: Most events that wait for SQL, some 50 MB at worst. Beyond that the oldest ones stay without a row.
MOST_WAITING = 10_000


class AcceptedEvents:
    """Writes the rows; those of an outage of SQL later, one after the other. Used by many threads."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="accepted")
        self._lock = threading.Lock()
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._catching_up: threading.Thread | None = None

    def note(self, event: Event) -> None:
        """Write the row of an event that is on its queue, now or, without SQL, later. Never raises."""
        with self._lock:
            if self._catching_up:  # not every answer waits while SQL is down
                self._waiting.append(event)
                return
        writing = self._writers.submit(in_transaction, self._engine, audit.accept, event)
        try:
            writing.result(PATIENCE)
        except (NotInTime, Outage, SQLAlchemyError) as error:
            writing.cancel()
            self._write_later(event, kind(error))

    def close(self) -> None:
        """Give the rows that wait one more second."""
        with self._lock:
            thread = self._catching_up
        if thread:
            thread.join(PATIENCE)

    def _write_later(self, event: Event, reason: str) -> None:
        with self._lock:
            self._waiting.append(event)
            if self._catching_up:
                return
            self._catching_up = threading.Thread(target=self._catch_up, name="accepted-later", daemon=True)
            self._catching_up.start()
        log.warning("accepted_events_wait_for_sql", reason=reason)

    def _catch_up(self) -> None:
        written = 0
        while event := self._next():
            try:
                write_events(self._engine, audit.accept, event)
            except Outage:
                time.sleep(RETRY_INTERVAL)
                continue
            except SQLAlchemyError as error:
                about = {"event_id": event.id, "trace_id": event.trace_id}
                log.warning("accepted_event_not_noted", **about, reason=kind(error))
            else:
                written += 1
            with self._lock:
                # Full meanwhile, it may have given this one up itself.
                if self._waiting[0] is event:
                    self._waiting.popleft()
        log.info("accepted_events_noted", count=written)

    def _next(self) -> Event | None:
        with self._lock:
            if not self._waiting:
                self._catching_up = None
                return None
            return self._waiting[0]
