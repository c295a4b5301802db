"""Events that the queue has lost: named to the bridge, which looks for them, and sent again."""

import logging

from odoo import api, models

from bridge.contract.outcomes import ErrorCode

from .. import private_sql
from ..moments import iso_utc
from ..rights import bridge_only
from .manychat_event_attempts import LOST
from .manychat_event_trace import trace_id_of

_logger = logging.getLogger(__name__)

OVERDUE_PARAMETER = "miasalud_crm.overdue_minutes"
#: Default time on the queue until the bridge looks for an event. Events need less than a second on a quiet system.
DEFAULT_OVERDUE_MINUTES = 10
#: Each further search for the same event waits twice as long as the one before, up to this many minutes.
LONGEST_MINUTES = 24 * 60
#: Most events in one answer of ``get_overdue``, oldest first.
OVERDUE_PER_ANSWER = 500
#: An event that the queue has lost this often becomes an alert: sending it once more did not help.
LOST_TOO_OFTEN = 2
#: Has been on its queue for long. Rows that no relay has queued came with the bridge's report.
_IS_OVERDUE = """
    state = 'queued'
    AND COALESCE(queued_at, create_date) < (now() AT TIME ZONE 'UTC') - make_interval(mins => %(minutes)s)
    AND COALESCE(queued_at, create_date) < (now() AT TIME ZONE 'UTC') - make_interval(
            mins => LEAST(%(minutes)s * (2 ^ LEAST(COALESCE(resends, 0), 16)), %(longest)s)::int)
"""
# Decisions come last: a bridge older than they are leaves them alone, and they would hide what the other queues have
# lost.
_FIND = """
    SELECT event_id, type, COALESCE(manychat_id, ''), COALESCE(retries, 0), traceparent,
           COALESCE(queued_at, create_date)
      FROM manychat_event
     WHERE {overdue}
     ORDER BY type = 'decision', COALESCE(queued_at, create_date), id LIMIT %(most)s
""".replace("{overdue}", _IS_OVERDUE)
_LOCK = """
    SELECT id FROM manychat_event
     WHERE event_id = ANY(%(event_ids)s) AND {overdue}
     ORDER BY id FOR UPDATE SKIP LOCKED
""".replace("{overdue}", _IS_OVERDUE)


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    @api.model
    def _find_lost_too_often(self):
        return self.search([("state", "in", ["pending", "queued"]), ("resends", ">=", LOST_TOO_OFTEN)])

    @api.model
    @bridge_only
    def get_overdue(self):
        """Events that have been on their queue for long. For the group “ManyChat Bridge”, over RPC (``reconcile``).

        Most of them wait or are being retried. Only the bridge can find out which ones their queue has lost: it knows
        what it has received.

        :return list: of dicts, oldest first and decisions after all others, at most 500: ``event_id``, ``type``,
            ``manychat_id``, ``retries``, ``trace_id``, ``queued_at`` (ISO 8601, UTC)
        :raises AccessError: the caller is not in that group
        """
        if not (overdue := self._overdue_parameters()):
            return []
        self.flush_model()
        self.env.cr.execute(_FIND, {**overdue, "most": OVERDUE_PER_ANSWER})
        names = ("event_id", "type", "manychat_id", "retries")
        return [
            {
                **dict(zip(names, row, strict=False)),
                "trace_id": trace_id_of(row[0], row[-2]),
                "queued_at": iso_utc(row[-1]),
            }
            for row in self.env.cr.fetchall()
        ]

    @api.model
    @bridge_only
    def send_again(self, event_ids):
        """Send events again that their queue has lost. For the group “ManyChat Bridge”, over RPC (``reconcile``).

        It is the same event as before, and is applied once however often it arrives. An event that is no longer overdue
        stays as it is: it is finished, or another bridge has found the same loss and the event is on its queue again.

        :param list event_ids: ids of the lost events
        :return list: ids of the events that go again
        :raises AccessError: the caller is not in that group
        """
        if not (overdue := self._overdue_parameters()):
            return []
        self.flush_model()
        named = {**overdue, "event_ids": [str(event_id) for event_id in event_ids]}
        rows = private_sql.fetch(self.env.cr, _LOCK, named)
        lost = self.browse(row["id"] for row in rows)
        lost.invalidate_recordset()
        erased = lost.filtered(lambda event: not event.payload)
        erased.write({"state": "discarded", "outcome": "error", "code": ErrorCode.ERASED.value})
        lost -= erased
        for event in lost:
            values = {"state": "pending", "claimed_until": False, "resends": event.resends + 1}
            event.write({**values, "attempts": event._with_attempt(LOST)})
        if lost:
            _logger.warning("The queue has lost %s ManyChat events. They are sent again.", len(lost))
            lost._wake_relay()
        return lost.mapped("event_id")

    def _overdue_parameters(self):
        """The parameters of ``_IS_OVERDUE``; ``None`` if no event is looked for."""
        parameter = self.env["ir.config_parameter"].get_param(OVERDUE_PARAMETER)
        minutes = int(parameter or DEFAULT_OVERDUE_MINUTES)
        return {"minutes": minutes, "longest": max(minutes, LONGEST_MINUTES)} if minutes > 0 else None
