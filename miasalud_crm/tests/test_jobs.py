import time
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import TransactionCase, new_test_user, tagged
from odoo.tools import config

from .. import relay_thread
from ..models.ir_cron import ARCHIVED, DELETED, JOBS, LATE, RELAY_JOB
from .common import QueueCase, Unclosed, let_jobs_run


@tagged("post_install", "-at_install")
class TestJobs(QueueCase, TransactionCase):
    """Scheduled actions that do not run: people learn it at once, and events go on."""

    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.relay = self.env.ref(RELAY_JOB)
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")

    def reasons(self):
        return [why for _name, why in self.env["ir.cron"]._manychat_stopped()]

    def due(self, **ago):
        for name in JOBS:
            self.env.ref(name).nextcall = fields.Datetime.now() - timedelta(**ago)

    def test_jobs_that_run_are_no_problem(self):
        self.assertEqual(self.reasons(), [])
        self.assertEqual(self.env["manychat.setup"].with_user(self.manager)._jobs_sentence(), "")

    def test_all_jobs_are_read_together(self):
        self.reasons()
        self.env.invalidate_all()
        with self.assertQueryCount(3):  # which of them exist, they themselves, and the server actions that they are
            self.reasons()

    def test_archived_late_and_deleted_jobs(self):
        self.relay.active = False
        self.assertEqual(self.reasons(), [ARCHIVED])
        self.relay.active = True
        with patch.dict(config.options, max_cron_threads=2):
            self.due(minutes=2)
            self.assertEqual(self.reasons(), [])
            self.due(minutes=4)
            self.assertEqual(self.reasons(), [LATE] * len(JOBS))
        self.relay.unlink()
        self.assertEqual(self.reasons()[0], DELETED)

    def test_a_server_without_cron_threads_says_it_at_once_unless_another_server_runs_the_jobs(self):
        with patch.dict(config.options, max_cron_threads=0):
            self.assertEqual(self.reasons(), [])
            self.due(minutes=1)
            self.assertEqual(self.reasons(), [LATE] * len(JOBS))

    def test_the_checklist_says_it_and_what_to_do(self):
        def jobs_step(user):
            steps = self.env["manychat.setup"].with_user(user).checklist()
            return next(step for step in steps if step["name"] == "jobs")

        self.relay.active = False
        step = jobs_step(self.manager)
        self.assertEqual(step["state"], "warning")
        self.assertIn(self.relay.name, step["text"])
        self.assertFalse(step["actions"])
        self.assertIn("max_cron_threads", step["ask"])
        self.relay.active = True
        self.due(hours=1)
        admin = new_test_user(self.env, "admina", "sales_team.group_sale_manager,base.group_system")
        step = jobs_step(admin)
        self.assertIn("max_cron_threads", step["text"])
        self.assertTrue(self.env.ref(step["actions"][0]["action"]))

    def test_they_are_an_alert_until_they_run(self):
        self.env["manychat.settings"].create({"alert_user_id": self.manager.id}).execute()

        def activities():
            self.env["manychat.alert"]._cron_check()
            return self.env["manychat.alert"].search([("kind", "=", "jobs")]).activity_ids

        self.assertFalse(activities())
        self.due(hours=1)
        self.assertIn("max_cron_threads", activities().note)
        let_jobs_run(self.env)
        self.assertFalse(activities())

    def work_done(self):
        """The other jobs that the relay's thread does when it looks at the scheduled actions."""
        done = []
        methods = {
            "manychat.stage.alias": "_cron_release",
            "manychat.alert": "_cron_check",
            "manychat.waiting": "_cron_waiting",
            "manychat.resend": "_cron_resend",
            "manychat.event": "_cron_retention",
        }
        for model, method in methods.items():
            self.startPatcher(patch.object(self.registry[model], method, lambda _self, each=method: done.append(each)))
        relay_thread._look_at_jobs(self.env)
        return done

    def test_the_relays_thread_leaves_jobs_that_run_to_odoo(self):
        self.assertEqual(self.work_done(), [])

    def test_the_relays_thread_does_the_work_of_jobs_that_do_not_run(self):
        self.due(hours=1)
        self.assertEqual(len(self.work_done()), len(JOBS) - 1)

    def test_the_relays_thread_does_the_work_of_the_jobs_of_a_deleted_relay(self):
        self.relay.unlink()
        self.assertEqual(len(self.work_done()), len(JOBS) - 1)

    def test_the_relays_thread_looks_at_the_jobs_once_a_minute(self):
        looked = []
        self.startPatcher(patch.object(relay_thread, "_look_at_jobs", looked.append))
        self.startPatcher(patch.object(relay_thread, "_looked", {}))
        self.startPatcher(patch.object(self.registry["manychat.event"], "_relay", lambda _self: True))
        self.startPatcher(patch.object(relay_thread, "Registry", lambda _database: self.registry))
        self.startPatcher(patch.object(self.registry, "cursor", lambda: Unclosed(self.env.cr)))
        for _ in range(3):
            self.assertTrue(relay_thread._work(self.env.cr.dbname))
        self.assertEqual(len(looked), 1)
        relay_thread._looked[self.env.cr.dbname] = time.monotonic() - relay_thread.MINUTE
        relay_thread._work(self.env.cr.dbname)
        self.assertEqual(len(looked), 2)
