import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

import psycopg2

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import ManychatCase, opportunity

APPLY_LOGGER = "odoo.addons.miasalud_crm.models.crm_lead_apply"
NO = UserError("No se puede.")


class Listener:
    """A program that the webhooks of automations call."""

    def __init__(self):
        called = self.called = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                called.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@tagged("post_install", "-at_install")
class TestAutomations(ManychatCase):
    """What automations do in a batch of which one event is refused: once for each neighbour, never for no record."""

    def setUp(self):
        super().setUp()
        self.listener = Listener()
        self.addCleanup(self.listener.close)
        model = self.env["ir.model"]._get("crm.lead")
        self.hook = self.env["ir.actions.server"].create(
            {"name": "Aviso", "model_id": model.id, "state": "webhook", "webhook_url": self.listener.url}
        )
        self.automate()
        self.events = [opportunity(f"MC-{number}", 17, number, phone=f"+52000000{number:04}") for number in range(16)]
        self.applied = []
        self.env.cr.postcommit.clear()

    def automate(self):
        """Call the webhook for each created opportunity: by a real automation where that app is installed."""
        if "base.automation" in self.env:
            automation = self.env["base.automation"].create(
                {"name": "Aviso", "model_id": self.hook.model_id.id, "trigger": "on_create"}
            )
            self.hook.write({"base_automation_id": automation.id, "usage": "base_automation"})
            self.assertEqual(automation.action_server_ids, self.hook)
            self.env.flush_all()
            return
        create = self.registry["crm.lead"].create

        def create_and_call(leads, vals_list):
            created = create(leads, vals_list)
            for lead in created:
                context = {"active_model": "crm.lead", "active_id": lead.id, "active_ids": lead.ids}
                self.hook.with_env(leads.env(context=leads.env.context | context)).run()
            return created

        patcher = patch.object(self.registry["crm.lead"], "create", create_and_call)
        patcher.start()
        self.addCleanup(patcher.stop)

    def apply_with_refusals(self, refused, events=None, error=NO):
        """Apply one batch; Odoo refuses the events of these people after their opportunities were created."""
        apply_batch = self.registry["crm.lead"]._manychat_apply_batch
        self.applied = []

        def apply_then_refuse(leads, batch, known):
            self.applied.append([event.manychat_id for event in batch])
            results = apply_batch(leads, batch, known)
            if {event.manychat_id for event in batch} & set(refused):
                raise error
            return results

        with (
            patch.object(self.registry["crm.lead"], "_manychat_apply_batch", apply_then_refuse),
            mute_logger(APPLY_LOGGER),
        ):
            results = self.apply(*(events or self.events))
        self.env.cr.postcommit.run()
        return results

    def calls(self):
        return Counter(call["_id"] for call in self.listener.called)

    def test_neighbours_of_a_refused_event_call_once_and_nothing_calls_for_no_record(self):
        results = self.apply_with_refusals({"MC-7"})
        self.assertEqual([result["status"] for result in results].count("created"), 15)
        self.assertEqual(self.calls(), Counter(result["lead_id"] for result in results if result["lead_id"]))
        self.assertEqual(len(self.env["crm.lead"].browse(self.calls()).exists()), 15)
        # Each neighbour is tried again once at most.
        self.assertEqual(self.applied, [[f"MC-{number}" for number in range(16)], *([f"MC-{n}"] for n in range(16))])

    def test_an_event_that_was_refused_before_takes_no_neighbour_along(self):
        self.apply_with_refusals({"MC-3"}, [self.events[3]])
        self.listener.called.clear()
        results = self.apply_with_refusals({"MC-3"})
        self.assertEqual([result["status"] for result in results].count("created"), 15)
        # In the order of the events, and no batch failed but the one of the event alone.
        names = [f"MC-{number}" for number in range(16)]
        self.assertEqual(self.applied, [names[:3], ["MC-3"], names[4:]])
        self.assertEqual(len(self.calls()), 15)
        self.assertEqual(set(self.calls().values()), {1})
        self.apply_with_refusals(set())
        self.assertEqual(self.applied, [names[:3], ["MC-3"], names[4:]])

    def test_a_conflict_calls_for_no_record_either(self):
        results = self.apply_with_refusals({"MC-3"}, error=psycopg2.errors.SerializationFailure())
        self.assertEqual([result["status"] for result in results].count("retry"), 1)
        self.assertEqual(len(self.calls()), 15)
        self.assertEqual(set(self.calls().values()), {1})

    def test_other_hooks_of_what_is_rolled_back_are_forgotten_and_those_before_stay(self):
        done, cr = [], self.env.cr
        for hooks in (cr.postcommit, cr.prerollback, cr.postrollback):
            hooks.add(lambda: done.append("before"))
            hooks.data["test.before"] = ["before"]
        with self.assertRaises(UserError), self.env["crm.lead"]._manychat_savepoint():
            for hooks in (cr.postcommit, cr.prerollback, cr.postrollback):
                hooks.add(lambda: done.append("within"))
                hooks.data["test.before"].append("within")
                hooks.data["test.within"] = 1
            self.env.user._bus_send("test", {})
            cr.precommit.run()
            raise UserError("x")  # pylint: disable=translation-required
        for hooks in (cr.postcommit, cr.prerollback, cr.postrollback):
            self.assertEqual(hooks.data.pop("test.before"), ["before"])
            self.assertEqual(dict(hooks.data), {})
            hooks.run()
        self.assertEqual(done, ["before"] * 3)

    def test_a_webhook_that_fails_after_the_commit_fails_no_event(self):
        self.hook.webhook_url = "http://127.0.0.1:1/"
        with mute_logger("odoo.addons.base.models.ir_actions", "odoo.addons.miasalud_crm.models.ir_actions_server"):
            results = self.apply_with_refusals(set(), self.events[:1])
        self.assertEqual(results[0]["status"], "created")
