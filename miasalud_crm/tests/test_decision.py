import itertools
from datetime import datetime, timezone
from unittest.mock import patch

from odoo import fields
from odoo.tests import tagged
from odoo.tests.common import new_test_user

from bridge.contract.opportunity_state import Actor, OpportunityState, Status
from bridge.contract.payloads import Decided

from .. import decisions
from ..actor import acting
from .common import DAY, Statements, opportunity
from .decision_case import PERSON, DecisionCase

ORDER = list(Decided)


@tagged("post_install", "-at_install")
class TestDecision(DecisionCase):
    """What a user changes of an opportunity that follows a conversation becomes one event."""

    def assertDecided(self, payload, *decided, by=Actor.PERSON):
        self.assertEqual(sorted(payload.decided, key=ORDER.index), list(decided))
        self.assertEqual(payload.by, by)
        self.assertEqual(payload.user_id, self.user.id if by in (Actor.PERSON, Actor.IMPORT) else None)

    def test_a_moved_card_is_a_decision_with_the_state_after_it(self):
        lead = self.mine()
        lead.stage_id = self.stages[20]
        payload = self.one()
        self.assertDecided(payload, Decided.STAGE, Decided.ANSWERED)
        self.assertEqual(payload.stage_before_id, self.stages[17].id)
        self.assertEqual(payload.stage_before, self.stages[17].name)
        state = payload.state
        self.assertEqual((state.lead_id, state.status), (lead.id, Status.OPEN))
        self.assertEqual((state.stage_id, state.stage), (self.stages[20].id, self.stages[20].name))
        self.assertEqual(state.manychat_stage_id, 20)
        self.assertEqual(state.currency, self.env.company.currency_id.name)
        self.assertIsNotNone(state.first_answered_at)
        self.assertIsNone(state.merged_into)

    def test_the_medical_adviser_is_a_decision_and_part_of_the_state(self):
        self.apply(opportunity(PERSON, 17, 1, medical_advisor_id=101))
        self.begin()
        other = self.env["manychat.advisor"].create({"external_id": 102, "role": "medical", "name": "Dra. Ruiz"})
        self.mine().manychat_medical_advisor_id = other
        payload = self.one()
        self.assertDecided(payload, Decided.ADVISOR)
        self.assertEqual(payload.state.medical_advisor_id, 102)
        self.begin()
        self.mine().manychat_medical_advisor_id = False
        self.assertDecided(self.one(), Decided.ADVISOR)
        self.assertIsNone(self.one().state.medical_advisor_id)

    def test_only_the_first_answer_is_a_decision(self):
        self.mine().message_post(body="Hola", message_type="comment", subtype_xmlid="mail.mt_note")
        self.assertDecided(self.one(), Decided.ANSWERED)
        first = self.one().state.first_answered_at
        self.begin()
        self.mine().message_post(body="Hola", message_type="comment", subtype_xmlid="mail.mt_note")
        self.assertEqual(self.decided(), [])
        self.mine().user_id = self.user
        self.assertEqual(self.one().state.first_answered_at, first)

    def test_won_lost_and_restored(self):
        self.mine().action_set_won()
        payload = self.one()
        self.assertDecided(payload, Decided.STAGE, Decided.WON, Decided.ANSWERED)
        self.assertEqual(payload.state.status, Status.WON)
        self.assertIsNotNone(payload.state.closed_at)

        self.mine().stage_id = self.stages[25]  # Odoo 19 refuses to lose a won one
        self.begin()
        reason = self.env["crm.lost.reason"].create({"name": "Precio «alto» %s 'x' \\ 🙂"})
        self.mine().action_set_lost(lost_reason_id=reason.id)
        payload = self.one()
        self.assertDecided(payload, Decided.LOST)
        self.assertEqual((payload.state.status, payload.state.lost_reason), (Status.LOST, reason.name))

        self.begin()
        self.mine().action_unarchive()
        payload = self.one()
        self.assertIn(Decided.RESTORED, payload.decided)
        self.assertIsNone(payload.stage_before)
        self.assertIsNone(payload.state.lost_reason)

    def test_another_reason_of_a_loss_is_a_decision(self):
        first, second = self.env["crm.lost.reason"].create([{"name": "A"}, {"name": "B"}])
        self.mine().action_set_lost(lost_reason_id=first.id)
        self.begin()
        self.mine().lost_reason_id = second
        payload = self.one()
        self.assertDecided(payload, Decided.LOST)
        self.assertEqual(payload.state.lost_reason, "B")

    def test_salesperson_team_and_revenue(self):
        self.mine().message_post(body="Hola", message_type="comment", subtype_xmlid="mail.mt_note")
        team = self.env["crm.team"].create({"name": "Equipo «Ñandú» 100 %", "company_id": False})
        self.begin()
        self.mine().write({"user_id": self.user.id, "team_id": team.id, "expected_revenue": 1200.5})
        payload = self.one()
        self.assertDecided(payload, Decided.SALESPERSON, Decided.TEAM, Decided.REVENUE)
        state = payload.state
        self.assertEqual((state.salesperson_id, state.salesperson), (self.user.id, "Laura Prueba"))
        self.assertEqual((state.team_id, state.team, state.expected_revenue), (team.id, team.name, 1200.5))

    def test_several_writes_are_one_decision_with_the_last_state(self):
        lead = self.mine()
        lead.stage_id = self.stages[18]
        self.env.cr.flush()  # as before a savepoint
        lead.expected_revenue = 10
        lead.stage_id = self.stages[19]
        payload = self.one()
        self.assertDecided(payload, Decided.STAGE, Decided.REVENUE, Decided.ANSWERED)
        self.assertEqual(payload.stage_before_id, self.stages[17].id)
        self.assertEqual(payload.state.stage_id, self.stages[19].id)

    def test_a_transaction_that_ends_where_it_began_decides_nothing(self):
        self.mine().message_post(body="Hola", message_type="comment", subtype_xmlid="mail.mt_note")
        self.begin()
        lead = self.mine()
        lead.stage_id = self.stages[18]
        lead.stage_id = self.stages[17]
        self.assertEqual(self.decided(), [])
        lead.stage_id = self.stages[18]
        self.one()  # written, as before a savepoint
        lead.stage_id = self.stages[17]
        self.assertEqual(self.decided(), [])

    def test_what_a_savepoint_takes_back_is_no_decision(self):
        lead = self.mine()
        lead.expected_revenue = 10
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            lead.stage_id = self.stages[18]
            self.env.cr.flush()
            raise ZeroDivisionError
        payload = self.one()
        self.assertDecided(payload, Decided.REVENUE)
        self.assertEqual(payload.state.stage_id, self.stages[17].id)

    def test_an_opportunity_without_a_conversation_decides_nothing(self):
        lead = self.env["crm.lead"].create({"name": "Por teléfono", "type": "opportunity"})
        with Statements() as statements:
            lead.stage_id = self.stages[20]
            lead.action_set_lost()
            lead.unlink()
            self.env.cr.flush()
        self.assertFalse([each for each in statements if "'decision'" in each or "clock_timestamp" in each])
        self.assertEqual(self.decided(), [])

    def test_the_chat_decides_nothing(self):
        with Statements() as statements:
            self.apply(opportunity(PERSON, 20, 5), opportunity("MC-DECIDED-2", 18, 5))
            self.env.cr.flush()
        self.assertFalse([each for each in statements if "'decision'" in each])
        self.assertEqual(self.decided(), [])

    def test_without_a_queue_nothing_is_written(self):
        for what in ("queue_account", "is_neutralized"):
            with self.subTest(what):
                self.begin()
                if what == "queue_account":
                    configured = patch.object(decisions, "queue_account", return_value="")
                else:
                    self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
                    configured = patch.dict({})
                with configured, Statements() as statements:
                    self.mine().stage_id = self.stages[20 if what == "queue_account" else 21]
                    self.env.cr.flush()
                self.assertFalse([each for each in statements if "'decision'" in each])

    def test_a_card_that_is_dragged_costs_one_insert(self):
        def drag(stage):
            lead = self.env["crm.lead"].with_user(self.user).browse(self.lead(PERSON).id)
            self.env.invalidate_all()
            with Statements() as statements:
                lead.web_save({"stage_id": stage.id}, {"stage_id": {}})
                self.env.cr.flush()
            return statements

        drag(self.stages[18])  # what is cached is cached now
        self.begin()
        with patch.object(decisions, "queue_account", return_value=""):
            without = drag(self.stages[19])
        self.begin()
        statements = drag(self.stages[20])
        inserts = [each for each in statements if "'decision'" in each]
        self.assertEqual(len(inserts), 1)
        # private SQL sends a statement, and executes it
        self.assertEqual(len(statements) - len(without), 2, "\n".join(each[:120] for each in statements))

    def test_a_user_without_access_to_events_decides(self):
        user = new_test_user(self.env, "decisions.reader", "base.group_user,sales_team.group_sale_salesman")
        self.lead(PERSON).user_id = user
        self.begin()
        self.assertFalse(self.env["manychat.event"].with_user(user).has_access("create"))
        self.lead(PERSON).with_user(user).stage_id = self.stages[20]
        self.assertEqual(self.one().user_id, user.id)

    def test_names_are_in_the_language_of_the_bridges_company(self):
        self.env["res.lang"]._activate_lang("es_ES")
        self.stages[20].with_context(lang="es_ES").name = "Retornó «AE» 'x' %s"
        self.stages[20].with_context(lang="en_US").name = "Back"
        self.bridge_user.company_id.partner_id.lang = "es_ES"
        self.mine().with_context(lang="en_US").stage_id = self.stages[20]
        self.assertEqual(self.one().state.stage, "Retornó «AE» 'x' %s")

    def test_currency_is_that_of_the_opportunitys_company(self):
        currency = self.env.ref("base.CHF")
        currency.active = True
        company = self.env["res.company"].create({"name": "Otra", "currency_id": currency.id})
        self.user.company_ids |= company
        self.mine().with_context(allowed_company_ids=[company.id, self.env.company.id]).write(
            {"company_id": company.id, "expected_revenue": 5}
        )
        state = self.one().state
        self.assertEqual((state.currency, state.expected_revenue), ("CHF", 5))


