from datetime import timedelta

from odoo import fields
from odoo.tests import tagged

from ..demo import conversations
from .common import ManychatCase


@tagged("post_install", "-at_install")
class TestDemo(ManychatCase):
    """Demo data fills the dashboard, and its times do not contradict each other."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.env["manychat.identity"].search([("manychat_id", "=", "DEMO-001")]):
            conversations.load(cls.env)
        identities = cls.env["manychat.identity"].search([("manychat_id", "=like", "DEMO-%")])
        cls.leads = identities.lead_id
        cls.periods = cls.env["manychat.stage.history"].search([("lead_id", "in", cls.leads.ids)])

    def test_every_stage_is_entered_and_an_opportunity_is_in_it(self):
        stages = self.env["manychat.stage.map"].search([]).stage_id
        self.assertEqual(self.periods.filtered(lambda period: not period.left_at).stage_id, stages)

    def test_people_and_the_chat_move_win_and_lose(self):
        self.assertEqual(set(self.periods.mapped("moved_by")), {"chat", "person"})
        self.assertIn(False, self.leads.mapped("active"))
        self.assertIn(True, self.leads.stage_id.mapped("is_won"))
        self.assertGreaterEqual(len(set(self.leads.mapped("manychat_channel"))), 2)
        self.assertTrue(self.leads.manychat_commercial_advisor_id and self.leads.manychat_medical_advisor_id)

    def test_times_agree(self):
        now = fields.Datetime.now()
        for lead in self.leads:
            periods = self.periods.filtered(lambda period, lead=lead: period.lead_id == lead).sorted("id")
            self.assertEqual(lead.create_date, periods[0].entered_at)
            self.assertEqual(lead.date_last_stage_update, periods[-1].entered_at)
            self.assertEqual(bool(lead.date_closed), not lead.active or lead.stage_id.is_won)
            self.assertTrue(all(period.entered_at <= (period.left_at or now) for period in periods))
            self.assertTrue(now - timedelta(days=91) < lead.create_date < now)
