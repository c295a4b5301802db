from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestEventLog(ManychatCase):
    def setUp(self):
        super().setUp()
        self.manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.salesperson = new_test_user(self.env, "vera", "sales_team.group_sale_salesman_all_leads")

    def failed(self):
        event = opportunity("MC-A", 99)
        self.apply(event)
        return self.env["manychat.event"].search([("event_id", "=", event["id"])])

    def test_a_manager_sends_a_failed_event_on_its_way_again(self):
        event = self.failed()
        event.with_user(self.manager).action_retry()
        self.assertEqual(event.state, "pending")

    def test_warnings_are_for_all_and_what_was_sent_is_for_managers(self):
        warnings = [{"field": "entry_date", "message": "left out"}]
        self.apply(opportunity("MC-A") | {"warnings": warnings, "extra": {"email": "ana@ejemplo.co"}})
        event = self.env["manychat.event"].search([("manychat_id", "=", "MC-A")])
        self.assertEqual(event.with_user(self.salesperson).warning_text, "entry_date: left out")
        self.assertIn("ana@ejemplo.co", event.with_user(self.manager).extra_text)
        with self.assertRaises(AccessError):
            event.with_user(self.salesperson).read(["extra_text"])

    def test_a_discarded_event_waits_for_nothing_any_more_and_can_be_taken_back(self):
        event = self.failed()
        event.with_user(self.manager).action_discard()
        self.assertEqual((event.state, event.alias_id.id), ("discarded", False))
        event.with_user(self.manager).action_retry()
        self.assertEqual(event.state, "pending")

    def test_an_applied_event_can_be_neither_retried_nor_discarded(self):
        self.apply(opportunity("MC-A"))
        event = self.env["manychat.event"].search([("manychat_id", "=", "MC-A")])
        for action in ("action_retry", "action_discard"):
            with self.assertRaises(UserError):
                getattr(event.with_user(self.manager), action)()

    def refused(self, *envelopes, times=1):
        """Let Odoo refuse to create the opportunities of these events, that many times; return their rows."""

        def refuse(leads, vals_list):
            raise UserError("No se puede.")  # pylint: disable=translation-required

        with (
            patch.object(self.registry["crm.lead"], "create", refuse),
            mute_logger("odoo.addons.miasalud_crm.models.crm_lead_apply"),
        ):
            for _ in range(times):
                self.apply(*envelopes)
        return self.env["manychat.event"].search([("event_id", "in", [event["id"] for event in envelopes])])

    def given_up(self, event):
        """The bridge reports a dead letter."""
        outcome = {"event_id": event.event_id, "state": "failed", "code": event.code, "message": "as the bridge has it"}
        self.env["manychat.event"].with_user(self.bridge_user).record_outcomes([outcome])
        self.env.invalidate_all()

    def test_a_refused_event_has_not_failed_while_the_bridge_tries_it_again(self):
        event = self.refused(opportunity("MC-A"), times=2)
        self.assertEqual((event.state, event.applied_at, event.outcome), ("queued", False, False))
        self.assertEqual((event.attempt_count, event.message), (2, "No se puede."))
        self.assertIn("2", event.reason)

    def test_a_refused_event_has_failed_once_the_bridge_gives_it_up(self):
        event = self.refused(opportunity("MC-A"))
        self.given_up(event)
        self.assertEqual((event.state, event.code, event.message), ("failed", "refused", "No se puede."))
        event.with_user(self.manager).action_retry()
        self.assertEqual((event.state, event.attempt_count, event.reason), ("pending", 0, False))

    def test_nothing_is_left_of_a_refusal_once_the_event_has_gone_through(self):
        envelope = opportunity("MC-A")
        event = self.refused(envelope)
        self.apply(envelope)
        self.assertEqual((event.state, event.code, event.message, event.reason), ("done", False, False, False))

    def test_salespeople_read_the_log_and_change_nothing(self):
        failed = self.failed()
        self.apply(opportunity("MC-A"))
        failed.lead_id = self.lead("MC-A")  # one without an opportunity is for managers only
        event = failed.with_user(self.salesperson)
        self.assertEqual(event.manychat_id, "MC-A")
        for action in (event.action_retry, event.action_discard, lambda: event.payload, lambda: event.payload_text):
            with self.assertRaises(AccessError):
                action()

    def test_the_opportunity_leads_to_its_events_and_to_the_chat(self):
        self.env["manychat.settings"].create({"chat_url": "https://app.manychat.com/fb1/chat/{manychat_id}"}).execute()
        self.apply(opportunity("MC A/1", phone="+52 000 000 0001"), opportunity("MC-B", phone="0001"))
        lead = self.lead("MC A/1").with_user(self.salesperson)
        self.assertEqual(lead.manychat_event_count, 1)
        self.assertEqual(lead.manychat_chat_url, "https://app.manychat.com/fb1/chat/MC%20A%2F1")
        self.assertEqual(lead.manychat_whatsapp_url, "https://wa.me/520000000001")
        self.assertFalse(self.lead("MC-B").manychat_whatsapp_url)
        events = self.env["manychat.event"].search(lead.action_view_manychat_events()["domain"])
        self.assertEqual(events.lead_id, lead.sudo())
        Form(lead, view="crm.crm_lead_view_form").save()

    def test_an_opportunity_without_a_chat_shows_none(self):
        lead = self.env["crm.lead"].create({"name": "Por teléfono", "phone": "+520000000001"})
        self.assertFalse(lead.manychat_chat_url or lead.manychat_whatsapp_url or lead.manychat_event_count)

    def test_settings_that_make_no_sense_are_refused(self):
        for values in ({"chat_url": "javascript:{manychat_id}"}, {"retention_days": 0}):
            with self.assertRaises(UserError):
                self.env["manychat.settings"].create(values)
