from odoo import api, fields, models


class ManychatEvent(models.Model):
    """What the customer said in an event. The salesperson of the opportunity may read it, and not the whole payload."""

    _inherit = "manychat.event"  # pylint: disable=consider-merging-classes-inherited

    # Not stored: the payload has it, and erasing the payload erases it.
    words = fields.Text("What the Customer Said", compute="_compute_words", groups="sales_team.group_sale_salesman")

    @api.depends("payload")
    def _compute_words(self):
        for event in self:
            state = (event.sudo().payload or {}).get("state")
            event.words = isinstance(state, dict) and state.get("summary")
