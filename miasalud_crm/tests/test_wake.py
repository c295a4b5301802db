import select
from unittest.mock import patch

import psycopg2

from odoo import sql_db
from odoo.tests import TransactionCase, tagged

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from ..models.ir_cron import KEEP_NOTIFY_CONNECTION, _notifier
from .common import at, let_jobs_run

#: Seconds; for a notice that is on its way.
PATIENCE = 30


@tagged("post_install", "-at_install")
class TestWake(TransactionCase):
    """On real connections to the database on which Odoo's cron threads listen."""

    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        _database, parameters = sql_db.connection_info_for("postgres")
        self.listener = psycopg2.connect(**parameters)
        self.addCleanup(self.listener.close)
        self.listener.autocommit = True
        self.execute("LISTEN cron_trigger")
        self.job = self.env.ref("miasalud_crm.cron_relay").with_context(**{KEEP_NOTIFY_CONNECTION: True})

    def execute(self, statement, *parameters):
        with self.listener.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def heard(self, *, within=PATIENCE):
        """Whether a notice for this database arrives within that many seconds."""
        while True:
            self.listener.poll()
            while self.listener.notifies:
                if self.listener.notifies.pop(0).payload == self.env.cr.dbname:
                    return True
            if not select.select([self.listener], [], [], within)[0]:
                return False

    def connections(self):
        """This process's connections that notices have gone over and that are still there."""
        return self.execute(
            """
            SELECT pid FROM pg_stat_activity
             WHERE datname = 'postgres' AND query LIKE %s AND pid != pg_backend_pid()
               AND application_name = current_setting('application_name')
            """,
            "SELECT%pg_notify%",
        )

    def test_an_event_wakes_the_relay_when_it_is_committed_and_not_before(self):
        payload = {"manychat_id": "MC-W", "state": {"stage_id": 17, "date": at(0).isoformat()}}
        event = accept(EventType.OPPORTUNITY, payload, received_at=at(0), source="odoo")
        self.env["manychat.event"]._enqueue(event, self.env["manychat.api.key"])
        self.env.flush_all()
        self.assertFalse(self.heard(within=0))
        self.env.cr.postcommit.run()
        self.assertTrue(self.heard())

    def test_notices_share_one_connection(self):
        self.job._notifydb()
        self.assertTrue(self.heard())
        before = self.connections()
        for _ in range(5):
            self.job._notifydb()
            self.assertTrue(self.heard())
        self.assertTrue(before)
        self.assertEqual(self.connections(), before)

    def test_notices_arrive_also_after_the_connection_was_cut(self):
        self.job._notifydb()
        self.assertTrue(self.heard())
        # What a restart of PostgreSQL does to it.
        for (pid,) in self.connections():
            self.execute("SELECT pg_terminate_backend(%s, 10000)", pid)
        for _ in range(3):
            self.job._notifydb()
            self.assertTrue(self.heard())

    def test_other_jobs_wake_the_way_they_always_did(self):
        notify = self.startPatcher(patch.object(_notifier, "notify"))
        self.env.ref("miasalud_crm.cron_release")._notifydb()
        self.assertTrue(self.heard())
        notify.assert_not_called()
