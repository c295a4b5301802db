from odoo import api, models

from ..rights import bridge_only


class ManychatEvent(models.Model):
    """Erasing a person also removes their words from activities, and ManyChat's about them."""

    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    @bridge_only
    def erase(self, manychat_id):
        identities = self.env["manychat.identity"].search([("manychat_id", "=", manychat_id)])
        identities._forget_unsent()
        leads = identities.lead_id
        waiting = self.env["manychat.waiting"].with_context(active_test=False)  # since Odoo 19, done ones are archived
        waiting._activities(leads).write({"summary": False, "note": False})
        return super().erase(manychat_id)
