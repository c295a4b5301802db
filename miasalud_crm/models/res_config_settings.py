from odoo import fields, models

from .manychat_event import DEFAULT_RETENTION_DAYS, RETENTION_PARAMETER


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    manychat_retention_days = fields.Integer(
        "Keep ManyChat Events",
        default=DEFAULT_RETENTION_DAYS,
        config_parameter=RETENTION_PARAMETER,
        help="Days after which finished events are deleted from the log. Events that wait or failed are kept.",
    )
