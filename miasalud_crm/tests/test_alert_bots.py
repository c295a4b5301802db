from datetime import datetime, timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from ..deliveries import REFUSED_PREFIX
from ..models import manychat_api_key_state
from .common import ManychatCase, QueueCase, expire, let_jobs_run


@tagged("post_install", "-at_install")
class TestAlertBots(QueueCase, ManychatCase):
    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.env["manychat.event"].search([]).unlink()
        self.env["manychat.wrong.key"].search([]).unlink()
        self.env["manychat.api.key"].search([]).action_revoke()
        self.receiver = new_test_user(self.env, "guardia", "sales_team.group_sale_manager", tz="UTC")
        self.env["ir.config_parameter"].set_param("miasalud_crm.alert_user_id", self.receiver.id)
        self.key = self.bot("Bot de ventas")
        self.number = 0

    def bot(self, name, expires=False):
        return self.env["manychat.api.key"]._authenticate(self.env["manychat.api.key"]._generate(name, expires))

    def delivery(self, key=None, hours_ago=0.0, state="refused", **values):
        self.number += 1
        key = key or self.key
        prefix = REFUSED_PREFIX if state == "refused" else ""
        return self.env["manychat.event"].create(
            {
                "event_id": f"{prefix}{self.number:032x}",
                "type": "contact",
                "state": state,
                "received_at": fields.Datetime.now() - timedelta(hours=hours_ago),
                "key_name": key.name,
                "key_prefix": key.prefix,
                **values,
            }
        )

    def check(self, kind):
        """Look for problems, as every minute, and return the open activity of ``kind``."""
        self.env["manychat.alert"]._cron_check()
        return self.alert(kind).activity_ids

    def alert(self, kind):
        return self.env["manychat.alert"].search([("kind", "=", kind)])

    def wrong_key(self, count=1, **values):
        now = fields.Datetime.to_string(fields.Datetime.now())
        row = {"day": now[:10], "address": "192.0.2.7", "prefix": self.key.prefix, "reason": "mistyped"}
        row |= {"key_name": self.key.name, "path": "/", "first_at": now, "last_at": now, **values, "count": count}
        self.env["manychat.wrong.key"]._add([row])
        self.env.invalidate_all()

    def sleep(self, **time):
        """Let time pass for the alerts that were seen."""
        for alert in self.env["manychat.alert"].search([("seen_at", "!=", False)]):
            alert.seen_at -= timedelta(**time)

    def test_a_refused_request_is_an_activity_that_names_the_bot(self):
        self.delivery(hours_ago=2)
        activity = self.check("refused")
        self.assertEqual(activity.user_id, self.receiver)
        self.assertIn("1", activity.summary)
        for words in ("Bot de ventas", self.key.prefix, "External Request"):
            self.assertIn(words, activity.note)
        self.delivery()
        self.delivery(self.bot("Otro <b>bot</b>"))
        self.assertEqual(self.check("refused"), activity)
        self.assertIn("3", activity.summary)
        self.assertIn("Otro &lt;b&gt;bot&lt;/b&gt;", activity.note)
        self.assertIn("Bot de ventas", self.alert("refused").bot_text)

    def test_the_activity_is_in_the_receivers_language(self):
        self.env["res.lang"]._activate_lang("es_419")
        self.receiver.lang = "es_419"
        self.delivery()
        alert = self.env["manychat.alert"]
        self.check("refused")
        self.assertEqual(alert._in_receivers_language().env.lang, "es_419")

    def test_it_ends_when_the_refused_ones_are_corrected_or_discarded(self):
        deliveries = self.delivery() | self.delivery()
        self.assertTrue(self.check("refused"))
        deliveries[0].state = "corrected"
        self.assertIn("1", self.check("refused").summary)
        deliveries[1].state = "discarded"
        self.assertFalse(self.check("refused"))
        self.assertFalse(self.alert("refused").since)

    def test_it_ends_a_day_after_the_last_one(self):
        self.delivery(hours_ago=25)
        self.assertFalse(self.check("refused"))

    def test_a_bot_builders_dry_run_is_no_lost_request(self):
        self.delivery(request={"headers": [["X-Dry-Run", "record"]], "body": "{"})
        self.assertFalse(self.check("refused"))
        self.delivery(request={"headers": [], "body": '{"a": "\\"X-Dry-Run\\""}'})
        self.assertTrue(self.check("refused"))

    def test_who_has_seen_it_hears_of_the_same_bot_after_an_hour_and_of_another_at_once(self):
        self.delivery()
        self.check("refused").action_feedback()
        self.assertFalse(self.check("refused"))
        self.assertFalse(self.alert("refused").since, "marked as done is seen")
        self.delivery()
        self.assertFalse(self.check("refused"))
        self.delivery(self.bot("Otro"))
        activity = self.check("refused")
        self.assertIn("2", activity.summary)
        self.alert("refused").with_user(self.receiver).action_seen()
        self.assertFalse(self.check("refused"))
        self.delivery()
        self.assertFalse(self.check("refused"))
        self.sleep(hours=1)
        self.assertTrue(self.check("refused"))

    def test_what_came_after_the_last_look_is_not_seen(self):
        self.delivery()
        activity = self.check("refused")
        self.delivery(self.bot("Otro"))  # while the user marks the activity as done
        activity.action_feedback()
        self.assertIn("Otro", self.check("refused").note)

    def test_without_a_receiver_no_one_has_seen_it(self):
        self.delivery()
        with patch.object(self.registry["manychat.alert"], "_receiver", lambda alert: alert.env["res.users"]):
            with self.assertLogs("odoo.addons.miasalud_crm.models.manychat_alert", "WARNING"):
                self.assertFalse(self.check("refused"))
            self.check("refused")
        self.assertTrue(self.alert("refused").since)
        self.assertFalse(self.alert("refused").seen_at)

    def test_only_managers_mark_an_alert_as_seen(self):
        self.delivery()
        self.check("refused")
        seller = new_test_user(self.env, "vende", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.alert("refused").with_user(seller).action_seen()

    def test_warnings_are_an_alert_and_rest_for_a_day(self):
        self.delivery(state="done", warnings=[{"field": "x", "message": "left out"}])
        self.delivery(state="done")
        self.assertIn("1", self.check("warned").summary)
        self.alert("warned").action_seen()
        self.delivery(state="done", warnings=[{"field": "x", "message": "left out"}])
        self.sleep(hours=2)
        self.assertFalse(self.check("warned"))
        self.sleep(hours=23)
        self.assertTrue(self.check("warned"))

    def test_wrong_keys_are_an_alert_that_says_which_bot_and_how(self):
        self.wrong_key(3)
        self.wrong_key(2, address="192.0.2.8")
        self.wrong_key(7, key_name="", prefix="", reason="missing", address="198.51.100.1")
        activity = self.check("wrong_key")
        self.assertIn("12", activity.summary)
        lines = self.alert("wrong_key").bot_text.splitlines()
        self.assertEqual(len(lines), 2, "of one key one line")
        self.assertIn("Bot de ventas", lines[0])
        self.assertIn("Mistyped", lines[0])
        self.assertIn("198.51.100.1", lines[1])
        self.alert("wrong_key").action_seen()
        self.assertFalse(self.check("wrong_key"))
        self.wrong_key(1)
        self.assertFalse(self.check("wrong_key"))
        self.sleep(hours=1)
        self.assertIn("1", self.check("wrong_key").summary)

    def test_a_key_about_to_expire_is_an_alert_until_it_is_replaced(self):
        now = fields.Datetime.now()
        key = self.bot("Caduca", now + timedelta(days=5))
        self.bot("Dura", now + timedelta(days=50))
        activity = self.check("expiring")
        self.assertIn("Caduca", activity.note)
        self.assertNotIn("Dura", activity.note)
        key._replace(now + timedelta(days=5))
        self.assertFalse(self.check("expiring"))

    def test_a_replaced_key_that_is_still_used_is_an_alert_at_its_end(self):
        now = fields.Datetime.now()
        self.key._replace(now + timedelta(days=1))
        self.assertFalse(self.check("expiring"))
        self.key.last_used = now
        self.assertIn("Bot de ventas", self.check("expiring").note)

    def test_who_knows_that_a_key_expires_hears_of_it_once_more_in_time(self):
        key = self.bot("Caduca", fields.Datetime.now() + timedelta(days=5))
        self.check("expiring").action_feedback()
        self.assertFalse(self.check("expiring"))
        key.expiration_date = fields.Datetime.now() + timedelta(days=1)
        self.assertTrue(self.check("expiring"))
        expire(key)
        self.assertFalse(self.check("expiring"))

    def at_work(self, text):
        """Odoo's clock at this moment of a week of work; 2026-03-04 is a Wednesday."""
        moment = datetime.fromisoformat(text)
        self.env.company.resource_calendar_id.tz = "UTC"
        return patch.object(manychat_api_key_state.fields.Datetime, "now", staticmethod(lambda *_: moment))

    def quiet(self):
        return [key.name for key, _latest in self.env["manychat.api.key"]._quiet()]

    def events_at(self, *moments, key=None):
        for text in moments:
            self.delivery(key, state="done", received_at=datetime.fromisoformat(text))

    def test_a_bot_is_quiet_after_the_hours_set_in_working_time(self):
        self.events_at(*(f"2026-03-0{day} {hour:02}:30" for day in (2, 3) for hour in (8, 9, 10, 13, 14, 15)))
        with self.at_work("2026-03-03 23:59"):
            self.assertFalse(self.quiet())
        with self.at_work("2026-03-04 08:30"):
            self.assertFalse(self.quiet(), "a night is no pause")
        with self.at_work("2026-03-04 17:00"):
            self.assertEqual(self.quiet(), ["Bot de ventas"])
        for hours, quiet in (("3", ["Bot de ventas"]), ("20", []), ("0", [])):
            self.env["ir.config_parameter"].set_param("miasalud_crm.quiet_hours", hours)
            with self.at_work("2026-03-04 17:00"):
                self.assertEqual(self.quiet(), quiet, hours)

    def test_a_weekend_is_no_pause(self):
        self.events_at(*(f"2026-03-0{day} 15:30" for day in (2, 3, 4, 5, 6)), "2026-03-06 16:30")
        with self.at_work("2026-03-09 08:30"):
            self.assertFalse(self.quiet())

    def test_a_bot_that_sends_little_is_measured_by_its_own_habit(self):
        self.env["ir.config_parameter"].set_param("miasalud_crm.quiet_hours", "2")
        self.events_at(*(f"2026-02-{day:02} 10:00" for day in range(16, 28)), "2026-03-02 10:00", "2026-03-03 10:00")
        with self.at_work("2026-03-04 09:59"):
            self.assertFalse(self.quiet(), "once a day is its habit")
        with self.at_work("2026-03-05 09:59"):
            self.assertEqual(self.quiet(), ["Bot de ventas"])

    def test_a_key_that_was_never_used_is_not_quiet(self):
        self.delivery(received_at="2026-03-02 09:00:00")  # refused: it has sent no event yet
        with self.at_work("2026-03-05 15:00"):
            self.assertFalse(self.quiet())

    def test_a_replaced_or_revoked_key_is_not_quiet(self):
        other = self.bot("Otro")
        self.events_at("2026-03-02 09:00")
        self.events_at("2026-03-02 09:00", key=other)
        self.key._replace(fields.Datetime.now() + timedelta(days=7))
        other.action_revoke()
        with self.at_work("2026-03-05 15:00"):
            self.assertFalse(self.quiet())

    def test_events_that_the_standby_took_say_that_bots_are_alive(self):
        self.events_at("2026-03-02 09:00")
        with self.at_work("2026-03-05 15:00"):
            self.assertTrue(self.quiet())
            self.delivery(state="done", source="api", key_prefix=False, received_at="2026-03-04 09:00:00")
            self.assertFalse(self.quiet())

    def test_a_company_without_working_hours_counts_all_hours(self):
        self.events_at("2026-03-06 20:00")
        self.env.company.resource_calendar_id = False
        with self.at_work("2026-03-07 09:00"):
            self.assertEqual(self.quiet(), ["Bot de ventas"])

    def test_a_quiet_bot_is_an_activity_and_its_next_event_ends_it(self):
        self.env.company.resource_calendar_id = False
        self.delivery(state="done", hours_ago=30)
        self.assertIn("Bot de ventas", self.check("quiet").note)
        self.delivery(state="done")
        self.assertFalse(self.check("quiet"))

    def test_each_alert_opens_and_leads_to_its_list(self):
        self.delivery()
        self.delivery(state="done", warnings=[{"field": "x", "message": "left out"}])
        self.wrong_key()
        self.bot("Caduca", fields.Datetime.now() + timedelta(days=1))
        self.env.company.resource_calendar_id = False
        self.delivery(self.bot("Callado"), state="done", hours_ago=30)
        self.env["manychat.alert"]._cron_check()
        for kind, model in {
            "refused": "manychat.event",
            "warned": "manychat.event",
            "wrong_key": "manychat.wrong.key",
            "expiring": "manychat.api.key",
            "quiet": "manychat.api.key",
        }.items():
            alert = self.alert(kind).with_user(self.receiver)
            self.assertTrue(alert.since, kind)
            self.assertTrue(Form(alert).advice)
            action = alert.action_view_events()
            self.assertEqual(action["res_model"], model)
            self.env[model].with_user(self.receiver).get_views([(False, "list"), (False, "search")])

    def test_the_checklist_is_not_green_until_they_were_seen(self):
        def step():
            steps = self.env["manychat.setup"].with_user(self.receiver).checklist()
            return next(step for step in steps if step["name"] == "refused")

        self.assertEqual((step()["state"], step()["actions"]), ("done", []))
        self.delivery()
        self.wrong_key(4)
        self.env["manychat.alert"]._cron_check()
        self.assertEqual(step()["state"], "warning")
        self.assertIn("4", step()["text"])
        for action in step()["actions"]:
            self.assertTrue(self.env.ref(action["action"]))
        (self.alert("refused") | self.alert("wrong_key")).action_seen()
        self.assertEqual(step()["state"], "done")
        self.assertIn("seen", step()["text"])

    def test_the_counter_is_one_query_for_managers_and_administrators_only(self):
        self.delivery()
        self.env["manychat.alert"]._cron_check()
        admin = new_test_user(self.env, "admina", "base.group_system")
        for user in (self.receiver, admin):
            alerts = self.env["manychat.alert"].with_user(user)
            alerts.open_problems()
            self.env.flush_all()
            with self.assertQueryCount(1):
                problems = alerts.open_problems()
            self.assertIn("refused", [problem["kind"] for problem in problems])
            self.assertTrue(all(problem["title"] and problem["since"] for problem in problems))
        seller = new_test_user(self.env, "vende", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.env["manychat.alert"].with_user(seller).open_problems()

    def test_the_bridge_learns_how_many_were_refused_and_nobody_else_does(self):
        self.delivery()
        self.delivery(hours_ago=30)
        self.delivery(state="done", warnings=[{"field": "x", "message": "left out"}])
        self.wrong_key(4)
        bridges = self.env["manychat.bridge"]
        counts = bridges.with_user(self.bridge_user).get_refusals()
        self.assertEqual(counts, {"refused": 1, "warned": 1, "wrong_keys": 4})
        with self.assertRaises(AccessError):
            bridges.with_user(self.receiver).get_refusals()
