from odoo import fields
from odoo.tests import new_test_user, tagged

from .common import ManychatCase


@tagged("post_install", "-at_install")
class TestCompanyRules(ManychatCase):
    """Who works in one company sees nothing of an opportunity of another one: lost or not, archived company or not."""

    def setUp(self):
        super().setUp()
        self.home = self.env["res.company"].create({"name": "Propia"})
        self.other = self.env["res.company"].create({"name": "Ajena"})
        self.closed = self.env["res.company"].create({"name": "Cerrada"})
        self.user = new_test_user(
            self.env,
            "jefa",
            "base.group_user,sales_team.group_sale_manager",
            company_id=self.home.id,
            company_ids=[fields.Command.set((self.home | self.other).ids)],
        )
        for name, company, active in (
            ("home", self.home, True),
            ("home lost", self.home, False),
            ("none", None, True),
            ("other", self.other, True),
            ("other lost", self.other, False),
            ("closed", self.closed, True),
        ):
            self.make(name, company, active)
        self.env["manychat.event"].create({"event_id": "without", "manychat_id": "without", "type": "contact"})
        self.closed.active = False

    def make(self, name, company, active):
        values = {"name": name, "type": "opportunity", "company_id": company and company.id, "team_id": False}
        lead = self.env["crm.lead"].create({**values, "user_id": False})
        self.env["manychat.identity"].create({"manychat_id": name, "lead_id": lead.id})
        self.env["manychat.event"].create(
            {"event_id": name, "manychat_id": name, "type": "opportunity", "lead_id": lead.id}
        )
        self.assertEqual(lead.company_id, company or self.env["res.company"])
        lead.active = active

    def seen(self, model, field, companies):
        model = self.env[model].with_user(self.user).with_context(allowed_company_ids=companies.ids)
        return {record[field] for record in model.search([])} & self.names

    names = {"home", "home lost", "none", "other", "other lost", "closed", "without"}

    def test_of_the_chosen_companies_and_of_none(self):
        home = {"home", "home lost", "none"}
        self.assertEqual(self.seen("manychat.event", "manychat_id", self.home), home | {"without"})
        self.assertEqual(self.seen("manychat.identity", "manychat_id", self.home), home)
        both = home | {"other", "other lost"}
        self.assertEqual(self.seen("manychat.event", "manychat_id", self.home | self.other), both | {"without"})
        self.assertEqual(self.seen("manychat.identity", "manychat_id", self.home | self.other), both)

    def test_the_history_too(self):
        history = self.env["manychat.stage.history"].with_user(self.user).with_context(
            allowed_company_ids=self.home.ids
        )  # fmt: skip
        leads = history.search([]).sudo().lead_id.with_context(active_test=False)
        self.assertEqual(set(leads.mapped("name")) & self.names, {"home", "home lost", "none"})
