from unittest.mock import patch
from urllib.parse import quote

from odoo import Command
from odoo.tests import HttpCase, tagged

from bridge.contract.keys import Scope
from bridge.contract.person import PATH

from ..controllers.api import throttle
from .common import DAY, ManychatCase, QueueCase, Statements, opportunity


@tagged("post_install", "-at_install")
class TestPeople(QueueCase, ManychatCase, HttpCase):
    """A bot asks how far one person is."""

    def setUp(self):
        super().setUp()
        self.keys = self.env["manychat.api.key"]
        self.key = self.keys._generate_record("Pregunta", scope="ask")[1]
        self.apply(
            opportunity("MC-A", 17, first_name="Ana", phone="+520000000001", medical_advisor_id=101, summary="Hola")
        )
        self.row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])
        self.env.flush_all()
        throttle.forget()

    def ask(self, manychat_id="MC-A", query="", method="GET", key=None):
        self.env.flush_all()
        address = f"{self.base_url()}{PATH}{quote(manychat_id, safe='')}{query}"
        return self.opener.request(method, address, headers={"X-API-KEY": key or self.key}, timeout=30)

    def said(self, *args, **kwargs):
        answer = self.ask(*args, **kwargs)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def decide(self, moment, manychat_id="MC-A"):
        self.env["manychat.identity"].search([("manychat_id", "=", manychat_id)]).flush_recordset()
        statement = "UPDATE manychat_identity SET decided_at = %s WHERE manychat_id = %s"
        self.env.cr.execute(statement, [moment, manychat_id])

    def test_the_answer_says_how_far_the_person_is_and_nothing_else(self):
        lead = self.lead("MC-A")
        lead.user_id = self.env.ref("base.user_admin")
        lead.manychat_medical_advisor_id.name = "Dra. Ruiz"
        moment = DAY.replace(tzinfo=None, hour=12, microsecond=123456)
        self.decide(moment)
        said = self.said()
        self.assertTrue(said.pop("as_of"))
        self.assertEqual(
            said,
            {
                "status": "ok",
                "manychat_id": "MC-A",
                "found": True,
                "stage": self.row.name,
                "stage_id": 17,
                "odoo_stage": self.row.stage_id.name,
                "opportunity": "open",
                "salesperson": self.env.ref("base.user_admin").name,
                "medical_advisor": "Dra. Ruiz",
                "decided_at": "2026-03-02T12:00:00.123456Z",
                "age_seconds": 0,
            },
        )

    def test_an_adviser_who_is_only_a_number_has_no_name(self):
        self.assertIsNone(self.said()["medical_advisor"])

    def test_a_person_of_whom_nobody_decided_has_no_date(self):
        self.apply(opportunity("MC-B", 19))
        self.decide(DAY.replace(tzinfo=None), "MC-B")
        self.assertIsNone(self.said()["decided_at"])
        self.assertEqual(self.said("MC-B")["decided_at"], "2026-03-02T09:00:00.000000Z")

    def test_won_lost_and_restored_are_said(self):
        lead = self.lead("MC-A")
        lead.action_set_won()
        self.assertEqual(self.said()["opportunity"], "won")
        lead.stage_id = self.row.stage_id
        lead.action_set_lost()
        self.assertEqual(self.said()["opportunity"], "lost")
        lead.action_unarchive()
        self.assertEqual(self.said()["opportunity"], "open")

    def test_a_merged_person_is_as_far_as_the_opportunity_that_stayed(self):
        self.apply(opportunity("MC-B", 19))
        self.env["crm.lead"].browse((self.lead("MC-A") | self.lead("MC-B")).ids).merge_opportunity()
        stages = {self.said(each)["odoo_stage"] for each in ("MC-A", "MC-B")}
        self.assertEqual(stages, {self.lead("MC-A").stage_id.name})

    def test_a_stage_without_a_row_has_its_name_only(self):
        self.row.active = False
        said = self.said()
        self.assertEqual((said["stage"], said["stage_id"]), (None, None))
        self.assertEqual(said["odoo_stage"], self.row.stage_id.name)

    def test_an_unknown_person_is_answered_200(self):
        said = self.said("123456789012345678901234567890")
        self.assertEqual((said["found"], said["manychat_id"]), (False, "123456789012345678901234567890"))
        self.assertEqual(self.said("nadie", "?format=dynamic"), {"version": "v2", "content": {"messages": []}})

    def test_an_id_of_any_characters_names_one_person(self):
        lead = self.lead("MC-A")
        for manychat_id in ("MC-Ñ", "a/b", "a//b", "a?b=c", "a b", "a%2Fb", "a#b", "mc-a", "'; -- x"):
            lead.manychat_identity_ids = [Command.create({"manychat_id": manychat_id})]
            said = self.said(manychat_id)
            self.assertEqual((said["found"], said["manychat_id"]), (True, manychat_id))
        self.assertFalse(self.said("a")["found"])

    def test_an_address_with_doubled_slashes_leads_here_without_a_redirect(self):
        for path in (f"/{PATH}MC-A", PATH.replace("/", "//") + "MC-A"):
            answer = self.opener.get(
                self.base_url() + path, headers={"X-API-KEY": self.key}, timeout=30, allow_redirects=False
            )
            self.assertEqual((answer.status_code, answer.json().get("manychat_id")), (200, "MC-A"), path)

    def test_a_bot_that_fills_in_no_id_hears_so(self):
        for written in ("", " ", "\n"):
            answer = self.ask(written)
            self.assertEqual((answer.status_code, answer.json()["errors"][0]["field"]), (422, "manychat_id"), written)

    def test_a_name_is_said_as_sql_has_it(self):
        user = self.env.ref("base.user_admin")
        self.lead("MC-A").user_id = user
        for name, said in (
            ("Ana 🩺" * 60, "Ana 🩺" * 42 + "Ana"),
            ("ñ" * 300, "ñ" * 256),
            (" Ana  Ruiz ", "Ana  Ruiz"),
        ):
            user.partner_id.name = name
            self.assertEqual(self.said()["salesperson"], said)

    def test_what_names_no_person_is_refused(self):
        for manychat_id in ("{{user_id}}", "null", "x" * 65):
            answer = self.ask(manychat_id)
            self.assertEqual((answer.status_code, answer.json()["code"]), (422, "invalid"), answer.text)

    def test_the_texts_of_the_stage_come_as_a_dynamic_block(self):
        self.row.answer_text = "Etapa {stage}.\n\nSu médica es {medical_advisor}."
        content = self.said("MC-A", "?format=dynamic&channel=whatsapp")["content"]
        self.assertEqual(content["type"], "whatsapp")
        self.assertEqual(content["messages"], [{"type": "text", "text": f"Etapa {self.row.name}."}])
        self.lead("MC-A").action_set_lost()
        self.assertEqual(self.said("MC-A", "?format=dynamic")["content"]["messages"], [])

    def test_a_key_opens_what_its_scope_says(self):
        webhook, ask = self.keys._generate("Bot"), self.key
        self.assertEqual(self.ask(key=webhook).status_code, 403)
        self.assertEqual(self.ask(key="mck_wrong").status_code, 401)
        refused = self.env["manychat.event"].search_count([("state", "=", "refused")])
        for method, path in (("POST", "webhook/crm-opportunity"), ("GET", "../reports/health")):
            address = f"{self.base_url()}/api/v1/manychat/{path}".replace("manychat/../", "")
            answer = self.opener.request(
                method,
                address,
                data=b'{"manychat_id": "MC-A"}' if method == "POST" else None,
                headers={"X-API-KEY": ask, "Content-Type": "application/json"},
                timeout=30,
            )
            self.assertEqual((answer.status_code, answer.json()["code"]), (403, "forbidden"), answer.text)
        # A bot that sends its events with this key loses them: people must see it.
        self.assertEqual(self.env["manychat.event"].search_count([("state", "=", "refused")]), refused + 1)

    def test_a_revoked_key_asks_no_more(self):
        self.keys._authenticate(self.key).action_revoke()
        self.assertEqual(self.ask().status_code, 401)

    def test_monitors_may_send_head_and_bots_must_not_post(self):
        head = self.ask(method="HEAD")
        self.assertEqual((head.status_code, head.content), (200, b""))
        posted = self.ask(method="POST")
        self.assertEqual((posted.status_code, posted.headers["Allow"]), (405, "GET"))

    def test_an_answer_takes_two_statements(self):
        self.said()  # notes the use of the key, once in a minute
        for query in ("", "?format=dynamic"):
            with Statements() as statements:
                self.said("MC-A", query)
            self.assertEqual(len(statements), 2, statements)
            self.assertIn("manychat_api_key", statements[0])
            self.assertIn("manychat_identity", statements[1])

    def test_a_heartbeat_brings_the_bridge_what_it_needs_to_answer(self):
        self.row.answer_text = "Hola"
        aliases = [{"name": "Vieja", "map_id": self.row.id}, {"manychat_stage_id": 917, "map_id": self.row.id}]
        self.env["manychat.stage.alias"].create(aliases)
        self.lead("MC-A").manychat_medical_advisor_id.name = "Dra. Ruiz"
        answer = self.env["manychat.bridge"].with_user(self.bridge_user).heartbeat("host/1", "1")
        texts = answer["settings"]["stage_texts"]
        self.assertEqual(set(texts), {str(stage.id) for stage in self.stages.values()})
        about = texts[str(self.row.stage_id.id)]
        self.assertEqual((about["label"], about["id"], about["text"]), (self.row.name, 17, "Hola"))
        self.assertEqual(set(about["aliases"]), {"Vieja", 917})
        self.assertEqual(answer["settings"]["medical_advisors"], {"101": "Dra. Ruiz"})
        scopes = {key["name"]: key["scope"] for key in answer["keys"]}
        self.assertEqual(scopes["Pregunta"], Scope.ask.value)

    def test_a_failure_is_a_503_without_details(self):
        with (
            patch("odoo.addons.miasalud_crm.asked_person.find", side_effect=ValueError("Ana")),
            self.assertLogs("odoo.addons.miasalud_crm.controllers.api", "ERROR"),
        ):
            answer = self.ask()
        self.assertEqual((answer.status_code, answer.json()["code"]), (503, "unavailable"))
        self.assertNotIn("Ana", answer.text)
