from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import TransactionCase, tagged
from odoo.tools import mute_logger

from ..models import manychat_event_retention
from ..models.manychat_event import DEFAULT_RETENTION_DAYS, RETENTION_PARAMETER

RETENTION_LOGGER = "odoo.addons.miasalud_crm.models.manychat_event_retention"


@tagged("post_install", "-at_install")
class TestRetention(TransactionCase):
    """Finished events are deleted after the retention time, however many there are, and no others."""

    def setUp(self):
        super().setUp()
        # A test's transaction is neither committed nor rolled back.
        self.commits = []
        self.patch(self.env.cr, "commit", lambda: self.commits.append(1))
        self.patch(self.env.cr, "rollback", lambda: None)
        self.Event = self.env["manychat.event"]
        self.Event.search([]).unlink()

    def event(self, name, days, **values):
        received = fields.Datetime.now() - timedelta(days=days)
        return self.Event.create(
            {"event_id": name, "type": "contact", "state": "done", "received_at": received} | values
        )

    def run_job(self):
        self.Event._cron_retention()
        self.env.invalidate_all()
        return set(self.Event.search([]).mapped("event_id"))

    def test_only_what_is_finished_and_old_is_deleted(self):
        old = DEFAULT_RETENTION_DAYS + 1
        for state in ("pending", "queued", "failed"):
            self.event(f"unfinished {state}", old * 5, state=state)
        self.event("unreported discard", old, state="discarded", discard_to_report=True)
        self.event("young", DEFAULT_RETENTION_DAYS - 1)
        kept = set(self.Event.search([]).mapped("event_id"))
        self.event("done", old)
        self.event("discarded", old, state="discarded")
        self.assertEqual(self.run_job(), kept)

    def test_the_setting_decides_how_old(self):
        self.event("a week old", 7)
        self.assertEqual(self.run_job(), {"a week old"})
        self.env["ir.config_parameter"].set_param(RETENTION_PARAMETER, "6")
        self.assertEqual(self.run_job(), set())

    def test_one_run_deletes_more_than_a_batch_each_batch_in_a_transaction_of_its_own(self):
        for number in range(10):
            self.event(f"old {number}", 100 + number // 3)  # some were received at the same moment
        with patch.object(manychat_event_retention, "BATCH", 3):
            self.assertEqual(self.run_job(), set())
        self.assertEqual(len(self.commits), 4)

    def test_unfinished_events_among_many_finished_ones_end_no_run(self):
        for number in range(9):
            self.event(f"{number}", 100 - number / 10, state="failed" if number < 4 else "done")
        with patch.object(manychat_event_retention, "BATCH", 2):
            self.assertEqual(self.run_job(), {"0", "1", "2", "3"})

    def test_a_run_has_an_end_and_the_next_one_goes_on(self):
        for number in range(7):
            self.event(f"old {number}", 100)
        with (
            patch.object(manychat_event_retention, "BATCH", 3),
            patch.object(manychat_event_retention, "RETENTION_SECONDS", -1),
        ):
            self.assertEqual([len(self.run_job()) for _run in range(4)], [4, 1, 0, 0])

    def test_a_run_gives_way_to_the_relay_and_not_to_events_that_a_relay_has_claimed(self):
        for number in range(7):
            self.event(f"old {number}", 100)
        waiting = self.event("waiting", 0, state="pending")
        with patch.object(manychat_event_retention, "BATCH", 3):
            self.assertEqual(len(self.run_job()), 5)
            waiting.claimed_until = fields.Datetime.now()
            self.assertEqual(self.run_job(), {"waiting"})

    def test_an_event_that_cannot_be_deleted_raises_nothing_and_the_log_quotes_no_person(self):
        person = "MC-RETENTION"
        self.event("old", 100, manychat_id=person)

        def refuse(events):
            raise ValueError(events.manychat_id)

        with (
            patch.object(self.registry["manychat.event"], "unlink", refuse),
            self.assertLogs(RETENTION_LOGGER, "ERROR") as log,
            mute_logger("odoo.sql_db"),
        ):
            self.assertEqual(self.run_job(), {"old"})
        self.assertNotIn(person, "".join(log.output))
        self.assertEqual(self.run_job(), set())
