"""Events that Odoo's log shows on their queue for long: lost ones go again, and Odoo learns how the others ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from ..contract.outcomes import APPLIED
from ..contract.payloads import OPPORTUNITY_QUEUE, EventType
from ..errors import OdooMisconfigured, OdooRefused
from ..odoo import Odoo
from ..results import Done
from ..store import audit
from ..store.engine import in_transaction
from ..store.rows import AuditRow
from .audited import event_of
from .bisect import bisect_batch
from .handlers import Handler
from .losses import Losses
from .repair import DRY_RUN, FAILED, REPAIRED, SKIPPED, Repair

log = structlog.get_logger()

#: Events applied together.
BATCH = 32


class Overdue:
    """One round over Odoo's overdue events."""

    def __init__(
        self, engine: sa.Engine, odoo: Odoo, handlers: Mapping[str, Handler], losses: Losses, *, dry_run: bool
    ):
        """:param handlers: by the name of their queue; events of other queues are left alone"""
        self._engine = engine
        self._odoo = odoo
        self._handlers = handlers
        self._losses = losses
        self._dry_run = dry_run

    def repairs(self) -> Iterator[Repair]:
        """Have Odoo send again what is lost, and report again what is finished.

        An event that a bridge has received and not finished is in the audit: ``reconcile`` finds it there.

        :raises bridge.errors.Outage:
        """
        try:
            answer = self._odoo.get_overdue()
        except (OdooRefused, OdooMisconfigured) as error:
            # An addon of an earlier version does not know the question.
            log.warning("overdue_unknown", error=type(error).__name__)
            return
        overdue = {str(item["event_id"]): item for item in answer if _queue_of(item) in self._handlers}
        before = {queue: self._losses.lost_before(queue) for queue in {_queue_of(item) for item in overdue.values()}}
        # Only now: a message may be received at any moment.
        rows = in_transaction(self._engine, audit.rows, overdue)
        lost = {
            event_id: item
            for event_id, item in overdue.items()
            if not _is_known(item, rows.get(event_id))
            and datetime.fromisoformat(str(item["queued_at"])) < before[_queue_of(item)]
        }
        yield from self._send_again(lost)
        if not self._dry_run:
            yield from self._explain([row for event_id, row in rows.items() if row.outcome and event_id not in lost])

    def _send_again(self, lost: Mapping[str, Mapping[str, Any]]) -> Iterator[Repair]:
        again = self._odoo.send_again(sorted(lost)) if lost and not self._dry_run else set()
        for event_id, item in lost.items():
            if self._dry_run:
                result, reason = DRY_RUN, "Odoo would send it again."
            elif event_id in again:
                result, reason = REPAIRED, "Odoo sends it again."
            else:
                result, reason = SKIPPED, "In Odoo it is no longer on its queue."
            yield Repair(event_id, str(item["manychat_id"]), "lost", result, reason, str(item.get("trace_id") or ""))

    def _explain(self, rows: Sequence[AuditRow]) -> Iterator[Repair]:
        """Report finished events again. Odoo's database may have been restored: it then lacks what they did there."""
        if not rows:
            return
        in_transaction(self._engine, audit.report_again, [row.event_id for row in rows])
        applied = [(row, event) for row in rows if row.outcome in APPLIED and (event := event_of(row)) is not None]
        for start in range(0, len(applied), BATCH):
            group = applied[start : start + BATCH]
            outcomes = bisect_batch([event for _, event in group], self._handlers[OPPORTUNITY_QUEUE].handle)
            for row, event in group:
                outcome = outcomes[event.id]
                result, reason = (REPAIRED, outcome.status) if isinstance(outcome, Done) else (FAILED, "again later")
                yield Repair(event.id, row.manychat_id, "missing in Odoo", result, reason, event.trace_id)


def _queue_of(item: Mapping[str, Any]) -> str:
    """The queue of an overdue event; empty if its type is unknown."""
    return next((kind.queue for kind in EventType if kind.value == item["type"]), "")


def _is_known(item: Mapping[str, Any], row: AuditRow | None) -> bool:
    """Whether a bridge has received an event, since an Odoo user last sent it again."""
    if row is None:
        return False
    return row.outcome not in (audit.DEAD_LETTERED, audit.DISCARDED) or row.retries >= int(item["retries"])
