from odoo import api, fields, models, tools
from odoo.exceptions import ValidationError


class ManychatStageMap(models.Model):
    """Who hears that a customer wrote in a stage, and within how many working hours the customer gets an answer."""

    _inherit = "manychat.stage.map"  # pylint: disable=consider-merging-classes-inherited

    # On by default, for the rows of an earlier version too: a customer who writes must not wait unheard. It is one
    # activity per opportunity, no mail, and none for opportunities that have no salesperson yet.
    tells_salesperson = fields.Boolean(
        "Tell Salesperson",
        default=True,
        help="When a customer writes in this stage, the salesperson of the opportunity gets an activity: one per "
        "opportunity, however much the customer writes, and no mail. It goes when a user answers. Customers who come "
        "back after their opportunity was lost are always reported.",
    )
    tells_since = fields.Datetime(default=fields.Datetime.now, readonly=True, copy=False)
    answer_hours = fields.Float(
        "Answer Within (hours)",
        default=0.0,
        aggregator=None,
        help="Working hours within which the customer gets an answer, by the working hours of the sales team. When "
        "they are over, the salesperson gets an activity, and after as many hours again the team leader. 0: no limit.",
    )
    limited_since = fields.Datetime(default=fields.Datetime.now, readonly=True, copy=False)

    # ------------------------------------------------------------
    # Constraints
    # ------------------------------------------------------------

    @api.constrains("answer_hours")
    def _check_answer_hours(self):
        for row in self:
            if row.answer_hours < 0:
                raise ValidationError(
                    self.env._(
                        "The hours until the answer cannot be negative (stage “%s”). Enter 0 for no time limit.",
                        row.name,
                    )
                )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("answer_hours", "team_id.user_id.active")
    def _compute_warning(self):
        return super()._compute_warning()

    def _warnings(self, strangers):
        warnings = super()._warnings(strangers)
        team = self.team_id.sudo()
        if self.active and self.answer_hours and team and not team.user_id.active:
            warnings.append(
                self.env._(
                    "The sales team “%s” has no leader, so late answers of this stage reach its salespeople only. "
                    "Choose a leader in the sales team.",
                    team.display_name,
                )
            )
        return warnings

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        return super().create(vals_list)

    def write(self, vals):
        # Only what customers write from now on counts: switching it on must not report the words of a year.
        now = fields.Datetime.now()
        if vals.get("tells_salesperson"):
            self.filtered(lambda row: not row.tells_salesperson).tells_since = now
        if (vals.get("answer_hours") or 0) > 0:
            self.filtered(lambda row: not row.answer_hours).limited_since = now
        if {"answer_hours", "active", "stage_id"} & vals.keys():
            self.env.registry.clear_cache()
        return super().write(vals)

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    @tools.ormcache()
    def _limited_stage_ids(self):
        """Ids of the pipeline stages with a time limit."""
        return frozenset(self.sudo().search([("answer_hours", ">", 0)]).stage_id.ids)
