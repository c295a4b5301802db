from datetime import datetime, timedelta, timezone

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from bridge.contract.fields import format_datetime

from .common import ManychatCase, QueueCase, let_jobs_run

CONTACT = "/api/v1/manychat/webhook/contact"


@tagged("post_install", "-at_install")
class TestStandbyRefusals(QueueCase, ManychatCase):
    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.env["manychat.event"].search([]).unlink()
        self.env["manychat.wrong.key"].search([]).unlink()
        self.env["manychat.standby.refusal"].search([]).unlink()
        self.receiver = new_test_user(self.env, "guardia", "sales_team.group_sale_manager", tz="UTC")
        self.env["ir.config_parameter"].set_param("miasalud_crm.alert_user_id", self.receiver.id)
        self.bridge = self.env["manychat.bridge"].with_user(self.env.ref("miasalud_crm.user_bridge"))
        self.rows = self.env["manychat.standby.refusal"]

    def report(self, requests=1, digest="a" * 64, hours_ago=0, **values):
        now = format_datetime(datetime.now(timezone.utc) - timedelta(hours=hours_ago))
        refusal = {"digest": digest, "key_name": "Bot de ventas", "key_prefix": "mck_abcdefgh", "address": ""}
        refusal |= {"path": CONTACT, "code": "not_json", "first_at": now, "last_at": now, **values}
        self.bridge.record_refusals([{**refusal, "requests": requests}])
        self.env.invalidate_all()

    def wrong_key(self, requests=1, digest="b" * 64, **values):
        values = {"code": "wrong_key", "key_name": "", "address": "192.0.2.7", **values}
        self.report(requests, digest, **values)

    def alert(self, kind):
        self.env["manychat.alert"]._cron_check()
        return self.env["manychat.alert"].search([("kind", "=", kind)])

    def step(self):
        return self.env["manychat.setup"]._refused_step()

    def test_the_heartbeat_says_that_this_addon_takes_the_counts(self):
        self.assertIs(self.bridge.heartbeat("host/1", "1")["takes_refusals"], True)
        with self.assertRaises(AccessError):
            self.env["manychat.bridge"].with_user(self.receiver).record_refusals([])

    def test_a_total_that_is_reported_again_counts_once(self):
        self.report(2)
        self.report(2)
        self.report(5)
        self.report(3)  # of a bridge that was slower
        row = self.rows.search([])
        self.assertEqual((row.count, row.key_name, row.path, row.code), (5, "Bot de ventas", CONTACT, "not_json"))
        self.assertLess(fields.Datetime.now() - row.last_at, timedelta(minutes=1))

    def test_a_wrong_key_that_begins_like_one_of_ours_has_its_name_also_when_that_one_was_revoked(self):
        text = self.env["manychat.api.key"]._generate("Bot de citas")
        key = self.env["manychat.api.key"]._authenticate(text)
        key.action_revoke()
        self.wrong_key(key_prefix=key.prefix)
        self.wrong_key(digest="c" * 64, key_prefix="")
        self.assertEqual(
            set(self.rows.search([]).mapped(lambda row: (row.key_name or "", row.key_prefix or ""))),
            {("Bot de citas", key.prefix), ("", "")},
        )

    def test_the_alert_says_which_bot_which_answer_how_many_and_that_it_was_the_standby(self):
        self.report(3)
        alert = self.alert("refused")
        self.assertEqual((alert.count, alert.activity_ids.user_id), (3, self.receiver))
        for words in ("standby", "Bot de ventas", "mck_abcdefgh", "not_json", "3"):
            self.assertIn(words, alert.activity_ids.note)
        self.assertTrue(alert.has_standby)
        self.assertEqual(alert.action_view_standby()["res_model"], "manychat.standby.refusal")
        self.assertFalse(self.alert("wrong_key").since)
        visitor = new_test_user(self.env, "interna", "base.group_user")
        with self.assertRaises(AccessError):
            alert.with_user(visitor).action_view_standby()

    def test_wrong_keys_at_the_standby_are_in_the_alert_about_wrong_keys(self):
        self.wrong_key(7)
        alert = self.alert("wrong_key")
        self.assertEqual(alert.count, 7)
        self.assertIn("wrong_key", alert.bot_text)
        self.assertFalse(self.alert("refused").since)

    def test_what_a_user_has_seen_is_no_alert_until_there_is_more(self):
        self.report(3)
        self.alert("refused").with_user(self.receiver).action_seen()
        self.assertFalse(self.alert("refused").since)
        self.report(3)
        self.assertFalse(self.alert("refused").since)
        self.report(1, digest="d" * 64, key_name="Otro bot", key_prefix="mck_otherbot", code="invalid")
        self.assertEqual(self.alert("refused").count, 1)

    def test_what_is_a_day_old_is_no_alert(self):
        self.report(hours_ago=25)
        self.assertFalse(self.alert("refused").since)

    def test_the_checklist_is_not_green_and_leads_to_the_list(self):
        self.assertEqual(self.step()["state"], "done")
        self.report(2)
        self.wrong_key(4)
        self.env["manychat.alert"]._cron_check()
        step = self.step()
        self.assertEqual(step["state"], "warning")
        self.assertIn("6", step["text"])
        self.assertIn("miasalud_crm.manychat_standby_refusal_action", [each["action"] for each in step["actions"]])
        for kind in ("refused", "wrong_key"):
            self.alert(kind).with_user(self.receiver).action_seen()
        self.assertEqual(self.step()["state"], "done")

    def test_only_managers_mark_as_seen_and_salespeople_see_nothing(self):
        self.report()
        row = self.rows.search([])
        seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            row.with_user(seller).action_seen()
        with self.assertRaises(AccessError):
            row.with_user(seller).read(["count"])
        row.with_user(self.receiver).action_seen()
        self.assertEqual(row.seen_count, 1)

    def test_old_counts_go_with_the_events(self):
        self.report(hours_ago=24 * 100)
        self.report(digest="e" * 64)
        self.rows._gc_refusals()
        self.assertEqual(self.rows.search([]).digest, "e" * 64)
