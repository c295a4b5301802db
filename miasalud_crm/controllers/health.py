from azure.core.exceptions import AzureError

from odoo import fields, http
from odoo.http import request

from bridge.events import CAMPAIGN_QUEUE, CONTACT_QUEUE, DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE

from .. import configuration
from ..models.manychat_alert import STUCK_AFTER
from ..models.manychat_event import Queues
from .api import authenticate, route


class ManychatHealth(http.Controller):
    @route("/health", "GET")
    def health(self):
        """Whether Odoo serves this database; without a key, and telling nothing else."""
        return 200, {"status": "ok"}

    @route("/api/v1/reports/health", "GET")
    def report(self):
        """How the whole way from the webhook to the bridge is doing."""
        authenticate()
        events = request.env["manychat.event"].sudo()
        waiting = events.search([("state", "=", "pending")], order="id", limit=1)
        newest = events.search([], limit=1)
        bridge = request.env["manychat.bridge"].sudo().search([], limit=1)
        queue = _queue_report()
        stuck = bool(waiting) and fields.Datetime.now() - waiting.received_at > STUCK_AFTER
        return 200, {
            "status": "ok" if queue["status"] == "ok" and not stuck else "degraded",
            "database": {"status": "ok"},
            "queue": queue,
            "events": {
                "waiting": events.search_count([("state", "=", "pending")]),
                "oldest_waiting": _iso(waiting.received_at),
                "stuck": stuck,
                "failed": events.search_count([("state", "=", "failed")]),
                "last_received": _iso(newest.received_at),
            },
            "bridge": {"last_heartbeat": _iso(bridge.last_seen), "version": bridge.version or None},
        }


def _queue_report():
    connection_string = configuration.get("queue_connection_string")
    if not connection_string:
        return {"status": "not_configured"}
    try:
        with Queues(connection_string) as queues:
            names = (CONTACT_QUEUE, CAMPAIGN_QUEUE, OPPORTUNITY_QUEUE, DEAD_LETTER_QUEUE)
            return {"status": "ok", "depth": dict(zip(names, queues.pool.map(queues.depth, names), strict=True))}
    except (AzureError, ValueError) as error:  # ValueError: the connection string itself is malformed
        return {"status": "unreachable", "error": type(error).__name__}


def _iso(moment):
    return fields.Datetime.to_string(moment).replace(" ", "T") + "Z" if moment else None
