from odoo import fields
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, at, opportunity


@tagged("post_install", "-at_install")
class TestTeamsAndCompanies(ManychatCase):
    """Sales team, company and stage of an opportunity: as Odoo gives them to people, and never moved by itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.there = cls.env["res.company"].create({"name": "Otra Empresa"})
        cls.lejana = new_test_user(
            cls.env,
            "lejana",
            "sales_team.group_sale_salesman",
            company_id=cls.there.id,
            company_ids=[fields.Command.set(cls.there.ids)],
        )
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman")
        cls.both = new_test_user(
            cls.env,
            "ambas",
            "sales_team.group_sale_salesman",
            company_id=cls.there.id,
            company_ids=[fields.Command.set((cls.there | cls.env.company).ids)],
        )
        for number, user in ((700, cls.vera), (701, cls.lejana), (702, cls.both)):
            cls.env["manychat.advisor"].create({"external_id": number, "user_id": user.id})
        cls.north, cls.south = cls.env["crm.team"].create([{"name": "Norte"}, {"name": "Sur"}])

    def by_hand(self, user):
        """What an opportunity has that ``user`` makes in the web client."""
        leads = self.env["crm.lead"].with_user(user).with_context(allowed_company_ids=user.company_id.ids)
        with Form(leads.with_context(default_type="opportunity"), view="crm.crm_lead_view_form") as form:
            form.name = "A mano"
        lead = form.record.sudo()
        return lead.user_id, lead.team_id, lead.company_id

    def assert_as_by_hand(self, lead, user):
        self.assertEqual((lead.user_id, lead.team_id, lead.company_id), self.by_hand(user))

    def for_teams(self, stage, teams):
        if "team_ids" in stage._fields:
            stage.team_ids = teams
        else:
            stage.team_id = teams[:1]

    def default_team(self, team):
        self.env["ir.config_parameter"].set_param("miasalud_crm.default_team_id", team.id)

    def row(self, number):
        return self.env["manychat.stage.map"].search([("manychat_stage_id", "=", number)])

    # --- Several companies

    def test_an_opportunity_is_as_if_its_salesperson_had_made_it_by_hand(self):
        self.apply(*(opportunity(f"MC-{number}", commercial_advisor_id=number) for number in (700, 701, 702)))
        for number, user in ((700, self.vera), (701, self.lejana), (702, self.both)):
            self.assert_as_by_hand(self.lead(f"MC-{number}"), user)
        self.assertEqual(self.lead("MC-701").company_id, self.there)

    def test_so_it_is_with_teams_of_either_company(self):
        here = self.env.company
        self.env["crm.team"].search([("company_id", "=", False)]).company_id = here
        self.env["crm.team"].create({"name": "De allá", "company_id": self.there.id})
        hers = self.env["crm.team"].create(
            {"name": "Suyo", "company_id": self.there.id, "sequence": 99, "member_ids": self.both.ids}
        )
        self.default_team(self.north)  # of the first company: not for people of the other one
        self.apply(*(opportunity(f"MC-{number}", commercial_advisor_id=number) for number in (701, 702)))
        self.assert_as_by_hand(self.lead("MC-701"), self.lejana)
        self.assertEqual(self.lead("MC-701").team_id.company_id, self.there)
        self.assertEqual((self.lead("MC-702").team_id, self.lead("MC-702").company_id), (self.north, here))
        self.default_team(self.env["crm.team"])
        self.apply(opportunity("MC-OTRA", commercial_advisor_id=702))
        self.assertEqual(self.lead("MC-OTRA").team_id, hers)
        self.assert_as_by_hand(self.lead("MC-OTRA"), self.both)

    def test_an_adviser_who_comes_later_brings_their_company(self):
        self.apply(opportunity())
        self.apply(opportunity(minutes=1, commercial_advisor_id=701))
        self.assert_as_by_hand(self.lead(), self.lejana)

    def test_an_adviser_whose_user_is_chosen_later_brings_their_company(self):
        self.apply(opportunity(commercial_advisor_id=703))
        self.env["manychat.advisor"].search([("external_id", "=", 703)]).user_id = self.lejana
        self.assert_as_by_hand(self.lead(), self.lejana)

    # --- Stages of teams

    def test_a_new_opportunity_in_a_stage_of_one_team_gets_that_team(self):
        self.for_teams(self.stages[17], self.south)
        self.default_team(self.north)
        self.apply(opportunity("MC-A"), opportunity("MC-B", commercial_advisor_id=700), opportunity("MC-C", 18))
        self.assertEqual(self.lead("MC-A").team_id, self.south)
        self.assertRecordValues(
            self.lead("MC-B"), [{"team_id": self.south.id, "user_id": self.vera.id, "stage_id": self.stages[17].id}]
        )
        self.assertEqual(self.lead("MC-C").team_id, self.north)

    def test_the_teams_of_a_stage_of_several_are_chosen_by_salesperson_then_default(self):
        if "team_ids" not in self.env["crm.stage"]._fields:
            self.skipTest("Odoo 18: a stage has one team at most")
        self.for_teams(self.stages[17], self.south | self.north)
        self.south.member_ids = self.vera
        self.default_team(self.north)
        self.apply(opportunity("MC-A"), opportunity("MC-B", commercial_advisor_id=700))
        self.assertEqual((self.lead("MC-A").team_id, self.lead("MC-B").team_id), (self.north, self.south))

    def test_a_stage_whose_teams_are_all_archived_is_warned_of_and_still_entered(self):
        self.for_teams(self.stages[17], self.south)
        self.south.active = False
        self.assertIn("“Sur”", self.row(17).warning)
        self.default_team(self.north)
        self.assertEqual(self.apply(opportunity())[0]["status"], "created")
        self.assertEqual(self.lead().team_id, self.north)

    def test_a_stage_that_opportunities_of_other_teams_have_entered_is_warned_of(self):
        self.row(17).team_id = self.north
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 17))
        self.for_teams(self.stages[18], self.south)
        self.env.invalidate_all()
        self.assertFalse(self.row(18).warning)
        self.apply(opportunity("MC-A", 18, minutes=1))
        self.env.invalidate_all()
        self.assertIn("there now: 1", self.row(18).warning)
        self.assertEqual(self.env["manychat.stage.map"].search([("needs_attention", "=", True)]), self.row(18))

    # --- Nothing moves an opportunity by itself

    def settled(self):
        """An opportunity in a stage that only its own team sees."""
        self.for_teams(self.stages[21], self.north)
        self.north.member_ids = self.vera
        self.apply(opportunity(commercial_advisor_id=700), opportunity(stage=21, minutes=5))
        self.lead().team_id = self.north
        self.env.flush_all()
        return self.lead()

    def assert_stays(self, lead):
        self.env.flush_all()
        self.env.invalidate_all()
        self.assertEqual(lead.stage_id, self.stages[21])
        periods = self.env["manychat.stage.history"].search([("lead_id", "=", lead.id)], order="id")
        self.assertEqual(periods[-1].stage_id, self.stages[21])
        self.assertEqual(len(periods), 2)

    def test_another_salesperson_or_team_does_not_move_an_opportunity(self):
        lead = self.settled()
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman")
        self.south.member_ids = omar
        lead.user_id = omar
        self.assert_stays(lead)
        lead.team_id = self.south
        self.assert_stays(lead)
        lead.write({"user_id": False, "team_id": False})
        self.assert_stays(lead)
        lead.with_context(allowed_company_ids=self.there.ids).write({"user_id": self.lejana.id})
        self.assert_stays(lead)

    def test_nor_does_it_in_the_form(self):
        lead = self.settled()
        with Form(lead.with_user(self.env.ref("base.user_admin")), view="crm.crm_lead_view_form") as form:
            form.team_id = self.south
            self.assertEqual(form.stage_id, self.stages[21])
        self.assert_stays(lead)

    def test_nor_does_an_event_that_names_another_adviser(self):
        lead = self.settled()
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman")
        self.south.member_ids = omar
        self.env["manychat.advisor"].create({"external_id": 704, "user_id": omar.id})
        self.apply(opportunity(stage=21, minutes=6, commercial_advisor_id=704))
        self.assertEqual(lead.user_id, omar)
        self.assert_stays(lead)

    def test_nor_does_the_assignment_of_leads(self):
        self.settled()
        lead = self.lead()
        lead.write({"user_id": False, "team_id": False})
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman")
        self.south.member_ids = omar
        self.south.crm_team_member_ids.assignment_max = 30
        self.south.assignment_max = 30 if self.south._fields["assignment_max"].store else self.south.assignment_max
        lead._handle_salesmen_assignment(user_ids=omar.ids, team_id=self.south.id)
        self.assert_stays(lead)
        self.env["crm.team"].search([]).with_context(crm_lead_assign_commit_bundle=1)._action_assign_leads()
        self.assert_stays(lead)

    def test_nor_does_a_merge(self):
        lead = self.settled()
        lead.team_id = self.south
        other = self.env["crm.lead"].create({"name": "A mano", "type": "lead", "team_id": self.south.id})
        survivor = (lead | other)._merge_opportunity(max_length=0)
        self.assertEqual(survivor, lead)
        self.assert_stays(lead)
        survivor.stage_id = self.stages[22]  # what follows is no merge
        self.assertEqual(lead.stage_id, self.stages[22])

    def test_other_opportunities_are_left_to_odoo(self):
        self.for_teams(self.stages[21], self.north)
        other = self.env["crm.lead"].create(
            {"name": "A mano", "type": "opportunity", "team_id": self.north.id, "stage_id": self.stages[21].id}
        )
        self.env.flush_all()
        other.team_id = self.south
        self.env.flush_all()
        moved_by_odoo = "team_ids" in self.env["crm.stage"]._fields
        self.assertEqual(other.stage_id != self.stages[21], moved_by_odoo)

    # --- Records of type Lead

    def make_lead(self, **values):
        values = {"name": "Por la web", "type": "lead", "user_id": False, "x_manychat_id": "MC-TEST-1", **values}
        record = self.env["crm.lead"].create(values)
        record.manychat_order = False  # no user has moved it since the conversation began
        return record

    def test_an_event_makes_a_lead_an_opportunity(self):
        record = self.make_lead(stage_id=self.stages[16].id)
        self.env.flush_all()
        [result] = self.apply(opportunity(stage=22))
        self.assertEqual((result["status"], result["lead_id"]), ("moved", record.id))
        self.assertRecordValues(record, [{"type": "opportunity", "stage_id": self.stages[22].id}])
        self.assertTrue(record.date_conversion)
        self.assertFalse(record.partner_id)
        self.assertEqual(self.row(22).lead_count, 1)

    def test_so_does_an_event_that_moves_nothing(self):
        record = self.make_lead()
        self.env.flush_all()
        record._manychat_mark_manual_move(at(60))
        [result] = self.apply(opportunity(stage=22))
        self.assertEqual(result["status"], "stale")
        self.assertEqual(record.type, "opportunity")
        self.assertEqual(record.stage_id, record._stage_find(domain=[("fold", "=", False)]))

    def test_a_lead_keeps_its_team_or_gets_that_of_the_stage(self):
        self.row(22).team_id = self.south
        with_team = self.make_lead(team_id=self.north.id)
        without = self.make_lead(x_manychat_id="MC-B", team_id=False)
        self.apply(opportunity(stage=22), opportunity("MC-B", 22))
        self.assertEqual((with_team.team_id, without.team_id), (self.north, self.south))

    def test_a_lost_lead_comes_back_as_an_opportunity(self):
        record = self.make_lead()
        record.action_set_lost()
        record.manychat_order = False
        self.env.flush_all()
        self.apply(opportunity(stage=22))
        self.assertRecordValues(record, [{"active": True, "type": "opportunity", "stage_id": self.stages[22].id}])
