"""Telling Odoo what became of events, so that its event log knows the end of each; and closing what it gave up.

Beside the events, never in their way: the outcome is in SQL first, and Odoo hears of it when it can. Told twice is as
good as once; not told yet, because Odoo was down or this process was killed, is told later, by whichever bridge. What
Odoo applied itself it knows, and is not told.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import structlog

from ..contract.fields import format_datetime
from ..errors import OdooRefused, Outage
from ..log import kind
from ..odoo import Odoo
from ..store import audit, dead_letters
from ..store.engine import in_transaction
from .reconcile import event_of

log = structlog.get_logger()

#: Seconds between two looks for outcomes to tell.
INTERVAL = 2
#: The same while telling fails. Nobody waits for it.
INTERVAL_FAILING = 10
#: Outcomes told in one call.
BATCH = 200
#: Odoo's words for our outcomes; all others mean that the event is done.
STATES = {audit.DEAD_LETTERED: "failed", audit.DISCARDED: "discarded", audit.ERASED: "erased"}


class Reporter(threading.Thread):
    """Reports until closed. A failure is said once, and matters to nobody else."""

    def __init__(self, engine: sa.Engine, odoo: Odoo, interval: float = INTERVAL):
        """:param interval: seconds"""
        super().__init__(name="reporter", daemon=True)
        self._engine = engine
        self._odoo = odoo
        self._interval = interval
        self._closing = threading.Event()

    def close(self) -> None:
        """Report no more; a report under way is not waited for."""
        self._closing.set()

    def run(self) -> None:
        failing = False
        # Not on the dot: several bridges would tell the same at the same moment.
        while not self._closing.wait((INTERVAL_FAILING if failing else self._interval) * random.uniform(0.8, 1.2)):  # noqa: S311
            try:
                report(self._engine, self._odoo, self._closing)
            except (Outage, OdooRefused) as error:
                if not failing:
                    reason = str(error) if isinstance(error, Outage) else None
                    log.warning("report_failing", error=kind(error), reason=reason)
                failing = True
            except Exception:
                # A bug here must not end the reports for good.
                log.exception("report_failed")
                failing = True
            else:
                if failing:
                    log.info("report_resumed")
                failing = False


def report(engine: sa.Engine, odoo: Odoo, stop: threading.Event | None = None) -> None:
    """Tell Odoo all outcomes that it does not know yet.

    :param stop: once it is set, no further ones are told
    :raises Outage: Odoo or SQL is away
    :raises OdooRefused: after the others were told: there are some that Odoo refuses to hear
    """
    refused: OdooRefused | None = None
    last = 0
    while not (stop and stop.is_set()):
        rows = in_transaction(engine, lambda connection: audit.unreported(connection, BATCH, last))  # noqa: B023
        if not rows:
            break
        last = rows[-1].id
        refused = _tell(engine, odoo, rows) or refused
    if refused:
        raise refused


def _tell(engine: sa.Engine, odoo: Odoo, rows: Sequence[Any]) -> OdooRefused | None:
    """Tell ``rows`` together; if Odoo refuses, in halves, so that a bad one holds up no other."""
    try:
        busy = odoo.report([_told(row) for row in rows])
    except OdooRefused as error:
        if len(rows) == 1:
            return error
        middle = len(rows) // 2
        first, second = _tell(engine, odoo, rows[:middle]), _tell(engine, odoo, rows[middle:])
        return first or second
    told = [row for row in rows if row.event_id not in busy]
    in_transaction(engine, lambda connection: audit.reported(connection, told))
    return None


def _told(row: Any) -> dict[str, Any]:
    told = {
        "event_id": row.event_id,
        "state": STATES.get(row.outcome, "done"),
        "outcome": row.outcome,
        "code": row.error_code,
        "message": row.error,
        "finished_at": format_datetime(row.finished_at),
        "retries": row.retries,
    }
    # What came past Odoo's webhook it may never have seen: so it gets the event with its outcome.
    event = event_of(row) if row.source != "odoo" else None
    return {**told, "event": event.envelope()} if event else told


def close_discarded(engine: sa.Engine, odoo: Odoo, discarded: Mapping[str, int]) -> None:
    """Settle events that people gave up in Odoo: their dead letters are closed, and nothing applies them any more.

    The outcome is then reported like any other, and by that Odoo knows that we know. An event that was sent again since
    stays as it is.

    :param discarded: see :meth:`bridge.odoo.Odoo.heartbeat`
    :raises Outage: Odoo or SQL is away
    :raises OdooRefused:
    """

    def work(connection: sa.Connection) -> list[str]:
        rows = audit.rows(connection, discarded)
        given_up = [
            row.event_id
            for row in rows.values()
            if row.outcome == audit.DEAD_LETTERED and row.retries <= discarded[row.event_id]
        ]
        for event_id in sorted(given_up):
            audit.discard(connection, event_id)
        dead_letters.discard_all(connection, given_up)
        # Whatever else became of them, Odoo seems not to know. Those without an end yet it names again the next time.
        audit.report_again(connection, rows.keys() - given_up)
        return sorted(discarded.keys() - rows.keys())

    unknown = in_transaction(engine, work)
    if unknown:
        # SQL was set up anew since: there is nothing left to close.
        odoo.report(
            [{"event_id": event_id, "state": "discarded", "retries": discarded[event_id]} for event_id in unknown]
        )
    log.info("discards_taken", count=len(discarded))
