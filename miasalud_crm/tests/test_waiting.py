from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from .common import ManychatCase, at, opportunity


def naive(minutes):
    return at(minutes).replace(tzinfo=None)


@tagged("post_install", "-at_install")
class TestWaiting(ManychatCase):
    """Since when the customer waits for us: from the first unanswered words to our next action."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman_all_leads", email="vera@example.com")

    def write_words(self, minutes=0, summary="Hola", stage=17, manychat_id="MC-TEST-1", **fields):
        self.apply(opportunity(manychat_id, stage, minutes, summary=summary, **fields))
        return self.lead(manychat_id)

    def assert_waits(self, lead, minutes):
        self.env.flush_all()
        lead.invalidate_recordset()
        self.assertEqual(lead.manychat_waits_since, naive(minutes))

    def assert_answered(self, lead, minutes):
        self.env.flush_all()
        lead.invalidate_recordset()
        self.assertFalse(lead.manychat_waits_since)
        self.assertEqual(lead.manychat_answered_at, naive(minutes))

    # -- words ------------------------------------------------------------

    def test_the_first_words_begin_the_wait_and_later_ones_do_not_shorten_it(self):
        lead = self.write_words(0)
        self.assert_waits(lead, 0)
        self.write_words(5, "¿Hay citas?")
        self.assert_waits(lead, 0)
        self.assertEqual(lead.manychat_words_at, naive(5))
        self.assertEqual(lead.manychat_summary, "¿Hay citas?")

    def test_an_event_without_words_begins_no_wait(self):
        self.apply(opportunity(stage=17))
        self.apply(opportunity(stage=18, minutes=1))
        self.assertFalse(self.lead().manychat_waits_since)
        self.assertFalse(self.lead().manychat_words_at)

    def test_the_order_of_arrival_does_not_matter(self):
        lead = self.write_words(5, "Segundo")
        self.write_words(0, "Primero")
        self.assert_waits(lead, 0)
        self.assertEqual((lead.manychat_words_at, lead.manychat_summary), (naive(5), "Segundo"))

    def test_words_before_our_last_action_that_arrive_late_wait_for_nothing(self):
        lead = self.write_words(0)
        with freeze_time(naive(10)):
            lead.with_user(self.vera).action_manychat_answered()
        self.write_words(8, "Tarde")
        self.assert_answered(lead, 10)
        self.assertEqual(lead.manychat_words_at, naive(8))
        self.write_words(11, "Otra vez")
        self.assert_waits(lead, 11)

    def test_a_bot_whose_clock_runs_ahead_does_not_make_the_future_wait(self):
        lead = self.write_words(300, received=2)
        self.assert_waits(lead, 2)
        self.assertEqual(lead.manychat_words_at, naive(2))

    def test_a_won_opportunity_waits_for_nothing(self):
        lead = self.write_words(0, stage=25)
        self.write_words(1, "Pagado", stage=26)
        self.assertTrue(lead.stage_id.is_won)
        self.assertFalse(lead.manychat_waits_since)
        self.assertEqual(lead.manychat_words_at, naive(1))
        self.write_words(2, "Gracias", stage=26)
        self.assertFalse(lead.manychat_waits_since)

    def test_a_lost_one_waits_when_the_customer_comes_back(self):
        lead = self.write_words(0)
        with freeze_time(naive(5)):
            lead.with_user(self.vera).action_set_lost()
        self.assert_answered(lead, 5)
        self.write_words(3, "Antes de perderla")
        self.assertFalse(lead.manychat_waits_since)
        self.write_words(9, "He vuelto")
        self.assertTrue(lead.active)
        self.assert_waits(lead, 9)

    # -- our actions ------------------------------------------------------

    def test_each_of_our_actions_answers(self):
        subtype_note = "mail.mt_note"
        actions = {
            "message": lambda lead: lead.message_post(
                body="Buenos días", message_type="comment", subtype_xmlid="mail.mt_comment"
            ),
            "note": lambda lead: lead.message_post(body="Llamada", message_type="comment", subtype_xmlid=subtype_note),
            "move": lambda lead: lead.write({"stage_id": self.stages[21].id}),
            "won": lambda lead: lead.action_set_won(),
            "lost": lambda lead: lead.action_set_lost(),
            "button": lambda lead: lead.action_manychat_answered(),
            "activity": lambda lead: lead.activity_schedule(
                "mail.mail_activity_data_call", user_id=self.vera.id
            ).action_feedback(feedback="Hecho"),
        }
        for position, (name, act) in enumerate(actions.items()):
            with self.subTest(name):
                lead = self.write_words(0, manychat_id=f"MC-{position}", stage=18)
                with freeze_time(naive(10)):
                    act(lead.with_user(self.vera))
                self.assert_answered(lead, 10)

    def test_an_email_to_many_from_the_list_answers_each(self):
        leads = self.write_words(0, manychat_id="MC-A") | self.write_words(0, manychat_id="MC-B")
        leads.write({"email_from": "ana@example.com"})
        composer = (
            self.env["mail.compose.message"]
            .with_user(self.vera)
            .create(
                {
                    "composition_mode": "mass_mail",
                    "model": "crm.lead",
                    "res_ids": repr(leads.ids),
                    "subject": "Cita",
                    "body": "<p>Hola</p>",
                }
            )
        )
        composer._action_send_mail()
        self.assertFalse(leads.filtered("manychat_waits_since"))
        self.assertTrue(all(leads.mapped("manychat_answered_at")))

    def test_restoring_by_hand_answers(self):
        lead = self.write_words(0)
        with freeze_time(naive(1)):
            lead.with_user(self.vera).action_set_lost()
        with freeze_time(naive(6)):
            lead.with_user(self.vera).action_unarchive()
        self.assert_answered(lead, 6)

    def test_what_is_no_action_of_ours_leaves_the_customer_waiting(self):
        lead = self.write_words(0, stage=18)
        customer = self.env["res.partner"].create({"name": "Ana", "email": "ana@example.com"})
        portal = new_test_user(self.env, "cliente", "base.group_portal")
        lead.message_post(body="De vuelta", message_type="email", author_id=customer.id)
        lead.message_post(body="Desde el portal", message_type="comment", author_id=portal.partner_id.id)
        lead.message_post(body="OdooBot", message_type="comment")
        lead.with_user(self.vera).message_post(body="Sistema", message_type="notification")
        lead.with_user(self.vera).write({"expected_revenue": 100, "user_id": self.vera.id, "priority": "2"})
        self.env.cr.precommit.run()
        lead.stage_id = self.stages[21]  # a scheduled action
        self.apply(opportunity(stage=22, minutes=3))
        self.assert_waits(lead, 0)
        self.assertFalse(lead.manychat_answered_at)

    def test_our_answer_by_email_is_ours(self):
        lead = self.write_words(0)
        lead.message_post(body="Respuesta", message_type="email", author_id=self.vera.partner_id.id)
        self.assertFalse(lead.manychat_waits_since)

    def test_a_scheduled_action_that_closes_an_opportunity_ends_the_wait(self):
        lead = self.write_words(0)
        lead.action_set_lost()
        self.assertFalse(lead.manychat_waits_since)
        self.assertFalse(lead.manychat_answered_at)

    def test_answered_leaves_a_line_in_the_chatter(self):
        lead = self.write_words(0)
        lead.with_user(self.vera).action_manychat_answered()
        line = lead.message_ids.sorted("id")[-1]
        self.assertEqual(line.author_id, self.vera.partner_id)
        self.assertIn("Marked as answered.", line.body)

    def test_answered_can_be_undone(self):
        lead = self.write_words(0)
        lead.with_user(self.vera).action_manychat_answered()
        lead.with_user(self.vera).action_manychat_waits_again()
        self.assert_waits(lead, 0)
        self.assertIn("Marked as not answered yet.", lead.message_ids.sorted("id")[-1].body)
        lead.action_set_lost()
        lead.with_user(self.vera).action_manychat_waits_again()
        self.assertFalse(lead.manychat_waits_since)

    def test_answered_is_for_users_who_may_change_the_opportunity(self):
        lead = self.write_words(0)
        own = new_test_user(self.env, "omar", "sales_team.group_sale_salesman")
        lead.user_id = self.vera
        with self.assertRaises(AccessError):
            lead.with_user(own).action_manychat_answered()

    # -- merge, duplicate, rights -------------------------------------------

    def test_a_merged_opportunity_has_the_newest_words_and_the_longest_wait(self):
        first, second = self.write_words(0, "Antes", manychat_id="MC-A"), self.write_words(5, "Ya", manychat_id="MC-B")
        with freeze_time(naive(6)):
            second.with_user(self.vera).action_manychat_answered()
        self.write_words(9, "Después", manychat_id="MC-B")
        merged = (first | second).with_user(self.vera).merge_opportunity()
        self.assert_waits(merged, 0)
        self.assertEqual((merged.manychat_words_at, merged.manychat_summary), (naive(9), "Después"))
        self.assertEqual(merged.manychat_answered_at, naive(6))

    def test_a_duplicate_waits_for_nothing(self):
        copy = self.write_words(0).copy()
        self.assertFalse(copy.manychat_waits_since or copy.manychat_words_at or copy.manychat_answered_at)

    def test_no_user_writes_these_fields(self):
        lead = self.write_words(0)
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        for name in ("manychat_words_at", "manychat_answered_at", "manychat_waits_since"):
            with self.assertRaises(AccessError):
                lead.with_user(manager).write({name: False})

    # -- what it costs ------------------------------------------------------

    def test_a_message_on_an_opportunity_without_conversation_costs_no_statement_more(self):
        plain = self.env["crm.lead"].create({"name": "Sin ManyChat", "type": "opportunity"}).with_user(self.vera)
        is_written = type(plain)._manychat_has_written

        def without_ours(lead, message):
            return False

        counts = {without_ours: [], is_written: []}
        for check in (is_written, without_ours, is_written, without_ours):  # the first one fills caches
            with patch.object(type(plain), "_manychat_has_written", check):
                self.env.flush_all()
                self.env.invalidate_all()
                before = self.env.cr.sql_log_count
                plain.message_post(body="Hola", message_type="comment")
                self.env.flush_all()
                counts[check].append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[without_ours][-1], counts[is_written][-1])

    def test_words_in_a_batch_cost_no_statement_more_than_a_silent_event(self):
        def batch(prefix, stage, minutes, **fields):
            return [opportunity(f"MC-{prefix}-{number}", stage, minutes, **fields) for number in range(32)]

        counts = []
        for prefix in ("X", "A", "B"):  # the first one fills caches
            self.apply(*batch(prefix, 17, 0, summary="Hola"))
            self.env.flush_all()
            if prefix == "B":  # without ours
                nothing = lambda lead, *args, **kwargs: {}  # noqa: E731
                self.patch(type(self.env["crm.lead"]), "_manychat_waiting_values", nothing)
            before = self.env.cr.sql_log_count
            self.apply(*batch(prefix, 18, 1, summary="¿Hay citas?"))
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[2])


@tagged("post_install", "-at_install")
class TestWaitingUpgrade(ManychatCase):
    def test_an_upgrade_finds_who_wrote_last_and_who_still_waits(self):
        from .test_migrations import script

        now = datetime.now(timezone.utc)
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman_all_leads")
        ages = {"MC-WAITS": timedelta(hours=3), "MC-ANSWERED": timedelta(hours=3), "MC-OLD": timedelta(days=30)}
        for manychat_id, age in ages.items():
            minutes = (now - age - at(0)).total_seconds() / 60
            self.apply(opportunity(manychat_id, 17, minutes, summary="Hola"))
        self.lead("MC-ANSWERED").with_user(vera).message_post(body="Buenas", message_type="comment")
        self.apply(opportunity("MC-SILENT", 17, (now - at(0)).total_seconds() / 60))
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE crm_lead SET manychat_words_at = NULL, manychat_answered_at = NULL, manychat_waits_since = NULL"
        )
        script("0.5.0/post-waiting.py").migrate(self.env.cr, "0.4.0")
        self.env.invalidate_all()
        for manychat_id, age in ages.items():
            self.assertAlmostEqual(
                self.lead(manychat_id).manychat_words_at, fields.Datetime.now() - age, delta=timedelta(minutes=5)
            )
        waits = self.lead("MC-WAITS")
        self.assertEqual(waits.manychat_waits_since, waits.manychat_words_at)
        self.assertFalse(self.lead("MC-ANSWERED").manychat_waits_since)
        self.assertTrue(self.lead("MC-ANSWERED").manychat_answered_at)
        self.assertFalse(self.lead("MC-OLD").manychat_waits_since)
        self.assertFalse(self.lead("MC-SILENT").manychat_words_at)
