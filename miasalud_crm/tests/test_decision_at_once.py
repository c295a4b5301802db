import os
from contextlib import closing, contextmanager
from unittest.mock import patch

import psycopg2

from odoo import SUPERUSER_ID, api
from odoo.sql_db import db_connect
from odoo.tests import tagged

from bridge.contract.event import from_envelope
from bridge.contract.opportunity_state import OpportunityState
from bridge.contract.payloads import Decided

from .common import ManychatCase, opportunity
from .decision_case import QUEUE

PERSON = "MC-DECIDED-AT-ONCE"


@tagged("post_install", "-at_install")
class TestDecisionAtOnce(ManychatCase):
    """Real transactions that commit: people, the chat and the back-fill at the same moment."""

    decides = True

    def setUp(self):
        super().setUp()
        self.startPatcher(patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=QUEUE))
        # The relay's thread would find no queue.
        self.woken = self.startPatcher(patch("odoo.addons.miasalud_crm.relay_thread.wake"))
        self.addCleanup(self.clean)
        with self.transaction(self.bridge_user.id) as env:
            env["crm.lead"].manychat_apply([opportunity(PERSON, 17)])
        # A test may give its conversation to another opportunity.
        self.addCleanup(self.delete, self.opportunity_id())
        self.woken.reset_mock()

    @contextmanager
    def transaction(self, uid=SUPERUSER_ID, commits=True):
        with closing(db_connect(self.env.cr.dbname).cursor()) as cr:
            cr.execute("SET lock_timeout = '3s'")
            yield api.Environment(cr, uid, {})
            if commits:
                cr.commit()  # pylint: disable=invalid-commit
            else:
                cr.rollback()

    def clean(self):
        with self.transaction() as env:
            self.lead_in(env).unlink()
            env.cr.flush()
            env["manychat.event"].search([("manychat_id", "=", PERSON)]).unlink()
            env["crm.lead"]._rebuild_pls_frequency_table()

    def lead_in(self, env):
        return env["crm.lead"].with_context(active_test=False).search([("x_manychat_id", "=", PERSON)])

    def decided(self):
        with self.transaction() as env:
            rows = env["manychat.event"].search([("manychat_id", "=", PERSON), ("type", "=", "decision")], order="id")
            return [from_envelope(row._envelope()) for row in rows]

    def drag(self, env, stage):
        self.lead_in(env).stage_id = self.stages[stage].id

    def test_a_commit_sends_the_decision_and_a_rollback_makes_none(self):
        with self.transaction(commits=False) as env:
            self.drag(env, 19)
            env.cr.flush()
        self.assertEqual(self.decided(), [])
        self.woken.assert_not_called()
        with self.transaction() as env:
            self.drag(env, 20)
        [event] = self.decided()
        self.assertEqual(event.payload.state.stage_id, self.stages[20].id)
        self.woken.assert_called_once()

    def test_each_transaction_has_its_own_decision_and_a_later_moment(self):
        for stage in (18, 19, 18):
            with self.transaction() as env:
                self.drag(env, stage)
        events = self.decided()
        self.assertEqual(
            [event.payload.state.stage_id for event in events], [self.stages[stage].id for stage in (18, 19, 18)]
        )
        self.assertEqual(len({event.id for event in events}), 3)
        self.assertEqual(
            [event.payload.stage_before_id for event in events], [self.stages[stage].id for stage in (17, 18, 19)]
        )
        moments = [event.payload.state.as_of for event in events]
        self.assertEqual(moments, sorted({*moments}))

    def test_two_users_at_the_same_moment_make_one_decision_each_or_one_repeats(self):
        with self.transaction() as first, self.transaction(commits=False) as second:
            self.lead_in(second).mapped("stage_id.name")  # its snapshot is older than the first one's commit
            self.drag(first, 19)
            first.cr.commit()  # pylint: disable=invalid-commit
            with self.assertRaises(psycopg2.errors.SerializationFailure):
                self.drag(second, 21)
                second.cr.flush()
        self.assertEqual(len(self.decided()), 1)
        with self.transaction() as again:  # as Odoo does with the request
            self.drag(again, 21)
        events = self.decided()
        self.assertEqual([event.payload.state.stage_id for event in events], [self.stages[n].id for n in (19, 21)])
        self.assertEqual(events[1].payload.stage_before_id, self.stages[19].id)

    def test_the_chat_does_not_wait_for_a_person_and_is_told_later_states(self):
        with self.transaction() as person:
            self.drag(person, 20)
            person.cr.flush()
            with self.transaction(self.bridge_user.id) as chat:
                [busy] = chat["crm.lead"].manychat_apply([opportunity(PERSON, 18, 1)])
            self.assertEqual((busy["status"], busy["state"]), ("retry", False))
        [event] = self.decided()
        with self.transaction(self.bridge_user.id) as chat:
            [stale] = chat["crm.lead"].manychat_apply([opportunity(PERSON, 18, 1)])
        self.assertEqual(stale["status"], "stale")
        state = OpportunityState.model_validate(stale["state"])
        self.assertEqual(state.stage_id, self.stages[20].id)
        self.assertGreater(state.as_of, event.payload.state.as_of)

    def test_the_back_fill_leaves_out_what_a_person_is_changing(self):
        def ask():
            with self.transaction(self.bridge_user.id) as bridge:
                return bridge["crm.lead"].manychat_get_states(0, 10, [PERSON])

        with self.transaction() as person:
            self.drag(person, 20)
            person.cr.flush()
            answer = ask()
            self.assertEqual((answer["busy"], answer["states"]), ([PERSON], []))
        [event] = self.decided()
        answer = ask()
        self.assertEqual(answer["busy"], [])
        [state] = answer["states"]
        self.assertGreater(OpportunityState.model_validate(state).as_of, event.payload.state.as_of)
        self.assertEqual(state["stage_id"], self.stages[20].id)

    def beside(self, env, write):
        """Have another app's ``write(original, leads, values)`` run within ours, as that of an app that comes first."""
        place = "odoo.addons.crm.models.crm_lead"
        [lead] = [each for each in type(env["crm.lead"]).mro() if each.__module__ == place]
        original = lead.write
        return patch.object(lead, "write", lambda leads, vals: write(original, leads, vals))

    def test_another_app_that_commits_while_a_user_moves_a_card_neither_loses_nor_doubles_the_decision(self):
        def before(original, leads, vals):
            leads.env.cr.commit()  # pylint: disable=invalid-commit
            return original(leads, vals)

        def after(original, leads, vals):
            result = original(leads, vals)
            leads.env.cr.commit()  # pylint: disable=invalid-commit
            return result

        def twice(original, leads, vals):
            leads.env.cr.commit()  # pylint: disable=invalid-commit
            return after(original, leads, vals)

        stages = []
        for write, stage in ((before, 19), (after, 18), (twice, 20)):
            with self.transaction() as env:
                lead = self.lead_in(env)
                lead.expected_revenue = stage
                with self.beside(env, write):
                    lead.stage_id = self.stages[stage].id
            stages.append(self.stages[stage].id)
            events = [event for event in self.decided() if Decided.STAGE in event.payload.decided]
            self.assertEqual([event.payload.state.stage_id for event in events], stages, write.__name__)
            self.assertEqual([event.payload.by for event in events], [events[0].payload.by] * len(events))

    def opportunity_id(self):
        with self.transaction() as env:
            return self.lead_in(env).ensure_one().id

    def other_opportunity(self):
        with self.transaction() as env:
            lead = env["crm.lead"].create({"name": "Otra", "type": "opportunity", "stage_id": self.stages[19].id})
        self.addCleanup(self.delete, lead.id)
        return lead.id

    def delete(self, lead_id):
        with self.transaction() as env:
            env["crm.lead"].browse(lead_id).exists().unlink()

    def newest(self):
        return max((event.payload.state for event in self.decided()), key=lambda state: state.as_of)

    def test_a_conversation_that_another_opportunity_gets_meanwhile_is_not_said_to_be_with_the_former(self):
        """A user moves the former one, with a snapshot from before; so does the chat; so does an automation."""
        former, other = self.opportunity_id(), self.other_opportunity()
        with self.transaction(commits=False) as late:
            late["crm.lead"].browse(former).stage_id.name  # noqa: B018 (its snapshot begins)
            with self.transaction() as hand:
                hand["manychat.identity"].search([("manychat_id", "=", PERSON)]).lead_id = other
            with self.assertRaises(psycopg2.errors.SerializationFailure):
                late["crm.lead"].browse(former).stage_id = self.stages[21].id
                late.cr.flush()
        self.assertEqual(self.newest().lead_id, other)
        with self.transaction(self.bridge_user.id) as chat:
            chat.cr.execute("SELECT 1")
            with self.transaction() as hand:
                hand["manychat.identity"].search([("manychat_id", "=", PERSON)]).lead_id = former
            [answer] = chat["crm.lead"].manychat_apply([opportunity(PERSON, 18, 1)])
        self.assertEqual((answer["status"], answer["state"]), ("retry", False))
        self.assertEqual(self.newest().lead_id, former)

    def test_a_conversation_that_comes_to_an_opportunity_meanwhile_gets_what_a_user_does_to_it(self):
        other = self.other_opportunity()
        with self.transaction(commits=False) as late:
            late["crm.lead"].browse(other).stage_id.name  # noqa: B018 (its snapshot begins)
            with self.transaction() as hand:
                hand["manychat.identity"].search([("manychat_id", "=", PERSON)]).lead_id = other
            # Without the conflict, no decision would say so: no conversation follows in this snapshot.
            with self.assertRaises(psycopg2.errors.SerializationFailure):
                late["crm.lead"].browse(other).expected_revenue = 17
                late.cr.flush()
        with self.transaction() as again:
            again["crm.lead"].browse(other).expected_revenue = 17
        self.assertEqual((self.newest().lead_id, self.newest().expected_revenue), (other, 17))

    def test_a_user_who_is_first_has_the_hand_that_moves_the_conversation_repeat(self):
        former, other = self.opportunity_id(), self.other_opportunity()
        with self.transaction(commits=False) as hand:
            identity = hand["manychat.identity"].search([("manychat_id", "=", PERSON)])
            identity.lead_id.stage_id.name  # noqa: B018 (its snapshot begins)
            with self.transaction() as first:
                first["crm.lead"].browse(former).expected_revenue = 5
            with self.assertRaises(psycopg2.errors.SerializationFailure):
                identity.lead_id = other
                hand.cr.flush()
        with self.transaction() as again:
            again["manychat.identity"].search([("manychat_id", "=", PERSON)]).lead_id = other
        states = [event.payload.state for event in self.decided()]
        self.assertEqual([state.lead_id for state in states], [former, other])
        self.assertLess(states[0].as_of, states[1].as_of)
