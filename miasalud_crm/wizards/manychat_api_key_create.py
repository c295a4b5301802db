from odoo import api, fields, models
from odoo.addons.base.models.res_partner import _tz_get
from odoo.exceptions import UserError

from bridge.contract import keys

from ..models.manychat_api_key import check_future
from ..rights import access_required


class ManychatApiKeyCreate(models.TransientModel):
    """Creates a key and shows it once."""

    _name = "manychat.api.key.create"
    _description = "New ManyChat Key"

    name = fields.Char("Description", help="Which bot, environment or bridge will use it.")
    purpose = fields.Selection(
        [
            ("webhook", "For a bot: ManyChat sends events with it"),
            ("ask", "For a bot that asks: it reads how far one person is, and sends nothing"),
            ("bridge", "For the bridge: it moves opportunities with it"),
        ],
        required=True,
        default="webhook",
    )
    expiration_date = fields.Datetime("Expires On")
    tz = fields.Selection(
        _tz_get,
        "Time Zone",
        required=True,
        default="UTC",
        help="ManyChat writes dates in the time zone of its account, without naming it. Choose that zone here. Dates "
        "that name their zone don't need it.",
    )
    builder_ids = fields.Many2many(
        "res.users",
        string="Bot Builders",
        domain=[("share", "=", False)],
        help="Users with the role “ManyChat Bot Builder” whose bot this is: they see what it sends.",
    )
    existing_key = fields.Char(
        compute="_compute_existing_key",
        inverse="_inverse_existing_key",
        help="The key that the bots send today, to another system. They go on sending it. Leave empty for a new key.",
    )
    existing_prefix = fields.Char(readonly=True)
    existing_digest = fields.Char(readonly=True, groups=fields.NO_ACCESS)
    key = fields.Char(readonly=True)

    @api.constrains("expiration_date")
    def _check_expiration_date(self):
        check_future(self.env, self.mapped("expiration_date"))

    def _compute_existing_key(self):
        self.existing_key = False

    def _inverse_existing_key(self):
        # The key itself is never stored: its digest is.
        for dialog in self.filtered("existing_key"):
            try:
                key = keys.existing_key(dialog.existing_key)
            except ValueError:
                raise UserError(
                    self.env._("This is not a key: enter at least %s ASCII characters without spaces.", keys.SHORTEST)
                ) from None
            dialog.sudo().write({"existing_prefix": keys.prefix(key), "existing_digest": keys.digest(key)})

    @access_required("create")
    def action_generate(self):
        """Generate the key and show it in this same dialog."""
        self.ensure_one()
        api_keys = self.env["manychat.api.key"]
        if self.purpose == "bridge":
            key = api_keys._generate_bridge_key(self.name, self.expiration_date)
        elif self.existing_prefix:
            return self._take_in()
        else:
            record, key = api_keys._generate_record(self.name, self.expiration_date, **self._values())
            record.builder_ids = self.builder_ids
        return self._show(key, self.purpose)

    def _values(self):
        return {"tz": self.tz, "scope": self.purpose}

    def _show(self, key, purpose):
        """Show ``key``, once. The context carries it: it is never stored, not even in a transient record."""
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Key Ready"),
            "res_model": self._name,
            "views": [(self.env.ref("miasalud_crm.manychat_api_key_create_view_form_show").id, "form")],
            "target": "new",
            "context": {"default_key": key, "default_purpose": purpose},
        }

    def _take_in(self):
        """Store the existing key, and say so."""
        record = self.env["manychat.api.key"]._take_in(
            self.name, self.existing_prefix, self.sudo().existing_digest, self.expiration_date, **self._values()
        )
        record.builder_ids = self.builder_ids
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": self.env._("Bots can use the key %s… from now on.", self.existing_prefix),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }
