from odoo.tests import tagged

from bridge.contract.opportunity_state import Actor, Status
from bridge.contract.payloads import Decided

from .common import opportunity
from .decision_case import PERSON, DecisionCase

OTHER = "MC-DECIDED-2"


@tagged("post_install", "-at_install")
class TestSharedOpportunity(DecisionCase):
    """Of merged opportunities, one follows several conversations. What one changes, SQL has to know of all of them."""

    def setUp(self):
        super().setUp()
        self.apply(opportunity(OTHER, 18, 1))
        self.survivor = (self.lead(PERSON) | self.lead(OTHER)).with_user(self.user).merge_opportunity().sudo()
        self.begin()

    def told(self):
        return {each.manychat_id: each for each in self.decided()}

    def test_a_move_by_one_conversation_is_a_decision_of_the_other(self):
        before = self.survivor.stage_id.name
        self.apply(opportunity(OTHER, 20, 5))
        [(person, decision)] = self.told().items()
        self.assertEqual((person, decision.by, decision.user_id), (PERSON, Actor.CHAT, None))
        self.assertEqual((decision.decided, decision.stage_before), ((Decided.STAGE,), before))
        self.assertEqual((decision.state.stage_id, decision.state.lead_id), (self.stages[20].id, self.survivor.id))
        event = self.env["manychat.event"].search([("type", "=", "decision")])
        self.assertEqual((event.lead_id, event.decided_by), (self.survivor, "Another conversation of the opportunity"))

    def test_the_same_event_again_is_no_second_one(self):
        for _attempt in range(2):
            self.apply(opportunity(OTHER, 20, 5))
        self.assertEqual(len(self.decided()), 1)

    def test_what_changes_nothing_is_none(self):
        stage = next(number for number, each in self.stages.items() if each == self.survivor.stage_id)
        self.apply(opportunity(OTHER, 20, -60), opportunity(OTHER, stage, 5))
        self.assertEqual(self.decided(), [])

    def test_a_won_stage_is_a_win_of_the_other(self):
        self.stages[20].is_won = True
        self.begin()
        self.apply(opportunity(OTHER, 20, 5))
        [decision] = self.decided()
        self.assertEqual(decision.decided, (Decided.STAGE, Decided.WON))
        self.assertEqual(decision.state.status, Status.WON)

    def test_of_a_batch_each_conversation_hears_what_came_after_its_own_move(self):
        self.apply(opportunity(PERSON, 20, 5), opportunity(OTHER, 21, 6), opportunity(PERSON, 22, 3))
        [(person, decision)] = self.told().items()
        self.assertEqual(person, PERSON)
        self.assertEqual((decision.stage_before, decision.state.stage), (self.stages[20].name, self.stages[21].name))

    def test_nothing_is_recorded_of_an_opportunity_with_one_conversation(self):
        self.apply(opportunity("MC-DECIDED-9", 20, 5))
        self.apply(opportunity("MC-DECIDED-9", 21, 6))
        self.assertEqual(self.decided(), [])
