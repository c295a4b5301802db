from collections import Counter
from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

import psycopg2

from odoo import fields
from odoo.models import BaseModel
from odoo.tests import tagged
from odoo.tests.common import new_test_user

from bridge.contract.opportunity_state import Actor, OpportunityState, Status
from bridge.contract.payloads import Decided

from .. import decisions
from ..apply.state import read_states
from .common import Statements, opportunity
from .decision_case import PERSON, QUEUE, DecisionCase

SECOND = "MC-DECIDED-2"


@tagged("post_install", "-at_install")
class TestDecisionIndirect(DecisionCase):
    """What changes an opportunity without a user's write to it: another record, a computation, PostgreSQL."""

    def setUp(self):
        super().setUp()
        self.mine().message_post(body="Hola", message_type="comment", subtype_xmlid="mail.mt_note")
        self.manager = new_test_user(self.env, "decisions.jefa", "sales_team.group_sale_manager,base.group_system")
        self.begin()

    def assertTold(self, *people):
        """What the decisions say, or what was said before them, is what Odoo has."""
        payloads = self.decided()
        told = {payload.manychat_id: payload.state for payload in payloads}
        self.assertEqual(len(told), len(payloads))
        now = read_states(self.env, [*people])
        for person in people:
            was = OpportunityState.model_validate(told.get(person) or self.told[person])
            differing = was.model_copy(update={"as_of": None, "decided_at": None})
            state = OpportunityState.model_validate(now[person])
            self.assertEqual(differing, state.model_copy(update={"as_of": None, "decided_at": None}))
        return {payload.manychat_id: payload for payload in payloads}

    def tell(self, *people):
        """Begin a transaction with what was told so far."""
        self.begin()
        self.told = read_states(self.env, [*people])

    def test_a_stage_that_becomes_won_wins_its_opportunities_and_back(self):
        self.apply(opportunity(SECOND, 17, 1))
        stage = self.stages[17]
        lost = self.lead(SECOND)
        lost.action_set_lost()
        self.tell(PERSON, SECOND)
        stage.with_user(self.manager).is_won = True
        told = self.assertTold(PERSON, SECOND)
        self.assertEqual({*told}, {PERSON})
        self.assertEqual((told[PERSON].decided, told[PERSON].by), ((Decided.WON,), Actor.PERSON))
        self.assertEqual((told[PERSON].user_id, told[PERSON].state.status), (self.manager.id, Status.WON))
        self.assertEqual(told[PERSON].stage_before_id, stage.id)
        self.tell(PERSON, SECOND)
        stage.with_user(self.manager).is_won = False
        told = self.assertTold(PERSON, SECOND)
        self.assertEqual({*told}, {PERSON})
        self.assertEqual((told[PERSON].decided, told[PERSON].state.status), ((Decided.RESTORED,), Status.OPEN))
        self.tell(PERSON, SECOND)
        stage.with_user(self.manager).write({"is_won": False, "name": stage.name})
        self.assertEqual(self.decided(), [])

    def test_a_team_that_is_deleted(self):
        team = self.env["crm.team"].create({"name": "Efímero", "company_id": False})
        self.lead(PERSON).team_id = team
        self.tell(PERSON)
        team.with_user(self.manager).unlink()
        told = self.assertTold(PERSON)
        self.assertEqual((told[PERSON].decided, told[PERSON].by), ((Decided.TEAM,), Actor.PERSON))
        self.assertIsNone(told[PERSON].state.team)

    def test_a_user_who_is_deleted(self):
        user = new_test_user(self.env, "decisions.efimera", "sales_team.group_sale_salesman")
        self.lead(PERSON).user_id = user
        self.tell(PERSON)
        user.unlink()
        told = self.assertTold(PERSON)
        self.assertIn(Decided.SALESPERSON, told[PERSON].decided)
        self.assertIsNone(told[PERSON].state.salesperson_id)

    def test_a_medical_adviser_who_is_deleted(self):
        adviser = self.env["manychat.advisor"].create({"external_id": 909, "role": "medical", "name": "Dra. Ruiz"})
        self.lead(PERSON).manychat_medical_advisor_id = adviser
        self.tell(PERSON)
        adviser.with_user(self.manager).unlink()
        self.assertEqual(self.assertTold(PERSON)[PERSON].decided, (Decided.ADVISOR,))

    def test_a_team_that_odoo_computes(self):
        """An opportunity that becomes a lead gets a team that works on leads."""
        teams = self.env["crm.team"].create(
            [
                {"name": name, "company_id": False, "use_leads": use_leads, "use_opportunities": not use_leads}
                for name, use_leads in (("Ventas", False), ("Leads", True))
            ]
        )
        self.env["crm.team"].search([("id", "not in", teams.ids)]).use_leads = False
        self.lead(PERSON).write({"user_id": self.user.id, "team_id": teams[0].id})
        self.tell(PERSON)
        self.mine().type = "lead"
        payload = self.assertTold(PERSON)[PERSON]
        self.assertEqual((payload.decided, payload.by), ((Decided.TEAM,), Actor.PERSON))
        self.assertEqual(payload.state.team, "Leads")

    def test_a_revenue_that_another_app_computes(self):
        """As apps do that sum up order lines: the value reaches the table without any ``write``."""
        lead = self.mine()
        self.tell(PERSON)
        field = type(lead)._fields["expected_revenue"]
        with lead.env.protecting([field], lead):  # what the ORM does around a compute method
            lead.expected_revenue = 1234.5
        self.assertEqual(self.assertTold(PERSON)[PERSON].decided, (Decided.REVENUE,))

    def test_another_company_has_another_currency(self):
        currency = self.env.ref("base.CHF")
        currency.active = True
        company = self.env["res.company"].create({"name": "Suiza", "currency_id": currency.id})
        self.user.company_ids |= company
        self.lead(PERSON).write({"team_id": False, "user_id": self.user.id, "company_id": self.env.company.id})
        self.tell(PERSON)
        self.mine().with_context(allowed_company_ids=[company.id, self.env.company.id]).company_id = company
        told = self.assertTold(PERSON)
        self.assertEqual(told[PERSON].state.currency, "CHF")

    def test_a_team_that_goes_to_another_company_takes_its_opportunities_to_another_currency(self):
        currency = self.env.ref("base.CHF")
        currency.active = True
        company = self.env["res.company"].create({"name": "Suiza", "currency_id": currency.id})
        team = self.env["crm.team"].create({"name": "Viajero", "company_id": False})
        self.lead(PERSON).write({"user_id": False, "company_id": False, "team_id": team.id})
        self.tell(PERSON)
        team.with_user(self.manager).sudo().company_id = company
        payload = self.assertTold(PERSON)[PERSON]
        self.assertEqual((payload.decided, payload.by), ((Decided.DETAIL,), Actor.PERSON))
        self.assertEqual(payload.state.currency, "CHF")
        self.tell(PERSON)
        team.write({"company_id": company.id, "name": "Ya está"})
        self.assertEqual(self.decided(), [])

    def test_a_won_one_that_is_won_again(self):
        self.mine().action_set_won()
        self.env.flush_all()
        self.env.cr.execute("UPDATE crm_lead SET date_closed = '2026-01-01'")
        self.tell(PERSON)
        self.mine().action_set_won()
        told = self.assertTold(PERSON)
        self.assertNotIn(Decided.WON, told[PERSON].decided)
        self.assertGreater(told[PERSON].state.closed_at.replace(tzinfo=None), fields.Datetime.now().replace(day=1))

    def merged(self):
        self.apply(opportunity(SECOND, 17, 1))
        survivor = (self.lead(PERSON) | self.lead(SECOND)).merge_opportunity()
        self.env.flush_all()
        self.env.invalidate_all()
        self.tell(PERSON, SECOND)
        first, second = survivor.manychat_identity_ids.sorted("sequence")
        self.assertEqual({first.manychat_id, second.manychat_id}, {PERSON, SECOND})
        return survivor, first, second

    def test_the_survivor_of_a_merge_was_first_answered_when_the_other_one_was(self):
        self.apply(opportunity(SECOND, 17, 1))
        leads = self.lead(PERSON) | self.lead(SECOND)
        survivor = leads._sort_by_confidence_level(reverse=True)[0]
        answered = fields.Datetime.now()
        survivor.manychat_first_answered_at = answered
        (leads - survivor).manychat_first_answered_at = answered - timedelta(days=1)
        self.tell(PERSON, SECOND)
        first = survivor.x_manychat_id
        leads.with_user(self.manager).merge_opportunity()
        told = self.assertTold(PERSON, SECOND)
        self.assertEqual((told[first].decided, told[first].by), ((Decided.DETAIL,), Actor.PERSON))
        self.assertEqual(told[first].state.first_answered_at.replace(tzinfo=None), answered - timedelta(days=1))

    def test_the_first_of_merged_conversations_leaves(self):
        survivor, first, second = self.merged()
        remaining, gone = second.manychat_id, first.manychat_id
        survivor.x_manychat_id = False
        told = self.assertTold(remaining)
        self.assertEqual(told[gone].decided, (Decided.DELETED,))
        self.assertIsNone(told[remaining].state.merged_into)
        self.assertEqual({*told}, {remaining, gone})

    def test_the_first_of_merged_conversations_follows_another_opportunity(self):
        _survivor, first, second = self.merged()
        names = (first.manychat_id, second.manychat_id)
        other = self.env["crm.lead"].create({"name": "Otra", "type": "opportunity"})
        self.tell(*names)
        first.lead_id = other
        told = self.assertTold(*names)
        self.assertEqual({*told}, {*names})

    def test_the_order_of_merged_conversations_changes(self):
        _survivor, first, second = self.merged()
        names = (first.manychat_id, second.manychat_id)
        first.sequence = 99
        told = self.assertTold(*names)
        self.assertEqual({*told}, {*names})

    def test_a_conversation_comes_before_the_one_that_is_there(self):
        lead = self.lead(PERSON)
        self.tell(PERSON)
        self.env["manychat.identity"].create({"manychat_id": SECOND, "lead_id": lead.id, "sequence": 1})
        told = self.assertTold(PERSON, SECOND)
        self.assertEqual(told[PERSON].state.merged_into, lead.id)

    def test_a_savepoint_for_each_opportunity_compares_each_once(self):
        """As jobs do: else the last one of a thousand would compare a thousand."""
        people = [PERSON, *(f"MC-DECIDED-{number}" for number in range(2, 5))]
        self.apply(*(opportunity(person, 17, 1) for person in people[1:]))
        self.tell(*people)
        compared, fetch = [], decisions.private_sql.fetch

        def see(cr, query, params=None):
            if query == decisions._INSERT:
                compared.append(params["lead_ids"])
            return fetch(cr, query, params)

        with patch.object(decisions.private_sql, "fetch", see):
            for person in people:
                with self.env.cr.savepoint():
                    self.lead(person).expected_revenue = 5
            self.lead(people[0]).expected_revenue = 0
            told = self.assertTold(*people)
        leads = [self.lead(person).id for person in people]
        self.assertEqual(compared, [[lead] for lead in [*leads, leads[0]]])
        self.assertEqual([*told], people[1:])

    def test_what_is_compared_before_a_deletion_is_compared_again(self):
        """Another app opens a savepoint, for which Odoo compares, before the record is gone."""
        self.apply(opportunity(SECOND, 17, 1))
        team = self.env["crm.team"].create({"name": "Efímero", "company_id": False})
        self.lead(PERSON).team_id = team
        self.tell(PERSON, SECOND)
        original = BaseModel.unlink

        def unlink(records):
            with records.env.cr.savepoint():
                pass
            return original(records)

        with patch.object(BaseModel, "unlink", unlink):
            team.unlink()
            self.lead(SECOND).unlink()
        told = self.decided()
        self.assertEqual(
            {(payload.manychat_id, *payload.decided) for payload in told},
            {(PERSON, Decided.TEAM), (SECOND, Decided.DELETED)},
        )

    def test_an_app_that_goes_on_after_a_failed_savepoint_loses_no_decision(self):
        """Another transaction is in the way of the comparison before it, and the app catches every error."""
        self.tell(PERSON)
        lead = self.mine()
        lead.expected_revenue = 5
        fetch, failures = decisions.private_sql.fetch, [psycopg2.errors.SerializationFailure("in the way")]

        def fail_once(cr, query, params=None):
            if query == decisions._INSERT and failures:
                raise failures.pop()
            return fetch(cr, query, params)

        with patch.object(decisions.private_sql, "fetch", fail_once), suppress(Exception), self.env.cr.savepoint():
            lead.description = "never"
        self.assertEqual(failures, [])
        self.assertEqual(self.assertTold(PERSON)[PERSON].decided, (Decided.REVENUE,))

    def test_an_import_that_fails_takes_back_no_decision_of_before(self):
        """Odoo's savepoint for all rows writes no decisions; those for each batch do, and go with it."""
        self.tell(PERSON)
        self.mine().stage_id = self.stages[20]
        answer = self.env["res.partner"].load(["name", "country_id/.id"], [["Bien", ""], ["Mal", "999999999"]])
        self.assertFalse(answer["ids"])
        self.assertEqual(self.assertTold(PERSON)[PERSON].decided, (Decided.STAGE,))

    def test_what_the_chat_changes_beside_an_automation_is_the_chats(self):
        if "base.automation" not in self.env:
            self.skipTest("Automation Rules are not installed")
        model = self.env["ir.model"]._get("crm.lead").id
        code = "env.flush_all(); records.write({'description': 'x'}); env.flush_all()"
        self.env["base.automation"].create(
            {
                "name": "Regla",
                "model_id": model,
                "trigger": "on_create_or_write",
                "action_server_ids": [(0, 0, {"name": "x", "model_id": model, "state": "code", "code": code})],
            }
        )
        self.begin()
        self.apply(opportunity(PERSON, 20, 5), opportunity(SECOND, 18, 5))
        self.assertEqual(self.decided(), [])

    def test_without_a_conversation_nothing_is_asked(self):
        leads = self.env["crm.lead"].with_user(self.user)

        def work():
            lead = leads.create({"name": "Por teléfono", "type": "opportunity"})
            lead.stage_id = self.stages[20]
            lead.type = "lead"
            lead.expected_revenue = 5
            self.env.cr.flush()
            lead.action_set_lost()
            self.env.cr.flush()

        counted = []
        for account in ("", "", "", QUEUE):  # what is cached is cached by then
            self.begin()
            with patch.object(decisions, "queue_account", return_value=account), Statements() as statements:
                work()
            counted.append(Counter(statements))
        self.assertEqual([*(counted[3] - counted[2]).elements()], [])
