import json
import re
from dataclasses import replace
from datetime import datetime, timezone

from odoo.exceptions import AccessError, UserError
from odoo.tests import TransactionCase, new_test_user, tagged

from bridge.contract.errors import ContractError
from bridge.contract.event import accept
from bridge.contract.payloads import WEBHOOKS, EventType
from bridge.contract.strict_json import parse_json
from bridge.contract.webhook import accepted

#: What people write, and what breaks JSON that is put together carelessly.
NASTY = 'Ana "La Güera"\nGarcía \\ {x} 😀'


def filled(body, value):
    """``body`` as ManyChat sends it, when it knows ``value`` for each of its fields that people write."""
    body = re.sub(r'\{\{\w+\|fallback:""\|to_json:true\}\}', lambda _: json.dumps(value), body)
    body = body.replace("{{user_id}}", "1234567890").replace("{{whatsapp_phone}}", "+525512345678")
    return body.replace("{{phone}}", "+525512345678")


#: Statements of the page: rights, parameters, the user's groups, the rows of the stage map.
REQUESTS_QUERIES = 10
#: What a try leaves alone.
STORED = ("manychat.event", "manychat.stage.alias", "manychat.advisor", "manychat.api.key", "crm.lead", "utm.source")


@tagged("post_install", "-at_install")
class TestRequests(TransactionCase):
    def setUp(self):
        super().setUp()
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")

    def requests(self, base_url="https://crm.example.com", channel=""):
        self.env["ir.config_parameter"].set_param("web.base.url", base_url)
        return self.env["manychat.request"].with_user(self.manager).requests(channel)

    def try_request(self, body, webhook="opportunity", user=None):
        body = body if isinstance(body, str) else json.dumps(body)
        return self.env["manychat.request"].with_user(user or self.manager).try_request(webhook, body)

    def accept(self, webhook, text):
        return accept(
            EventType(webhook["name"]), parse_json(text), received_at=datetime.now(timezone.utc), source="odoo"
        )

    def test_salespeople_do_not_see_them(self):
        seller = new_test_user(self.env, "vendedor", "base.group_user,sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.env["manychat.request"].with_user(seller).requests()
        with self.assertRaises(AccessError):
            self.try_request({}, user=seller)

    def test_bot_builders_see_and_try_them_without_any_right_of_sales(self):
        builder = new_test_user(self.env, "bots", "base.group_user,miasalud_crm.group_bot_builder")
        requests = self.env["manychat.request"].with_user(builder).requests()
        self.assertEqual((requests["can_create_key"], requests["can_map_stages"]), (False, False))
        self.assertTrue(requests["webhooks"][0]["bodies"])
        self.assertEqual(self.try_request(requests["webhooks"][0]["bodies"][0]["example"], user=builder)["status"], 200)
        with self.assertRaises(AccessError):
            self.env["crm.lead"].with_user(builder).search([])

    def test_the_page_takes_few_statements_however_many_stages_are_mapped(self):
        self.requests()
        self.env.invalidate_all()
        with self.assertQueryCount(REQUESTS_QUERIES):
            self.env["manychat.request"].with_user(self.manager).requests()
        stages = self.env["crm.stage"].create([{"name": f"Etapa {number}"} for number in range(30)])
        self.env["manychat.stage.map"].create([{"name": stage.name, "stage_id": stage.id} for stage in stages])
        self.env.flush_all()
        self.env.invalidate_all()
        with self.assertQueryCount(REQUESTS_QUERIES):
            requests = self.env["manychat.request"].with_user(self.manager).requests()
        self.assertGreater(len(requests["webhooks"][0]["bodies"]), 30)

    def test_the_channel_is_written_into_the_bodies_with_its_telephone_number(self):
        for channel in (*self.requests()["channels"], 'Feria "Salud" {x} \\'):
            with self.subTest(channel):
                for webhook in self.requests(channel=channel)["webhooks"][:2]:
                    for body in webhook["bodies"]:
                        sent = self.accept(webhook, filled(body["body"], NASTY)).payload.canonical()
                        self.assertEqual(sent.get("channel") or sent.get("canal_entrada"), channel)
                        self.assertEqual(sent.get("phone") or sent.get("whatsapp"), "+525512345678")
                        self.assertEqual("whatsapp_phone" in body["body"], channel == "WhatsApp")
        self.assertEqual(self.requests(channel="x" * 500)["channel"], "x" * 256)
        self.assertEqual(self.requests(channel=" ")["channel"], "WhatsApp")

    def test_each_example_is_what_the_webhook_accepts_without_a_warning(self):
        for channel in ("WhatsApp", "Instagram"):
            for webhook in self.requests(channel=channel)["webhooks"]:
                for body in webhook["bodies"]:
                    self.assertNotIn("{{", body["example"])
                    result = self.try_request(body["example"], webhook["name"])
                    self.assertEqual((result["status"], result["answer"]["status"]), (200, "valid"))
                    self.assertEqual(result["answer"]["warnings"], [])
                    self.assertEqual(result["answer"]["payload"]["manychat_id"], "1234567890")

    def test_trying_a_request_says_where_the_opportunity_would_go_and_stores_nothing(self):
        before = {name: self.env[name].sudo().search_count([]) for name in STORED}
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])
        body = {"manychat_id": "MC-TRY", "state": {"stage_id": 17}}
        answer = self.try_request(body)["answer"]
        self.assertEqual((answer["stage"], answer["duplicate"]), (row.stage_id.name, False))
        self.assertIn(row.stage_id.name, answer["message"])
        unknown = self.try_request({**body, "state": {"stage": "Etapa de otro bot"}})
        self.assertEqual((unknown["status"], unknown["answer"]["stage"]), (200, None))
        self.assertIn("not mapped", unknown["answer"]["message"])
        warned = self.try_request({**body, "medical_advisor_id": "N/A"})
        self.assertEqual([each["field"] for each in warned["answer"]["warnings"]], ["medical_advisor_id"])
        self.assertEqual({name: self.env[name].sudo().search_count([]) for name in STORED}, before)

    def test_trying_a_request_that_is_refused_gives_the_answer_of_the_webhook(self):
        for body, status, code, field in (
            ({}, 422, "invalid", "manychat_id"),
            ({"manychat_id": "1", "nombre_lead": "Ana"}, 422, "wrong_endpoint", "nombre_lead"),
            ('{"manychat_id": "1", "first_name": "Ana "B"", "state": {"stage_id": 17}}', 400, "not_json", "first_name"),
            ("", 400, "not_json", None),
            ("x" * 40_000, 413, "too_large", None),
            ("\ud83d", 400, "not_json", None),
        ):
            with self.subTest(code=code, field=field):
                result = self.try_request(body)
                self.assertEqual((result["status"], result["answer"]["code"]), (status, code))
                self.assertEqual(next((each["field"] for each in result["answer"]["errors"]), None), field)
        self.assertFalse(self.env["manychat.event"].sudo().search_count([("state", "=", "refused")]))
        with self.assertRaises(UserError):
            self.try_request({}, "no webhook")

    def test_each_row_of_the_stage_map_opens_its_request(self):
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 19)])
        action = row.with_user(self.manager).action_open_request()
        self.assertEqual(
            (action["tag"], action["context"]), ("miasalud_crm.requests", {"manychat_stage_map_id": row.id})
        )
        self.assertIn(row.id, [body["id"] for body in self.requests()["webhooks"][0]["bodies"]])
        for view in ("list", "kanban", "form"):
            self.assertIn("action_open_request", self.env["manychat.stage.map"].get_view(view_type=view)["arch"])

    def test_there_is_one_for_each_webhook_and_for_each_mapped_stage(self):
        webhooks = self.requests()["webhooks"]
        self.assertEqual({webhook["name"] for webhook in webhooks}, {event_type.value for event_type in WEBHOOKS})
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
