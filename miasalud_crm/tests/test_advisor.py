from freezegun import freeze_time

from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, at, opportunity


@tagged("post_install", "-at_install")
class TestAdvisor(ManychatCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman")
        cls.omar = new_test_user(cls.env, "omar", "sales_team.group_sale_salesman")
        cls.jefa = new_test_user(cls.env, "jefa", "sales_team.group_sale_manager")

    def advisor(self, number, role="commercial"):
        return self.env["manychat.advisor"].search([("external_id", "=", number), ("role", "=", role)]).ensure_one()

    def choose(self, lead, user, minutes):
        """A person makes ``user`` the salesperson, at that moment."""
        with freeze_time(at(minutes).replace(tzinfo=None)):
            lead.with_user(self.jefa).user_id = user
            self.env.flush_all()
            self.env.cr.precommit.run()
        # freeze_time does not reach PostgreSQL's clock, by which the history is dated
        history = lead.message_ids.sorted("id")[-1:]
        history.date = at(minutes).replace(tzinfo=None)

    # --- To be completed

    def test_an_unknown_adviser_appears_to_be_completed(self):
        self.env["manychat.advisor"].create({"external_id": 1, "name": "Ana", "user_id": self.vera.id})
        self.apply(opportunity(commercial_advisor_id=700, medical_advisor_id=101))
        commercial, medical = self.advisor(700), self.advisor(101, "medical")
        self.assertTrue(commercial.to_complete and medical.to_complete)
        self.assertEqual(self.env["manychat.advisor"].search([])[:2], commercial + medical)
        self.assertEqual(self.env["manychat.advisor"].action_open()["context"], {"search_default_to_complete": 1})
        commercial.user_id = self.vera
        medical.name = "Dra. Inventada"  # a doctor need not be a user of Odoo
        self.assertFalse(commercial.to_complete or medical.to_complete)
        self.assertEqual(self.env["manychat.advisor"].action_open()["context"], {})

    def test_a_commercial_adviser_with_a_name_but_no_user_is_still_to_be_completed(self):
        self.apply(opportunity(commercial_advisor_id=700))
        self.advisor(700).name = "Vera"
        self.assertTrue(self.advisor(700).to_complete)

    def test_an_adviser_counts_the_open_opportunities_that_name_them_and_opens_them(self):
        self.apply(*(opportunity(f"MC-{name}", commercial_advisor_id=700, medical_advisor_id=700) for name in "ABC"))
        self.apply(opportunity("MC-D", 26, commercial_advisor_id=700))
        self.lead("MC-C").action_set_lost()
        for role in ("commercial", "medical"):
            advisor = self.advisor(700, role)
            self.assertEqual(advisor.lead_count, 2)
            leads = self.env["crm.lead"].search(advisor.action_view_leads()["domain"])
            self.assertEqual(set(leads.mapped("x_manychat_id")), {"MC-A", "MC-B"})

    def test_the_screen_opens(self):
        self.apply(opportunity(commercial_advisor_id=700))
        with Form(self.advisor(700).with_user(self.jefa)) as form:
            form.user_id = self.vera
        self.assertEqual(self.lead().user_id, self.vera)

    # --- Their opportunities get the salesperson

    def test_the_adviser_getting_a_user_gives_their_opportunities_the_salesperson(self):
        self.apply(*(opportunity(f"MC-{name}", commercial_advisor_id=700) for name in "ABC"))
        self.apply(opportunity("MC-OTHER", commercial_advisor_id=701), opportunity("MC-NONE"))
        self.advisor(700).with_user(self.jefa).user_id = self.vera
        for name in "ABC":
            self.assertEqual(self.lead(f"MC-{name}").user_id, self.vera)
        self.assertFalse(self.lead("MC-OTHER").user_id | self.lead("MC-NONE").user_id)
        self.env.cr.precommit.run()
        sent = self.env["bus.bus"].search([("message", "like", "simple_notification")], order="id")
        self.assertIn("now have a salesperson: 3.", sent[-1:].message)

    def test_the_assignment_is_recorded_and_announced_as_by_odoo(self):
        self.apply(opportunity(commercial_advisor_id=700))
        self.advisor(700).with_user(self.jefa).user_id = self.vera
        self.env.flush_all()
        self.env.cr.precommit.run()
        lead = self.lead()
        values = lead.message_ids.sudo().tracking_value_ids.filtered(lambda value: value.field_id.name == "user_id")
        self.assertEqual(values.new_value_char, self.vera.name)
        self.assertIn(self.vera.partner_id, lead.message_partner_ids)
        messages = self.env["mail.message"].search(
            [("model", "=", "crm.lead"), ("res_id", "=", lead.id), ("message_type", "=", "user_notification")]
        )
        self.assertEqual(messages.notified_partner_ids, self.vera.partner_id)
        self.assertTrue(lead.date_open)

    def test_what_a_user_decided_stays(self):
        self.apply(
            *(opportunity(f"MC-{name}", commercial_advisor_id=700) for name in ("CHOSEN", "CLEARED", "WON", "LOST"))
        )
        self.choose(self.lead("MC-CHOSEN"), self.omar, 5)
        self.choose(self.lead("MC-CLEARED"), self.omar, 5)
        self.choose(self.lead("MC-CLEARED"), self.env["res.users"], 6)
        self.lead("MC-WON").stage_id = self.stages[26]
        self.lead("MC-LOST").action_set_lost()
        self.advisor(700).with_user(self.jefa).user_id = self.vera
        self.assertEqual(self.lead("MC-CHOSEN").user_id, self.omar)
        for name in ("CLEARED", "WON", "LOST"):
            self.assertFalse(self.lead(f"MC-{name}").user_id)

    def test_a_team_that_is_set_stays(self):
        hers, chosen = self.env["crm.team"].create([{"name": "Suyo", "member_ids": self.vera.ids}, {"name": "Elegido"}])
        self.apply(opportunity("MC-A", commercial_advisor_id=700), opportunity("MC-B", commercial_advisor_id=700))
        self.lead("MC-A").team_id = chosen
        self.lead("MC-B").team_id = False
        self.advisor(700).user_id = self.vera
        self.assertEqual((self.lead("MC-A").team_id, self.lead("MC-B").team_id), (chosen, hers))

    def test_a_user_without_access_to_the_company_is_not_assigned(self):
        self.apply(
            opportunity("MC-HERE", commercial_advisor_id=700), opportunity("MC-THERE", commercial_advisor_id=700)
        )
        self.lead("MC-THERE").company_id = self.env["res.company"].create({"name": "Otra Empresa"})
        self.advisor(700).user_id = self.vera
        self.assertEqual(self.lead("MC-HERE").user_id, self.vera)
        self.assertFalse(self.lead("MC-THERE").user_id)

    def test_a_medical_adviser_becomes_no_salesperson(self):
        self.apply(opportunity(medical_advisor_id=101))
        self.advisor(101, "medical").user_id = self.vera
        self.apply(opportunity(minutes=1, medical_advisor_id=101))
        self.assertFalse(self.lead().user_id)
        self.assertEqual(self.lead().manychat_medical_advisor_id, self.advisor(101, "medical"))

    def test_what_the_adviser_gave_the_chat_may_change_again(self):
        self.env["manychat.advisor"].create({"external_id": 701, "user_id": self.omar.id})
        self.apply(opportunity(commercial_advisor_id=700))
        self.advisor(700).user_id = self.vera
        self.apply(opportunity(minutes=1, commercial_advisor_id=701))
        self.assertEqual(self.lead().user_id, self.omar)

    # --- Events and people

    def with_users(self):
        for number, user in ((700, self.vera), (701, self.omar)):
            self.env["manychat.advisor"].create({"external_id": number, "user_id": user.id})

    def test_a_salesperson_chosen_after_the_event_happened_stays(self):
        self.with_users()
        self.apply(opportunity(commercial_advisor_id=700))
        self.choose(self.lead(), self.jefa, 10)
        self.apply(opportunity(stage=18, minutes=5, commercial_advisor_id=701))
        self.assertEqual(self.lead().user_id, self.jefa)

    def test_another_adviser_named_after_the_choice_becomes_the_salesperson(self):
        self.with_users()
        self.apply(opportunity(commercial_advisor_id=700))
        self.choose(self.lead(), self.jefa, 10)
        self.apply(opportunity(stage=18, minutes=15, commercial_advisor_id=701))
        self.assertEqual(self.lead().user_id, self.omar)

    def test_an_event_that_repeats_the_adviser_does_not_undo_the_choice(self):
        self.with_users()
        self.apply(opportunity(commercial_advisor_id=700))
        self.choose(self.lead(), self.jefa, 10)
        self.apply(opportunity(stage=18, minutes=15, commercial_advisor_id=700))
        self.assertEqual(self.lead().user_id, self.jefa)
        self.apply(opportunity(stage=19, minutes=20))
        self.assertEqual(self.lead().user_id, self.jefa)

    def test_a_salesperson_chosen_before_the_chat_named_an_adviser_gives_way_to_the_adviser(self):
        self.with_users()
        self.apply(opportunity())
        self.choose(self.lead(), self.jefa, 10)
        self.apply(opportunity(stage=18, minutes=5, commercial_advisor_id=700))
        self.assertEqual(self.lead().user_id, self.jefa)
        self.apply(opportunity(stage=19, minutes=15, commercial_advisor_id=701))
        self.assertEqual(self.lead().user_id, self.omar)

    def test_a_medical_adviser_that_a_user_chose_stays(self):
        doctors = self.env["manychat.advisor"].create(
            [{"external_id": number, "role": "medical", "name": f"Dra. {number}"} for number in (101, 102, 103)]
        )
        self.apply(opportunity(medical_advisor_id=101))
        self.apply(opportunity(minutes=1, medical_advisor_id=102))
        self.assertEqual(self.lead().manychat_medical_advisor_id, doctors[1])
        self.lead().manychat_medical_advisor_id = doctors[2]
        self.apply(opportunity(stage=18, minutes=2, medical_advisor_id=101))
        self.assertEqual(self.lead().manychat_medical_advisor_id, doctors[2])
        self.assertFalse(self.lead().user_id)

    def test_choosing_the_user_does_not_wait_for_the_mail_server(self):
        self.apply(opportunity(commercial_advisor_id=700))
        self.vera.notification_type = "email"
        self.advisor(700).user_id = self.vera
        mail = self.env["mail.mail"].sudo().search([("model", "=", "crm.lead"), ("res_id", "=", self.lead().id)])
        self.assertEqual(mail.mapped("state"), ["outgoing"])
        self.assertEqual(mail[:1].recipient_ids or mail.notified_partner_ids, self.vera.partner_id)
