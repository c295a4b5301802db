"""Stage changes: noted in SQL as pending, applied by Odoo in one call per batch, and the outcome noted in SQL.

Killed between any two of these steps, the messages come again: SQL still says pending, and Odoo answers for events
that it has already applied with their original outcome.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ...contract.event import Event
from ...errors import OdooMisconfigured, OdooRefused, OdooTimeout, OdooUnavailable
from ...odoo import Odoo
from ...results import Conflict, Done, Failure, Outcome
from ...store import audit, opportunities
from ...store.engine import in_transaction

#: Odoo's words for an event that is applied.
APPLIED = {"created", "moved", "updated", "unchanged", "stale"}
#: Codes of errors that trying again cannot mend. All else ("refused": Odoo raised something) may pass.
PERMANENT = {"unmapped_stage", "invalid"}
#: Odoo says "retry" when another transaction worked on the same opportunities. Then we call again after some
#: milliseconds; inside Odoo the repeat would sleep for seconds, and hold a worker meanwhile.
RETRY_PAUSE = (0.020, 0.200)
RETRY_ROUNDS = 20
#: Calls that may break off while Odoo takes empty ones. A single one says little (a worker of Odoo was recycled).
BROKEN_CALLS = 3
#: Seconds between them, doubling: a proxy that hiccups for a moment must not use up an event's attempts.
BROKEN_PAUSE = 0.3


def handle(engine: sa.Engine, odoo: Odoo, events: Sequence[Event]) -> dict[str, Outcome]:
    """Apply the batch.

    :raises bridge.errors.Outage: SQL or Odoo cannot be used just now
    :raises OdooRefused: the call failed as a whole
    """
    in_transaction(engine, lambda connection: opportunities.record(connection, events))
    outcomes = _apply(odoo, events)
    done = {event.id: (event, outcome) for event in events if isinstance(outcome := outcomes[event.id], Done)}

    def work(connection: sa.Connection) -> None:
        applied = {event_id: item for event_id, item in done.items() if item[1].status in APPLIED}
        opportunities.finish(connection, applied)
        audit.finish(connection, {event_id: outcome for event_id, (_, outcome) in done.items()})

    in_transaction(engine, work)
    return outcomes


def _apply(odoo: Odoo, events: Sequence[Event]) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    left = sorted(events, key=lambda event: event.order)
    for _ in range(RETRY_ROUNDS):
        results = _call(odoo, left)
        outcomes.update({event.id: _outcome(result) for event, result in zip(left, results, strict=True)})
        left = [event for event in left if isinstance(outcomes[event.id], Conflict)]
        if not left:
            break
        time.sleep(random.uniform(*RETRY_PAUSE))  # noqa: S311 (not for security)
    return outcomes


def _call(odoo: Odoo, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Have Odoo apply ``events``, and find out who is to blame if it fails.

    Whenever the call fails, an empty one is made. If that fails too, it is an outage. If it succeeds, the failure has
    to do with these very events: taken for an outage, one event that Odoo chokes on would hold up all others for ever.
    """
    for tried in range(BROKEN_CALLS):
        try:
            return odoo.apply([event.envelope() for event in events])
        except OdooUnavailable as error:
            odoo.probe()
            failure = OdooRefused(type(error).__name__, str(error))
            if isinstance(error, (OdooTimeout, OdooMisconfigured)):
                break
            time.sleep(BROKEN_PAUSE * 2**tried)
    raise failure


def _outcome(result: dict[str, Any]) -> Outcome:
    status = result.get("status")
    if status == "retry":
        return Conflict()
    if status in APPLIED:
        return Done(
            status,
            lead_id=result.get("lead_id") or None,
            stage_before=_text(result.get("stage_before"), 256),
            stage_after=_text(result.get("stage_after"), 256),
        )
    code = _text(result.get("code"), 64) or "refused"
    if code == audit.DISCARDED:
        # Somebody gave it up in Odoo while it was on its way: so it is settled, and no dead letter.
        return Done(audit.DISCARDED)
    message = _text(result.get("message"), 10_000) or "Odoo gave no reason."
    return Failure(code, message, permanent=code in PERMANENT)


def _text(value: Any, limit: int) -> str | None:
    """Odoo's text as our columns take it. Odoo says ``False`` where there is none."""
    if not value:
        return None
    # SQL Server counts an emoji as two.
    return str(value).replace("\0", "").encode("utf-16-le", "replace")[: 2 * limit].decode("utf-16-le", "ignore")
