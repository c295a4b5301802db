from odoo import api, fields, models
from odoo.tools import SQL

from ..rights import access_required

#: People whom a list names.
SHOWN = 3


class ManychatStageAlias(models.Model):
    """Who waits for a user to say what a stage means: how many people, since when, and their opportunities."""

    _inherit = "manychat.stage.alias"  # pylint: disable=consider-merging-classes-inherited

    waiting_names = fields.Char("Who Waits", compute="_compute_waiting", groups="sales_team.group_sale_manager")
    waiting_people_count = fields.Integer(
        "People Waiting", compute="_compute_waiting", groups="sales_team.group_sale_manager"
    )
    waiting_lead_count = fields.Integer(
        "Their Opportunities", compute="_compute_waiting", groups="sales_team.group_sale_manager"
    )
    waiting_since = fields.Datetime(compute="_compute_waiting", groups="sales_team.group_sale_manager")

    # ------------------------------------------------------------
    # Computes
    # ------------------------------------------------------------

    @api.depends("map_id")
    def _compute_waiting(self):
        self.env["manychat.event"].flush_model()
        self.env["manychat.identity"].flush_model()
        # One statement for the whole page. The search applies the user's own rules.
        events = self.env["manychat.event"]._search([("alias_id", "in", self.ids), ("state", "=", "failed")])
        self.env.cr.execute(
            SQL(
                """
                WITH person AS (
                    SELECT alias_id, manychat_id, min(received_at) AS since,
                           max(concat_ws(' ', payload->>'first_name', payload->>'last_name')) AS name
                      FROM manychat_event
                     WHERE id IN %s
                     GROUP BY 1, 2)
                SELECT alias_id, count(DISTINCT person.manychat_id), count(DISTINCT identity.lead_id), min(since),
                       (array_agg(COALESCE(NULLIF(btrim(name), ''), person.manychat_id) ORDER BY since))[:%s]
                  FROM person LEFT JOIN manychat_identity identity ON identity.manychat_id = person.manychat_id
                 GROUP BY 1
                """,
                events.subselect(),
                SHOWN,
            )
        )
        found = {alias_id: values for alias_id, *values in self.env.cr.fetchall()}
        for alias in self:
            people, leads, since, names = found.get(alias.id, (0, 0, False, []))
            alias.waiting_people_count, alias.waiting_lead_count, alias.waiting_since = people, leads, since
            alias.waiting_names = ", ".join(name for name in names if name) or False
            if people > SHOWN:
                alias.waiting_names = self.env._(
                    "%(names)s and %(count)s more", names=alias.waiting_names, count=people - SHOWN
                )

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_view_waiting_leads(self):
        """Open the opportunities of the people who wait."""
        self.ensure_one()
        events = self.env["manychat.event"].search([("alias_id", "=", self.id), ("state", "=", "failed")])
        domain = [("manychat_identity_ids.manychat_id", "in", list(set(events.mapped("manychat_id"))))]
        return self.env["crm.lead"]._manychat_list_action(self.display_name, domain)
