from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, opportunity


def at(minute):
    return f"2026-03-02T09:{minute:02}:00+00:00"


@tagged("post_install", "-at_install")
class TestUnsent(ManychatCase):
    def setUp(self):
        super().setUp()
        self.apply(opportunity("MC-A"), opportunity("MC-B"))
        self.first, self.second = self.lead("MC-A"), self.lead("MC-B")
        self.seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")

    def report(self, manychat_id="MC-A", minute=0, code="window_closed", message="Outside of 24 hours", event="e1"):
        result = {"manychat_id": manychat_id, "event_id": event, "code": code, "message": message, "at": at(minute)}
        self.assertIs(self.env["crm.lead"].with_user(self.bridge_user).manychat_record_write_back([result]), True)
        self.env.invalidate_all()

    def unsent(self):
        domain = [("manychat_unsent", "=", True)]
        found = self.env["crm.lead"].search(domain)
        self.assertEqual(found, (self.first | self.second).filtered("manychat_unsent"))
        every = self.env["crm.lead"].search([("id", "in", (self.first | self.second).ids)])
        self.assertEqual(every.search([("id", "in", every.ids), ("manychat_unsent", "=", False)]), every - found)
        return found

    def test_a_refusal_is_shown_with_what_to_do(self):
        self.assertFalse(self.unsent())
        self.report()
        self.assertEqual(self.unsent(), self.first)
        self.assertIn("templates only", self.first.manychat_unsent_text)
        self.assertEqual(str(self.first.manychat_unsent_at), "2026-03-02 09:00:00")
        said = set()
        for minute, code in enumerate(("unknown_person", "missing", "too_many_flows"), start=1):
            self.report(minute=minute, code=code)
            said.add(self.first.manychat_unsent_text)
        self.assertEqual(len(said), 3)
        self.report(minute=9, code="something_new", message="The page is gone.")
        self.assertIn("refused what was decided here: The page is gone. The bot", self.first.manychat_unsent_text)

    def test_an_older_report_that_comes_later_changes_nothing(self):
        self.report(minute=5, code="unknown_person")
        self.report(minute=3, code="")
        self.assertIn("does not know this person", self.first.manychat_unsent_text)

    def test_the_latest_of_one_report_counts(self):
        results = [
            {"manychat_id": "MC-A", "event_id": "e1", "code": code, "message": "", "at": at(minute)}
            for code, minute in (("missing", 1), ("", 3), ("window_closed", 2))
        ]
        self.env["crm.lead"].with_user(self.bridge_user).manychat_record_write_back(results)
        self.env.invalidate_all()
        self.assertFalse(self.unsent())

    def test_it_is_over_when_manychat_takes_something_newer(self):
        self.report(minute=1)
        self.report(minute=2, code="", message="")
        self.assertFalse(self.unsent())

    def test_what_a_user_has_seen_does_not_come_back_with_the_same_report(self):
        self.report()
        self.first.user_id = self.seller
        self.first.with_user(self.seller).action_manychat_unsent_seen()
        self.assertFalse(self.unsent())
        self.report()
        self.assertFalse(self.unsent())
        self.report(minute=1)
        self.assertEqual(self.unsent(), self.first)

    def test_the_chatter_keeps_what_was_marked_as_seen_and_none_of_manychats_own_words(self):
        self.report()
        self.report("MC-B", code="something_new", message="Ana Torres is blocked")
        (self.first | self.second).action_manychat_unsent_seen()
        self.assertIn("templates only", self.first.message_ids[0].body)
        self.assertIn("refused what was decided", self.second.message_ids[0].body)
        self.assertNotIn("Ana Torres", self.second.message_ids[0].body)
        count = len(self.first.message_ids)
        self.first.action_manychat_unsent_seen()
        self.assertEqual(len(self.first.message_ids), count)

    def test_to_mark_it_as_seen_is_no_answer_and_no_decision(self):
        self.report()
        before = self.env["manychat.event"].search_count([])
        self.first.action_manychat_unsent_seen()
        self.env.cr.precommit.run()
        self.assertFalse(self.first.manychat_answered_at)
        self.assertEqual(self.env["manychat.event"].search_count([]), before)

    def test_only_who_may_change_the_opportunity_marks_it_as_seen(self):
        self.report()
        self.first.user_id = new_test_user(self.env, "otro", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.first.with_user(self.seller).action_manychat_unsent_seen()

    def test_a_merged_opportunity_shows_it_of_each_of_its_people(self):
        self.report("MC-B")
        (self.first | self.second).merge_opportunity()
        survivor = (self.first | self.second).exists()
        self.assertEqual(self.env["crm.lead"].search([("manychat_unsent", "=", True)]), survivor)

    def test_people_without_an_opportunity_are_passed_over(self):
        self.report("MC-UNKNOWN")
        self.assertIs(self.env["crm.lead"].with_user(self.bridge_user).manychat_record_write_back([]), True)
        self.assertFalse(self.unsent())

    def test_only_the_bridge_may_report(self):
        with self.assertRaises(AccessError):
            self.env["crm.lead"].with_user(self.seller).manychat_record_write_back([])

    def test_nothing_of_the_opportunity_itself_is_written(self):
        self.env.flush_all()
        before = self.first.read(["write_date", "write_uid", "message_ids"])
        self.report()
        self.assertEqual(self.first.read(["write_date", "write_uid", "message_ids"]), before)

    def test_erasing_the_person_takes_manychats_words_too(self):
        self.report()
        self.env["manychat.event"].with_user(self.bridge_user).erase("MC-A")
        self.env.invalidate_all()
        identity = self.first.manychat_identity_ids
        self.assertFalse(identity.unsent or identity.unsent_message or identity.unsent_event_id)

    def test_the_form_shows_it_and_an_opportunity_without_a_conversation_costs_nothing(self):
        self.report()
        self.assertTrue(Form(self.first).manychat_unsent)
        plain = self.env["crm.lead"].create({"name": "Sin chat"})
        self.env.flush_all()
        plain.read(["x_manychat_id"])
        with self.assertQueryCount(0):
            self.assertFalse(plain.manychat_unsent)
