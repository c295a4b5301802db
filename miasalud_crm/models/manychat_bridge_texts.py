from odoo import api, models


class ManychatBridge(models.Model):
    """What the bridge's API needs to answer bots that ask about a person while Odoo is away."""

    _inherit = "manychat.bridge"  # pylint: disable=consider-merging-classes-inherited

    @api.model
    def _settings(self):
        return super()._settings() | {
            "stage_texts": self.env["manychat.stage.map"]._texts_for_bots(),
            "medical_advisors": self.env["manychat.advisor"]._names_for_bots(),
        }
