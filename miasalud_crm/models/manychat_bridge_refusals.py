from datetime import timedelta

from odoo import api, fields, models

from ..rights import bridge_only


class ManychatBridge(models.Model):
    _inherit = "manychat.bridge"

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def get_refusals(self):
        """What this Odoo refused lately. For the group “ManyChat Bridge”, over RPC: health report and ``status``.

        :return dict: of the last 24 hours: ``refused``, requests that broke the contract and that no user has corrected
            or discarded; ``warned``, events taken with warnings; ``wrong_keys``, requests without a valid key
        :raises AccessError: the caller is not in that group
        """
        return self._refusals()

    @api.model
    @bridge_only
    def record_refusals(self, refusals):
        """Record how often the standby refused requests. For the group “ManyChat Bridge”, over RPC.

        :param list refusals: of dicts, one for each day, key, path and answer: ``digest``, which is the same in each
            report of the row; ``key_name``, ``key_prefix``, ``address``, ``path``, ``code``; ``requests``, the total so
            far; ``first_at`` and ``last_at`` (ISO 8601 in UTC)
        :raises AccessError: the caller is not in that group
        """
        self.env["manychat.standby.refusal"]._record(refusals)
        return True

    # ------------------------------------------------------------
    # Business methods
    # ------------------------------------------------------------

    @api.model
    def _refusals(self):
        since = fields.Datetime.now() - timedelta(hours=24)
        events = self.env["manychat.event"].sudo()
        wrong_keys = self.env["manychat.wrong.key"].sudo().search([("last_at", ">", since)])
        return {
            "refused": events.search_count([("state", "=", "refused"), ("received_at", ">", since)]),
            "warned": events.search_count([("warnings", "!=", False), ("received_at", ">", since)]),
            "wrong_keys": sum(wrong_keys.mapped("count")),
        }
