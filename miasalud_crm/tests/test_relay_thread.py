import threading
import time
from unittest.mock import patch

from odoo.tests import TransactionCase, tagged

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from .. import configuration, relay_thread
from .common import Statements, Unclosed, at

#: Seconds; for a thread that is about to end.
PATIENCE = 30
LOGGER = relay_thread.__name__


@tagged("post_install", "-at_install")
class TestRelayThread(TransactionCase):
    def setUp(self):
        super().setUp()
        self.startPatcher(patch.object(relay_thread, "PAUSES", (0,)))
        self.startPatcher(patch.object(relay_thread, "WAITS", (0, 0.001)))

    def run_until_it_ends(self, work, wakes=1):
        """Wake the thread of a database of which only ``work`` knows anything."""
        with patch.object(relay_thread, "_work", work):
            for _ in range(wakes):
                relay_thread.wake("prueba")
            for thread in self.threads():
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive())
        self.assertNotIn("prueba", relay_thread._threads)

    def threads(self):
        return [each for each in threading.enumerate() if each.name == "manychat-relay"]

    def woken_by(self, work):
        """The databases whose relay the commit after ``work`` wakes."""
        woken = []
        self.env.cr.postcommit.clear()
        with patch.object(relay_thread, "wake", woken.append):
            work()
            self.assertEqual(woken, [])
            self.env.cr.postcommit.run()
        return woken

    def enqueue(self):
        event = accept(EventType.CONTACT, {"manychat_id": "MC-1"}, received_at=at(0), source="odoo")
        self.env["manychat.event"]._enqueue(event, self.env["manychat.api.key"])
        return self.env["manychat.event"].search([("event_id", "=", event.id)])

    def test_an_event_wakes_the_relay_when_it_is_committed_and_not_before(self):
        self.assertEqual(self.woken_by(self.enqueue), [self.env.cr.dbname])

    def test_an_event_that_is_there_wakes_nothing(self):
        self.enqueue()
        self.assertEqual(self.woken_by(self.enqueue), [])

    def test_a_retry_and_a_heartbeat_wake_the_relay(self):
        row = self.enqueue()
        row.write({"state": "failed"})
        bridge = self.env["manychat.bridge"].with_user(self.env.ref("miasalud_crm.user_bridge"))
        for work in (row._requeue, lambda: bridge.heartbeat("prueba/1", "1")):
            self.assertEqual(set(self.woken_by(work)), {self.env.cr.dbname})

    def test_waking_the_relay_costs_no_statement(self):
        with Statements() as statements:
            self.env["manychat.event"]._wake_relay()
        self.assertEqual(statements, [])

    def test_many_commits_start_one_thread_which_looks_once_more(self):
        begun, go_on, rounds = threading.Event(), threading.Event(), []

        def work(database):
            rounds.append(database)
            begun.set()
            go_on.wait(PATIENCE)
            return True

        with patch.object(relay_thread, "_work", work):
            relay_thread.wake("prueba")
            self.assertTrue(begun.wait(PATIENCE))
            [thread] = self.threads()
            for _ in range(50):
                relay_thread.wake("prueba")
            self.assertEqual(self.threads(), [thread])
            go_on.set()
            thread.join(PATIENCE)
        self.assertEqual(rounds, ["prueba", "prueba"])
        self.assertNotIn("prueba", relay_thread._threads)

    def test_while_the_queue_is_down_one_thread_tries_again_until_it_works(self):
        answers = [False] * 10 + [True]
        self.run_until_it_ends(lambda _database: answers.pop(0), wakes=3)
        self.assertEqual(answers, [])

    def test_tries_while_the_queue_is_down_are_seconds_apart(self):
        self.assertGreaterEqual(min(relay_thread.WAITS), 0)
        waits, answers = [], [False] * 6 + [True]
        with (
            patch.object(relay_thread, "WAITS", (1, 2, 5)),
            patch.object(relay_thread.time, "sleep", waits.append),
        ):
            relay_thread._threads["prueba"] = threading.current_thread()
            with patch.object(relay_thread, "_work", lambda _database: answers.pop(0)):
                name = getattr(threading.current_thread(), "dbname", None)
                relay_thread._run("prueba")
                threading.current_thread().dbname = name
        self.assertEqual(waits, [1, 2, 5, 5, 5, 5])

    def test_a_database_that_cannot_be_used_is_given_up_after_some_tries_and_left_to_the_next_commit(self):
        tries = []

        def work(database):
            tries.append(database)
            raise ValueError("Ana García")

        with self.assertLogs(LOGGER, "WARNING") as logs:
            self.run_until_it_ends(work)
        self.assertEqual(len(tries), relay_thread.TRIES)
        self.assertNotIn("Ana", "".join(logs.output))
        with self.assertLogs(LOGGER, "WARNING"):
            self.run_until_it_ends(work)
        self.assertEqual(len(tries), 2 * relay_thread.TRIES)

    def test_a_process_without_the_settings_of_the_queue_leaves_its_events_to_the_server_of_the_jobs(self):
        self.startPatcher(patch.object(relay_thread, "_looked", {self.env.cr.dbname: time.monotonic()}))
        self.startPatcher(patch.object(relay_thread, "Registry", lambda _database: self.registry))
        self.startPatcher(patch.object(self.registry, "cursor", lambda: Unclosed(self.env.cr)))
        self.startPatcher(patch.object(configuration, "get", lambda name, default="": default))
        triggers = [("cron_id", "=", self.env.ref(relay_thread.RELAY_JOB).id)]
        self.env["manychat.event"].search([]).unlink()
        before = self.env["ir.cron.trigger"].search_count(triggers)
        for waiting in (0, 1):
            self.assertTrue(relay_thread._work(self.env.cr.dbname))
            self.assertEqual(self.env["ir.cron.trigger"].search_count(triggers), before + waiting)
            self.enqueue()

    def test_a_thread_that_cannot_start_fails_no_request_and_the_next_commit_starts_one(self):
        with (
            patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
            self.assertLogs(LOGGER, "ERROR"),
        ):
            relay_thread.wake("prueba")
        rounds = []
        self.run_until_it_ends(lambda database: rounds.append(database) or True)
        self.assertEqual(rounds, ["prueba"])

    def test_a_process_that_was_forked_starts_a_thread_of_its_own(self):
        # A thread's name is inherited, the thread is not.
        relay_thread._threads["prueba"] = threading.Thread()
        rounds = []
        self.run_until_it_ends(lambda database: rounds.append(database) or True)
        self.assertEqual(rounds, ["prueba"])
