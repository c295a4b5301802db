import json
import os
import re
from unittest import skipUnless
from unittest.mock import patch

from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from bridge import spans
from bridge.contract import traceparent
from bridge.contract.event import decode, from_envelope
from bridge.contract.payloads import CONTACT_QUEUE

from ..controllers.api import throttle
from ..deliveries import ACCEPTED
from .common import QueueCase, opportunity

try:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
except ImportError:
    InMemorySpanExporter = None

WEBHOOK = "/api/v1/manychat/webhook/contact"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAMED = f"00-{TRACE}-{SPAN}-01"
HEX = "[0-9a-f]{32}"


@tagged("post_install", "-at_install")
class TestEventTrace(QueueCase, HttpCase):
    def setUp(self):
        super().setUp()
        self.key = self.env["manychat.api.key"]._generate("Prueba")
        self.events = self.env["manychat.event"]
        self.events.search([]).unlink()
        throttle.forget()

    def call(self, path=WEBHOOK, body=None, method="POST", key=True, **headers):
        sent = {"X-API-KEY": self.key if key else "", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else json.dumps(body or {"manychat_id": "MC-1"})
        return self.opener.request(method, self.base_url() + path, data=data, headers=sent, timeout=30)

    def event(self):
        return self.events.search(ACCEPTED)

    def test_the_trace_of_a_request_is_kept_and_travels_to_the_queue(self):
        answer = self.call(traceparent=NAMED, X_Request_Id="req-1")
        self.assertEqual((answer.status_code, answer.headers["X-Request-Id"]), (200, "req-1"))
        self.assertEqual((self.event().traceparent, self.event().trace_id), (NAMED, TRACE))
        sent = []
        queues = type("Queues", (), {"put": lambda _self, _queue, text: sent.append(text)})()
        self.patch(self.env.cr, "commit", lambda: None)
        self.assertTrue(self.events._send(queues, self.events._claim(9)))
        read = decode(sent[0], queue=CONTACT_QUEUE, inserted_at=from_envelope(self.event()._envelope()).received_at)
        self.assertEqual(read.traceparent, NAMED)

    def test_without_one_or_with_a_wrong_one_the_trace_follows_from_the_event(self):
        wrong = (None, "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", f"{NAMED}, {NAMED}")
        for number, header in enumerate(wrong):
            headers = {"traceparent": header} if header else {}
            answer = self.call(body={"manychat_id": f"MC-{number}"}, **headers)
            event_id = answer.json()["event_id"]
            event = self.events.search([("event_id", "=", event_id)])
            self.assertEqual(event.traceparent, traceparent.of_event(event_id), header)
            self.assertEqual(answer.headers["X-Request-Id"], event.trace_id)

    def test_the_same_event_with_another_trace_is_one_event(self):
        body = {"manychat_id": "MC-1", "datetime_actual": "2026-03-02T10:00:00Z"}
        first, second = self.call(body=body, traceparent=NAMED), self.call(body=body)
        self.assertEqual(first.json(), second.json())
        self.assertEqual(self.event().traceparent, NAMED)

    @mute_logger("odoo.http")
    def test_every_answer_has_an_id(self):
        answers = [
            (self.call, {}, 200),
            (self.call, {"X_Dry_Run": "1"}, 200),
            (self.call, {"body": b"{"}, 400),
            (self.call, {"body": {"x": 1}}, 422),
            (self.call, {"body": b"x" * 40_000}, 413),
            (self.call, {"Content_Type": "text/plain"}, 415),
            (self.call, {"key": False}, 401),
            (self.call, {"method": "GET"}, 405),
            (self.call, {"path": "/api/v1/manychat/nothing"}, 404),
            (self.call, {"path": f"/{WEBHOOK}/"}, 404),
            (self.call, {"path": "/health", "method": "GET"}, 200),
            (self.call, {"path": "/health", "method": "HEAD"}, 200),
            (self.call, {"path": "/api/v1/reports/health", "method": "GET", "key": False}, 401),
        ]
        for call, arguments, status in answers:
            with self.subTest(arguments=arguments):
                own = call(**arguments, X_Request_Id="req-7")
                if status != 404:
                    self.assertEqual(own.status_code, status, own.text)
                self.assertEqual(own.headers["X-Request-Id"], "req-7")
                for odd in ("a b", "x" * 200, "mck_abcdefgh-secret"):
                    self.assertRegex(call(**arguments, X_Request_Id=odd).headers["X-Request-Id"], f"^{HEX}$")

    def test_a_failure_names_its_trace_in_the_log(self):
        logger = "odoo.addons.miasalud_crm.controllers.api"
        with (
            patch.object(type(self.events), "_enqueue", side_effect=ValueError("MC-1 says")),
            self.assertLogs(logger, "ERROR") as logs,
        ):
            answer = self.call(traceparent=NAMED)
        self.assertEqual((answer.status_code, answer.headers["X-Request-Id"]), (503, TRACE))
        self.assertIn(TRACE, logs.output[0])
        self.assertNotIn("MC-1", logs.output[0])

    def test_other_addresses_stay_as_they_are(self):
        answer = self.opener.get(f"{self.base_url()}/web/health", headers={"X-Request-Id": "req-1"}, timeout=30)
        self.assertNotIn("X-Request-Id", answer.headers)

    def test_an_event_is_found_by_its_trace(self):
        self.call(traceparent=NAMED)
        own_id = self.call(body={"manychat_id": "MC-2"}).json()["event_id"]
        own = self.events.search([("event_id", "=", own_id)])
        named = self.events.search([("manychat_id", "=", "MC-1")])
        self.assertEqual(self.events.search([("trace_id", "=", TRACE)]), named)
        self.assertEqual(self.events.search([("trace_id", "=", own_id[:32].upper())]), own)
        self.assertEqual(self.events.search([("trace_id", "in", [TRACE, own_id[:32]])]), own | named)
        self.assertFalse(self.events.search([("trace_id", "=", named.event_id[:32])]), "it has the sender's trace")
        self.assertFalse(self.events.search([("trace_id", "=", "0" * 32)]))

    def test_a_row_without_one_has_the_trace_that_follows_from_its_id(self):
        self.call()
        self.events.flush_model()
        self.env.cr.execute("UPDATE manychat_event SET traceparent = NULL")
        self.events.invalidate_model()
        event = self.event()
        self.assertEqual(event.trace_id, event.event_id[:32])
        self.assertEqual(from_envelope(event._envelope()).traceparent, traceparent.of_event(event.event_id))
        self.assertEqual(self.events.search([("trace_id", "=", event.trace_id)]), event)

    def test_what_the_bridge_brings_keeps_its_trace(self):
        self.events._adopt({**opportunity(), "traceparent": NAMED})
        self.assertEqual(self.event().traceparent, NAMED)


@tagged("post_install", "-at_install")
@skipUnless(InMemorySpanExporter, "The extra otel is not installed.")
class TestSpans(QueueCase, HttpCase):
    """The real SDK; only the network to a collector is left out."""

    def setUp(self):
        super().setUp()
        self.key = self.env["manychat.api.key"]._generate("Prueba")
        self.events = self.env["manychat.event"]
        self.events.search([]).unlink()
        self.exported = InMemorySpanExporter()
        self.startPatcher(patch("bridge.span_export.OTLPSpanExporter", lambda: self.exported))
        self.startPatcher(patch.dict(os.environ, {spans.ADDRESSES[0]: "http://127.0.0.1:9"}))
        spans._exporter.cache_clear()
        self.addCleanup(spans._exporter.cache_clear)

    def take(self, **headers):
        headers = {"X-API-KEY": self.key, "Content-Type": "application/json", **headers}
        body = json.dumps({"manychat_id": "MC-1", "nombre_lead": "Wenceslao"})
        answer = self.opener.post(self.base_url() + WEBHOOK, data=body, headers=headers, timeout=30)
        self.assertEqual(answer.status_code, 200)
        queues = type("Queues", (), {"put": lambda *_: None})()
        self.patch(self.env.cr, "commit", lambda: None)
        self.assertTrue(self.events._send(queues, self.events._claim(9)))
        spans.flush()
        return self.exported.get_finished_spans()

    def test_the_webhook_begins_the_trace_and_the_outbox_follows(self):
        webhook, outbox = self.take()
        event = self.events.search(ACCEPTED)
        self.assertEqual((webhook.name, outbox.name), ("webhook", "outbox"))
        for span in (webhook, outbox):
            self.assertEqual(f"{span.context.trace_id:032x}", event.event_id[:32])
            self.assertEqual(span.resource.attributes["service.name"], "miasalud-odoo")
            self.assertEqual(span.attributes["miasalud.event_id"], event.event_id)
            self.assertFalse(re.search("MC-1|Wenceslao", span.to_json()))
        self.assertFalse(webhook.parent)
        self.assertEqual(outbox.parent.span_id, webhook.context.span_id)
        # What follows in other programs follows from the webhook, too.
        self.assertEqual(event.traceparent, f"00-{event.event_id[:32]}-{webhook.context.span_id:016x}-01")

    def test_the_trace_of_the_sender_goes_on(self):
        webhook, outbox = self.take(traceparent=NAMED)
        self.assertEqual({f"{span.context.trace_id:032x}" for span in (webhook, outbox)}, {TRACE})
        self.assertEqual(f"{webhook.parent.span_id:016x}", SPAN)
