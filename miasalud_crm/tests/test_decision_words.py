from odoo.tests import new_test_user, tagged

from .decision_case import PERSON, DecisionCase

FIRST = "First answer to the customer"


@tagged("post_install", "-at_install")
class TestDecisionWords(DecisionCase):
    """What a manager reads about a decision in Deliveries."""

    def words(self):
        self.decided()
        [event] = self.env["manychat.event"].search([("type", "=", "decision")])
        manager = self.env["res.users"].search([("login", "=", "jefa.words")], limit=1)
        manager = manager or new_test_user(self.env, "jefa.words", "sales_team.group_sale_manager")
        event = event.with_user(manager)
        return event.decision_text, event.decided_by

    def test_a_move_says_from_where_to_where_and_by_whom(self):
        lead = self.mine()
        before = lead.stage_id
        after = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 24)]).stage_id
        lead.stage_id = after
        self.assertEqual(self.words(), (f"Stage: {before.name} → {after.name} · {FIRST}", "Laura Prueba"))

    def test_several_changes_are_one_line(self):
        lead = self.mine()
        team = self.env["crm.team"].create({"name": "Equipo de palabras"})
        lead.write({"expected_revenue": 1234, "user_id": self.user.id, "team_id": team.id})
        text, _by = self.words()
        self.assertIn("Salesperson: Laura Prueba · Sales team: Equipo de palabras · Expected revenue: ", text)
        self.assertIn("1,234.00", text)

    def test_a_loss_says_why_and_a_restored_one_is_in_its_stage(self):
        reason = self.env["crm.lost.reason"].create({"name": "Muy caro"})
        self.mine().action_set_lost(lost_reason_id=reason.id)
        self.assertEqual(self.words()[0], f"Lost: Muy caro · {FIRST}")
        self.begin()
        self.mine().toggle_active() if hasattr(self.mine(), "toggle_active") else self.mine().action_unarchive()
        self.assertEqual(self.words()[0], "Restored")

    def test_what_no_user_did_is_named_as_what_it_was(self):
        said = {
            self.env["manychat.event"]._actor_words(actor, None) for actor in ("automation", "assignment", "import")
        }
        self.assertEqual(len(said - {False}), 3)
        self.assertEqual(self.env["manychat.event"]._actor_words("import", "Ana"), "Import by Ana")
        self.assertIn("deleted", self.env["manychat.event"]._actor_words("person", None))

    def test_a_deleted_one_and_one_of_a_later_release_are_readable(self):
        self.mine().sudo().unlink()
        self.assertIn("Deleted", self.words()[0])
        self.assertEqual(self.env["manychat.event"]._change_words("sung", {}, {}), "")

    def test_a_decision_has_no_answer_and_an_event_no_decision(self):
        self.mine().expected_revenue = 5
        self.decided()
        [decision] = self.env["manychat.event"].search([("type", "=", "decision")])
        self.assertFalse(decision.answer)
        event = self.env["manychat.event"].search([("manychat_id", "=", PERSON), ("type", "=", "opportunity")], limit=1)
        self.assertFalse(event.decision_text or event.decided_by)

    def test_a_page_of_decisions_reads_the_names_together(self):
        lead = self.mine()
        for amount in range(1, 4):
            lead.expected_revenue = amount
            self.env.cr.flush()
            self.env.cr.postcommit.data.clear()
        events = self.env["manychat.event"].search([("type", "=", "decision")])
        self.assertEqual(len(events), 3)
        self.env.flush_all()
        self.env.invalidate_all()
        events[:1].mapped("decided_by")  # reads what is the same for every page
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        events[:1].with_prefetch().mapped("decided_by")
        one = self.env.cr.sql_log_count - before
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        events.mapped("decided_by")
        self.assertEqual(self.env.cr.sql_log_count - before, one)
