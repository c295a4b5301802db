from odoo import api, fields, models
from odoo.tools import SQL
from odoo.tools.sql import column_exists, create_column

from ..apply.phone_key import phone_key
from ..rights import access_required

COLUMN = "manychat_phone_key"
#: Opportunities that take their key in one statement on upgrade.
PAGE = 10_000
#: Most opportunities that Odoo merges at once.
MOST_MERGED = 5


class CrmLead(models.Model):
    """The same person twice: open opportunities whose phone numbers mean one line. They are suggested, never merged."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    manychat_phone_key = fields.Char(
        "Phone for Comparing",
        compute="_compute_manychat_phone_key",
        store=True,
        copy=False,
        index="btree_not_null",
        compute_sudo=True,
        help="The phone number in the one form in which two are compared.",
    )
    manychat_same_person_ids = fields.Many2many(
        "crm.lead", string="Same Person", compute="_compute_manychat_same_person_ids"
    )
    manychat_same_person_places = fields.Text("Where They Are", compute="_compute_manychat_same_person_ids")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends(lambda self: [name for name in ("phone", "mobile", "country_id") if name in self._fields])
    def _compute_manychat_phone_key(self):
        for lead in self:
            number = lead.phone or (lead.mobile if "mobile" in lead._fields else False)
            country = number and (lead.country_id or lead.company_id.country_id or self.env.company.country_id)
            lead.manychat_phone_key = phone_key(number, country.phone_code) if number else False

    @api.depends("manychat_phone_key", "active", "stage_id", "x_manychat_id")
    def _compute_manychat_same_person_ids(self):
        for lead in self:
            # A form asks for this, of one opportunity. One without a conversation costs no query.
            lead.manychat_same_person_ids = lead.x_manychat_id and lead._origin._manychat_same_person()
            lead.manychat_same_person_places = lead.manychat_same_person_ids._manychat_places()

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def _auto_init(self):
        # Odoo would compute a new field of all opportunities one by one.
        is_new = not column_exists(self.env.cr, self._table, COLUMN)
        if is_new:
            create_column(self.env.cr, self._table, COLUMN, "varchar")
        result = super()._auto_init()
        if is_new:
            self._manychat_fill_phone_keys()
        return result

    def _merge_dependences(self, opportunities):
        result = super()._merge_dependences(opportunities)
        self.env["manychat.distinct.person"].sudo()._follow(self, opportunities)
        return result

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("write")
    def action_manychat_merge(self):
        """Open Odoo's own *Merge* with the opportunities of the same person."""
        self.ensure_one()
        return (self | self._manychat_same_person())._manychat_merge_action()

    @access_required("write")
    def action_manychat_distinct(self):
        """Remember that this is not the person of the other opportunities: they share a phone."""
        self.ensure_one()
        others = self._manychat_same_person(limit=None)
        self.env["manychat.distinct.person"].sudo()._remember([(self, other) for other in others])
        self.invalidate_recordset(["manychat_same_person_ids"])
        return True

    @access_required("read")
    def action_manychat_same_person(self):
        """Open the opportunities of the same person, this one included."""
        self.ensure_one()
        leads = self | self._manychat_same_person(limit=None)
        domain = [("id", "in", leads.ids)]  # a name: Odoo 19 takes a parenthesis after a text for another text
        return self._manychat_list_action(self.env._("Same Person"), domain)

    # ------------------------------------------------------------
    # Business
    # ------------------------------------------------------------

    def _manychat_same_person(self, limit=MOST_MERGED):
        """Other open opportunities with the same phone that the user may read, of no other company; newest first."""
        self.ensure_one()
        if not self.manychat_phone_key or not self.active or self.stage_id.is_won:
            return self.browse()
        domain = [
            ("manychat_phone_key", "=", self.manychat_phone_key),
            ("id", "!=", self.id),
            ("active", "=", True),
            ("stage_id.is_won", "=", False),
        ]
        if self.company_id:
            domain.append(("company_id", "in", [False, self.company_id.id]))
        found = self.search(domain, limit=limit, order="id desc")
        return found and found - self.env["manychat.distinct.person"].sudo()._distinct_from(self)

    def _manychat_places(self):
        """A line for each: the opportunity, its stage and its salesperson."""
        parts = [(lead.name, lead.stage_id.name, lead.user_id.name) for lead in self]
        return "\n".join(" · ".join(filter(None, line)) for line in parts) or False

    def _manychat_merge_action(self):
        action = self.env["ir.actions.act_window"]._for_xml_id("crm.action_merge_opportunities")
        # The ones with a conversation first: Odoo merges a few at once.
        leads = self.sorted(lambda lead: (not lead.x_manychat_id, -lead.id))[:MOST_MERGED]
        return {**action, "context": {"active_model": "crm.lead", "active_ids": leads.ids, "active_id": leads[:1].id}}

    @api.model
    def _manychat_fill_phone_keys(self):
        """Give all opportunities their key, as :meth:`_compute_manychat_phone_key` does, some thousands a statement."""
        mobile = SQL("lead.mobile") if column_exists(self.env.cr, self._table, "mobile") else SQL("NULL")
        last = 0
        while rows := self._manychat_phones_after(last, mobile):
            keys = [(lead_id, phone_key(phone or other, code)) for lead_id, phone, other, code in rows]
            keys = [(lead_id, key) for lead_id, key in keys if key]
            self.env.cr.execute(
                "UPDATE crm_lead SET manychat_phone_key = found.key "
                "FROM unnest(%s::integer[], %s::varchar[]) AS found (id, key) WHERE crm_lead.id = found.id",
                [[lead_id for lead_id, _key in keys], [key for _lead_id, key in keys]],
            )
            last = rows[-1][0]

    def _manychat_phones_after(self, last, mobile):
        self.env.cr.execute(
            SQL(
                """
                SELECT lead.id, NULLIF(lead.phone, ''), %(mobile)s,
                       COALESCE(own.phone_code, of_company.phone_code, of_first.phone_code)
                  FROM crm_lead lead
                  LEFT JOIN res_country own ON own.id = lead.country_id
                  LEFT JOIN res_company company ON company.id = lead.company_id
                  LEFT JOIN res_partner address ON address.id = company.partner_id
                  LEFT JOIN res_country of_company ON of_company.id = address.country_id
                  LEFT JOIN (SELECT country.phone_code FROM res_company first
                               JOIN res_partner place ON place.id = first.partner_id
                               JOIN res_country country ON country.id = place.country_id
                              ORDER BY first.id LIMIT 1) AS of_first ON TRUE
                 WHERE lead.id > %(last)s AND COALESCE(lead.phone, %(mobile)s, '') <> ''
                 ORDER BY lead.id LIMIT %(size)s
                """,
                mobile=mobile,
                last=last,
                size=PAGE,
            )
        )
        return self.env.cr.fetchall()
