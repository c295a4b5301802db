from odoo import api, models

from .manychat_event_builder import BUILDER


class ManychatRequest(models.AbstractModel):
    _inherit = "manychat.request"

    @api.model
    def requests(self):
        """Also for bot builders, who may not read the Stage Map: they get its ManyChat stages and nothing else."""
        if not self.env.user.has_group(BUILDER) or self.env.user.has_group("sales_team.group_sale_manager"):
            return super().requests()
        answer = super(ManychatRequest, self.sudo()).requests()
        # As the record rule of the Stage Map has it, which a superuser passes by.
        is_here = ["|", ("team_id", "=", False), ("team_id.company_id", "in", [False, *self.env.companies.ids])]
        rows = self.env["manychat.stage.map"].sudo().search(is_here)
        for webhook in answer["webhooks"]:
            webhook["bodies"] = [body for body in webhook["bodies"] if not body["id"] or body["id"] in rows.ids]
        return answer
