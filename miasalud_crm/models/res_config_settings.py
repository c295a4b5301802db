from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .crm_lead import CHAT_URL_ID, CHAT_URL_PARAMETER
from .manychat_alert import DEFAULT_SILENT_MINUTES, RECEIVER_PARAMETER, SILENT_PARAMETER
from .manychat_event import DEFAULT_RETENTION_DAYS, RETENTION_PARAMETER


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
        help="Gets an activity when events fail, do not reach the queue, or the bridge is silent. If nobody is chosen: "
        "the leader of the first sales team that has one, else an administrator.",
    )
    manychat_silent_minutes = fields.Integer(
        "Bridge Silent For",
        default=DEFAULT_SILENT_MINUTES,
        help="Minutes without a sign of life of any bridge after which the alert receiver hears of it. 0: never.",
    )

    # By hand, since Odoo takes a parameter of 0 for one that is not set.

    @api.model
    def get_values(self):
        minutes = self.env["ir.config_parameter"].sudo().get_param(SILENT_PARAMETER, DEFAULT_SILENT_MINUTES)
        return {**super().get_values(), "manychat_silent_minutes": int(minutes)}

    def set_values(self):
        super().set_values()
        minutes = max(self.manychat_silent_minutes, 0)
        self.env["ir.config_parameter"].sudo().set_param(SILENT_PARAMETER, str(minutes))

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
