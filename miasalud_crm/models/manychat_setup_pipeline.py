from odoo import models

from .manychat_setup import _step
from .manychat_stage_decision import KEEP


class ManychatSetup(models.AbstractModel):
    """The step after which a salesperson who opens the pipeline sees opportunities, not unused stages."""

    _inherit = "manychat.setup"

    # ------------------------------------------------------------
    # Business: the steps
    # ------------------------------------------------------------

    def _pipeline_step(self):
        choose = (self.env._("Choose for Each"), "miasalud_crm.manychat_stage_cleanup_action")
        decisions = self.env["manychat.stage.decision"]._made()
        undo = [(self.env._("Undo"), "miasalud_crm.manychat_stage_undo_action")] if decisions else []
        if unused := self.env["crm.stage"]._manychat_in_the_way():
            state = "todo"
            text = self.env._(
                "Unused stages stand in front of your customers' opportunities: %s. Folded and put at the end, they "
                "leave the pipeline's beginning to what your salespeople work on. Stages in use stay as they are.",
                self._stage_names(unused),
            )
            actions = [(self.env._("Fold All Unused"), "miasalud_crm.manychat_stage_fold_action"), choose, *undo]
        else:
            state, actions = "done", [choose, *undo] if undo else []
            text = self.env._("No unused stage stands in front of your customers' opportunities.")
            if kept := decisions.filtered(lambda decision: decision.choice == KEEP).stage_id:
                text = f"{text} {self.env._('Kept as they are: %s.', self._stage_names(kept))}"
        return _step("pipeline", state, self.env._("The pipeline"), text, actions)

    def _stage_names(self, stages):
        return ", ".join(f"“{name}”" for name in stages.mapped("name"))
