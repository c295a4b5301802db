"""Requests that the standby webhooks refuse, counted in memory first: a flood of them must not be a flood of writes.

Bots do not repeat them, and no person sees the answers. The counts are for people: in ``status``, and in Odoo.
"""

from __future__ import annotations

import threading
from datetime import datetime, timezone

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from ..errors import ConfigurationError, Outage
from ..log import kind
from ..store import standby_refusals
from ..store.engine import in_transaction
from ..store.standby_refusals import WITHOUT_KEY, Refusal, Tally

log = structlog.get_logger()

#: Seconds between two writes.
INTERVAL = 2.0
#: Seconds that a stop waits for the last write.
PATIENCE = 1.0
#: Different counts without a valid key that wait for a write. Beyond them they wait without address and prefix.
MOST_WAITING = 200


class RefusalCounts(threading.Thread):
    """Writes the counts until closed. Used by many threads."""

    def __init__(self, engine: sa.Engine):
        super().__init__(name="refusals", daemon=True)
        self._engine = engine
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[Refusal, Tally] = {}
        self._is_failing = False

    def note(self, path: str, code: str, *, key_id: int | None = None, address: str = "", prefix: str = "") -> None:
        """Count one request, in memory. The parameters are those of :class:`.Refusal`."""
        now = datetime.now(timezone.utc)
        self._keep({Refusal(now.date(), path, code, key_id, address, prefix): Tally(1, now, now)})

    def write(self) -> None:
        """Write what waits. Without SQL it waits on. Never raises."""
        with self._lock:
            counts, self._waiting = self._waiting, {}
        if not counts:
            return
        try:
            in_transaction(self._engine, standby_refusals.add, counts)
        except (Outage, ConfigurationError, SQLAlchemyError) as error:
            self._keep(counts)
            if not self._is_failing:
                log.warning("refusals_wait_for_sql", reason=kind(error))
            self._is_failing = True
        else:
            self._is_failing = False

    def close(self) -> None:
        """Write once more, if SQL answers in a second."""
        self._closing.set()
        self.join(PATIENCE)

    def run(self) -> None:
        while not self._closing.wait(INTERVAL):
            self.write()
        self.write()

    def _keep(self, counts: dict[Refusal, Tally]) -> None:
        with self._lock:
            for refusal, tally in counts.items():
                is_full = refusal.code in WITHOUT_KEY and len(self._waiting) >= MOST_WAITING
                what = refusal.rest if is_full and refusal not in self._waiting else refusal
                known = self._waiting.get(what)
                self._waiting[what] = known + tally if known else tally
