"""What the bridge needs after its database was restored from a backup: the events that Odoo has and SQL lacks."""

from odoo import api, models

from ..moments import from_iso
from ..rights import bridge_only

#: Most events in one answer.
MOST = 200


class ManychatEvent(models.Model):
    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    @api.model
    @bridge_only
    def get_finished(self, since, after=""):
        """Finished events with their contents. For the group “ManyChat Bridge”, over RPC (``reconcile``).

        Page by page: each answer begins after the last event of the one before.

        :param str since: ISO 8601; only events received then or later
        :param str after: ``event_id`` of the last event of the page before; empty for the first page
        :return list: envelopes as on the queue (see ``bridge.contract.event``), oldest first, at most 200; without the
            events of erased persons
        :raises AccessError: the caller is not in that group
        """
        domain = [("received_at", ">=", from_iso(since)), ("state", "=", "done"), ("payload", "!=", False)]
        if last := self.search([("event_id", "=", after)]) if after else self:
            later = ["|", ("received_at", ">", last.received_at)]
            domain += [*later, "&", ("received_at", "=", last.received_at), ("id", ">", last.id)]
        return [event._envelope() for event in self.search(domain, limit=MOST, order="received_at, id")]
