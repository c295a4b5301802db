from odoo import api, fields, models
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
    # ORM
    # ------------------------------------------------------------

    def write(self, vals):
        # Only what customers write from now on counts: switching it on must not report the words of a year.
        now = fields.Datetime.now()
        if vals.get("tells_salesperson"):
            self.filtered(lambda row: not row.tells_salesperson).tells_since = now
        if (vals.get("answer_hours") or 0) > 0:
            self.filtered(lambda row: not row.answer_hours).limited_since = now
        return super().write(vals)
