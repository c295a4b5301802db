"""Many deliveries sent again: counted before, at a rate, with a result; it can be stopped."""

import json
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from .common import opportunity
from .test_deliveries import DeliveryCase


@tagged("post_install", "-at_install")
class TestResend(DeliveryCase):
    def setUp(self):
        super().setUp()
        self.patch(self.env.cr, "commit", lambda: None)
        self.patch(self.env.cr, "rollback", lambda: None)

    def failed(self, count, code="refused"):
        envelopes = [opportunity(f"MC-F{number}") for number in range(count)]
        self.apply(*envelopes)
        events = self.events.search([("event_id", "in", [each["id"] for each in envelopes])])
        events.sudo().write({"state": "failed", "code": code, "message": "x"})
        return events

    def prepared(self, events):
        return self.env["manychat.resend"].with_user(self.manager).browse(events.action_resend()["res_id"])

    def minute_later(self, resend):
        resend.sudo().sent_until = fields.Datetime.now() - timedelta(minutes=1)
        self.env["manychat.resend"]._cron_resend()
        self.env.invalidate_all()

    def test_what_goes_and_what_is_left_out_is_counted_before(self):
        failed = self.failed(3)
        done, unmapped = opportunity("MC-D"), opportunity("MC-U", 99)
        self.apply(done, unmapped)
        erased = self.failed(4) - failed
        erased.sudo().payload = False
        valid = self.refused({"manychat_id": "MC-9", "state": {"stage_id": 17}})
        wrong = self.refused({"manychat_id": "MC-9", "state": {"stage_id": "x"}})
        masked = self.refused("{}")
        all_ = failed | self.row(done) | self.row(unmapped) | erased | valid | wrong | masked
        resend = self.prepared(all_)
        self.assertEqual((resend.to_send_count, resend.left_out_count), (4, 5))
        reasons = resend.line_ids.filtered("reason").mapped("reason")
        self.assertEqual(sorted(reasons), ["done", "erased", "refused", "refused", "unmapped"])
        self.assertEqual({event.state for event in failed}, {"failed"})  # nothing is sent yet
        self.assertIn('data-part="left_out"', str(resend.summary))

    def test_portions_go_at_the_rate_and_the_result_is_told(self):
        events = self.failed(7)
        resend = self.prepared(events)
        resend.rate = 3
        resend.action_start()
        self.env.invalidate_all()
        self.assertEqual((resend.state, resend.sent_count), ("running", 3))
        self.minute_later(resend)
        self.assertEqual((resend.state, resend.sent_count, resend.progress), ("running", 6, 86))
        self.minute_later(resend)
        self.assertEqual((resend.state, resend.sent_count, resend.on_its_way_count), ("done", 7, 7))
        self.assertEqual(self.codes(events[0]), ["retried"])
        self.assertEqual(events[0].attempts[0]["by"], "Jefa")
        self.apply(*(event._envelope() for event in events[:5]))
        events[5:].sudo().write({"state": "failed"})
        self.env.flush_all()
        self.env.invalidate_all()
        self.assertEqual((resend.succeeded_count, resend.failed_count, resend.on_its_way_count), (5, 2, 0))
        failed_again = self.events.search(resend.action_view_failed()["domain"])
        self.assertEqual(failed_again, events[5:].sorted("id", reverse=True))

    def test_a_job_that_did_not_run_for_long_makes_no_flood(self):
        resend = self.prepared(self.failed(6))
        resend.rate = 2
        resend.action_start()
        resend.sudo().sent_until = fields.Datetime.now() - timedelta(hours=3)
        self.env["manychat.resend"]._cron_resend()
        self.env.invalidate_all()
        self.assertEqual(resend.sent_count, 4)

    def test_it_can_be_stopped_and_goes_on(self):
        resend = self.prepared(self.failed(4))
        resend.rate = 2
        resend.action_start()
        resend.action_stop()
        self.minute_later(resend)
        self.assertEqual((resend.state, resend.sent_count), ("stopped", 2))
        self.assertIs(resend.action_start(), True)  # the open page shows it
        self.env.invalidate_all()
        self.assertEqual((resend.state, resend.sent_count), ("done", 4))

    def test_who_stops_and_goes_on_at_once_sends_no_faster(self):
        resend = self.prepared(self.failed(5))
        resend.rate = 2
        resend.action_start()
        for _time in range(2):
            resend.action_stop()
            resend.action_start()
        self.env.invalidate_all()
        self.assertEqual((resend.state, resend.sent_count), ("running", 2))
        self.env["manychat.resend"]._cron_resend()  # less than a delivery's time later
        self.env.invalidate_all()
        self.assertEqual((resend.state, resend.sent_count), ("running", 2))

    def test_what_changed_meanwhile_is_left_out(self):
        events = self.failed(2)
        resend = self.prepared(events)
        events[0].action_retry()
        resend.action_start()
        self.env.invalidate_all()
        self.assertEqual((resend.sent_count, resend.left_out_count), (1, 1))
        self.assertEqual(events[0].retries, 1)

    def test_valid_refused_requests_are_sent_as_they_were(self):
        body = {"manychat_id": "MC-9", "state": {"stage_id": 17}}
        refused = self.refused(body)
        resend = self.prepared(refused)
        resend.action_start()
        self.env.invalidate_all()
        event = refused.correction_id
        self.assertEqual((refused.state, event.state), ("corrected", "pending"))
        self.assertEqual(json.loads(event.request["body"]), body)
        self.assertEqual((resend.sent_count, resend.line_ids.sent_event_id), (1, event))

    def test_nothing_to_send_is_no_sending(self):
        self.apply(opportunity("MC-D"))
        resend = self.prepared(self.events.search([("manychat_id", "=", "MC-D")]))
        with self.assertRaises(UserError):
            resend.action_start()

    def test_a_rate_of_nothing_or_of_very_many_is_refused(self):
        resend = self.prepared(self.failed(1))
        for rate in (0, -1, 100_000):
            with self.assertRaises(ValidationError):
                resend.rate = rate

    def test_one_damaged_event_does_not_hold_up_the_others(self):
        refused = self.refused({"manychat_id": "MC-9", "state": {"stage_id": 17}})
        failed = self.failed(1)
        resend = self.prepared(refused | failed)
        refused.sudo().request = {"body": None}
        resend.action_start()
        self.env.invalidate_all()
        self.assertEqual((resend.state, resend.sent_count, failed.state), ("done", 1, "pending"))

    def test_drafts_and_old_ones_are_deleted(self):
        draft, kept = self.prepared(self.failed(1)), self.prepared(self.failed(2)[-1:])
        self.env.flush_all()
        self.env.cr.execute("UPDATE manychat_resend SET create_date = '2020-01-01' WHERE id = %s", [draft.id])
        self.env.invalidate_all()
        self.env["manychat.resend"]._gc_resends()
        self.assertFalse(draft.exists())
        self.assertTrue(kept.exists())

    def test_the_counts_cost_the_same_however_many_lines(self):
        small, large = self.prepared(self.failed(1)), self.prepared(self.failed(40))
        for resend in (small, large):
            self.env.invalidate_all()
            resend.mapped("state")
            with self.assertQueryCount(3):
                resend.mapped("progress")

    def test_salespeople_send_nothing(self):
        resend = self.prepared(self.failed(1)).with_user(self.seller)
        for action in (resend.action_start, resend.action_stop, resend.action_view_failed):
            with self.assertRaises(AccessError):
                action()
