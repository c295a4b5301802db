import base64
import json
import os
from datetime import datetime, timedelta, timezone
from unittest.mock import patch

import psycopg2
from azure.storage.queue import AccountSasPermissions, QueueServiceClient, ResourceTypes, generate_account_sas

from odoo.sql_db import connection_info_for
from odoo.tests import TransactionCase, tagged
from odoo.tools import mute_logger

from bridge.contract.event import Event, accept, decode
from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE, EventType
from bridge.errors import QueueUnavailable
from bridge.queue import Queue

from .. import configuration
from ..models import manychat_event_relay
from ..queues import IDLE, RELAY_CONNECTIONS, Queues, kept_queues, queue_report
from .common import QueueCase, Statements, at

RELAY_LOGGER = "odoo.addons.miasalud_crm.models.manychat_event_relay"


@tagged("post_install", "-at_install")
class TestRelay(QueueCase, TransactionCase):
    def setUp(self):
        super().setUp()
        # A test's transaction is neither committed nor rolled back; the relay's statements work the same without.
        self.patch(self.env.cr, "commit", lambda: None)
        self.patch(self.env.cr, "rollback", lambda: None)
        self.events = self.env["manychat.event"].search([])
        self.events.unlink()
        self.service = QueueServiceClient.from_connection_string(configuration.get("queue_connection_string"))
        self.addCleanup(self.service.close)
        for queue in (CONTACT_QUEUE, OPPORTUNITY_QUEUE):
            if queue in {properties.name for properties in self.service.list_queues()}:
                self.service.get_queue_client(queue).clear_messages()

    def enqueue(self, number, event_type=EventType.CONTACT):
        said = {"state": {"stage_id": 17, "date": at(number).isoformat()}}
        if event_type is EventType.CONTACT:
            said = {"datetime_actual": at(number).isoformat()}
        payload = {"manychat_id": f"MC-{number}", **said}
        event = accept(event_type, payload, received_at=at(number), source="odoo")
        self.env["manychat.event"]._enqueue(event, self.env["manychat.api.key"])
        return event

    def on_queue(self, queue):
        client = self.service.get_queue_client(queue)
        messages = client.receive_messages(messages_per_page=32, max_messages=500)
        return [decode(message.content, queue=queue, inserted_at=message.inserted_on) for message in messages]

    def states(self):
        return set(self.env["manychat.event"].search([]).mapped("state"))

    def test_events_arrive_on_their_queues_as_they_were_accepted(self):
        contacts = [self.enqueue(number) for number in range(70)]
        opportunity = self.enqueue(100, EventType.OPPORTUNITY)
        self.env["manychat.event"]._cron_relay()
        self.assertEqual(self.states(), {"queued"})
        self.assertEqual({event.id for event in self.on_queue(CONTACT_QUEUE)}, {event.id for event in contacts})
        self.assertEqual(self.on_queue(OPPORTUNITY_QUEUE), [opportunity])

    def test_the_queue_is_made_if_it_is_missing(self):
        self.service.delete_queue(CONTACT_QUEUE)
        event = self.enqueue(1)
        self.env["manychat.event"]._cron_relay()
        self.assertEqual(self.on_queue(CONTACT_QUEUE), [event])

    def sas(self):
        """The account as a SAS shows it that may read and add, which is enough for Odoo if all queues exist."""
        account = dict(each.split("=", 1) for each in configuration.get("queue_connection_string").split(";") if each)
        signature = generate_account_sas(
            account["AccountName"],
            account["AccountKey"],
            ResourceTypes.from_string("co"),
            AccountSasPermissions.from_string("ra"),
            expiry=datetime.now(timezone.utc) + timedelta(hours=1),
        )
        sas = f"QueueEndpoint={account['QueueEndpoint']};SharedAccessSignature={signature}"
        return patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=sas)

    def test_a_queue_that_is_missing_holds_up_its_own_events_only(self):
        """Also if more of them wait than a round takes, and all before the others."""
        queue_report(self.env)  # makes the queues
        self.service.delete_queue(CONTACT_QUEUE)
        held = [self.enqueue(number) for number in range(manychat_event_relay.RELAY_BATCH + 6)]
        others = [self.enqueue(100 + number, EventType.OPPORTUNITY) for number in range(3)]
        with self.sas():
            with self.assertLogs(RELAY_LOGGER) as logs:
                self.env["manychat.event"]._cron_relay()
            self.assertIn(f"{CONTACT_QUEUE} does not exist, and the SAS may not create it", logs.output[0])
            self.assertEqual({each.id for each in self.on_queue(OPPORTUNITY_QUEUE)}, {each.id for each in others})
            # What comes next goes at once, and is no probe.
            later = self.enqueue(200, EventType.OPPORTUNITY)
            self.env["manychat.event"]._cron_relay()
            self.assertEqual(self.on_queue(OPPORTUNITY_QUEUE), [later])
            report = queue_report(self.env)
            self.assertEqual(report["status"], "not_allowed")
            self.assertIn(CONTACT_QUEUE, self.env["manychat.setup"]._queue_sentence(report))
        waiting = self.env["manychat.event"].search([("state", "=", "pending")])
        self.assertEqual(set(waiting.mapped("event_id")), {event.id for event in held})
        self.env.cr.execute("UPDATE manychat_event SET claimed_until = claimed_until - %s", [manychat_event_relay.SHUT])
        self.env["manychat.event"]._cron_relay()
        self.assertEqual(self.states(), {"queued"})
        self.assertEqual(len(self.on_queue(CONTACT_QUEUE)), len(held))

    def test_messages_never_expire(self):
        self.enqueue(1)
        self.env["manychat.event"]._cron_relay()
        message = next(iter(self.service.get_queue_client(CONTACT_QUEUE).receive_messages()))
        self.assertGreater(message.expires_on.year, 9000)

    def test_while_azure_is_down_events_wait_and_the_job_does_not_fail(self):
        for number in range(5):
            self.enqueue(number)
        key = base64.b64encode(b"x").decode()
        # Nothing listens on port 1.
        down = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={key};QueueEndpoint=http://127.0.0.1:1/a"
        with patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING=down), self.assertLogs(RELAY_LOGGER) as logs:
            self.env["manychat.event"]._cron_relay()
        self.assertIn("wait", logs.output[0])
        self.assertEqual(self.states(), {"pending"})
        self.env["manychat.event"]._cron_relay()
        self.assertEqual(self.states(), {"queued"})

    def test_without_a_queue_the_log_says_what_to_set(self):
        self.enqueue(1)
        self.patch(configuration, "get", lambda name, default="": default)
        with self.assertLogs(RELAY_LOGGER, "WARNING") as logs:
            self.env["manychat.event"]._cron_relay()
        self.assertIn("queue_connection_string", logs.output[0])

    def test_a_malformed_connection_string_does_not_fail_the_job(self):
        self.enqueue(1)
        with patch.dict(os.environ, MIASALUD_QUEUE_CONNECTION_STRING="nonsense"), mute_logger(RELAY_LOGGER):
            self.env["manychat.event"]._cron_relay()

    def test_an_event_that_the_queue_refuses_does_not_hold_up_the_others(self):
        first, second = self.enqueue(1), self.enqueue(2)
        row = self.env["manychat.event"].search([("event_id", "=", first.id)])
        encode = Event.encode

        def too_long(event):
            return "x" * 70_000 if event.id == first.id else encode(event)

        # The contract cuts what is too long. This stands for any other reason of the queue's.
        with patch.object(Event, "encode", too_long), mute_logger(RELAY_LOGGER):
            self.env["manychat.event"]._cron_relay()
        self.assertEqual((row.state, row.code), ("failed", "undeliverable"))
        self.assertEqual(self.on_queue(CONTACT_QUEUE), [second])

    def test_a_damaged_row_fails_alone_and_says_why(self):
        """Whatever another module, an import or a person with SQL has done to a row."""
        damages = {
            "payload": "payload = NULL",
            "payload.state": 'payload = \'{"manychat_id": "MC-1"}\'',
            "payload.list": "payload = '[1]'",
            "payload.null": "payload = 'null'",
            "payload.text": "payload = '\"x\"'",
            "type": "type = 'nothing'",
            "source": "source = NULL",
            "id": "event_id = 'no id'",
            "retries": "retries = -1",
        }
        rows = {}
        for number, (name, damage) in enumerate(damages.items()):
            event = self.enqueue(number, EventType.OPPORTUNITY)
            rows[name] = self.env["manychat.event"].search([("event_id", "=", event.id)])
            self.env.flush_all()
            self.env.cr.execute(f"UPDATE manychat_event SET {damage} WHERE id = %s", [rows[name].id])
        # Its date of receipt can be mended: the row's own.
        undated, last = self.enqueue(100, EventType.OPPORTUNITY), self.enqueue(101, EventType.OPPORTUNITY)
        self.env.cr.execute("UPDATE manychat_event SET received_at = NULL WHERE event_id = %s", [undated.id])
        self.env.invalidate_all()
        with mute_logger(RELAY_LOGGER):
            self.env["manychat.event"]._cron_relay()
        for name, row in rows.items():
            with self.subTest(name):
                self.assertEqual((row.state, row.code), ("failed", "undeliverable"), name)
                self.assertIn("row is damaged", row.message)
                self.assertTrue(row.reason)
                self.assertNotIn("MC-", row.message)
        self.assertEqual({event.id for event in self.on_queue(OPPORTUNITY_QUEUE)}, {undated.id, last.id})

    def test_a_fault_of_our_code_in_one_row_does_not_hold_up_the_others(self):
        first, second = self.enqueue(1), self.enqueue(2)
        real = manychat_event_relay._envelope

        def envelope(row):
            if row["event_id"] == first.id:
                raise RuntimeError("Ana García, +34 600 000 000")
            return real(row)

        with patch.object(manychat_event_relay, "_envelope", envelope), mute_logger(RELAY_LOGGER):
            self.env["manychat.event"]._cron_relay()
        row = self.env["manychat.event"].search([("event_id", "=", first.id)])
        self.assertEqual((row.state, row.message), ("failed", "The event's row is damaged (RuntimeError)."))
        self.assertEqual(self.on_queue(CONTACT_QUEUE), [second])

    def test_claimed_events_are_left_to_their_relay_for_a_while(self):
        self.enqueue(1)
        first = self.claimed()
        self.assertEqual(len(first), 1)
        self.assertFalse(self.claimed())
        self.env.cr.execute("UPDATE manychat_event SET claimed_until = now() AT TIME ZONE 'UTC' - interval '1 second'")
        self.assertEqual(self.claimed(), first)

    def test_the_events_of_a_relay_that_was_killed_are_free_at_once(self):
        self.enqueue(1)
        first = self.claimed()
        _database, parameters = connection_info_for(self.env.cr.dbname)
        other = psycopg2.connect(**parameters)
        self.addCleanup(other.close)
        process = other.get_backend_pid()
        # The claim's own transaction sees no processes but those of its beginning.
        self.env.cr.execute("UPDATE manychat_event SET claimed_by = %s", [process])
        self.env.cr.execute("SELECT pg_stat_clear_snapshot()")
        self.assertFalse(self.claimed())
        self.env.cr.execute("SELECT pg_terminate_backend(%s, 10000)", [process])
        self.env.cr.execute("SELECT pg_stat_clear_snapshot()")
        self.assertEqual(self.claimed(), first)

    def claimed(self):
        return [row["id"] for row in self.env["manychat.event"]._claim(10)]

    def test_an_event_that_the_bridge_completed_first_stays_done(self):
        self.enqueue(1)
        row = self.env["manychat.event"].search([])
        claimed = self.claimed()
        row.state = "done"
        self.env.flush_all()
        self.env["manychat.event"]._commit_statement(
            "UPDATE manychat_event SET state = 'queued' WHERE id = ANY(%(ids)s) AND state = 'pending' RETURNING id",
            {"ids": claimed},
        )
        row.invalidate_recordset()
        self.assertEqual(row.state, "done")

    def test_connections_stay_open_between_runs_until_the_account_changes(self):
        account = configuration.get("queue_connection_string")
        kept = kept_queues(account)
        self.assertIs(kept_queues(account), kept)
        self.assertIsNot(kept_queues(account + ";"), kept)

    def test_a_connection_that_was_idle_for_long_or_has_failed_is_not_used_again(self):
        queues, closed = kept_queues(configuration.get("queue_connection_string")), []
        with patch.object(Queue, "close", autospec=True, side_effect=closed.append):
            self.enqueue(1)
            self.env["manychat.event"]._relay()
            self.assertEqual(closed, [])
            queues._used -= IDLE + 1
            self.enqueue(2)
            self.env["manychat.event"]._relay()
            self.assertEqual(set(closed), set(queues._queues.values()))
            closed.clear()
            self.enqueue(3)
            with (
                patch.object(Queue, "send_or_create", side_effect=QueueUnavailable("no answer")),
                mute_logger(RELAY_LOGGER),
            ):
                self.env["manychat.event"]._relay()
            self.assertEqual([queue.name for queue in closed], [CONTACT_QUEUE])
            self.env["manychat.event"]._relay()
        self.assertEqual(self.states(), {"queued"})

    def test_while_azure_is_down_one_event_is_tried_and_after_it_all_go(self):
        events = [self.enqueue(number) for number in range(20)]
        queues, tried, puts = kept_queues(configuration.get("queue_connection_string")), [], Queues.put

        def fail(_queues, queue, content):
            tried.append(content)
            raise QueueUnavailable("no answer")

        with patch.object(Queues, "put", fail), mute_logger(RELAY_LOGGER):
            self.assertFalse(self.env["manychat.event"]._relay())
            # No more than were on their way when the first one failed.
            self.assertLessEqual(len(tried), RELAY_CONNECTIONS)
            tried.clear()
            self.assertFalse(self.env["manychat.event"]._relay())
            self.assertEqual(len(tried), 1)
        self.assertFalse(queues.work)
        self.assertEqual(self.states(), {"pending"})
        self.assertIs(Queues.put, puts)
        self.assertTrue(self.env["manychat.event"]._relay())
        self.assertTrue(queues.work)
        self.assertEqual({event.id for event in self.on_queue(CONTACT_QUEUE)}, {event.id for event in events})

    def test_a_single_event_takes_two_statements_beside_its_put(self):
        self.enqueue(1)
        self.env["manychat.event"]._cron_relay()
        self.enqueue(2)
        with Statements() as statements:
            self.env["manychat.event"]._relay()
        self.assertEqual([each for each in statements if "UPDATE" in each], statements[::2])
        self.assertEqual(len(statements), 2 * 2)  # a change takes two, see private_sql

    def test_the_payload_on_the_queue_is_readable_json_in_base64(self):
        self.enqueue(1)
        self.env["manychat.event"]._cron_relay()
        message = next(iter(self.service.get_queue_client(CONTACT_QUEUE).receive_messages()))
        envelope = json.loads(base64.b64decode(message.content))
        self.assertEqual(envelope.keys(), {"v", "id", "type", "received_at", "source", "payload", "traceparent"})