@tagged("post_install", "-at_install")
class TestDecisionsAreNoDeliveries(DecisionCase):
    """Decisions stay out of what is about bots and conversations."""

    def setUp(self):
        super().setUp()
        self.mine().stage_id = self.stages[20]
        self.one()
        self.event = self.env["manychat.event"].search([("type", "=", "decision")])

    def test_the_opportunity_counts_and_opens_events_of_the_chat_only(self):
        lead = self.lead(PERSON)
        self.assertEqual(lead.manychat_event_count, 1)
        domain = lead.action_view_manychat_events()["domain"]
        self.assertEqual(self.env["manychat.event"].search(domain).mapped("type"), ["opportunity"])
        [latest] = lead.manychat_identity_ids._conversation_dates().values()
        self.assertLess(latest, self.event.occurred_at)

    def test_the_log_finds_them_for_managers_and_bot_builders_see_none(self):
        manager = new_test_user(self.env, "decisions.jefa", "sales_team.group_sale_manager")
        builder = new_test_user(self.env, "decisions.bots", "miasalud_crm.group_bot_builder")
        events = self.env["manychat.event"]
        self.assertEqual(events.with_user(manager).search([("type", "=", "decision")]), self.event.with_user(manager))
        self.assertFalse(events.with_user(builder).search([("type", "=", "decision")]))

    def test_another_company_does_not_see_it(self):
        company = self.env["res.company"].create({"name": "Otra"})
        self.lead(PERSON).company_id = self.env.company
        manager = new_test_user(
            self.env,
            "decisions.lejana",
            "sales_team.group_sale_manager",
            company_id=company.id,
            company_ids=[(6, 0, company.ids)],
        )
        self.assertFalse(self.env["manychat.event"].with_user(manager).search([("type", "=", "decision")]))

    def test_one_that_failed_is_retried(self):
        self.event.write({"state": "failed", "code": "sql_refused"})
        self.event.action_retry()
        self.assertEqual((self.event.state, self.event.retries), ("pending", 1))

    def test_erasing_a_person_erases_them(self):
        self.env["manychat.event"].with_user(self.bridge_user).erase(PERSON)
        self.event.invalidate_recordset()
        self.assertFalse(self.event.exists().payload)


