from odoo import fields, models
from odoo.addons.base.models.res_partner import _tz_get

from ..rights import access_required


class ManychatApiKeyCreate(models.TransientModel):
    """Creates a key and shows it once."""

    _name = "manychat.api.key.create"
    _description = "New ManyChat Key"

    name = fields.Char("Description", help="Which bot, environment or bridge will use it.")
    purpose = fields.Selection(
        [
            ("webhook", "For a bot: ManyChat sends events with it"),
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
    key = fields.Char(readonly=True)

    @access_required("create")
    def action_generate(self):
        """Generate the key and show it in this same dialog."""
        self.ensure_one()
        keys = self.env["manychat.api.key"]
        if self.purpose == "bridge":
            key = keys._generate_bridge_key(self.name, self.expiration_date)
        else:
            key = keys._generate(self.name, self.expiration_date, tz=self.tz)
        # The context carries the key: it is never stored, not even in this transient record.
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Key Ready"),
            "res_model": self._name,
            "views": [(self.env.ref("miasalud_crm.manychat_api_key_create_view_form_show").id, "form")],
            "target": "new",
            "context": {"default_key": key, "default_purpose": self.purpose},
        }
