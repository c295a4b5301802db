from odoo import api, fields, models
from odoo.exceptions import UserError

from ..rights import access_required


class ManychatIdChange(models.TransientModel):
    """Asks before an opportunity follows another conversation, or none: what follows cannot be seen on the form."""

    _name = "manychat.id.change"
    _description = "Change of a ManyChat ID"

    lead_id = fields.Many2one("crm.lead", "Opportunity", required=True, readonly=True, ondelete="cascade")
    identity_id = fields.Many2one(
        "manychat.identity",
        "Present ID",
        domain="[('lead_id', '=', lead_id)]",
        compute="_compute_identity_id",
        store=True,
        readonly=False,
        ondelete="cascade",
    )
    id_count = fields.Integer(compute="_compute_id_count")
    manychat_id = fields.Char("New ID", help="The ID of another conversation in ManyChat. Empty: none.")
    effect = fields.Text("What Happens", compute="_compute_effect")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("lead_id")
    def _compute_identity_id(self):
        for change in self:
            change.identity_id = change.lead_id.sudo().manychat_identity_ids[:1].sudo(False)

    @api.depends("lead_id")
    def _compute_id_count(self):
        for change in self:
            change.id_count = len(change.lead_id.sudo().manychat_identity_ids)

    @api.depends("identity_id", "manychat_id")
    def _compute_effect(self):
        for change in self:
            old, new = change.identity_id.manychat_id, (change.manychat_id or "").strip()
            lines = []
            if new and new != old:
                lines.append(self.env._("The conversation %s moves this opportunity from now on.", new))
            if old and new != old:
                lines += [
                    self.env._("The conversation %s no longer moves this opportunity.", old),
                    self.env._("Its next event makes a new opportunity, unless another one has the ID by then."),
                    self.env._("The stages and the chatter of this opportunity stay. The chatter records the change."),
                ]
            change.effect = "\n".join(lines)

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_change(self):
        """Follow the conversation with the new ID instead."""
        if not (self.manychat_id or "").strip():
            raise UserError(self.env._("Enter the new ID, or press Remove to follow no conversation."))
        return self._change(self.manychat_id.strip())

    @access_required("write")
    def action_remove(self):
        """No longer follow the conversation."""
        return self._change(False)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _change(self, manychat_id):
        self.ensure_one()
        self.lead_id.check_access("write")
        # As superuser: a user who may write the opportunity may choose the conversation that it follows.
        identity = self.identity_id.sudo()
        if identity.lead_id != self.lead_id.sudo():
            raise UserError(self.env._("The ID has been changed meanwhile. Close this window and look again."))
        if manychat_id:
            identity.manychat_id = manychat_id
        else:
            identity.unlink()
        return {"type": "ir.actions.act_window_close"}
