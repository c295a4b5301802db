from markupsafe import Markup

from odoo import fields, models

from ..rights import access_required


class ManychatAlert(models.Model):
    """The alert that ManyChat does not get what users decide, until an administrator does something."""

    _inherit = "manychat.alert"  # pylint: disable=consider-merging-classes-inherited

    kind = fields.Selection(selection_add=[("write_back", "ManyChat Not Updated")], ondelete={"write_back": "cascade"})

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_events(self):
        if self.kind != "write_back":
            return super().action_view_events()
        return self.env["ir.actions.act_window"]._for_xml_id("miasalud_crm.manychat_write_back_action")

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _activity_values(self, count):
        if self.kind != "write_back":
            return super()._activity_values(count)
        lines = self.env["manychat.write.back"]._obstacles()
        note = Markup("<ul>%s</ul>") % Markup("").join(Markup("<li>%s</li>") % line for line in lines)
        return {"summary": self.env._("ManyChat does not get all that users decide"), "note": note}

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    def _find_write_back(self):
        count = len(self.env["manychat.write.back"]._obstacles())
        return bool(count), count
