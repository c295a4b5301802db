from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user, tagged

from .. import configuration, queues
from .common import QueueCase, expire, let_jobs_run


@tagged("post_install", "-at_install")
class TestSetup(QueueCase, TransactionCase):
    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")
        self.admin = new_test_user(self.env, "admina", "sales_team.group_sale_manager,base.group_system")
        queues._latest.clear()

    def step(self, name, user=None):
        steps = self.env["manychat.setup"].with_user(user or self.manager).checklist()
        self.assertLessEqual(sum(step["is_next"] for step in steps), 1)
        return next(step for step in steps if step["name"] == name)

    def queue_at(self, connection_string="", account_url=""):
        settings = {"queue_connection_string": connection_string, "queue_account_url": account_url}
        self.patch(configuration, "get", lambda name, default="": settings[name] or default)

    def test_only_sales_managers_see_the_checklist(self):
        seller = new_test_user(self.env, "vendedor", "base.group_user,sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.env["manychat.setup"].with_user(seller).checklist()

    def test_a_key_turns_the_first_step_green_until_it_expires(self):
        self.assertEqual(self.step("key")["state"], "todo")
        soon = fields.Datetime.now() + timedelta(days=1)
        key = self.env["manychat.api.key"]._generate("Prueba", soon)
        self.assertEqual(self.step("key")["state"], "done")
        expire(self.env["manychat.api.key"]._authenticate(key))
        self.assertEqual(self.step("key")["state"], "warning")

    def test_the_key_of_a_test_event_is_no_key_for_bots(self):
        rows = self.env["manychat.stage.map"].search([], limit=2)
        self.env["manychat.test.event"].with_user(self.manager).start(*rows.ids)
        self.assertEqual(self.step("key")["state"], "todo")

    def test_a_manager_who_cannot_create_keys_sees_which_user_to_ask(self):
        step = self.step("key")
        self.assertFalse(step["actions"])
        self.assertIn("administrator", step["text"])
        self.assertTrue(self.step("key", self.admin)["actions"])

    def test_the_checklist_shows_no_part_of_a_key(self):
        key = self.env["manychat.api.key"]._generate("Secreta")
        shown = str(self.env["manychat.setup"].with_user(self.manager).checklist())
        self.assertNotIn(key[:12], shown)
        self.assertNotIn("Secreta", shown)

    def test_a_queue_that_answers_is_green(self):
        self.assertEqual(self.step("queue")["state"], "done")

    def test_only_open_dead_letters_count_and_they_are_no_green_tick(self):
        report = {"status": "ok", "depth": {"manychat-contact-queue": 2, "dead-letter-queue": 7}}
        self.patch(queues, "queue_report", lambda env: report)
        step = self.step("queue")
        self.assertEqual(step["state"], "done")
        self.assertIn("dead letters: 0", step["text"])
        event = {"type": "contact", "state": "failed", "received_at": fields.Datetime.now()}
        self.env["manychat.event"].create({**event, "event_id": "a" * 64, "manychat_id": "TEST-0123456789ab"})
        self.assertEqual(self.step("queue")["state"], "done")
        self.env["manychat.event"].create({**event, "event_id": "b" * 64, "manychat_id": "MC-1"})
        step = self.step("queue")
        self.assertEqual(step["state"], "warning")
        self.assertIn("dead letters: 1", step["text"])
        action = getattr(self.env["manychat.setup"].with_user(self.manager), step["actions"][0]["method"])()
        self.assertEqual((action["res_model"], action["context"]), ("manychat.event", {"search_default_failed": 1}))

    def test_the_queue_step_says_what_to_do(self):
        for connection_string, state, words in (
            ("", "todo", "queue_connection_string"),
            ("nonsense", "warning", "not valid"),
            (
                "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;QueueEndpoint=http://127.0.0.1:9/a;",
                "warning",
                "does not answer",
            ),
        ):
            self.queue_at(connection_string)
            step = self.step("queue")
            self.assertEqual(step["state"], state, connection_string)
            self.assertIn(words, step["text"])
            self.assertNotIn("AccountKey", step["text"])

    def test_the_queue_is_not_asked_at_each_look(self):
        asked = []
        self.patch(queues, "queue_report", lambda env: asked.append(1) or {"status": "not_configured"})
        for _ in range(3):
            self.step("queue")
        self.assertEqual(len(asked), 1)

    def test_a_bridge_is_alive_while_it_gives_signs_of_life(self):
        bridges = self.env["manychat.bridge"]
        bridges.search([]).unlink()
        self.assertEqual(self.step("bridge")["state"], "todo")
        bridges.with_user(self.env.ref("miasalud_crm.user_bridge")).heartbeat("host/1", "9.8.7")
        self.env.invalidate_all()
        step = self.step("bridge")
        self.assertEqual(step["state"], "done")
        self.assertIn("host/1", step["text"])
        self.assertIn("9.8.7", step["text"])
        bridges.search([]).last_seen = fields.Datetime.now() - timedelta(minutes=3)
        step = self.step("bridge")
        self.assertEqual(step["state"], "warning")
        self.assertIn("3 minutes ago", step["text"])
        self.assertIn("python -m bridge run", step["text"])

    def test_a_bridge_that_was_stopped_is_not_alive_at_once(self):
        bridges = self.env["manychat.bridge"]
        bridges.search([]).unlink()
        bridge = bridges.with_user(self.env.ref("miasalud_crm.user_bridge"))
        bridge.heartbeat("host/1", "9.8.7")
        bridge.sign_off("host/1")
        step = self.step("bridge")
        self.assertEqual(step["state"], "warning")
        self.assertIn("host/1 (version 9.8.7), stopped", step["text"])
        bridge.heartbeat("host/2", "9.8.7")
        self.env.invalidate_all()
        step = self.step("bridge")
        self.assertEqual(step["state"], "done")
        self.assertNotIn("host/1", step["text"])

    def test_bridges_that_leave_decisions_alone_want_attention(self):
        """Those of the release before. One newer bridge beside them takes the decisions."""
        bridges = self.env["manychat.bridge"]
        bridges.search([]).unlink()
        bridge = bridges.with_user(self.env.ref("miasalud_crm.user_bridge"))
        for name, version, state in (
            ("host/1", "0.6.0", "warning"),
            ("host/2", "0.4.11", "warning"),
            ("host/3", "0.7.0", "done"),
        ):
            bridge.heartbeat(name, version)
            self.env.invalidate_all()
            self.assertEqual(self.step("bridge")["state"], state, name)
        self.assertFalse(bridges.new({"version": "0.6.9"})._takes_decisions())
        for version in ("0.7.0", "0.10.0", "1.0.0", "v0.6-ours", False):
            self.assertTrue(bridges.new({"version": version})._takes_decisions(), version)

    def test_many_bridges_are_a_few_names_and_a_number(self):
        bridges = self.env["manychat.bridge"]
        bridges.search([]).unlink()
        for number in range(100):
            bridges.with_user(self.env.ref("miasalud_crm.user_bridge")).heartbeat(f"host/{number}", "9.8.7")
        self.env.invalidate_all()
        text = self.step("bridge")["text"]
        self.assertEqual(text.count("host/"), 3)
        self.assertIn("97", text)

    def test_a_bridge_that_stands_still_is_not_alive(self):
        bridges = self.env["manychat.bridge"]
        bridges.search([]).unlink()
        bridge = bridges.with_user(self.env.ref("miasalud_crm.user_bridge"))
        bridge.heartbeat("host/1", "9.8.7", stuck=["manychat-contact-queue"])
        self.env.invalidate_all()
        step = self.step("bridge")
        self.assertEqual(step["state"], "warning")
        self.assertIn("manychat-contact-queue", step["text"])
        self.assertEqual([each["stuck"] for each in bridge.get_active()], [["manychat-contact-queue"]])
        bridge.heartbeat("host/1", "9.8.7")
        self.env.invalidate_all()
        self.assertEqual(self.step("bridge")["state"], "done")
        self.assertEqual([each["stuck"] for each in bridge.get_active()], [[]])

    def test_an_unknown_stage_wants_attention(self):
        self.assertEqual(self.step("stages")["state"], "done")
        self.env["manychat.stage.alias"]._open(None, "Etapa desconocida")
        self.assertEqual(self.step("stages")["state"], "warning")

    def test_no_mapped_stage_is_a_step_to_do(self):
        self.env["manychat.stage.map"].search([]).active = False
        self.assertEqual(self.step("stages")["state"], "todo")


@tagged("post_install", "-at_install")
class TestSettings(QueueCase, TransactionCase):
    def settings(self, **values):
        return self.env["res.config.settings"].create(values)

    def test_the_button_says_whether_the_queue_answers(self):
        self.assertEqual(self.settings().action_manychat_test_queue()["params"]["type"], "success")
        self.patch(configuration, "get", lambda name, default="": "")
        notice = self.settings().action_manychat_test_queue()["params"]
        self.assertEqual(notice["type"], "warning")
        self.assertIn("odoo.conf", notice["message"])

    def test_keys_about_to_expire_are_counted(self):
        keys = self.env["manychat.api.key"]
        before = self.settings().manychat_expiring_key_count
        now = fields.Datetime.now()
        for days in (3, 13, 15):
            keys._generate(f"{days}", now + timedelta(days=days))
        expire(keys._authenticate(keys._generate("expired")))
        keys._generate("never")
        keys._generate("test", now + timedelta(minutes=5), "TEST-0123456789ab")
        revoked = keys._authenticate(keys._generate("revoked", now + timedelta(days=3)))
        revoked.action_revoke()
        self.assertEqual(self.settings().manychat_expiring_key_count, before + 2)
        soon = keys.search([("expires_soon", "=", True)])
        self.assertEqual(soon.filtered("expires_soon"), soon)
        self.assertFalse(keys.search([("expires_soon", "=", False)]) & soon)