@tagged("post_install", "-at_install")
class TestDecidedConversations(DecisionCase):
    """Which opportunity follows which conversation is a decision, too."""

    def test_merged_conversations_get_the_survivors_state(self):
        self.apply(opportunity("MC-DECIDED-2", 19, 1), opportunity("MC-DECIDED-3", 18, 2))
        self.begin()
        leads = self.env["crm.lead"]
        for person in (PERSON, "MC-DECIDED-2", "MC-DECIDED-3"):
            leads |= self.lead(person)
        survivor = leads.with_user(self.user).merge_opportunity()
        merged = [each for each in self.decided() if Decided.MERGED in each.decided]
        self.assertEqual(len(merged), 2)
        first = survivor.sudo().x_manychat_id
        self.assertEqual({each.manychat_id for each in merged}, {PERSON, "MC-DECIDED-2", "MC-DECIDED-3"} - {first})
        for each in merged:
            self.assertEqual((each.state.lead_id, each.state.merged_into), (survivor.id, survivor.id))
            self.assertEqual((each.by, each.user_id), (Actor.PERSON, self.user.id))
        self.assertFalse([each for each in self.decided() if Decided.DELETED in each.decided])

    def test_a_merged_conversation_leaves_the_stage_of_its_own_opportunity(self):
        self.apply(opportunity("MC-DECIDED-2", 19, 1), opportunity("MC-DECIDED-3", 18, 2))
        self.lead("MC-DECIDED-3").action_set_lost()
        self.begin()
        people = {PERSON: 17, "MC-DECIDED-2": 19, "MC-DECIDED-3": None}
        leads = self.env["crm.lead"].browse().union(*map(self.lead, people))
        # What the same transaction did before is no stage that the outside has seen.
        leads.filtered(lambda lead: lead.x_manychat_id == PERSON).stage_id = self.stages[20]
        survivor = leads.with_user(self.user).merge_opportunity().sudo()
        merged = [each for each in self.decided() if Decided.MERGED in each.decided]
        self.assertEqual({each.manychat_id for each in merged}, people.keys() - {survivor.x_manychat_id})
        for each in merged:
            stage = self.stages.get(people[each.manychat_id])
            self.assertEqual((each.stage_before_id, each.stage_before), (stage and stage.id, stage and stage.name))
            self.assertEqual(each.state.stage_id, survivor.stage_id.id)

    def test_a_deleted_opportunity_keeps_its_last_state(self):
        lead = self.lead(PERSON)
        lead_id = lead.id
        lead.unlink()
        payload = self.one()
        self.assertEqual(payload.decided, (Decided.DELETED,))
        self.assertEqual((payload.state.status, payload.state.lead_id), (Status.DELETED, lead_id))
        self.assertEqual(payload.state.stage_id, self.stages[17].id)
        self.assertEqual((payload.stage_before_id, payload.stage_before), (self.stages[17].id, self.stages[17].name))

    def test_an_id_that_is_taken_away_is_deleted(self):
        self.lead(PERSON).x_manychat_id = False
        payload = self.one()
        self.assertEqual((payload.manychat_id, payload.decided), (PERSON, (Decided.DELETED,)))

    def test_an_id_that_is_corrected_ends_the_one_and_begins_the_other(self):
        self.lead(PERSON).x_manychat_id = "MC-DECIDED-RIGHT"
        decided = {each.manychat_id: each for each in self.decided()}
        self.assertEqual(decided.keys(), {PERSON, "MC-DECIDED-RIGHT"})
        self.assertEqual(decided[PERSON].state.status, Status.DELETED)
        self.assertEqual(decided["MC-DECIDED-RIGHT"].decided, (Decided.STAGE,))
        self.assertEqual(decided["MC-DECIDED-RIGHT"].state.status, Status.OPEN)

    def test_an_id_that_gets_another_opportunity_follows_it(self):
        other = self.env["crm.lead"].create({"name": "Otra", "type": "opportunity", "stage_id": self.stages[19].id})
        self.lead(PERSON).manychat_identity_ids.lead_id = other
        payload = self.one()
        self.assertEqual((payload.manychat_id, payload.state.lead_id), (PERSON, other.id))
        self.assertEqual((payload.stage_before_id, payload.state.stage_id), (self.stages[17].id, self.stages[19].id))

    def test_an_opportunity_that_a_user_creates_for_a_conversation_is_a_decision(self):
        leads = self.env["crm.lead"].with_user(self.user)
        lead = leads.create(
            {
                "name": "A mano",
                "type": "opportunity",
                "x_manychat_id": "MC-BY-HAND",
                "user_id": self.user.id,
                "stage_id": self.stages[19].id,
            }
        )
        payload = self.one()
        self.assertEqual((payload.manychat_id, payload.state.lead_id), ("MC-BY-HAND", lead.id))
        self.assertLessEqual({Decided.STAGE, Decided.SALESPERSON}, {*payload.decided})
        self.assertEqual((payload.by, payload.stage_before_id), (Actor.PERSON, None))

    def test_what_is_created_and_deleted_at_once_is_no_decision(self):
        lead = self.env["crm.lead"].create({"name": "A mano", "type": "opportunity", "x_manychat_id": "MC-BY-HAND"})
        self.env.cr.flush()
        lead.unlink()
        self.assertEqual(self.decided(), [])


