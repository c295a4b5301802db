from datetime import timedelta

from odoo import api, fields, models

from ..models.manychat_api_key import check_future
from ..rights import access_required

#: Days in which the bot's requests can be changed: until then both keys are valid.
BOTH_VALID = timedelta(days=7)


class ManychatApiKeyReplace(models.TransientModel):
    """Makes a new key for the bot of an old one, and shows it once."""

    _name = "manychat.api.key.replace"
    _description = "Replace a ManyChat Key"

    key_id = fields.Many2one("manychat.api.key", "Old Key", required=True, readonly=True, ondelete="cascade")
    is_valid = fields.Boolean(related="key_id.is_valid")
    ends_at = fields.Datetime(
        "Old Key Ends On",
        required=True,
        default=lambda self: fields.Datetime.now() + BOTH_VALID,
        help="Until then the bot may send the old key and the new one. Change its External Requests in the meantime.",
    )
    expiration_date = fields.Datetime("New Key Expires On", help="Leave empty for a key that never expires.")

    @api.constrains("ends_at", "expiration_date")
    def _check_dates(self):
        check_future(self.env, [*self.mapped("ends_at"), *self.mapped("expiration_date")])

    @access_required("create")
    def action_replace(self):
        """Make the new key and show it."""
        self.ensure_one()
        key = self.key_id._replace(self.ends_at, self.expiration_date)
        return self.env["manychat.api.key.create"]._show(key, "webhook")
