from contextlib import suppress
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tests.common import new_test_user

from bridge.contract.opportunity_state import Actor, OpportunityState, Status
from bridge.contract.payloads import Decided

from ..models.crm_lead_past import SINCE_PARAMETER
from .common import ManychatCase, opportunity
from .decision_case import PERSON, DecisionCase


@tagged("post_install", "-at_install")
class TestDecidedBy(DecisionCase):
    """Not only people decide."""

    def action(self, code, **values):
        return self.env["ir.actions.server"].create(
            {
                "name": "Acción",
                "model_id": self.env["ir.model"]._get("crm.lead").id,
                "state": "code",
                "code": code,
                **values,
            }
        )

    def assertBy(self, actor):
        payload = self.one()
        self.assertEqual((payload.by, payload.user_id), (actor, self.user.id if actor is Actor.IMPORT else None))

    def test_a_server_action(self):
        action = self.action(f"records.write({{'stage_id': {self.stages[20].id}}})")
        context = {"active_model": "crm.lead", "active_ids": self.lead(PERSON).ids, "active_id": self.lead(PERSON).id}
        action.with_user(self.user).sudo().with_context(**context).run()
        self.assertBy(Actor.AUTOMATION)

    def test_a_scheduled_action(self):
        job = self.env["ir.cron"].create(
            {
                "name": "Trabajo",
                "model_id": self.env["ir.model"]._get("crm.lead").id,
                "state": "code",
                "code": f"env['crm.lead'].browse({self.lead(PERSON).id}).write({{'stage_id': {self.stages[20].id}}})",
                "interval_type": "days",
            }
        )
        job.ir_actions_server_id.run()
        self.assertBy(Actor.AUTOMATION)

    def rule(self):
        """An automation rule: in stage 20, an expected revenue of 77."""
        if "base.automation" not in self.env:
            self.skipTest("Automation Rules are not installed")
        model = self.env["ir.model"]._get("crm.lead").id
        code = "records.write({'expected_revenue': 77})"
        action = {"name": "Importe", "model_id": model, "state": "code", "code": code}
        self.env["base.automation"].create(
            {
                "name": "Regla",
                "model_id": model,
                "trigger": "on_create_or_write",
                "filter_domain": f"[('stage_id', '=', {self.stages[20].id})]",
                "action_server_ids": [(0, 0, action)],
            }
        )

    def test_an_automation_rule_belongs_to_the_move_that_sets_it_off(self):
        self.rule()
        self.mine().stage_id = self.stages[20]
        payload = self.one()
        self.assertEqual((payload.by, payload.user_id), (Actor.PERSON, self.user.id))
        self.assertEqual(payload.state.expected_revenue, 77)

    def test_an_automation_rule_that_the_chat_sets_off_decides_by_itself(self):
        self.rule()
        [result] = self.apply(opportunity(PERSON, 20, 5))
        payload = self.one()
        self.assertEqual((payload.decided, payload.by), ((Decided.REVENUE,), Actor.AUTOMATION))
        self.assertEqual(result["state"]["expected_revenue"], 77)

    def test_an_import(self):
        columns = ["name", "type", "x_manychat_id", "expected_revenue"]
        rows = [["Importada %s «ñ» 'q'", "opportunity", "MC-IMPORTED", "10"]]
        result = self.env["crm.lead"].with_user(self.user).load(columns, rows)
        self.assertFalse(result["messages"])
        self.assertBy(Actor.IMPORT)

    def test_an_import_of_a_stage(self):
        self.env.flush_all()
        lead = self.lead(PERSON)
        rows = [[str(lead.id), str(self.stages[21].id)]]
        result = self.env["crm.lead"].with_user(self.user).load([".id", "stage_id/.id"], rows)
        self.assertFalse(result["messages"])
        self.assertBy(Actor.IMPORT)

    def test_the_assignment_of_crm(self):
        team = self.env["crm.team"].create(
            {"name": "Asignado", "company_id": False, "use_leads": True, "use_opportunities": True}
        )
        self.env["ir.config_parameter"].set_param("crm.lead.auto.assignment", True)
        member = self.env["crm.team.member"].create(
            {"user_id": self.user.id, "crm_team_id": team.id, "assignment_max": 300}
        )
        lead = self.lead(PERSON)
        lead.write({"team_id": team.id, "user_id": False})
        self.begin()
        with patch.object(type(self.env.cr), "commit", lambda cr: None):
            team._action_assign_leads(force_quota=True, creation_delta_days=0)
        self.assertEqual(self.lead(PERSON).user_id, member.user_id)
        self.assertBy(Actor.ASSIGNMENT)

    def test_what_a_customer_or_a_visitor_sets_off_is_no_decision_of_a_person(self):
        """As Odoo's portal for resellers and its website do: with the rights of the server."""
        portal = new_test_user(self.env, "decisions.portal", "base.group_portal")
        for user in (portal, self.env.ref("base.public_user")):
            self.begin()
            lead = self.lead(PERSON)
            lead.with_user(user).sudo().write({"stage_id": self.stages[18 if user == portal else 19].id})
            payload = self.one()
            self.assertEqual((payload.by, payload.user_id), (Actor.AUTOMATION, None))

    def test_a_write_of_another_app_to_other_opportunities_is_a_decision_about_each(self):
        """With the rights of the server, in a loop, and in a savepoint that it rolls back."""
        others = [f"MC-DECIDED-{number}" for number in range(2, 5)]
        self.apply(*(opportunity(person, 17) for person in others))
        self.begin()
        leads_class = type(self.env["crm.lead"])
        original = leads_class.write

        def write(leads, vals):
            result = original(leads, vals)
            if vals.get("stage_id") and not leads.env.context.get("follows"):
                for person in others:
                    other = self.lead(person).sudo().with_context(follows=True)
                    other.stage_id = vals["stage_id"]
                    with suppress(ValueError), leads.env.cr.savepoint():
                        other.expected_revenue = 999
                        raise ValueError
            return result

        with patch.object(leads_class, "write", write):
            self.mine().stage_id = self.stages[20]
            decided = self.decided()
        self.assertEqual([each.manychat_id for each in decided], [PERSON, *others])
        for each in decided:
            self.assertEqual((each.state.stage_id, each.state.expected_revenue), (self.stages[20].id, 0))
            self.assertIn(Decided.STAGE, each.decided)

    def test_a_user_of_another_company_only(self):
        company = self.env["res.company"].create({"name": "Otra", "currency_id": self.env.ref("base.EUR").id})
        user = new_test_user(
            self.env,
            "decisions.otra",
            "base.group_user,sales_team.group_sale_salesman",
            company_id=company.id,
            company_ids=[(6, 0, company.ids)],
        )
        self.lead(PERSON).write({"company_id": company.id, "team_id": False, "user_id": user.id})
        self.begin()
        self.lead(PERSON).with_user(user).with_company(company).write({"stage_id": self.stages[20].id})
        payload = self.one()
        self.assertEqual((payload.by, payload.user_id), (Actor.PERSON, user.id))
        self.assertEqual(payload.state.currency, "EUR")

    def test_an_adviser_who_gets_a_user(self):
        self.lead(PERSON)._manychat_assign(self.user)
        payload = self.one()
        self.assertIn(Decided.SALESPERSON, payload.decided)
        self.assertEqual(payload.by, Actor.AUTOMATION)


