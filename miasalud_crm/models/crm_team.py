from odoo import fields, models

from bridge.contract.opportunity_state import Actor

from ..actor import acting
from ..decisions import changing


class CrmTeam(models.Model):
    """The working hours by which the time limits of the stage map run."""

    _inherit = "crm.team"

    manychat_calendar_id = fields.Many2one(
        "resource.calendar",
        "Working Hours",
        ondelete="set null",
        help="Customers who write in a ManyChat conversation get an answer within working hours: these, in their own "
        "time zone and without their public holidays. Empty: the working hours of the company.",
    )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def write(self, vals):
        if "company_id" not in vals:
            return super().write(vals)
        # An opportunity without a company of its own has the currency of its team's company.
        others = self.filtered(lambda team: team.company_id.id != vals["company_id"])
        with changing(self.env, "team_id", others.ids):
            return super().write(vals)

    def unlink(self):
        with changing(self.env, "team_id", self.ids):
            return super().unlink()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _action_assign_leads(self, *args, **kwargs):
        with acting(Actor.ASSIGNMENT):
            return super()._action_assign_leads(*args, **kwargs)
