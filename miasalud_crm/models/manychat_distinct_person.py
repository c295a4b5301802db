from odoo import api, fields, models


class ManychatDistinctPerson(models.Model):
    """Two opportunities with one phone that a user has said to be of two people: family members share a phone."""

    _name = "manychat.distinct.person"
    _description = "Not the Same Person"
    _order = "id desc"

    # The one with the lower id comes first.
    lead_id = fields.Many2one("crm.lead", "Opportunity", required=True, readonly=True, ondelete="cascade", index=True)
    other_id = fields.Many2one(
        "crm.lead", "Other Opportunity", required=True, readonly=True, ondelete="cascade", index=True
    )
    phone = fields.Char(related="lead_id.phone")
    create_uid = fields.Many2one("res.users", "Said By", readonly=True)
    create_date = fields.Datetime("Said On", readonly=True)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            "CREATE UNIQUE INDEX IF NOT EXISTS manychat_distinct_person_unique "
            "ON manychat_distinct_person (lead_id, other_id)"
        )
        return super().init()

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    @api.model
    def _remember(self, pairs):
        """Record that the two opportunities of each pair are of two people."""
        wanted = {tuple(sorted((one.id, other.id))) for one, other in pairs if one != other}
        ids = [lead_id for pair in wanted for lead_id in pair]
        known = {(pair.lead_id.id, pair.other_id.id) for pair in self.search([("lead_id", "in", ids)])}
        self.create([{"lead_id": one, "other_id": other} for one, other in sorted(wanted - known)])

    @api.model
    def _distinct_from(self, lead):
        """The opportunities that are of other people than ``lead``."""
        pairs = self.search(["|", ("lead_id", "=", lead.id), ("other_id", "=", lead.id)])
        return (pairs.lead_id | pairs.other_id) - lead

    @api.model
    def _follow(self, survivor, merged):
        """What was said of opportunities that are merged now holds for the one that survives."""
        pairs = self.search(["|", ("lead_id", "in", merged.ids), ("other_id", "in", merged.ids)])
        others = (pairs.lead_id | pairs.other_id) - merged - survivor
        self._remember([(survivor, other) for other in others])
