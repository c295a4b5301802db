from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from bridge.contract.payloads import EventType

from ..controllers.api import throttle
from .common import ManychatCase, QueueCase, expire, let_jobs_run, opportunity

WEBHOOK = EventType.OPPORTUNITY.route[1]


@tagged("post_install", "-at_install")
class TestTestEvent(QueueCase, HttpCase, ManychatCase):
    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")
        self.rows = self.env["manychat.stage.map"].search([], limit=2)
        self.tests = self.env["manychat.test.event"].with_user(self.manager)
        throttle.forget()

    def start(self):
        begun = self.tests.start(*self.rows.ids)
        return begun, self.tests.browse(begun["id"])

    def send(self, begun, index=0, **changes):
        body = {**begun["bodies"][index], **changes}
        headers = {"X-API-KEY": begun["key"]}
        return self.opener.post(self.base_url() + WEBHOOK, json=body, headers=headers, timeout=30)

    def bridge_takes(self, test):
        """Apply the events of the test, as a bridge does when it finds them on the queue."""
        events = self.env["manychat.event"].search([("manychat_id", "=", test.sudo().manychat_id)], order="id")
        events.filtered(lambda event: event.state == "pending").write(
            {"state": "queued", "queued_at": fields.Datetime.now()}
        )
        self.apply(*(event._envelope() for event in events if event.state == "queued"))

    def states(self, test):
        return [[hop["state"] for hop in hops] for hops in test.progress()["events"]]

    def test_salespeople_may_not_send_test_events(self):
        seller = new_test_user(self.env, "vendedor", "base.group_user,sales_team.group_sale_salesman")
        tests = self.env["manychat.test.event"].with_user(seller)
        for forbidden in (tests.stages, lambda: tests.start(*self.rows.ids)):
            with self.assertRaises(AccessError):
                forbidden()
        begun, _test = self.start()
        for name in ("progress", "finish", "delete_opportunity"):
            with self.assertRaises(AccessError):
                getattr(tests.browse(begun["id"]), name)()

    def test_a_test_belongs_to_its_user(self):
        other = new_test_user(self.env, "otra", "base.group_user,sales_team.group_sale_manager")
        begun, test = self.start()
        for name in ("progress", "finish", "delete_opportunity"):
            with self.assertRaises(UserError):
                getattr(test.with_user(other), name)()
        self.assertTrue(self.env["manychat.api.key"]._authenticate(begun["key"]))

    def test_no_test_is_about_a_real_person(self):
        with self.assertRaises(AccessError):
            self.tests.create({"manychat_id": "MC-1"})

    def test_the_two_stages_must_be_mapped_and_differ(self):
        row = self.rows[0]
        for pair in ((row.id, row.id), (row.id, 0)):
            with self.assertRaises(UserError):
                self.tests.start(*pair)

    def test_the_key_is_valid_for_minutes_and_for_its_person_only(self):
        begun, test = self.start()
        self.assertEqual(self.send(begun).status_code, 200)
        refused = self.send(begun, manychat_id="MC-1")
        self.assertEqual((refused.status_code, refused.json()["code"]), (403, "test_key"))
        key = self.env["manychat.api.key"]._authenticate(begun["key"])
        self.assertLessEqual(key.expiration_date, fields.Datetime.now() + timedelta(minutes=10))
        test.finish()
        self.assertFalse(key.exists())
        self.assertEqual(self.send(begun).status_code, 401)

    def test_the_key_is_stored_nowhere(self):
        begun, _test = self.start()
        self.env.flush_all()
        for table in ("manychat_api_key", "manychat_test_event"):
            self.env.cr.execute(f"SELECT row_to_json(t)::text FROM {table} t")  # pylint: disable=sql-injection
            self.assertNotIn(begun["key"][20:], "".join(row[0] for row in self.env.cr.fetchall()))

    def test_keys_of_unfinished_tests_are_deleted(self):
        begun, _test = self.start()
        key = self.env["manychat.api.key"]._authenticate(begun["key"])
        bots = self.env["manychat.api.key"]._authenticate(self.env["manychat.api.key"]._generate("Prueba"))
        expire(key | bots)
        self.env["manychat.api.key"]._gc_test_keys()
        self.assertEqual((key | bots).exists(), bots)

    def test_two_events_are_followed_until_the_opportunity_has_moved(self):
        begun, test = self.start()
        self.assertEqual(self.states(test), [["todo"] * 4] * 2)
        self.send(begun)
        self.assertEqual(self.states(test)[0], ["done", "running", "todo", "todo"])
        self.bridge_takes(test)
        progress = test.progress()
        self.assertEqual((progress["received"], progress["applied"]), (1, 1))
        lead = self.env["crm.lead"].browse(progress["lead_id"])
        self.assertEqual((lead.contact_name, lead.stage_id), ("ManyChat Test", self.rows[0].stage_id))
        self.send(begun, 1)
        self.bridge_takes(test)
        progress = test.progress()
        self.assertEqual(progress["applied"], 2)
        self.assertEqual(self.states(test), [["done"] * 4] * 2)
        self.assertTrue(all(hop["at"] for hops in progress["events"] for hop in hops))
        self.assertEqual(lead.stage_id, self.rows[1].stage_id)

    def test_it_says_where_and_why_an_event_waits(self):
        begun, test = self.start()
        self.send(begun)
        event = self.env["manychat.event"].search([("manychat_id", "=", test.sudo().manychat_id)])
        event.received_at = fields.Datetime.now() - timedelta(minutes=1)
        with patch("odoo.addons.miasalud_crm.models.manychat_setup.recent_queue_report") as report:
            report.return_value = {"status": "not_configured"}
            self.assertIn("queue_connection_string", test.progress()["events"][0][1]["text"])
            report.return_value = {"status": "ok", "depth": {"dead-letter-queue": 0}}
            self.assertIn("scheduled action", test.progress()["events"][0][1]["text"])
            self.env.ref("miasalud_crm.cron_relay").active = False
            self.assertIn("archived", test.progress()["events"][0][1]["text"])
        event.write({"state": "queued", "queued_at": event.received_at})
        self.env["manychat.bridge"].search([]).unlink()
        self.assertEqual(self.states(test)[0], ["done", "done", "stopped", "todo"])
        self.assertIn("python -m bridge run", test.progress()["events"][0][2]["text"])
        self.env["manychat.bridge"].with_user(self.bridge_user).heartbeat("host/1", "1")
        self.env.invalidate_all()
        self.assertIn("python -m bridge check", test.progress()["events"][0][2]["text"])

    @mute_logger("odoo.addons.miasalud_crm.models.crm_lead_apply")
    def test_it_says_why_an_event_failed(self):
        begun, test = self.start()
        self.send(begun)
        self.rows[0].active = False
        self.bridge_takes(test)
        hops = test.progress()["events"][0]
        self.assertEqual([hop["state"] for hop in hops], ["done", "done", "done", "stopped"])
        self.assertIn("not mapped", hops[3]["text"])

    @mute_logger("odoo.addons.miasalud_crm.models.crm_lead_apply")
    def test_it_says_why_an_event_is_tried_again(self):
        begun, test = self.start()
        self.send(begun)
        with patch.object(self.registry["crm.lead"], "_manychat_create", side_effect=UserError("No se puede.")):
            self.bridge_takes(test)
        hops = test.progress()["events"][0]
        self.assertEqual([hop["state"] for hop in hops], ["done", "done", "done", "running"])
        self.assertIn("No se puede.", hops[3]["text"])

    def test_deleting_leaves_nothing_of_tests_and_everything_of_people(self):
        begun, test = self.start()
        self.apply(opportunity("MC-TEST-1", 17))
        self.send(begun)
        self.bridge_takes(test)
        self.send(begun, 1)
        second = self.env["manychat.event"].search([("state", "=", "pending")])
        lead = self.env["crm.lead"].browse(test.progress()["lead_id"])
        test.delete_opportunity()
        self.assertFalse(lead.exists())
        self.assertEqual(second.state, "discarded")
        self.assertTrue(self.lead("MC-TEST-1"))
        self.apply(second._envelope())
        self.assertFalse(self.env["manychat.identity"].search([("manychat_id", "=", test.sudo().manychat_id)]))

    def test_a_test_opportunity_merged_with_a_persons_stays(self):
        begun, test = self.start()
        self.apply(opportunity("MC-TEST-1", 17))
        self.send(begun)
        self.bridge_takes(test)
        (self.lead("MC-TEST-1") | self.env["crm.lead"].browse(test.progress()["lead_id"])).merge_opportunity()
        test.delete_opportunity()
        self.assertTrue(self.lead("MC-TEST-1"))
