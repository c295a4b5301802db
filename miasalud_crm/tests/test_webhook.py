import json
import time
from datetime import timedelta
from unittest.mock import patch

from psycopg2.errors import SerializationFailure

from odoo import fields
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from bridge.contract.event import from_envelope
from bridge.contract.payloads import WEBHOOKS
from bridge.contract.reading import MAX_MESSAGE_CHARS

from .. import relay_thread
from ..controllers.api import throttle
from ..deliveries import ACCEPTED, REFUSALS
from ..models.manychat_event_refused import KEPT, TRIMMED_EVERY
from .common import QueueCase, Statements, refuse

CONTACT = "/api/v1/manychat/webhook/contact"
OPPORTUNITY = "/api/v1/manychat/webhook/crm-opportunity"
UPDATE = "/api/v1/manychat/campaign-contacts/update-by-manychat-id"
HALF_A_MINUTE = timedelta(seconds=30)
#: By path: method and body.
EXAMPLES = {each.spec.path: (each.spec.method, each.spec.example) for each in WEBHOOKS}


@tagged("post_install", "-at_install")
class TestWebhook(QueueCase, HttpCase):
    def setUp(self):
        super().setUp()
        self.key = self.env["manychat.api.key"]._generate("Prueba")
        throttle.forget()

    def call(self, path, body=None, method="POST", **headers):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        sent = {"X_API_KEY": self.key, "Content_Type": "application/json", **headers}
        return self.opener.request(
            method,
            self.base_url() + path,
            data=data,
            headers={name.replace("_", "-"): value for name, value in sent.items() if value is not None},
            timeout=30,
        )

    def events(self):
        return self.env["manychat.event"].search(ACCEPTED)

    def refused(self):
        return self.env["manychat.event"].search(REFUSALS)

    def assertError(self, response, status, code):
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.headers["Content-Type"], "application/json; charset=utf-8")
        body = response.json()
        self.assertEqual(body.keys(), {"status", "code", "message", "errors"})
        self.assertEqual((body["status"], body["code"]), ("error", code))
        self.assertTrue(body["message"])
        return body

    def test_the_users_own_examples_are_accepted(self):
        for path, (method, body) in EXAMPLES.items():
            response = self.call(path, body, method)
            self.assertEqual(response.status_code, 200, response.text)
            answer = response.json()
            self.assertEqual(answer, {"status": "accepted", "event_id": answer["event_id"], "warnings": []})
            event = self.env["manychat.event"].search([("event_id", "=", answer["event_id"])])
            self.assertEqual((event.state, event.manychat_id, event.source), ("pending", body["manychat_id"], "odoo"))
        self.assertEqual(len(self.events()), 4)
        self.assertEqual(set(self.events().mapped("key_name")), {"Prueba"})

    def test_each_answer_takes_few_statements(self):
        """Besides those of Odoo's own dispatcher: it asks whether the registry has changed."""
        body = EXAMPLES[OPPORTUNITY][1]
        self.call(OPPORTUNITY, {**body, "manychat_id": "1"})  # notes the use of the key, once in a minute
        insert = ["SELECT manychat_api_key", "INSERT manychat_event", "SELECT miasalud_query"]
        expected = {
            "accepted": (200, body, insert),
            "a duplicate": (200, body, insert),
        }
        for name, (status, sent, wanted) in expected.items():
            with self.subTest(name), Statements() as statements:
                self.assertEqual(self.call(OPPORTUNITY, sent).status_code, status)
                self.assertEqual(len(statements), len(wanted), statements)
                for statement, words in zip(statements, wanted, strict=True):
                    for word in words.split():
                        self.assertIn(word, statement)
        with Statements() as statements:
            self.assertEqual(self.call(OPPORTUNITY, {**body, "manychat_id": ""}).status_code, 422)
        self.assertLessEqual(len(statements), 12, statements)
        with Statements() as statements:
            self.assertEqual(self.call(OPPORTUNITY, body, X_API_KEY="mck_wrong").status_code, 401)
        self.assertLessEqual(len(statements), 12, statements)

    def test_the_request_is_kept_as_it_was_sent_without_what_lets_its_holder_in(self):
        # The cookie is the test's own: without it, Odoo 19 would not know the database.
        secret = {"Authorization": "Bearer abc", "X_Copy": self.key}
        body = b' {"manychat_id": "1",\n"state": {"stage_id": 17}}\x00'.rstrip(b"\x00")
        accepted = self.call(OPPORTUNITY, body, Idempotency_Key="k-1", **secret)
        self.assertEqual(accepted.status_code, 200, accepted.text)
        self.call(OPPORTUNITY, b"{" + body, Idempotency_Key="k-1", **secret)
        self.env.invalidate_all()
        accepted, refused = self.events(), self.refused()
        for event, sent in ((accepted, body), (refused, b"{" + body)):
            self.assertEqual(event.request["method"], "POST")
            self.assertEqual(event.request["path"], OPPORTUNITY)
            self.assertEqual(event.request["body"], sent.decode())
            self.assertIn(["Idempotency-Key", "k-1"], event.request["headers"])
            kept = json.dumps(event.request)
            for hidden in (self.key, "Bearer", "session_id"):
                self.assertNotIn(hidden, kept)

    def test_what_was_wrong_is_in_the_answer_on_the_row_and_on_the_queue(self):
        body = {
            **EXAMPLES[OPPORTUNITY][1],
            "first_name": "x" * 300,
            "medical_advisor_id": "N/A",
            "ad_id": 120,
            "state": {**EXAMPLES[OPPORTUNITY][1]["state"], "sumary": "Hola"},
        }
        answer = self.call(OPPORTUNITY, body).json()
        warned = [each["field"] for each in answer["warnings"]]
        self.assertEqual(sorted(warned), ["first_name", "medical_advisor_id", "state.sumary"])
        event = self.events()
        self.assertEqual(event.warnings, answer["warnings"])
        self.assertIn("state.sumary: did you mean summary?", event.warning_text)
        self.assertEqual(event.extra, {"ad_id": 120, "state": {"sumary": "Hola"}})
        self.assertIn('"ad_id": 120', event.extra_text)
        self.assertEqual(self.events().search([("warnings", "!=", False)]), event)
        self.assertEqual(self.events().search([("extra", "!=", False)]), event)
        sent = from_envelope(event._envelope())
        self.assertEqual((list(sent.warnings), sent.extra), (answer["warnings"], event.extra))

    def test_an_event_without_fault_has_no_warnings(self):
        self.call(OPPORTUNITY, EXAMPLES[OPPORTUNITY][1])
        event = self.events()
        self.assertFalse(event.warning_text or event.extra_text)
        self.assertFalse(event.search([("warnings", "!=", False)]) | event.search([("extra", "!=", False)]))

    def test_a_dry_run_names_warnings_and_unknown_fields(self):
        body = {**EXAMPLES[CONTACT][1], "email_lead": [], "ad_id": "{{ad}}", "vip": True}
        answer = self.call(CONTACT, body, X_Dry_Run="1").json()
        self.assertEqual([each["field"] for each in answer["warnings"]], ["email_lead"])
        self.assertEqual(answer["extra"], {"vip": True})
        self.assertFalse(self.events())

    def test_a_date_without_a_zone_is_one_of_the_keys_zone(self):
        self.env["manychat.api.key"]._authenticate(self.key).tz = "America/Bogota"
        body = {**EXAMPLES[CONTACT][1], "datetime_actual": "20 Oct 2025, 05:41pm"}
        self.assertEqual(self.call(CONTACT, body).status_code, 200)
        self.assertEqual(self.events().payload["datetime_actual"], "2025-10-20T22:41:00.000000Z")

    def test_the_wrong_address_is_told_the_right_one_and_kept_for_the_bot_builder(self):
        error = self.assertError(self.call(CONTACT, EXAMPLES[OPPORTUNITY][1]), 422, "wrong_endpoint")
        self.assertIn(f"POST {OPPORTUNITY}", error["message"])
        self.assertFalse(self.events())
        refused = self.refused()
        self.assertEqual((refused.state, refused.type, refused.code), ("refused", "contact", "wrong_endpoint"))

    def test_accepted_events_wake_the_relay(self):
        woken = []
        with patch.object(relay_thread, "wake_after_commit", woken.append):
            for _ in range(2):  # the second time the event is there
                self.call(CONTACT, EXAMPLES[CONTACT][1])
        self.assertEqual(len(woken), 1)

    def test_the_same_event_sent_twice_is_one_event(self):
        first, second = (self.call(OPPORTUNITY, EXAMPLES[OPPORTUNITY][1]) for _ in range(2))
        self.assertEqual((first.status_code, second.status_code), (200, 200))
        self.assertEqual(first.json(), second.json())
        self.assertEqual(len(self.events()), 1)

    def test_an_idempotency_key_tells_equal_events_apart_but_swallows_no_other_event(self):
        body = EXAMPLES[OPPORTUNITY][1]
        other = {**body, "manychat_id": "otra"}
        ids = [
            self.call(OPPORTUNITY, body).json()["event_id"],
            self.call(OPPORTUNITY, body, Idempotency_Key="a").json()["event_id"],
            self.call(OPPORTUNITY, other, Idempotency_Key="a").json()["event_id"],
            self.call(OPPORTUNITY, other, Idempotency_Key="a").json()["event_id"],
        ]
        self.assertEqual(len(set(ids)), 3)

    def test_an_update_without_a_date_may_come_again(self):
        method, body = EXAMPLES[UPDATE]
        ids = {self.call(UPDATE, body, method).json()["event_id"] for _ in range(2)}
        self.assertEqual(len(ids), 2)

    def test_an_update_without_a_date_is_one_event_by_its_key_or_by_the_proxys_stamp(self):
        method, body = EXAMPLES[UPDATE]
        stamped = {"X_Request_Stamp": f"{time.time() - 600:.3f} {'a' * 32}"}
        for headers in ({"Idempotency_Key": "a"}, stamped):
            ids = {self.call(UPDATE, body, method, **headers).json()["event_id"] for _ in range(3)}
            self.assertEqual(len(ids), 1)
        event = self.env["manychat.event"].search([("event_id", "in", list(ids))])
        self.assertAlmostEqual(fields.Datetime.now() - event.occurred_at, timedelta(minutes=10), delta=HALF_A_MINUTE)

    def test_a_missing_or_wrong_key_is_refused(self):
        self.env["manychat.api.key"].search([]).action_revoke()
        for key in (None, "", "mck_wrong", self.key):
            self.assertError(self.call(CONTACT, EXAMPLES[CONTACT][1], X_API_KEY=key), 401, "unauthorized")
        self.assertFalse(self.events())

    def test_an_invalid_event_names_its_fields_and_is_kept_for_the_bots_builder(self):
        body = {**EXAMPLES[OPPORTUNITY][1], "state": {"stage_id": "diecisiete", "date": "ayer"}}
        errors = self.assertError(self.call(OPPORTUNITY, body), 422, "invalid")["errors"]
        self.assertEqual([error["field"] for error in errors], ["state.stage_id", "state.date"])
        refused = self.refused()
        self.assertEqual((refused.type, refused.code, refused.key_name), ("opportunity", "invalid", "Prueba"))
        self.assertEqual(refused.problems, errors)
        self.assertEqual(refused.manychat_id, body["manychat_id"])
        self.assertEqual(json.loads(refused.request["body"]), body)
        self.assertFalse(self.events())

    def test_every_kind_of_bad_request_has_its_answer(self):
        for body, headers, status, code in (
            (b"", {}, 400, "not_json"),
            (b"{", {}, 400, "not_json"),
            (b"[]", {}, 400, "not_json"),
            (b'{"manychat_id": NaN}', {}, 400, "not_json"),
            (b'{"manychat_id": 1, "manychat_id": 2}', {}, 400, "not_json"),
            (b'{"manychat_id": "\xff"}', {}, 400, "not_json"),
            (b"[" * 20_000, {}, 400, "not_json"),
            (b"{}", {}, 422, "invalid"),
            (b'{"manychat_id": "' + b"x" * 33_000 + b'"}', {}, 413, "too_large"),
            (b"{}", {"Content_Type": "text/plain"}, 415, "unsupported_media_type"),
            (b"a=1", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
            (b"--x--", {"Content_Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ):
            self.assertError(self.call(CONTACT, body, **headers), status, code)
        self.assertFalse(self.events())

    def test_of_refused_requests_only_the_newest_are_kept(self):
        events = self.env["manychat.event"]
        key = self.env["manychat.api.key"].search([], limit=1)
        self.call(CONTACT, EXAMPLES[CONTACT][1])
        for number in range(KEPT + 2 * TRIMMED_EVERY):
            refuse(self.env, "{}", key, message=str(number))
        self.assertLessEqual(events.search_count(REFUSALS), KEPT + TRIMMED_EVERY)
        self.assertEqual(self.refused()[:1].message, str(KEPT + 2 * TRIMMED_EVERY - 1))
        self.assertEqual(len(self.events()), 1)

    def test_a_wrong_method_is_answered_in_the_same_shape(self):
        self.assertEqual(self.call(CONTACT, method="GET").headers["Allow"], "POST")
        self.assertError(self.call(CONTACT, method="GET"), 405, "method_not_allowed")
        self.assertError(self.call(UPDATE, EXAMPLES[UPDATE][1]), 405, "method_not_allowed")

    def test_a_bots_request_with_a_wrong_method_is_kept(self):
        body = json.dumps(EXAMPLES[UPDATE][1]).encode()
        answers = [self.call(UPDATE, body, X_API_KEY=key).json() for key in ("mck_" + "x" * 43, self.key)]
        self.assertEqual(*answers)
        refused = self.refused()
        self.assertEqual(refused.mapped("code"), ["method_not_allowed"])
        self.assertEqual((refused.type, refused.request["method"]), ("campaign_contact", "POST"))
        self.assertEqual(refused._refusal_today().status, 405)

    def test_strange_parameters_in_the_address_do_no_harm(self):
        self.assertEqual(self.call(f"{CONTACT}?asked=2&method=GET", EXAMPLES[CONTACT][1]).status_code, 200)

    def test_an_event_that_grows_too_long_by_normalising_is_cut_and_fits_on_its_queue(self):
        body = {**EXAMPLES[OPPORTUNITY][1], "state": {"stage_id": 17, "summary": "\U0001d160" * 8000}}
        answer = self.call(OPPORTUNITY, json.dumps(body, ensure_ascii=False).encode()).json()
        self.assertEqual([each["field"] for each in answer["warnings"]], ["state.summary"])
        self.assertLessEqual(len(from_envelope(self.events()._envelope()).encode()), MAX_MESSAGE_CHARS)

    def test_the_report_says_when_events_are_stuck(self):
        self.call(CONTACT, EXAMPLES[CONTACT][1])
        self.events().received_at = fields.Datetime.now() - timedelta(hours=1)
        report = self.call("/api/v1/reports/health", method="GET").json()
        self.assertEqual((report["status"], report["events"]["stuck"]), ("degraded", True))

    def test_the_report_does_not_fail_at_a_damaged_row(self):
        self.call(CONTACT, EXAMPLES[CONTACT][1])
        self.events().received_at = False
        report = self.call("/api/v1/reports/health", method="GET").json()
        self.assertEqual((report["events"]["waiting"], report["events"]["last_received"]), (1, None))

    def test_a_key_in_the_address_is_no_key(self):
        response = self.call(f"{CONTACT}?X-API-KEY={self.key}&api_key={self.key}", EXAMPLES[CONTACT][1], X_API_KEY=None)
        self.assertError(response, 401, "key_in_address")

    def test_an_address_that_guesses_keys_is_slowed_down_and_a_valid_key_is_not(self):
        for _ in range(throttle.TRIES):
            self.assertError(self.call(CONTACT, b"{}", X_API_KEY="mck_wrong"), 401, "unauthorized")
        response = self.call(CONTACT, b"{}", X_API_KEY="mck_wrong")
        self.assertError(response, 429, "too_many_wrong_keys")
        self.assertTrue(0 < int(response.headers["Retry-After"]) <= throttle.WINDOW)
        self.assertEqual(self.call(CONTACT, EXAMPLES[CONTACT][1]).status_code, 200)

    def test_what_bots_really_send_is_accepted(self):
        body = {
            "manychat_id": 1234567890,
            "first_name": "{{first_name}}",
            "last_name": None,
            "phone": 520000000001,
            "channel": "",
            "entry_date": "2026-03-02 09:00:00",
            "medical_advisor_id": "0",
            "commercial_advisor_id": "700",
            "state": {"stage_id": "17", "summary": "👩‍⚕️ Ñandú\u0000", "date": "2026-03-02T04:00:00-05:00"},
            "custom": {"anything": [1, 2]},
        }
        self.assertEqual(self.call(OPPORTUNITY, body).status_code, 200)
        event = self.events()
        self.assertEqual(
            event.payload,
            {
                "manychat_id": "1234567890",
                "phone": "520000000001",
                "entry_date": "2026-03-02T09:00:00.000000Z",
                "commercial_advisor_id": 700,
                "state": {"stage_id": 17, "summary": "👩‍⚕️ Ñandú", "date": "2026-03-02T09:00:00.000000Z"},
            },
        )

    def test_a_dry_run_tells_what_would_happen_and_stores_nothing(self):
        body = EXAMPLES[OPPORTUNITY][1]
        response = self.call(OPPORTUNITY, body, X_Dry_Run="1")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json()["stage"], "Recién Suscrito Pendiente AC")
        self.assertError(self.call(OPPORTUNITY, {}, X_Dry_Run="1"), 422, "invalid")
        self.assertFalse(self.events())
        self.assertFalse(self.refused())

    def test_a_recorded_dry_run_keeps_what_stands_in_the_way_and_no_event(self):
        aliases = self.env["manychat.stage.alias"]
        body = {"manychat_id": "MC1", "state": {"stage": "Etapa desconocida"}}
        for _time in range(2):
            self.assertFalse(self.call(OPPORTUNITY, body, X_Dry_Run="record").json()["stage"])
        self.assertEqual(len(aliases.search([("name", "=", "Etapa desconocida"), ("is_open", "=", True)])), 1)
        self.assertError(self.call(OPPORTUNITY, {}, X_Dry_Run="Record"), 422, "invalid")
        self.assertEqual(self.refused().code, "invalid")
        self.assertFalse(self.events())
        self.call(OPPORTUNITY, {**body, "state": {"stage": "Otra más"}}, X_Dry_Run="1")
        self.assertFalse(aliases.search([("name", "=", "Otra más")]))

    def test_a_conflict_over_an_event_that_is_stored_is_no_refusal(self):
        def conflict(*args):
            raise SerializationFailure

        stored = self.call(CONTACT, EXAMPLES[CONTACT][1]).json()
        self.patch(self.registry["manychat.event"], "_enqueue", conflict)
        with mute_logger("odoo.addons.miasalud_crm.controllers.api"):
            again = self.call(CONTACT, EXAMPLES[CONTACT][1])
            other = self.call(CONTACT, {**EXAMPLES[CONTACT][1], "manychat_id": "otra"})
        self.assertEqual((again.status_code, again.json()), (200, stored))
        self.assertError(other, 503, "unavailable")

    def test_a_dry_run_names_the_stage_in_the_companys_language(self):
        self.env["res.lang"]._activate_lang("es_ES")
        self.env.company.partner_id.lang = "es_ES"
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])
        row.stage_id.with_context(lang="es_ES").name = "Etapa traducida"
        response = self.call(OPPORTUNITY, EXAMPLES[OPPORTUNITY][1], X_Dry_Run="1")
        self.assertEqual(response.json()["stage"], "Etapa traducida")

    def test_a_failure_of_ours_is_a_503_that_gives_nothing_away(self):
        def fail(*args):
            raise RuntimeError("secreto")

        self.patch(self.registry["manychat.event"], "_enqueue", fail)
        with mute_logger("odoo.addons.miasalud_crm.controllers.api"):
            response = self.call(CONTACT, EXAMPLES[CONTACT][1])
        self.assertError(response, 503, "unavailable")
        self.assertNotIn("secreto", response.text)

    def test_liveness_needs_no_key_and_the_report_does(self):
        response = self.call("/health", method="GET", X_API_KEY=None)
        self.assertEqual((response.status_code, response.json()), (200, {"status": "ok"}))
        self.assertEqual(self.call("/health", method="HEAD", X_API_KEY=None).status_code, 200)
        self.assertError(self.call("/api/v1/reports/health", method="GET", X_API_KEY=None), 401, "unauthorized")

    def test_the_report_tells_what_waits_and_whether_the_bridge_lives(self):
        self.call(CONTACT, EXAMPLES[CONTACT][1])
        bridge = self.env["manychat.bridge"].with_user(self.env.ref("miasalud_crm.user_bridge"))
        bridge.heartbeat("prueba:1", "0.1.0")
        bridge.heartbeat("prueba:1", "0.1.0")
        report = self.call("/api/v1/reports/health", method="GET").json()
        self.assertEqual((report["events"]["waiting"], report["bridge"]["version"]), (1, "0.1.0"))
        self.assertEqual(report["queue"]["status"], "ok")
