"""The one list of deliveries: request, answer, attempts, next try, correcting, and who may see what."""

import json
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user, tagged

from bridge.contract.agreements import retry_within
from bridge.contract.payloads import EventType

from ..moments import from_iso
from .common import ManychatCase, opportunity, refuse

OPPORTUNITY = EventType.OPPORTUNITY


@tagged("post_install", "-at_install")
class DeliveryCase(ManychatCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        groups = "base.group_user,sales_team.group_sale_manager"
        cls.manager = new_test_user(cls.env, "jefa_entregas", groups, name="Jefa")
        cls.seller = new_test_user(cls.env, "vera_entregas", "base.group_user,sales_team.group_sale_salesman")
        cls.events = cls.env["manychat.event"].with_user(cls.manager)

    def row(self, envelope):
        return self.events.search([("event_id", "=", envelope["id"])])

    def codes(self, event):
        return [each["code"] for each in event.attempts or ()]

    def refused(self, body, **more):
        more = {"event_type": OPPORTUNITY, **more}
        return refuse(self.env, body if isinstance(body, str) else json.dumps(body), **more).with_user(self.manager)


class TestRequest(DeliveryCase):
    def marked(self, event):
        return [piece.split("<")[0] for piece in str(event.sent).split('<mark data-kind="')[1:]]

    def test_the_field_at_fault_is_marked_in_the_body_as_it_was_sent(self):
        body = '{"manychat_id": "1",\n "state": {"stage_id": "x<b>"}}'
        event = self.refused(body, errors=[{"field": "state.stage_id", "message": "is no number"}])
        (mark,) = self.marked(event)
        self.assertTrue(mark.startswith("danger"))
        self.assertTrue(mark.endswith("&#34;stage_id&#34;: &#34;x&lt;b&gt;&#34;"), mark)
        self.assertIn("&#34;manychat_id&#34;: &#34;1&#34;", str(event.sent))
        self.assertEqual(event.problem_text, "state.stage_id: is no number")

    def test_where_json_breaks_is_marked(self):
        event = self.refused('{"manychat_id": "1", "first_name": "Ana "la" Roja"}', code="not_json")
        (mark,) = self.marked(event)
        # From the quotation mark on at which the text ended too early.
        self.assertTrue(mark.endswith(">&#34;la&#34;"), mark)

    def test_where_a_masked_body_broke_is_marked_by_the_line_that_the_message_names(self):
        message = "The body is not JSON: Expecting ',' delimiter (line 2, column 9)."
        event = self.refused('{"a": "Ana",\n "b": 1 "c": 2}', code="not_json", message=message)
        self.assertTrue(event.is_masked)
        (mark,) = self.marked(event)
        self.assertTrue(mark.endswith('>"'.replace('"', "&#34;")), mark)

    def test_a_warning_is_marked_in_an_accepted_request(self):
        envelope = opportunity("MC-1")
        self.apply(envelope)
        event = self.row(envelope)
        event.sudo().write(
            {
                "request": {"method": "POST", "path": "/x", "headers": [], "body": '{"phone": "no"}'},
                "warnings": [{"field": "phone", "message": "is no number"}],
            }
        )
        (mark,) = self.marked(event)
        self.assertTrue(mark.startswith("warning"))
        self.assertEqual(event.status, "warned")

    def test_the_answer_is_what_the_bot_got(self):
        errors = [{"field": "state", "message": "is required"}]
        event = self.refused({"manychat_id": "1"}, errors=errors)
        status, _line, body = event.answer.partition("\n")
        self.assertEqual(status, "HTTP 422")
        expected = {"status": "error", "code": "invalid", "message": "It is wrong.", "errors": errors}
        self.assertEqual(json.loads(body), expected)
        envelope = opportunity("MC-1")
        self.apply(envelope)
        status, _line, body = self.row(envelope).answer.partition("\n")
        self.assertEqual(status, "HTTP 200")
        accepted = {"status": "accepted", "event_id": envelope["id"], "warnings": []}
        self.assertEqual(json.loads(body), accepted)

    def test_what_a_queue_or_a_command_brought_had_no_answer(self):
        envelope = opportunity("MC-1")
        self.apply(envelope)
        self.row(envelope).sudo().source = "queue"
        self.assertFalse(self.row(envelope).answer)

    def test_salespeople_see_no_request_and_no_refusal(self):
        self.apply(opportunity("MC-1"))
        self.lead("MC-1").user_id = self.seller
        own = self.env["manychat.event"].with_user(self.seller).search([("manychat_id", "=", "MC-1")])
        self.assertEqual(len(own), 1)
        for name in ("request", "sent", "payload"):
            with self.assertRaises(AccessError):
                own.read([name])
        refused = self.refused({"manychat_id": "MC-1"})
        self.assertFalse(self.env["manychat.event"].with_user(self.seller).search([("id", "=", refused.id)]))
        for action in ("action_correct", "action_check_again", "action_resend", "action_reopen", "action_map_stage"):
            with self.assertRaises(AccessError):
                getattr(own, action)()

    def test_internal_fields_are_offered_for_no_filter_and_no_group(self):
        offered = self.events.fields_get(attributes=["groupable", "searchable", "store"])
        for name in ("claimed_until", "discard_to_report", "key_prefix", "write_uid"):
            self.assertFalse(offered[name]["groupable"] or offered[name]["searchable"], name)
        self.assertTrue(offered["state"]["groupable"] and offered["key_name"]["groupable"])


class TestAttempts(DeliveryCase):
    def test_a_refusal_by_odoo_is_an_attempt_and_tells_the_next_one(self):
        said = "Falta el equipo"

        def refuse_all(*args):
            raise UserError(said)

        self.patch(self.registry["crm.lead"], "_manychat_create", refuse_all)
        envelope = opportunity("MC-1")
        for _time in range(3):
            self.apply(envelope)
        event = self.row(envelope)
        event.sudo().state = "queued"
        self.assertEqual(self.codes(event), ["refused"] * 3)
        self.assertEqual(event.attempts[-1]["message"], "Falta el equipo")
        self.assertEqual(event.next_try_at, from_iso(event.attempts[-1]["at"]) + retry_within(3))
        self.assertIn("Falta el equipo", str(event.timeline))
        self.assertIn('data-kind="next"', str(event.timeline))

    def test_what_the_bridge_reports_is_an_attempt_once(self):
        envelope = opportunity("MC-1")
        self.apply(envelope)
        event = self.row(envelope)
        event.sudo().write({"state": "queued", "code": False, "message": False})
        self.env.flush_all()
        outcome = {"event_id": envelope["id"], "state": "failed", "code": "sql_refused", "message": "Too long"}
        for _time in range(2):
            self.events.with_user(self.bridge_user).record_outcomes([outcome])
        self.env.invalidate_all()
        self.assertEqual(self.codes(event), ["sql_refused"])
        self.assertEqual(event.attempts[0]["message"], "Too long")

    def test_that_the_bridge_gives_up_is_told_after_odoos_own_refusals(self):
        envelope = opportunity("MC-1")
        self.apply(envelope)
        event = self.row(envelope)
        attempts = event._with_attempt("refused", "Falta el equipo")
        event.sudo().write({"state": "queued", "code": "refused", "message": "Falta el equipo", "attempts": attempts})
        self.env.flush_all()
        outcome = {"event_id": envelope["id"], "state": "failed", "code": "refused", "message": "The bridge's words"}
        self.events.with_user(self.bridge_user).record_outcomes([outcome])
        self.env.invalidate_all()
        self.assertEqual(self.codes(event), ["refused", "given_up"])
        self.assertEqual(event.message, "Falta el equipo")

    def test_an_unknown_stage_a_discard_and_a_retry_are_told_with_their_user(self):
        envelope = opportunity("MC-1", 99)
        self.apply(envelope)
        event = self.row(envelope)
        event.action_discard()
        event.action_retry()
        self.assertEqual(self.codes(event), ["unmapped_stage", "discarded", "retried"])
        self.assertEqual([each.get("by") for each in event.attempts], [None, "Jefa", "Jefa"])

    def test_that_a_stage_was_mapped_is_told(self):
        envelope = opportunity("MC-1", 99)
        self.apply(envelope)
        event = self.row(envelope)
        event.alias_id.map_id = self.env["manychat.stage.map"].search([], limit=1)
        self.assertEqual(self.codes(event), ["unmapped_stage", "mapped"])

    def test_a_loss_is_told(self):
        envelope = opportunity("MC-1")
        self.apply(envelope)
        event = self.row(envelope)
        event.sudo().write({"state": "queued", "queued_at": fields.Datetime.now() - timedelta(hours=1)})
        self.events.with_user(self.bridge_user).send_again([envelope["id"]])
        self.env.invalidate_all()
        self.assertEqual(self.codes(event), ["lost"])

    def test_erasing_a_person_empties_requests_and_attempts(self):
        envelope = opportunity("MC-1", 99)
        self.apply(envelope)
        event = self.row(envelope)
        event.sudo().request = {"method": "POST", "path": "/x", "headers": [], "body": "Zacarías"}
        refused = self.refused({"manychat_id": "MC-1", "state": {"stage_id": 17, "summary": "Zacarías"}})
        dialog = self.env["manychat.correction"].create({"event_id": refused.id})
        self.events.with_user(self.bridge_user).erase("MC-1")
        self.env.invalidate_all()
        self.assertFalse(event.request or event.attempts)
        self.assertFalse(refused.exists() or dialog.exists())

    def test_a_page_of_the_list_costs_the_same_however_many_rows_it_has(self):
        self.apply(*(opportunity(f"MC-{number}", 17 + number % 3, number) for number in range(40)))
        names = ["received_at", "status", "type", "manychat_id", "lead_id", "stage_after_id", "reason", "key_name"]
        counts = []
        for size in (5, 40):
            events = self.events.search([], limit=size)
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            events.web_read({name: {} for name in names})
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0])


