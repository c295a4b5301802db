from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError

from ..manychat_account import FLOW


class ManychatStageMap(models.Model):
    """The flow that ManyChat starts when a person in Odoo moves an opportunity into a stage."""

    _inherit = "manychat.stage.map"  # pylint: disable=consider-merging-classes-inherited

    flow_id = fields.Many2one(
        "manychat.account.item",
        "Flow to Start",
        domain=[("kind", "=", FLOW)],
        ondelete="restrict",
        copy=False,
        groups="sales_team.group_sale_manager,base.group_system",
        help="ManyChat starts this flow when a user moves an opportunity into the stage: once for each move. A move by "
        "the chat itself starts nothing. Outside WhatsApp's 24 hours only flows that begin with a template go out.",
    )

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("flow_id")
    def _check_flow(self):
        if any(row.flow_id.kind not in (False, FLOW) for row in self):
            raise ValidationError(self.env._("Choose a flow here."))

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        if any(vals.get("flow_id") for vals in vals_list):
            self._check_may_choose_flows()
        return super().create(vals_list)

    def write(self, vals):
        if "flow_id" not in vals:
            return super().write(vals)
        self._check_may_choose_flows()
        before = {row: row.flow_id for row in self.sudo()}
        result = super().write(vals)
        for row, flow in before.items():
            if row.flow_id != flow:
                row._log_flow(flow)
        return result

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _log_flow(self, before):
        """Say in the chatter of *Tell ManyChat* who chose another flow: customers get it."""
        none = self.env._("none")
        body = self.env._(
            "Flow of the stage “%(stage)s”: %(before)s → %(after)s",
            stage=self.name,
            before=before.display_name or none,
            after=self.flow_id.display_name or none,
        )
        self.env["manychat.write.back"].search([], limit=1)._message_log(body=body)

    @api.model
    def _check_may_choose_flows(self):
        """:raises AccessError: what customers are sent is for administrators to decide"""
        if not (self.env.su or self.env.user.has_group("base.group_system")):
            raise AccessError(self.env._("Only administrators may choose the flow that a stage starts."))
