from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..queues import queue_report
from ..rights import access_required
from .crm_lead import CHAT_URL_ID, CHAT_URL_PARAMETER
from .crm_lead_conversation import DEFAULT_TEAM_PARAMETER
from .manychat_alert import DEFAULT_SILENT_MINUTES, RECEIVER_PARAMETER, SILENT_PARAMETER
from .manychat_event import DEFAULT_RETENTION_DAYS, RETENTION_PARAMETER
from .manychat_event_lost import DEFAULT_OVERDUE_MINUTES, OVERDUE_PARAMETER


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    manychat_retention_days = fields.Integer(
        "Keep ManyChat Events",
        default=DEFAULT_RETENTION_DAYS,
        config_parameter=RETENTION_PARAMETER,
        help="Days after which finished events are deleted from the log. Events that wait or failed are kept.",
    )
    manychat_chat_url = fields.Char(
        "Address of a Chat",
        config_parameter=CHAT_URL_PARAMETER,
        help="Copy the address of any conversation in ManyChat, and put {manychat_id} in the place of the person's ID.",
    )
    manychat_alert_user_id = fields.Many2one(
        "res.users",
        "Alert Receiver",
        config_parameter=RECEIVER_PARAMETER,
        domain=[("share", "=", False)],
        help="Gets an activity when events fail, do not reach the queue, or the bridge is silent. Empty: the leader of "
        "the first sales team that has one, else an administrator.",
    )
    manychat_silent_minutes = fields.Integer(
        "Bridge Silent For",
        default=DEFAULT_SILENT_MINUTES,
        help="Alert after this many minutes without a heartbeat from any bridge. 0: never.",
    )
    manychat_overdue_minutes = fields.Integer(
        "Overdue After",
        default=DEFAULT_OVERDUE_MINUTES,
        help="After this many minutes on the queue, a bridge looks for an event, and Odoo sends it again if the queue "
        "has lost it. 0: never.",
    )
    manychat_default_team_id = fields.Many2one(
        "crm.team",
        "Default ManyChat Team",
        help="The team of new opportunities whose stage has no team in the Stage Map. It applies to all companies.",
    )
    manychat_expiring_key_count = fields.Integer("Keys About to Expire", compute="_compute_manychat_expiring_key_count")

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("manychat_retention_days", "manychat_chat_url")
    def _check_manychat(self):
        for settings in self:
            if settings.manychat_retention_days < 1:
                raise ValidationError(self.env._("ManyChat events must be kept for one day at least."))
            url = settings.manychat_chat_url
            if url and not (url.startswith("https://") and CHAT_URL_ID in url):
                raise ValidationError(
                    self.env._("The address of a chat must begin with https:// and contain %s.", CHAT_URL_ID)
                )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    def _compute_manychat_expiring_key_count(self):
        is_admin = self.env.user.has_group("base.group_system")
        keys = self.env["manychat.api.key"].sudo()
        domain = [("expires_soon", "=", True), ("test_manychat_id", "=", False)]
        self.manychat_expiring_key_count = keys.search_count(domain) if is_admin else 0

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def get_values(self):
        if not self.has_access("read"):  # Odoo itself asks for the values only after it has checked the rights
            return super().get_values()
        parameters = self.env["ir.config_parameter"].sudo()
        return super().get_values() | {
            "manychat_default_team_id": self._manychat_default_team().id,
            "manychat_silent_minutes": int(parameters.get_param(SILENT_PARAMETER, DEFAULT_SILENT_MINUTES)),
            "manychat_overdue_minutes": int(parameters.get_param(OVERDUE_PARAMETER, DEFAULT_OVERDUE_MINUTES)),
        }

    @access_required("write")
    def set_values(self):
        result = super().set_values()
        # Only if changed: a user who cannot see another company's team must not remove it by saving.
        if self.manychat_default_team_id != self._manychat_default_team():
            team_id = self.manychat_default_team_id.id
            self.env["ir.config_parameter"].sudo().set_param(DEFAULT_TEAM_PARAMETER, team_id)
        # Set here, because Odoo deletes a parameter of 0.
        for parameter, minutes in (
            (SILENT_PARAMETER, self.manychat_silent_minutes),
            (OVERDUE_PARAMETER, self.manychat_overdue_minutes),
        ):
            self.env["ir.config_parameter"].sudo().set_param(parameter, str(max(minutes, 0)))
        return result

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

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_default_team(self):
        """The default team, if the user may see it."""
        team_id = self.env["ir.config_parameter"].sudo().get_param(DEFAULT_TEAM_PARAMETER)
        return self.env["crm.team"].search([("id", "=", int(team_id or 0))])
