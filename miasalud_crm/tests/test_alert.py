from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from .common import ManychatCase, let_jobs_run, opportunity


@tagged("post_install", "-at_install")
class TestAlert(ManychatCase):
    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.receiver = new_test_user(self.env, "guardia", "sales_team.group_sale_manager")
        self.env["manychat.settings"].create({"alert_user_id": self.receiver.id, "silent_minutes": 10}).execute()
        self.env["manychat.event"].search([]).unlink()
        self.bridge_seen(minutes_ago=0)

    def bridge_seen(self, minutes_ago):
        self.env["manychat.bridge"].search([]).unlink()
        last_seen = fields.Datetime.now() - timedelta(minutes=minutes_ago)
        self.env["manychat.bridge"].create({"name": "test/1", "last_seen": last_seen})

    def check(self):
        """Look for problems, as every minute, and return the open activities."""
        self.env["manychat.alert"]._cron_check()
        return self.env["mail.activity"].search([("res_model", "=", "manychat.alert")])

    def failed(self, manychat_id):
        event = opportunity(manychat_id, 99)
        self.apply(event)
        return self.env["manychat.event"].search([("event_id", "=", event["id"])])

    def test_all_is_well(self):
        self.assertFalse(self.check())

    def test_failed_events_are_one_activity_that_counts_them_and_closes_itself(self):
        events = self.failed("MC-A")
        activity = self.check()
        self.assertEqual(activity.user_id, self.receiver)
        self.assertIn("1", activity.summary)
        self.assertEqual(self.check(), activity)
        events |= self.failed("MC-B")
        self.assertEqual(self.check(), activity)
        self.assertIn("2", activity.summary)
        alert = self.env["manychat.alert"].search([("kind", "=", "failed")])
        self.assertTrue(alert.since)
        self.assertEqual(self.env["manychat.event"].search([("state", "=", "failed")]), events)
        events.action_discard()
        self.assertFalse(self.check())
        self.assertFalse(alert.since)
        self.assertTrue(alert.message_ids, "the chatter says that it is over")
        self.failed("MC-C")
        self.assertEqual(len(self.check()), 1)

    def test_an_event_that_the_bridge_still_tries_is_no_trouble_yet(self):
        event = opportunity("MC-A")
        with (
            patch.object(self.registry["crm.lead"], "_manychat_create", side_effect=UserError("No se puede.")),
            mute_logger("odoo.addons.miasalud_crm.models.crm_lead_apply"),
        ):
            self.assertEqual(self.apply(event)[0]["code"], "refused")
        self.assertFalse(self.check())
        outcome = {"event_id": event["id"], "state": "failed", "code": "refused"}
        self.env["manychat.event"].with_user(self.bridge_user).record_outcomes([outcome])
        self.assertIn("1", self.check().summary)

    def test_who_has_marked_it_done_hears_of_it_again_only_when_it_grows(self):
        self.failed("MC-A")
        self.check().action_feedback()
        self.assertFalse(self.check())
        self.failed("MC-B")
        self.assertEqual(len(self.check()), 1)

    def test_a_silent_bridge_is_noticed_after_the_minutes_set_and_its_return_too(self):
        self.bridge_seen(minutes_ago=9)
        self.assertFalse(self.check())
        self.bridge_seen(minutes_ago=11)
        self.assertIn("silent", self.check().summary)
        self.bridge_seen(minutes_ago=0)
        self.assertFalse(self.check())

    def test_a_bridge_that_was_stopped_has_the_same_minutes_to_come_back(self):
        bridge = self.env["manychat.bridge"].with_user(self.bridge_user)
        bridge.sign_off("test/1")
        self.assertFalse(bridge.get_active())
        self.assertFalse(self.check(), "a rolling restart is no problem")
        self.env["manychat.bridge"].search([]).last_seen -= timedelta(minutes=11)
        self.assertIn("silent", self.check().summary)
        bridge.heartbeat("test/2", "0")
        self.env.invalidate_all()
        self.assertFalse(self.check())

    def test_a_bridge_that_stands_still_is_as_silent_as_none(self):
        self.bridge_seen(minutes_ago=0)
        self.assertFalse(self.check())
        self.env["manychat.bridge"].search([]).stuck = "manychat-contact-queue"
        self.assertIn("silent", self.check().summary)

    def test_silence_is_no_problem_where_the_settings_say_so(self):
        self.bridge_seen(minutes_ago=1000)
        self.env["manychat.settings"].create({"silent_minutes": 0}).execute()
        self.assertFalse(self.check())
        self.assertEqual(self.env["manychat.settings"].create({}).silent_minutes, 0)

    def test_a_bridge_that_never_ran_is_missed_once_events_wait_for_it(self):
        self.env["manychat.bridge"].search([]).unlink()
        self.assertFalse(self.check())
        self.failed("MC-A").write({"state": "queued", "received_at": fields.Datetime.now() - timedelta(hours=1)})
        self.assertIn("1", self.check().summary)

    def test_events_that_do_not_reach_the_queue_are_noticed_after_some_minutes(self):
        event = self.failed("MC-A")
        event.write({"state": "pending", "received_at": fields.Datetime.now()})
        self.assertFalse(self.check())
        event.received_at -= timedelta(hours=1)
        self.assertIn("queue", self.check().summary)
        event.state = "queued"
        self.assertFalse(self.check())

    def test_without_a_receiver_it_is_a_team_leader_or_an_administrator(self):
        self.env["ir.config_parameter"].set_param("miasalud_crm.alert_user_id", False)
        leader = new_test_user(self.env, "lidera", "sales_team.group_sale_manager")
        teams = self.env["crm.team"].search([("company_id", "in", [False, self.env.company.id])])
        teams.user_id = leader
        self.assertEqual(self.env["manychat.alert"]._receiver(), leader)
        teams.user_id = False
        self.assertTrue(self.env["manychat.alert"]._receiver().has_group("base.group_system"))
        self.receiver.active = False
        self.env["ir.config_parameter"].set_param("miasalud_crm.alert_user_id", self.receiver.id)
        self.assertTrue(self.env["manychat.alert"]._receiver().active)

    def test_a_receiver_opens_the_alert_and_comes_to_the_events(self):
        self.failed("MC-A")
        self.check()
        alert = self.env["manychat.alert"].search([("kind", "=", "failed")]).with_user(self.receiver)
        Form(alert)
        self.assertEqual(alert.action_view_events()["context"], {"search_default_failed": 1})
        self.assertEqual(alert.activity_user_id, self.receiver)

    def test_trouble_in_looking_for_trouble_is_logged_and_does_not_stop_the_job(self):
        self.env["ir.config_parameter"].set_param("miasalud_crm.bridge_silent_minutes", "soon")
        self.failed("MC-A")
        with self.assertLogs("odoo.addons.miasalud_crm.models.manychat_alert", "ERROR"):
            self.assertIn("failed", self.check().summary)
