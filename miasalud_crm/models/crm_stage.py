from odoo import api, models
from odoo.exceptions import UserError

from ..sentences import menu_path


class CrmStage(models.Model):
    _inherit = "crm.stage"

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
