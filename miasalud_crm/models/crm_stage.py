from odoo import api, models
from odoo.exceptions import UserError

from ..decisions import changing
from ..sentences import menu_path

#: In the context where the stage map creates a stage: it comes last. Odoo's default puts it among the first.
AT_THE_END = "manychat_stage_at_the_end"


class CrmStage(models.Model):
    _inherit = "crm.stage"

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.onchange("is_won", "fold")
    def _onchange_mapped(self):
        """Say what the change of a mapped stage means for the chat, before it is saved."""
        before = self._origin
        row = before and self.env["manychat.stage.map"].sudo().search([("stage_id", "=", before.id)], limit=1)
        if not row:
            return None
        if self.is_won and not before.is_won:
            message = self.env._(
                "The ManyChat stage “%s” leads here. Each of its events will mark its opportunity as won.", row.name
            )
        elif before.is_won and not self.is_won:
            message = self.env._(
                "The ManyChat stage “%s” leads here. Its events will no longer mark opportunities as won.", row.name
            )
        elif self.fold and not before.fold:
            message = self.env._(
                "The ManyChat stage “%s” leads here. Its opportunities go on to arrive, in a column that is folded.",
                row.name,
            )
        else:
            return None
        return {"warning": {"title": self.env._("This stage belongs to the chat"), "message": message}}

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def default_get(self, fields_list):
        defaults = super().default_get(fields_list)
        if self.env.context.get(AT_THE_END) and "sequence" in fields_list:
            last = self.with_context(active_test=False).search([], order="sequence desc", limit=1)
            defaults["sequence"] = last.sequence + 1
        return defaults

    def write(self, vals):
        if "is_won" not in vals:
            return super().write(vals)
        # It wins their opportunities, or opens them again.
        others = self.filtered(lambda stage: stage.is_won != bool(vals["is_won"]))
        with changing(self.env, "stage_id", others.ids):
            return super().write(vals)

    @api.ondelete(at_uninstall=False)
    def _unlink_except_mapped(self):
        """Refuse with advice: the database's own error advises to archive, and a stage has no archive."""
        rows = (
            self.env["manychat.stage.map"].sudo().with_context(active_test=False).search([("stage_id", "in", self.ids)])
        )
        if rows:
            menu = menu_path(self.env, "miasalud_crm.manychat_stage_map_menu")
            raise UserError(
                "\n".join(
                    self.env._(
                        "The stage “%(stage)s” stands for the ManyChat stage “%(row)s”, whose opportunities arrive "
                        "there. First choose another pipeline stage for it, or delete that row, under %(menu)s.",
                        stage=row.stage_id.display_name,
                        row=row.name,
                        menu=menu,
                    )
                    if row.active
                    else self.env._(
                        "The stage “%(stage)s” is still named by the archived ManyChat stage “%(row)s”. Delete that "
                        "row first, under %(menu)s, filter “Archived”.",
                        stage=row.stage_id.display_name,
                        row=row.name,
                        menu=menu,
                    )
                    for row in rows
                )
            )

    def _teams(self):
        """The only teams that see this stage; none if all teams do. One at most in Odoo 18, several from 19 on."""
        stages = self.with_context(active_test=False)  # an archived team keeps its stages from others
        return stages.team_ids if "team_ids" in self._fields else stages.team_id