@tagged("post_install", "-at_install")
class TestDecidedAt(DecisionCase):
    """When a person last decided lasts as long as the conversation is followed, and is part of the state."""

    def decided_at(self, manychat_id=PERSON):
        self.env.invalidate_all()
        [state] = self.env["crm.lead"].with_user(self.bridge_user).manychat_get_states(0, 10, [manychat_id])["states"]
        return OpportunityState.model_validate(state).decided_at

    def test_a_persons_decision_says_when_it_was_and_stays_after_the_events_are_deleted(self):
        self.assertIsNone(self.decided_at())
        self.mine().stage_id = self.stages[19]
        payload = self.one()
        self.assertEqual(payload.state.decided_at, payload.state.as_of)
        self.begin()  # deletes the event, as the retention does
        self.assertEqual(self.decided_at(), payload.state.as_of)
        [answer] = self.apply(opportunity(PERSON, 19, 1))
        self.assertEqual(OpportunityState.model_validate(answer["state"]).decided_at, payload.state.as_of)
        with acting(Actor.AUTOMATION):
            self.lead(PERSON).expected_revenue = 5
        self.assertEqual(self.one().state.decided_at, payload.state.as_of)

    def test_what_no_person_decides_and_an_answer_to_the_customer_have_no_moment(self):
        with acting(Actor.AUTOMATION):
            self.lead(PERSON).stage_id = self.stages[19]
        self.assertIsNone(self.one().state.decided_at)
        self.begin()
        self.mine()._manychat_answer(fields.Datetime.now())
        self.assertEqual(self.one().decided, (Decided.ANSWERED,))
        self.assertIsNone(self.one().state.decided_at)
        self.assertIsNone(self.decided_at())

    def test_what_a_transaction_takes_back_was_never_decided(self):
        self.mine().stage_id = self.stages[19]
        before = self.one().state.as_of
        self.begin()
        for revenue in (5, 6):
            self.mine().expected_revenue = revenue
            self.env.cr.flush()  # as before a savepoint
        self.assertGreater(self.decided_at(), before)
        self.mine().expected_revenue = 0
        self.assertEqual(self.decided(), [])
        self.assertEqual(self.decided_at(), before)

    def test_each_merged_conversation_has_its_own_moment(self):
        self.apply(opportunity("MC-DECIDED-2", 19, 1))
        self.begin()
        survivor = (self.lead(PERSON) | self.lead("MC-DECIDED-2")).with_user(self.user).merge_opportunity().sudo()
        payloads = {each.manychat_id: each for each in self.decided()}
        for person in (PERSON, "MC-DECIDED-2"):
            self.assertEqual(self.decided_at(person), payloads[person].state.as_of if person in payloads else None)
        self.assertIn({PERSON, "MC-DECIDED-2"} - {survivor.x_manychat_id}, [{person} for person in payloads])


