from odoo.exceptions import AccessError
from odoo.tests import tagged

from bridge.contract.event import accept
from bridge.contract.fields import format_datetime
from bridge.contract.payloads import EventType

from .common import ManychatCase, at, opportunity


def contact(manychat_id="MC-A", minutes=0, source="odoo"):
    """A contact event, as the webhook (or what ``source`` names) accepts it."""
    payload = {"manychat_id": manychat_id, "nombre_lead": "Inventada", "datetime_actual": at(minutes).isoformat()}
    return accept(EventType.CONTACT, payload, received_at=at(minutes), source=source)


@tagged("post_install", "-at_install")
class TestEventReport(ManychatCase):
    """The outcomes that the bridge reports, and what Odoo records."""

    def queued(self, event):
        """The event's row, as the relay leaves it."""
        self.env["manychat.event"]._insert(event, "queued", None)
        return self.row(event.id)

    def row(self, event_id):
        return self.env["manychat.event"].search([("event_id", "=", event_id)])

    def record(self, event_id, state, **outcome):
        self.env.flush_all()
        outcome = {"finished_at": format_datetime(at(1)), "retries": 0, **outcome, "event_id": event_id, "state": state}
        answer = self.env["manychat.event"].with_user(self.bridge_user).record_outcomes([outcome])
        self.env.invalidate_all()
        return answer

    def dead_lettered(self, event, **outcome):
        return self.record(event.id, "failed", **{"code": "sql_refused", "message": "String too long", **outcome})

    def unreported_discards(self):
        return self.env["manychat.bridge"].with_user(self.bridge_user).heartbeat("test/1", "0")["discarded"]

    def test_a_contact_that_the_bridge_stored_is_done_and_says_how_long_it_took(self):
        row = self.queued(contact())
        self.assertEqual(self.record(row.event_id, "done", outcome="stored"), {"busy": []})
        self.assertEqual((row.state, row.outcome, row.seconds), ("done", "stored", 60))
        self.assertEqual(row.applied_at, at(1).replace(tzinfo=None))

    def test_a_dead_letter_is_failed_and_says_why_in_plain_words(self):
        row = self.queued(contact())
        for _twice in range(2):
            self.dead_lettered(contact())
        self.assertEqual((row.state, row.code, row.message), ("failed", "sql_refused", "String too long"))
        self.assertIn("Azure SQL did not accept it", row.reason)
        self.assertFalse(row.seconds)

    def test_each_code_of_a_failure_has_its_sentence(self):
        from bridge.results import DESCRIPTIONS

        self.assertLessEqual(DESCRIPTIONS.keys() - {"not_json"}, self.env["manychat.event"]._reasons().keys())

    def test_done_is_final(self):
        row = self.queued(contact())
        self.record(row.event_id, "done", outcome="stored")
        self.dead_lettered(contact())
        self.record(row.event_id, "discarded")
        self.assertEqual((row.state, row.code), ("done", False))

    def test_a_late_report_does_not_undo_a_retry(self):
        row = self.queued(contact())
        self.dead_lettered(contact())
        row.action_retry()
        for state in ("failed", "discarded"):
            self.record(row.event_id, state)
            self.assertEqual((row.state, row.retries, row._envelope()["retries"]), ("pending", 1, 1))
        self.dead_lettered(contact(), retries=1)
        self.assertEqual(row.state, "failed")

    def test_an_event_that_was_stored_after_all_is_done_in_any_state(self):
        row = self.queued(contact())
        self.dead_lettered(contact())
        row.action_retry()
        self.record(row.event_id, "done", outcome="stored")
        self.assertEqual((row.state, row.code, row.message, row.reason), ("done", False, False, False))

    def test_odoos_own_words_for_a_failure_stay(self):
        event = opportunity("MC-A", 99)
        message = self.apply(event)[0]["message"]
        self.record(event["id"], "failed", code="unmapped_stage", message="another language")
        row = self.row(event["id"])
        self.assertEqual((row.message, row.alias_id.manychat_stage_id), (message, 99))

    def test_a_discard_in_odoo_goes_to_the_bridge_until_it_confirms(self):
        row = self.queued(contact())
        self.dead_lettered(contact())
        row.action_discard()
        self.assertEqual(self.unreported_discards(), {row.event_id: 0})
        self.dead_lettered(contact())  # sent before the bridge heard
        self.assertEqual((row.state, self.unreported_discards()), ("discarded", {row.event_id: 0}))
        self.record(row.event_id, "discarded")
        self.assertEqual((row.state, self.unreported_discards()), ("discarded", {}))

    def test_a_discard_that_was_undone_does_not_go_to_the_bridge(self):
        row = self.queued(contact())
        self.dead_lettered(contact())
        row.action_discard()
        row.action_retry()
        self.assertEqual(self.unreported_discards(), {})

    def test_what_the_bridges_operator_discarded_is_discarded_and_can_be_retried(self):
        row = self.queued(contact())
        self.dead_lettered(contact())
        self.record(row.event_id, "discarded")
        self.assertEqual((row.state, row.code), ("discarded", "sql_refused"))
        row.action_retry()
        self.assertEqual(row.state, "pending")

    def test_an_erased_event_is_discarded_for_good(self):
        row = self.queued(contact())
        self.env["manychat.event"].with_user(self.bridge_user).erase("MC-A")
        self.record(row.event_id, "erased")
        self.assertEqual((row.state, row.code), ("discarded", "erased"))

    def test_a_message_lost_from_the_queue_can_be_sent_again(self):
        row = self.queued(contact())
        row.action_retry()
        self.assertEqual(row.state, "pending")

    def test_events_that_came_past_odoo_get_their_row_and_unknown_ones_none(self):
        standby = contact("MC-S", source="api")
        self.record(standby.id, "failed", code="sql_refused", event=standby.envelope())
        row = self.row(standby.id)
        self.assertEqual((row.state, row.source, row.manychat_id), ("failed", "api", "MC-S"))
        self.assertEqual(row.payload, standby.payload.canonical())
        self.record("0" * 64, "done")
        self.record("1" * 64, "done", event={"v": 2})
        self.assertFalse(self.row("0" * 64) | self.row("1" * 64))

    def test_words_of_a_newer_bridge_and_long_reasons_are_taken_as_they_can_be(self):
        rows = self.queued(contact("MC-A")) | self.queued(contact("MC-B"))
        self.record(rows[0].event_id, "done", outcome="teleported")
        self.record(rows[1].event_id, "failed", code="new", message="no\0 " * 2000)
        self.assertEqual(rows.mapped("state"), ["done", "failed"])
        self.assertEqual((rows[0].outcome, len(rows[1].message)), ("stored", 2000))

    def test_a_whole_batch_is_one_statement(self):
        events = [contact(f"MC-{number}") for number in range(30)]
        for event in events:
            self.queued(event)
        outcomes = [{"event_id": event.id, "state": "done", "outcome": "stored"} for event in events]
        report = self.env["manychat.event"].with_user(self.bridge_user).record_outcomes
        report(outcomes[:1])
        with self.assertQueryCount(7):
            report(outcomes[1:])

    def test_only_the_bridge_may_report(self):
        with self.assertRaises(AccessError):
            self.env["manychat.event"].record_outcomes([])