@tagged("post_install", "-at_install")
class TestStates(ManychatCase):
    """The bridge gets the state with the answer to an event, and asks for it."""

    def state(self, answer):
        return OpportunityState.model_validate(answer)

    def get(self, *args, **kwargs):
        return self.env["crm.lead"].with_user(self.bridge_user).manychat_get_states(*args, **kwargs)

    def test_each_result_has_the_state_after_the_batch(self):
        created, moved, wrong = self.apply(
            opportunity("MC-STATE-1", 17), opportunity("MC-STATE-1", 26, 1), opportunity("MC-STATE-2", None, label="?")
        )
        self.assertEqual(created["state"], moved["state"])
        state = self.state(moved["state"])
        self.assertEqual((state.lead_id, state.status), (moved["lead_id"], Status.WON))
        self.assertEqual(state.stage, moved["stage_after"])
        self.assertIs(wrong["state"], False)
        [again] = self.apply(opportunity("MC-STATE-1", 26, 1))
        self.assertEqual(again["code"], "duplicate")
        self.assertGreater(self.state(again["state"]).as_of, state.as_of)

    def test_pages_have_every_person_once(self):
        people = [f"MC-STATE-{number}" for number in range(5)]
        self.apply(*(opportunity(person, 17) for person in people))
        found, after = [], 0
        while after is not False:
            answer = self.get(after, 2)
            self.assertEqual(answer["busy"], [])
            found += [each["manychat_id"] for each in answer["states"]]
            after = answer["after"]
        self.assertEqual(len(found), len(set(found)))
        self.assertLessEqual({*people}, {*found})

    def test_people_are_asked_for_by_name(self):
        self.apply(opportunity("MC-STATE-1", 17))
        answer = self.get(manychat_ids=["MC-STATE-1", "MC-NOT-THERE"])
        self.assertEqual([each["manychat_id"] for each in answer["states"]], ["MC-STATE-1"])
        self.assertEqual((answer["unknown"], answer["after"]), (["MC-NOT-THERE"], False))

    def test_what_users_did_before_decisions_were_recorded_is_told_and_nothing_that_has_a_decision(self):
        history = self.env["crm.lead"].with_user(self.bridge_user).manychat_get_stage_history
        lead_of, parameters = self.lead, self.env["ir.config_parameter"].sudo()
        self.apply(opportunity("MC-STATE-1", 17, key="first"), opportunity("MC-STATE-2", 19))
        [first] = history(["MC-STATE-1"])
        self.assertEqual((first["moved_by"], first["stage_to"]), ("chat", self.stages[17].name))
        self.assertTrue(first["event_id"])
        lead_of("MC-STATE-1").stage_id = self.stages[20]
        lead_of("MC-STATE-1").action_set_lost()
        lead_of("MC-STATE-1").action_unarchive()
        self.assertEqual(history(["MC-STATE-1"]), [first])  # these are decisions
        parameters.set_param(SINCE_PARAMETER, "2100-01-01 00:00:00")
        told = history(["MC-STATE-1", "MC-NOT-THERE"])
        names = {number: stage.name for number, stage in self.stages.items()}
        self.assertEqual(
            [(each["stage_from"], each["stage_to"], each["moved_by"], each["status"]) for each in told],
            [
                (None, names[17], "chat", "open"),
                (names[17], names[20], "person", "open"),
                (names[20], None, "other", "lost"),
                (None, names[20], "person", "open"),
            ],
        )
        self.assertEqual(len({each["key"] for each in told}), len(told))
        self.assertEqual(history(["MC-STATE-1"]), told)
        self.env["crm.lead"]._manychat_begin_decisions()  # at the next upgrade
        self.assertEqual(history(["MC-STATE-1"]), told)

    def test_of_merged_conversations_the_past_is_that_of_the_first(self):
        history = self.env["crm.lead"].with_user(self.bridge_user).manychat_get_stage_history
        self.apply(opportunity("MC-STATE-1", 17), opportunity("MC-STATE-2", 19))
        survivor = (self.lead("MC-STATE-1") | self.lead("MC-STATE-2")).merge_opportunity()
        told = history(["MC-STATE-1", "MC-STATE-2"])
        self.assertEqual({each["manychat_id"] for each in told}, {survivor.x_manychat_id})
