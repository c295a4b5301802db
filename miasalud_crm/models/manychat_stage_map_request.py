from odoo import models

from ..rights import access_required


class ManychatStageMap(models.Model):
    _inherit = "manychat.stage.map"  # pylint: disable=consider-merging-classes-inherited

    @access_required("read")
    def action_open_request(self):
        """Open the request that a bot sends when a conversation enters this stage."""
        self.ensure_one()
        action = self.env["ir.actions.actions"]._for_xml_id("miasalud_crm.manychat_request_action")
        return {**action, "context": {"manychat_stage_map_id": self.id}}
