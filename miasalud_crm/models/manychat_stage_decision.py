from odoo import api, fields, models
from odoo.exceptions import UserError

FOLD, ARCHIVE, KEEP = "fold", "archive", "keep"


class ManychatStageDecision(models.Model):
    """What a sales manager has decided about a stage of the pipeline that is not used, for the undo."""

    _name = "manychat.stage.decision"
    _description = "Decision about an Unused Stage"
    _inherit = "manychat.unique"
    _rec_name = "stage_id"
    _unique = ((["stage_id"], None),)

    stage_id = fields.Many2one("crm.stage", required=True, ondelete="cascade")
    choice = fields.Selection("_choices", required=True)
    #: What the decision changed: field of the stage → values before and after.
    changes = fields.Json(readonly=True)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _choices(self):
        """What can be done with an unused stage. Odoo's stages cannot be archived, unless another app adds a field."""
        archive = [(ARCHIVE, self.env._("Archive"))] if self.env["crm.stage"]._active_name else []
        return [(FOLD, self.env._("Fold, at the End")), *archive, (KEEP, self.env._("Keep as It Is"))]

    @api.model
    def _made(self):
        """All decisions: there are few stages."""
        return self.search([])  # pylint: disable=no-search-all

    @api.model
    def _decide(self, choices):
        """Fold, archive or keep stages, with the user's own rights.

        :param dict choices: ``crm.stage`` → choice
        :raises UserError: a stage is in use by now, or no won stage would be left
        """
        stages = self.env["crm.stage"].union(*choices)
        if used := stages - stages._manychat_unused():
            raise UserError(
                self.env._(
                    "These stages are in use by now, so they stay as they are: %s. Open this window again.",
                    ", ".join(used.mapped("display_name")),
                )
            )
        self.search([("stage_id", "in", stages.ids)])._revert()
        pipeline = stages._manychat_pipeline()
        mapped = self.env["manychat.stage.map"]._mapped_stages()
        last = max((index for index, stage in enumerate(pipeline) if stage in mapped), default=-1)
        sequence = max(stages.with_context(active_test=False)._manychat_pipeline().mapped("sequence"), default=0)
        for stage in (pipeline & stages) | stages:
            values = {}
            if choices[stage] == ARCHIVE:
                values = {stage._active_name: False}
            elif choices[stage] == FOLD:
                values = {"fold": True}
                if stage in pipeline[: last + 1]:  # on a phone, a folded column is as wide as the others
                    sequence += 1
                    values["sequence"] = sequence
            changes = {name: [stage[name], value] for name, value in values.items() if stage[name] != value}
            stage.write({name: after for name, (_before, after) in changes.items()})
            self.create({"stage_id": stage.id, "choice": choices[stage], "changes": changes})
        if ARCHIVE in choices.values() and not stages.search_count([("is_won", "=", True)], limit=1):
            raise UserError(self.env._("The pipeline needs a won stage. Keep or fold one of the won stages."))

    def _revert(self):
        """Take decisions back: stages become what they were, unless a user has changed them since."""
        for decision in self:
            stage = decision.stage_id
            changes = decision.changes or {}
            stage.write({name: before for name, (before, after) in changes.items() if stage[name] == after})
        self.unlink()
