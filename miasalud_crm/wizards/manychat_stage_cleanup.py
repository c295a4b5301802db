from odoo import api, fields, models

from ..models.manychat_stage_decision import FOLD, KEEP
from ..rights import managers_only


class ManychatStageCleanup(models.TransientModel):
    """Unused stages of the pipeline: fold, archive or keep each one."""

    _name = "manychat.stage.cleanup"
    _description = "Unused Stages of the Pipeline"

    line_ids = fields.One2many("manychat.stage.cleanup.line", "cleanup_id", default=lambda self: self._default_lines())
    has_notes = fields.Boolean(compute="_compute_has_notes")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("line_ids.note")
    def _compute_has_notes(self):
        for cleanup in self:
            cleanup.has_notes = any(cleanup.line_ids.mapped("note"))

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def _default_lines(self):
        stages = self.env["crm.stage"]
        unused = stages._manychat_all_unused()
        entries = unused._manychat_entries()
        decided = {each.stage_id: each.choice for each in self.env["manychat.stage.decision"]._made()}
        return [
            fields.Command.create(
                {"stage_id": stage.id, "choice": decided.get(stage) or (KEEP if stage in entries else FOLD)}
            )
            for stage in unused
        ]

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @managers_only
    def action_apply(self):
        """Do with each stage what is chosen."""
        self.ensure_one()
        self.env["manychat.stage.decision"]._decide({line.stage_id: line.choice for line in self.line_ids})
        return {"type": "ir.actions.act_window_close"}

    @api.model
    @managers_only
    def action_fold_all(self):
        """Fold the unused stages that stand in front of the opportunities, put them at the end, and say which."""
        stages = self.env["crm.stage"]._manychat_in_the_way()
        self.env["manychat.stage.decision"]._decide(dict.fromkeys(stages, FOLD))
        names = ", ".join(stages.mapped("display_name"))
        message = (
            self.env._("Folded, at the end of the pipeline: %s.", names)
            if stages
            else self.env._("No unused stage is in the way.")
        )
        return self._notice(message)

    @api.model
    @managers_only
    def action_undo(self):
        """Take back what was decided about unused stages, and say which."""
        decisions = self.env["manychat.stage.decision"]._made()
        stages = decisions.stage_id.with_context(active_test=False)
        names = ", ".join(stages.mapped("display_name"))
        decisions._revert()
        return self._notice(self.env._("As before: %s.", names) if names else self.env._("There is nothing to undo."))

    def _notice(self, message):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": "success", "message": message},
        }


class ManychatStageCleanupLine(models.TransientModel):
    """An unused stage, and what to do with it."""

    _name = "manychat.stage.cleanup.line"
    _description = "Unused Stage"

    cleanup_id = fields.Many2one("manychat.stage.cleanup", required=True, ondelete="cascade")
    stage_id = fields.Many2one("crm.stage", required=True, ondelete="cascade")
    choice = fields.Selection("_choices", "What to Do", required=True)
    note = fields.Char(compute="_compute_note")

    @api.depends("stage_id")
    def _compute_note(self):
        entries = self.stage_id._manychat_entries()
        for line in self:
            teams = line.stage_id.sudo()._teams()
            if line.stage_id in entries:
                line.note = self.env._("New opportunities of your own begin here.")
            elif teams:
                line.note = self.env._("Only for the team %s.", ", ".join(teams.mapped("display_name")))
            else:
                line.note = False

    @api.model
    def _choices(self):
        return self.env["manychat.stage.decision"]._choices()
