from odoo import fields, http
from odoo.http import request

from bridge.contract.agreements import STUCK_AFTER

from ..deliveries import FROM_CHAT
from ..queues import queue_report
from .api import authenticate, route


class ManychatHealth(http.Controller):
    @route("/health", "GET")
    def health(self):
        """Answer 200 if Odoo serves this database. Needs no key and says nothing else."""
        return 200, {"status": "ok"}

    @route("/api/v1/reports/health", "GET")
    def report(self):
        """Report the state of outbox, queue and bridge."""
        authenticate()
        events = request.env["manychat.event"].sudo()
        waiting = events.search([("state", "=", "pending")], order="id", limit=1)
        newest = events.search(FROM_CHAT, limit=1)
        bridge = request.env["manychat.bridge"].sudo().search([("stuck", "=", False)], limit=1)
        queue = queue_report(request.env)
        since = waiting.received_at or waiting.create_date
        stuck = bool(waiting) and (not since or fields.Datetime.now() - since > STUCK_AFTER)
        stopped = request.env["ir.cron"]._manychat_stopped()
        return 200, {
            "status": "ok" if queue["status"] == "ok" and not stuck and not stopped else "degraded",
            "database": {"status": "ok"},
            "queue": queue,
            "jobs": {
                "status": "stopped" if stopped else "ok",
                "stopped": [{"name": name, "reason": reason} for name, reason in stopped],
            },
            "events": {
                "waiting": events.search_count([("state", "=", "pending")]),
                "oldest_waiting": _iso(since),
                "stuck": stuck,
                "failed": request.env["manychat.setup"]._failed_count(),
                "last_received": _iso(newest.received_at),
            },
            "last_24_hours": request.env["manychat.bridge"]._refusals(),
            "bridge": {"last_heartbeat": _iso(bridge.last_seen), "version": bridge.version or None},
        }


def _iso(moment):
    return fields.Datetime.to_string(moment).replace(" ", "T") + "Z" if moment else None