class TestCorrecting(DeliveryCase):
    GOOD = {"manychat_id": "MC-9", "state": {"stage_id": 17, "date": "2026-03-02T09:00:00Z"}}
    BAD = {"manychat_id": "MC-9", "state": {"stage_id": "diecisiete"}}

    def test_a_request_is_checked_against_todays_contract(self):
        still = self.refused(self.BAD).action_check_again()["params"]
        self.assertEqual(still["type"], "warning")
        self.assertIn("state.stage_id", still["message"])
        self.assertEqual(self.refused(self.GOOD).action_check_again()["params"]["type"], "success")

    def test_a_header_that_is_missing_is_still_wrong(self):
        event = self.refused(self.GOOD, code="unsupported_media_type")
        event.sudo().request = {**event.request, "headers": [["Content-Type", "text/plain"]]}
        self.assertEqual(event.action_check_again()["params"]["type"], "warning")

    def test_a_corrected_request_is_a_new_event_that_is_linked(self):
        refused = self.refused(self.BAD)
        refused.sudo().write({"key_name": "Bot de prueba", "key_prefix": "mck_abc"})
        form = Form.from_action(self.env(user=self.manager.id), refused.action_correct())
        self.assertFalse(form.is_valid)
        self.assertIn("state.stage_id", form.verdict)
        with self.assertRaises(UserError):
            form.save().action_send()
        self.assertEqual(refused.state, "refused")
        form.body = json.dumps(self.GOOD)
        self.assertTrue(form.is_valid)
        action = form.save().action_send()
        event = self.events.browse(action["res_id"])
        self.assertRecordValues(
            event, [{"state": "pending", "manychat_id": "MC-9", "type": "opportunity", "key_name": "Bot de prueba"}]
        )
        self.assertEqual(event.received_at, refused.received_at)
        self.assertEqual((refused.state, refused.correction_id, event.corrected_ids), ("corrected", event, refused))
        self.assertEqual(self.codes(refused), ["corrected"])
        self.apply(event._envelope())
        self.assertEqual((event.state, self.lead("MC-9").stage_id), ("done", self.stages[17]))
        for action in (refused.action_correct, refused.action_discard):
            with self.assertRaises(UserError):
                action()

    def test_a_correction_that_is_sent_already_makes_no_second_event(self):
        first, second = self.refused(self.BAD), self.refused(self.BAD)
        body = json.dumps(self.GOOD)
        self.assertEqual(first._send_corrected(body), second._send_corrected(body))
        self.assertEqual(second.state, "corrected")

    def test_dates_are_read_in_the_zone_of_the_requests_key(self):
        secret = self.env["manychat.api.key"]._generate("Bogotá", tz="America/Bogota")
        key = self.env["manychat.api.key"]._authenticate(secret)
        body = {"manychat_id": "MC-9", "state": {"stage_id": 17, "date": "2025-10-20 17:41:00"}}
        event = self.refused(body, key=key)._send_corrected(json.dumps(body))
        self.assertEqual(event.payload["state"]["date"], "2025-10-20T22:41:00.000000Z")

    def test_a_request_without_a_person_cannot_be_corrected(self):
        masked = self.refused('{"nombre_lead": "Ana"}')
        with self.assertRaises(UserError):
            masked.action_correct()
        self.assertEqual(masked.action_check_again()["params"]["type"], "warning")

    def test_a_discarded_request_comes_back(self):
        refused = self.refused(self.BAD)
        refused.action_discard()
        self.assertEqual((refused.state, refused.discard_to_report), ("discarded", False))
        with self.assertRaises(UserError):
            refused.action_retry()
        refused.action_reopen()
        self.assertEqual((refused.state, self.codes(refused)), ("refused", ["discarded", "reopened"]))

    def test_the_unknown_stage_of_an_event_is_opened_to_be_mapped(self):
        first, second, other = opportunity("MC-1", 99), opportunity("MC-2", 99), opportunity("MC-3", 98)
        self.apply(first, second, other)
        action = (self.row(first) | self.row(second)).action_map_stage()
        self.assertEqual((action["res_id"], action["target"]), (self.row(first).alias_id.id, "new"))
        both = (self.row(first) | self.row(other)).action_map_stage()
        self.assertEqual(both["domain"], [("id", "in", (self.row(first) | self.row(other)).alias_id.ids)])
        self.apply(opportunity("MC-4", 17))
        with self.assertRaises(UserError):
            self.events.search([("manychat_id", "=", "MC-4")]).action_map_stage()

    def test_refused_requests_change_no_count_of_events(self):
        self.apply(opportunity("MC-9"))
        newest = self.events.search([], limit=1)
        refused = self.refused(self.BAD)
        for state in ("refused", "discarded", "corrected"):
            refused.sudo().state = state
            self.env.flush_all()
            as_bridge = self.env["manychat.event"].with_user(self.bridge_user)
            history = as_bridge.get_history(manychat_id="MC-9")
            self.assertEqual([each["event_id"] for each in history], [newest.event_id])
            self.assertEqual(as_bridge.get_overdue(), [])
            self.assertEqual(self.lead("MC-9").manychat_event_count, 1)


