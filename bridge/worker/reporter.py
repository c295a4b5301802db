"""Report the outcomes of events to Odoo, for its event log; and close the events that Odoo users discarded.

Reports never delay an event. The outcome is in SQL first, and Odoo gets it when it can. A second report of the same
outcome changes nothing. If Odoo is down or this process is killed, any bridge sends the report later. Odoo gets no
report of what it applied itself.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
import structlog

from ..contract.fields import format_datetime
from ..contract.outcomes import ReportedState
from ..errors import OdooRefused
from ..odoo import Odoo
from ..odoo_answers import HeartbeatAnswer
from ..store import api_keys, audit, dead_letters, manychat_writes, standby_refusals
from ..store.engine import in_transaction, read
from ..store.rows import AuditRow
from .audited import event_of

log = structlog.get_logger()

#: Seconds between two searches for outcomes to report.
INTERVAL = 2
#: The same while reports fail. They are not urgent.
FAILING_INTERVAL = 10
#: Share of these intervals that is random, so that several bridges do not report at the same moment.
JITTER = 0.2
#: Outcomes in one call.
BATCH = 200
#: What the standby refused is reported for this long, if Odoo is down meanwhile.
REFUSALS_REPORTED_FOR = timedelta(days=7)
#: Odoo's states for our outcomes. All other outcomes mean that the event is done.
STATES = {
    audit.DEAD_LETTERED: ReportedState.FAILED,
    audit.DISCARDED: ReportedState.DISCARDED,
    audit.ERASED: ReportedState.ERASED,
}


def report_outcomes(engine: sa.Engine, odoo: Odoo, stop: threading.Event | None = None) -> None:
    """Report all outcomes that Odoo does not know yet.

    :param stop: once it is set, no further outcomes are reported
    :raises Outage: Odoo or SQL is down
    :raises OdooRefused: Odoo refuses some of the outcomes; the others are reported
    """
    refused: OdooRefused | None = None
    last = 0
    while not (stop and stop.is_set()):
        rows = in_transaction(engine, audit.unreported, BATCH, last)
        if not rows:
            break
        last = rows[-1].id
        refused = _report(engine, odoo, rows) or refused
    if refused:
        raise refused


def _report(engine: sa.Engine, odoo: Odoo, rows: Sequence[AuditRow]) -> OdooRefused | None:
    """Report ``rows`` together; if Odoo refuses, in halves, so that a bad row holds up no other."""
    try:
        busy = odoo.record_outcomes([_payload(row) for row in rows])
    except OdooRefused as error:
        if len(rows) == 1:
            return error
        middle = len(rows) // 2
        first, second = _report(engine, odoo, rows[:middle]), _report(engine, odoo, rows[middle:])
        return first or second
    in_transaction(engine, audit.mark_reported, [row for row in rows if row.event_id not in busy])
    return None


def _payload(row: AuditRow) -> dict[str, Any]:
    payload = {
        "event_id": row.event_id,
        "state": STATES.get(row.outcome or "", ReportedState.DONE).value,
        "outcome": row.outcome,
        "code": row.error_code,
        "message": row.error,
        "finished_at": format_datetime(row.finished_at) if row.finished_at else None,
        "retries": row.retries,
    }
    # Odoo may have never seen an event that did not come through its webhook, so the event goes with its outcome.
    event = event_of(row) if row.source != "odoo" else None
    return {**payload, "event": event.envelope()} if event else payload


def take_over(engine: sa.Engine, odoo: Odoo, answer: HeartbeatAnswer) -> None:
    """Put into SQL what Odoo users decided: settings, which keys bots may use, and which events they discarded.

    Then report what the standby refused, if Odoo takes it.

    :raises Outage: Odoo or SQL is down
    :raises OdooRefused:
    """
    if answer.keys is not None:
        changed = in_transaction(engine, api_keys.take_over, answer.keys)
        if changed:
            log.info("keys_taken_over", count=changed)
    if answer.settings:
        changed_names = in_transaction(engine, manychat_writes.take_over, answer.settings)
        if changed_names:
            log.info("settings_taken_over", count=len(changed_names))
    if answer.discarded:
        close_discarded(engine, odoo, answer.discarded)
    if answer.takes_refusals:
        report_refusals(engine, odoo)


def report_refusals(engine: sa.Engine, odoo: Odoo) -> None:
    """Report how often the standby refused requests, as totals: a second report of the same changes nothing.

    :raises Outage: Odoo or SQL is down
    :raises OdooRefused:
    """
    since = datetime.now(timezone.utc) - REFUSALS_REPORTED_FOR
    if rows := read(engine, standby_refusals.unreported, since):
        odoo.record_refusals(
            [
                {
                    "digest": row.digest,
                    "key_name": row.key_name,
                    "key_prefix": row.key_prefix,
                    "address": row.address,
                    "path": row.path,
                    "code": row.code,
                    "requests": row.requests,
                    "first_at": format_datetime(row.first_at),
                    "last_at": format_datetime(row.last_at),
                }
                for row in rows
            ]
        )
        in_transaction(engine, standby_refusals.mark_reported, rows)


def close_discarded(engine: sa.Engine, odoo: Odoo, discarded: Mapping[str, int]) -> None:
    """Settle events that Odoo users discarded: close their dead letters, and never apply the events.

    The outcome is then reported like any other, which confirms the discard to Odoo. An event that was sent again since
    then stays as it is.

    :param discarded: see :class:`bridge.odoo.HeartbeatAnswer`
    :raises Outage: Odoo or SQL is down
    :raises OdooRefused:
    """
    unknown = in_transaction(engine, _discard, discarded)
    if unknown:
        # The tables were made anew since then: there is nothing left to close.
        odoo.record_outcomes(
            [
                {"event_id": event_id, "state": ReportedState.DISCARDED.value, "retries": discarded[event_id]}
                for event_id in unknown
            ]
        )
    log.info("discards_applied", count=len(discarded))


def _discard(connection: sa.Connection, discarded: Mapping[str, int]) -> list[str]:
    """Discard the events; the ids of those that SQL does not know."""
    rows = audit.rows(connection, discarded)
    given_up = [
        row.event_id
        for row in rows.values()
        if row.outcome == audit.DEAD_LETTERED and row.retries <= discarded[row.event_id]
    ]
    for event_id in sorted(given_up):
        audit.discard(connection, event_id)
    dead_letters.discard_all(connection, given_up)
    # Odoo does not seem to know the outcome of the others. It names unfinished ones again in its next answer.
    audit.report_again(connection, rows.keys() - given_up)
    return sorted(discarded.keys() - rows.keys())
