from odoo import api, fields, models

from ..rights import access_required

#: Fields that serve the addon only. A filter or a group of them says nothing to people, and neither does their export.
INTERNAL = (
    "manychat_identity_ids",
    "manychat_is_following",
    "manychat_last_date",
    "manychat_order",
    "manychat_values",
    "manychat_versions",
)
#: What Odoo's custom filters, groups, sorting and exports ask of a field.
OFFERED_FOR = ("searchable", "sortable", "groupable", "exportable")


class CrmLead(models.Model):
    """What of an opportunity's ManyChat fields people are offered, and what the chatter says of a changed ID."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_is_following = fields.Boolean("Follows a Conversation", compute="_compute_manychat_is_following")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("x_manychat_id")
    def _compute_manychat_is_following(self):
        for lead in self:  # as saved: what a user types into an empty field can still be corrected
            lead.manychat_is_following = bool(lead._origin.x_manychat_id)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def fields_get(self, allfields=None, attributes=None):
        descriptions = super().fields_get(allfields, attributes)
        for name in descriptions.keys() & {*INTERNAL}:
            descriptions[name] |= {each: False for each in OFFERED_FOR if each in descriptions[name]}
        return descriptions

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_manychat_change_id(self):
        """Ask before the opportunity follows another conversation, or none."""
        self.ensure_one()
        change = self.env["manychat.id.change"].create({"lead_id": self.id})
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Change the ManyChat ID"),
            "res_model": change._name,
            "res_id": change.id,
            "views": [(False, "form")],
            "target": "new",
        }

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_log_id(self, old, new):
        """Write into the chatter that a user changed a ManyChat id, in the form of Odoo's own tracking.

        :param str old: the id before, or ``False``
        :param str new: the id now, or ``False``
        """
        about = self.fields_get(["x_manychat_id"])["x_manychat_id"]
        values = self.env["mail.tracking.value"]._create_tracking_values(old, new, "x_manychat_id", about, self)
        self._message_log(tracking_value_ids=[fields.Command.create(values)])