class TestSuccessRate(DeliveryCase):
    def test_the_rate_of_each_bot_and_day(self):
        envelopes = [opportunity(f"MC-{number}") for number in range(3)]
        self.apply(*envelopes)
        for envelope in envelopes:
            self.row(envelope).sudo().key_name = "Bot A"
        refused = self.refused({"manychat_id": "1"})
        refused.sudo().write({"key_name": "Bot A", "received_at": self.row(envelopes[0]).received_at})
        waiting = self.row(envelopes[0])
        self.env.flush_all()
        report = self.env["manychat.delivery.report"].with_user(self.manager)
        groups = [("key_name", "=", "Bot A")], ["key_name", "received_at:day"], ["success_rate:avg", "refused:sum"]
        ((_key, _day, rate, count),) = report._read_group(*groups)
        self.assertEqual((rate, count), (75, 1))
        waiting.sudo().state = "queued"
        self.env.flush_all()
        self.assertAlmostEqual(report._read_group(*groups)[0][2], 200 / 3)

    def test_test_events_count_nowhere(self):
        self.apply(opportunity("TEST-0123456789ab"))
        self.assertFalse(self.env["manychat.delivery.report"].with_user(self.manager).search_count([]))

    def test_only_managers_see_it(self):
        with self.assertRaises(AccessError):
            self.env["manychat.delivery.report"].with_user(self.seller).search([])

    def test_the_default_period_is_a_week(self):
        action = self.env.ref("miasalud_crm.manychat_delivery_report_action")
        self.assertIn("search_default_last_week", action.context)
        self.assertEqual(retry_within(1), timedelta(seconds=2))
