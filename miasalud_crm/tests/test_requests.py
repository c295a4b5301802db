import json
import re
from dataclasses import replace
from datetime import datetime, timezone

from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user, tagged

from bridge.contract.errors import ContractError
from bridge.contract.event import accept
from bridge.contract.payloads import EventType
from bridge.contract.strict_json import parse_json
from bridge.contract.webhook import accepted

#: What people write, and what breaks JSON that is put together carelessly.
NASTY = 'Ana "La Güera"\nGarcía \\ {x} 😀'


def filled(body, value):
    """``body`` as ManyChat sends it, when it knows ``value`` for each of its fields that people write."""
    body = re.sub(r'\{\{\w+\|fallback:""\|to_json:true\}\}', lambda _: json.dumps(value), body)
    return body.replace("{{user_id}}", "1234567890").replace("{{whatsapp_phone}}", "+525512345678")


@tagged("post_install", "-at_install")
class TestRequests(TransactionCase):
    def setUp(self):
        super().setUp()
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")

    def requests(self, base_url="https://crm.example.com"):
        self.env["ir.config_parameter"].set_param("web.base.url", base_url)
        return self.env["manychat.request"].with_user(self.manager).requests()

    def accept(self, webhook, text):
        return accept(
            EventType(webhook["name"]), parse_json(text), received_at=datetime.now(timezone.utc), source="odoo"
        )

    def test_salespeople_do_not_see_them(self):
        seller = new_test_user(self.env, "vendedor", "base.group_user,sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.env["manychat.request"].with_user(seller).requests()

    def test_there_is_one_for_each_webhook_and_for_each_mapped_stage(self):
        webhooks = self.requests()["webhooks"]
        self.assertEqual({webhook["name"] for webhook in webhooks}, {event_type.value for event_type in EventType})
        for webhook in webhooks:
            method, path = EventType(webhook["name"]).route
            self.assertEqual((webhook["method"], webhook["url"]), (method, "https://crm.example.com" + path))
        stages = self.env["manychat.stage.map"].search([])
        self.assertEqual([body["id"] for body in webhooks[0]["bodies"]], stages.ids)

    def test_the_webhooks_may_have_a_host_name_of_their_own(self):
        self.env["ir.config_parameter"].set_param("miasalud_crm.webhook_base_url", "https://hooks.example.com/")
        requests = self.requests("http://odoo.internal:8069")
        self.assertEqual(requests["warning"], "")
        for webhook in requests["webhooks"]:
            self.assertTrue(webhook["url"].startswith("https://hooks.example.com/api/"))

    def test_what_manychat_makes_of_them_keeps_the_contract(self):
        for webhook in self.requests()["webhooks"]:
            for body in webhook["bodies"]:
                event = self.accept(webhook, filled(body["body"], NASTY))
                self.assertEqual(event.manychat_id, "1234567890")
                self.assertIn(NASTY, _texts(event.payload.canonical()))

    def test_what_manychat_may_map_is_in_the_answer(self):
        warning = {"field": "phone", "message": "was cut"}
        requests = self.requests()
        event = self.accept(requests["webhooks"][0], filled(requests["webhooks"][0]["bodies"][0]["body"], NASTY))
        answer = accepted(replace(event, warnings=(warning,)))
        found = {path: _at(answer, path) for path, _meaning in requests["answer"]}
        self.assertEqual(
            found, {"$.status": "accepted", "$.event_id": event.id, "$.warnings[0].message": warning["message"]}
        )

    def test_fields_that_manychat_cannot_fill_do_no_harm(self):
        for webhook in self.requests()["webhooks"]:
            for body in webhook["bodies"]:
                # What people write falls back to "", other fields arrive as their own placeholder.
                text = filled(body["body"], "").replace("+525512345678", "{{whatsapp_phone}}")
                if webhook["name"] == EventType.CAMPAIGN_CONTACT.value:
                    with self.assertRaises(ContractError):  # nothing is left that it could update
                        self.accept(webhook, text)
                else:
                    self.assertNotIn("phone", self.accept(webhook, text).payload.canonical())

    def test_the_body_of_a_stage_leads_to_that_stage(self):
        named = self.env["manychat.stage.map"].create(
            {"name": 'Etapa "nueva"', "stage_id": self.env["crm.stage"].create({"name": "Nueva"}).id}
        )
        resolve = self.env["manychat.stage.map"]._resolver()
        webhook = self.requests()["webhooks"][0]
        self.assertIn(named.id, [body["id"] for body in webhook["bodies"]])
        for body in webhook["bodies"]:
            state = self.accept(webhook, filled(body["body"], NASTY)).payload.state
            self.assertEqual(resolve(state.stage_id, state.stage).id, body["id"])

    def test_no_request_holds_a_key(self):
        self.env["manychat.api.key"]._generate("Prueba")
        self.assertNotIn("mck_", json.dumps(self.requests()))

    def test_an_address_that_manychat_cannot_reach_is_pointed_out(self):
        self.assertFalse(self.requests()["warning"])
        for address in ("http://localhost:8069", "https://10.0.0.3", "https://odoo", "http://127.0.0.1"):
            self.assertIn(address, self.requests(address)["warning"])
        self.assertIn("https://", self.requests("http://crm.example.com")["warning"])


def _texts(value):
    """All texts in the payload."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [value]


def _at(value, path):
    """What the JSONPath ``path`` finds in ``value``."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[name] if name else value[int(index)]
    return value
