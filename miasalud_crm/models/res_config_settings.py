from odoo import fields, models

from ..queues import queue_report
from ..rights import access_required


class ResConfigSettings(models.TransientModel):
    """What administrators see of ours. The settings of sales managers are in ``manychat.settings``."""

    _inherit = "res.config.settings"

    manychat_expiring_key_count = fields.Integer("Keys About to Expire", compute="_compute_manychat_expiring_key_count")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _compute_manychat_expiring_key_count(self):
        is_admin = self.env.user.has_group("base.group_system")
        keys = self.env["manychat.api.key"].sudo()
        domain = [("expires_soon", "=", True), ("test_manychat_id", "=", False)]
        self.manychat_expiring_key_count = keys.search_count(domain) if is_admin else 0

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_manychat_test_queue(self):
        """Show whether the queue answers, or what to do."""
        report = queue_report(self.env)
        works = report["status"] == "ok"
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "title": self.env._("Queue connected") if works else self.env._("No connection to the queue"),
                "message": self.env["manychat.setup"]._queue_sentence(report),
                "type": "success" if works else "warning",
                "sticky": not works,
            },
        }

    @access_required("read")
    def action_manychat_expiring_keys(self):
        """Open the keys that expire soon."""
        action = self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_api_key_action")
        return {**action, "context": {"active_test": False, "search_default_expires_soon": 1}}
