import threading
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import TransactionCase, new_test_user, tagged
from odoo.tools import config

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from .. import job_thread
from ..models.ir_cron import ARCHIVED, DELETED, JOBS, LATE, RELAY_JOB
from .common import QueueCase, at, let_jobs_run


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

    def enqueue(self):
        event = accept(EventType.CONTACT, {"manychat_id": "MC-1"}, received_at=at(0), source="odoo")
        self.env["manychat.event"]._enqueue(event, self.env["manychat.api.key"])

    def started_by(self, work):
        """The databases for which the commit after ``work`` starts the thread."""
        started = []
        self.env.cr.postcommit.clear()
        with patch.object(job_thread, "_start", started.append), patch.object(type(self.relay), "_notifydb"):
            work()
            self.env.cr.postcommit.run()
        return started

    def test_webhooks_and_heartbeats_do_the_work_of_jobs_that_do_not_run_and_only_then(self):
        bridge = self.env["manychat.bridge"].with_user(self.env.ref("miasalud_crm.user_bridge"))
        for work in (self.enqueue, lambda: bridge.heartbeat("prueba/1", "1")):
            self.env["manychat.event"].search([]).unlink()
            let_jobs_run(self.env)
            self.assertEqual(self.started_by(work), [])
            self.env["manychat.event"].search([]).unlink()
            self.due(hours=1)
            self.assertEqual(self.started_by(work), [self.env.cr.dbname])

    def test_a_deleted_job_refuses_no_event(self):
        self.relay.unlink()
        self.assertEqual(self.started_by(self.enqueue), [self.env.cr.dbname])

    def test_many_commits_start_one_thread_which_runs_once_more(self):
        begun, go_on, runs = threading.Event(), threading.Event(), []

        class Stop(Exception):
            pass

        def no_registry(database):
            runs.append(database)
            begun.set()
            go_on.wait(30)
            raise Stop  # no work in this test: it has no database of its own

        with patch.object(job_thread, "Registry", no_registry), self.assertLogs(job_thread.__name__, "WARNING"):
            job_thread._start("prueba")
            self.assertTrue(begun.wait(30))
            [thread] = [each for each in threading.enumerate() if each.name == "manychat-jobs"]
            for _ in range(50):
                job_thread._start("prueba")
            self.assertEqual([each.name for each in threading.enumerate()].count("manychat-jobs"), 1)
            go_on.set()
            thread.join(30)
        self.assertEqual(runs, ["prueba", "prueba"])
        self.assertNotIn("prueba", job_thread._running)
