from odoo import api, models

from .manychat_event_builder import SALES


class ManychatRequest(models.AbstractModel):
    _inherit = "manychat.request"  # pylint: disable=consider-merging-classes-inherited

    # ------------------------------------------------------------
    # RPC
    # ------------------------------------------------------------

    @api.model
    def requests(self, channel=""):
        """The same, without the stages of companies that the user does not belong to: bot builders may read no row."""
        answer = super().requests(channel)
        # As the record rule of the Stage Map has it.
        is_here = ["|", ("team_id", "=", False), ("team_id.company_id", "in", [False, *self.env.companies.ids])]
        rows = self.env["manychat.stage.map"].sudo().search(is_here)
        for webhook in answer["webhooks"]:
            webhook["bodies"] = [body for body in webhook["bodies"] if not body["id"] or body["id"] in rows.ids]
        return answer

    @api.model
    def try_request(self, webhook_name, body):
        """The same, without the name of the pipeline's stage for a bot builder outside sales."""
        result = super().try_request(webhook_name, body)
        answer = result["answer"]
        if answer.get("stage") and not self.env.user.has_group(SALES):
            answer["stage"] = None
            answer["message"] = self.env._("This ManyChat stage is mapped: the opportunity would enter its stage.")
        return result
