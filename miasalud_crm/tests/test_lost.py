from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user, tagged
from odoo.tools import mute_logger

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from ..models.manychat_event_lost import DEFAULT_OVERDUE_MINUTES, LOST_TOO_OFTEN, OVERDUE_PARAMETER
from .common import at


@tagged("post_install", "-at_install")
class TestLost(TransactionCase):
    """Events that are long on their queue: which ones the bridge looks for, and what happens to the lost ones."""

    def setUp(self):
        super().setUp()
        self.env["manychat.event"].search([]).unlink()
        self.log = self.env["manychat.event"].with_user(self.env.ref("miasalud_crm.user_bridge"))

    def event(self, number=1, *, minutes, state="queued", resends=0, **values):
        """The row of an event that has been on its queue for so many minutes."""
        payload = {"manychat_id": f"MC-{number}", "nombre_lead": "Ana"}
        event = accept(EventType.CONTACT, payload, received_at=at(number), source="odoo")
        self.env["manychat.event"]._insert(event, state, None)
        row = self.env["manychat.event"].search([("event_id", "=", event.id)])
        queued_at = fields.Datetime.now() - timedelta(minutes=minutes)
        row.write({"queued_at": queued_at, "resends": resends, **values})
        self.env.flush_all()
        return row

    def overdue(self):
        return [item["event_id"] for item in self.log.get_overdue()]

    def lose(self, events):
        with mute_logger("odoo.addons.miasalud_crm.models.manychat_event_lost"):
            return self.log.send_again(events.mapped("event_id"))

    def test_only_events_that_are_long_on_their_queue_are_looked_for_the_oldest_first(self):
        newer = self.event(1, minutes=DEFAULT_OVERDUE_MINUTES + 1)
        older = self.event(2, minutes=DEFAULT_OVERDUE_MINUTES + 9)
        self.event(3, minutes=DEFAULT_OVERDUE_MINUTES - 1)
        for number, state in enumerate(("pending", "done", "failed", "discarded")):
            self.event(10 + number, minutes=1000, state=state)
        self.assertEqual(self.overdue(), [older.event_id, newer.event_id])
        item = self.log.get_overdue()[0]
        self.assertEqual((item["type"], item["manychat_id"], item["retries"]), ("contact", "MC-2", 0))
        self.assertTrue(item["queued_at"].endswith("+00:00"))
        self.assertEqual(item["trace_id"], older.trace_id)

    def test_decisions_hide_no_event_of_the_other_queues(self):
        """A bridge of the release before leaves decisions alone, however many they are."""
        decision = self.event(1, minutes=1000, type="decision")
        event = self.event(2, minutes=DEFAULT_OVERDUE_MINUTES + 1)
        self.assertEqual(self.overdue(), [event.event_id, decision.event_id])

    def test_a_lost_event_goes_again_as_the_same_event(self):
        event = self.event(minutes=60)
        envelope = event._envelope()
        self.assertEqual(self.lose(event), [event.event_id])
        self.assertEqual((event.state, event.resends, event._envelope()), ("pending", 1, envelope))
        # A second bridge that has found the same changes nothing.
        self.assertEqual(self.lose(event), [])
        self.assertEqual(event.resends, 1)
        # Nor does it after the relay, which is faster at times.
        event.write({"state": "queued", "queued_at": fields.Datetime.now()})
        self.assertEqual(self.lose(event), [])
        self.assertEqual((event.state, event.resends), ("queued", 1))

    def test_what_is_finished_meanwhile_stays_finished(self):
        event = self.event(minutes=60, state="done")
        self.assertEqual(self.lose(event), [])
        self.assertEqual(event.state, "done")

    def test_the_distance_between_two_searches_grows_up_to_a_day(self):
        for resends, minutes in ((0, 10), (1, 20), (2, 40), (5, 320), (8, 1440), (60, 1440)):
            event = self.event(minutes=minutes - 1, resends=resends)
            self.assertEqual(self.overdue(), [], (resends, minutes))
            event.queued_at -= timedelta(minutes=2)
            self.env.flush_all()
            self.assertEqual(self.overdue(), [event.event_id], (resends, minutes))
            event.unlink()

    def test_the_setting_says_after_how_long_and_0_never(self):
        event = self.event(minutes=3)
        settings = self.env["manychat.settings"]
        settings.create({"overdue_minutes": 2}).execute()
        self.assertEqual(self.overdue(), [event.event_id])
        settings.create({"overdue_minutes": 0}).execute()
        self.assertEqual(self.env["ir.config_parameter"].get_param(OVERDUE_PARAMETER), "0")
        self.assertEqual(settings.create({}).overdue_minutes, 0)
        self.assertEqual(self.overdue(), [])

    def test_a_lost_event_of_an_erased_person_is_discarded(self):
        event = self.event(minutes=60, payload=False, manychat_id=False)
        self.assertEqual(self.overdue(), [event.event_id])
        self.assertEqual(self.lose(event), [])
        self.assertEqual((event.state, event.code), ("discarded", "erased"))

    def test_events_that_are_lost_again_and_again_are_an_alert(self):
        receiver = new_test_user(self.env, "guardia", "sales_team.group_sale_manager")
        self.env["manychat.settings"].create({"alert_user_id": receiver.id}).execute()
        event = self.event(minutes=60, resends=LOST_TOO_OFTEN - 2)

        def activities():
            self.env["manychat.alert"]._cron_check()
            alert = self.env["manychat.alert"].search([("kind", "=", "lost")])
            return alert.activity_ids

        self.lose(event)
        self.assertFalse(activities())
        event.state = "queued"
        self.lose(event)
        self.assertIn("1", activities().summary)
        alert = self.env["manychat.alert"].search([("kind", "=", "lost")])
        self.assertIn("search_default_lost", alert.action_view_events()["context"])
        event.state = "done"
        self.assertFalse(activities())

    def test_nothing_unfinished_is_deleted_by_age(self):
        kept = self.env["manychat.event"]
        for number, state in enumerate(("pending", "queued", "failed")):
            kept |= self.event(number, minutes=1, state=state)
        kept |= self.event(10, minutes=1, state="discarded", discard_to_report=True)
        for number, state in enumerate(("done", "discarded")):
            self.event(20 + number, minutes=1, state=state)
        self.env.cr.execute(
            "UPDATE manychat_event SET received_at = now() - interval '3 years', queued_at = received_at"
        )
        self.env.invalidate_all()
        self.patch(self.env.cr, "commit", lambda: None)
        self.env["manychat.event"]._cron_retention()
        self.assertEqual(self.env["manychat.event"].search([]).sorted("id"), kept.sorted("id"))

    def test_only_a_bridge_may_ask_and_send(self):
        for method, arguments in (("get_overdue", []), ("send_again", [["0" * 64]])):
            with self.assertRaises(AccessError):
                getattr(self.env["manychat.event"].with_user(self.env.ref("base.user_admin")), method)(*arguments)
