from odoo import api, fields, models
from odoo.tools import SQL

from ..rights import access_required


class ManychatSamePerson(models.Model):
    """Open opportunities with one phone number, as the user may read them; its id is that of the oldest of them.

    Each query reads the opportunities through Odoo's own record rules: a row counts none that the user may not see.
    """

    _name = "manychat.same.person"
    _description = "Same Person"
    _auto = False
    _order = "last_event_date desc, id desc"
    _depends = {
        "crm.lead": [
            *("active", "company_id", "contact_name", "manychat_last_event_date", "manychat_phone_key", "name"),
            *("phone", "stage_id", "type", "user_id", "x_manychat_id"),
        ],
        "crm.stage": ["is_won"],
        "manychat.distinct.person": ["lead_id", "other_id"],
    }

    name = fields.Char("Person", readonly=True)
    phone = fields.Char(readonly=True)
    phone_key = fields.Char(readonly=True)
    lead_count = fields.Integer("Opportunities", readonly=True, aggregator=None)
    last_event_date = fields.Datetime("Last Chat Event", readonly=True)
    lead_ids = fields.Many2many("crm.lead", string="Their Opportunities", compute="_compute_lead_ids")
    places = fields.Text("Where They Are", compute="_compute_lead_ids")

    @property
    def _table_query(self):
        leads = self.env["crm.lead"]._search(
            [("active", "=", True), ("manychat_phone_key", "!=", False), ("stage_id.is_won", "=", False)]
        )
        return SQL(
            """
            WITH open_lead AS (
                SELECT lead.id, lead.manychat_phone_key AS phone_key, lead.phone, lead.x_manychat_id,
                       COALESCE(NULLIF(lead.contact_name, ''), lead.name) AS name, lead.manychat_last_event_date,
                       -- Without a company, it is of the others' one; of several, of the first one.
                       COALESCE(lead.company_id,
                                min(lead.company_id) OVER (PARTITION BY lead.manychat_phone_key), 0) AS company_id
                  FROM crm_lead lead
                 WHERE lead.manychat_phone_key IN (
                       SELECT manychat_phone_key FROM crm_lead WHERE manychat_phone_key IS NOT NULL
                        GROUP BY 1 HAVING count(*) > 1)
                   AND lead.id IN %(leads)s
            ), candidate AS (
                SELECT open_lead.*, count(*) OVER (PARTITION BY phone_key, company_id) AS size FROM open_lead
            ), said AS (
                SELECT one.id AS one_id, other.id AS other_id
                  FROM manychat_distinct_person pair
                  JOIN candidate one ON one.id = pair.lead_id
                  JOIN candidate other ON other.id = pair.other_id
                       AND other.phone_key = one.phone_key AND other.company_id = one.company_id
            ), distinct_from AS (
                SELECT lead_id, count(*) AS others
                  FROM (SELECT one_id AS lead_id FROM said UNION ALL SELECT other_id FROM said) AS ids GROUP BY 1
            )
            SELECT min(candidate.id) AS id, string_agg(DISTINCT candidate.name, ' · ') AS name,
                   max(candidate.phone) AS phone, candidate.phone_key, count(*)::integer AS lead_count,
                   max(candidate.manychat_last_event_date) AS last_event_date
              FROM candidate LEFT JOIN distinct_from ON distinct_from.lead_id = candidate.id
             WHERE candidate.size - 1 > COALESCE(distinct_from.others, 0)
             GROUP BY candidate.phone_key, candidate.company_id
            HAVING count(*) > 1 AND count(candidate.x_manychat_id) > 0
            """,
            leads=leads.subselect(),
        )

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("phone_key")
    def _compute_lead_ids(self):
        domain = [("manychat_phone_key", "in", self.mapped("phone_key")), ("active", "=", True)]
        leads = self.env["crm.lead"].search([*domain, ("stage_id.is_won", "=", False)], order="id desc")
        by_key = leads.grouped("manychat_phone_key")
        for row in self:
            found = by_key.get(row.phone_key, leads.browse())
            oldest = found.filtered(lambda lead, row=row: lead.id == row.id)
            companies = (False, oldest.company_id.id) if oldest.company_id else (*found.company_id.ids[:1], False)
            row.lead_ids = found.filtered(lambda lead, ids=companies: lead.company_id.id in ids)
            row.places = row.lead_ids._manychat_places()

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_merge(self):
        """Open Odoo's own *Merge* with these opportunities."""
        self.ensure_one()
        self.lead_ids.check_access("write")
        return self.lead_ids._manychat_merge_action()

    @access_required("read")
    def action_distinct(self):
        """Remember that these opportunities are of different people: they are not suggested any more."""
        for row in self:
            leads = row.lead_ids
            leads.check_access("write")
            pairs = [(one, other) for index, one in enumerate(leads) for other in leads[index + 1 :]]
            self.env["manychat.distinct.person"].sudo()._remember(pairs)
        self.invalidate_model()

    @access_required("read")
    def action_view_leads(self):
        """Open these opportunities."""
        self.ensure_one()
        return self.env["crm.lead"]._manychat_list_action(self.name, [("id", "in", self.lead_ids.ids)])