@tagged("post_install", "-at_install")
class TestDecidedLanguage(DecisionCase):
    """Names of stages leave Odoo in one language, whoever moves: by two names, a stage would be two."""

    def setUp(self):
        super().setUp()
        self.env["res.lang"]._activate_lang("es_ES")
        self.spanish = {17: "Pendiente (español)", 19: "Comienza (español)", 20: "Retorno (español)"}
        for number, name in self.spanish.items():
            self.stages[number].with_context(lang="en_US").name = f"Stage {number}"
            self.stages[number].with_context(lang="es_ES").name = name
        self.begin()

    def names(self, who, company, person, bridge):
        """What a user's move, the back-fill and the chat call the stages, in this order."""
        self.bridge_user.company_id.partner_id.lang = company
        self.bridge_user.lang = bridge
        self.user.lang = person
        self.apply(opportunity(who, 17))
        self.begin()
        self.mine(who).with_context(lang=person).stage_id = self.stages[19]
        payload = self.one()
        said = [payload.stage_before, payload.state.stage]
        self.begin()
        leads = self.env["crm.lead"].with_user(self.bridge_user)
        for context in ({}, {"lang": person}, {"lang": bridge}):
            [page] = leads.with_context(**context).manychat_get_states(0, 10, [who])["states"]
            said.append(page["stage"])
        # Later than the user's move.
        late = opportunity(who, 20, (datetime.now(timezone.utc) - DAY).total_seconds() / 60 + 5)
        for context in ({"lang": bridge}, {"lang": person}):  # the second one is told what the first one was
            [answer] = leads.with_context(**context).manychat_apply([late])
            said += [answer["stage_before"], answer["stage_after"], answer["state"]["stage"]]
        return said

    def test_all_say_the_same_names_whatever_the_languages_of_users_are(self):
        combinations = itertools.product(("en_US", "es_ES"), repeat=3)
        for number, (company, person, bridge) in enumerate(combinations):
            with self.subTest(company=company, person=person, bridge=bridge):
                first, moved, late = (
                    self.spanish[stage] if company == "es_ES" else f"Stage {stage}" for stage in (17, 19, 20)
                )
                said = self.names(f"MC-LANGUAGE-{number}", company, person, bridge)
                self.assertEqual(said, [first, moved, moved, moved, moved, *(moved, late, late) * 2])
