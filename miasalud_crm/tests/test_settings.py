import contextlib
import http.server
import json
import socket
import threading

from odoo.exceptions import AccessError, ValidationError
from odoo.tests import TransactionCase, new_test_user, tagged

from .. import public_address
from .common import ManychatCase, QueueCase, opportunity

#: What a user may write, and what is stored.
GOOD = {
    "https://crm.example.com": "https://crm.example.com",
    "  https://CRM.Example.com/ ": "https://crm.example.com",
    "https://crm.example.com:8443": "https://crm.example.com:8443",
    "HTTPS://crm.example.com": "https://crm.example.com",
    "https://8.8.8.8": "https://8.8.8.8",
    "https://ventas.méxico.example": "https://ventas.méxico.example",
}
#: Addresses that ManyChat could not use, and why.
BAD = {
    "crm.example.com": "scheme",
    "http://crm.example.com": "scheme",
    "ftp://crm.example.com": "scheme",
    "javascript:alert(1)": "scheme",
    "https://": "scheme",
    "https://a b.example.com": "host",
    "https://-.example.com": "host",
    "https://crm..example.com": "host",
    "https://[::1": "host",
    "https://localhost": "private",
    "http://localhost:8069": "private",
    "https://odoo": "private",
    "https://odoo.local": "private",
    "https://ODOO.LAN": "private",
    "https://192.168.1.5": "private",
    "https://127.1": "private",
    "https://[::1]": "private",
    "https://jefa:clave@crm.example.com": "login",
    "https://crm.example.com:0": "port",
    "https://crm.example.com:99999": "port",
    "https://crm.example.com:http": "port",
    "https://crm.example.com:": "port",
    "https://crm.example.com/odoo": "path",
    "https://crm.example.com/?debug=1": "path",
    "https://crm.example.com?x": "path",
    "https://crm.example.com#x": "path",
}


@tagged("post_install", "-at_install")
class TestSettings(TransactionCase):
    def setUp(self):
        super().setUp()
        self.manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.settings = self.env["manychat.settings"].with_user(self.manager)

    def parameter(self, name):
        return self.env["ir.config_parameter"].get_param(f"miasalud_crm.{name}")

    def test_a_manager_without_technical_rights_changes_every_setting(self):
        team = self.env["crm.team"].create({"name": "Equipo"})
        values = {
            "webhook_base_url": "https://crm.example.com",
            "default_team_id": team.id,
            "default_user_id": self.manager.id,
            "chat_url": "https://app.manychat.com/fb1/chat/{manychat_id}",
            "alert_user_id": self.manager.id,
            "silent_minutes": 0,
            "quiet_hours": 4.5,
            "retention_days": 30,
            "overdue_minutes": 5,
        }
        self.assertEqual({field.name for field, _parameter in self.settings._parameters()}, values.keys())
        self.settings.create(values).execute()
        shown = self.settings.create({})
        for name, value in values.items():
            self.assertEqual(shown[name].id if name.endswith("_id") else shown[name], value, name)
        self.settings.create(dict.fromkeys(("chat_url", "default_team_id", "default_user_id"), False)).execute()
        self.assertFalse(self.parameter("chat_url") or self.parameter("default_team_id"))
        self.assertEqual(self.parameter("retention_days") or self.parameter("event_retention_days"), "30")

    def test_salespeople_see_and_change_nothing(self):
        seller = new_test_user(self.env, "vendedor", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.settings.with_user(seller).create({})

    def test_only_what_was_changed_is_written(self):
        before = self.env["ir.config_parameter"].search([]).mapped("key")
        self.settings.create({}).execute()
        self.assertEqual(self.env["ir.config_parameter"].search([]).mapped("key"), before)

    def test_what_another_manager_saved_meanwhile_stays(self):
        first, second = self.settings.create({}), self.settings.create({})
        first.retention_days = 10
        first.execute()
        second.silent_minutes = 20
        second.execute()
        self.assertEqual(self.parameter("event_retention_days"), "10")
        self.assertEqual(self.parameter("bridge_silent_minutes"), "20")

    def test_a_team_of_another_company_is_not_removed_by_saving(self):
        company = self.env["res.company"].create({"name": "Otra empresa de prueba"})
        team = self.env["crm.team"].create({"name": "Equipo de la otra", "company_id": company.id})
        self.env["manychat.settings"].create({"default_team_id": team.id}).execute()
        theirs = self.settings.create({"silent_minutes": 7})
        self.assertFalse(theirs.default_team_id)
        theirs.execute()
        self.assertEqual(int(self.parameter("default_team_id")), team.id)
        self.env["manychat.settings"].create({"default_team_id": False}).execute()
        self.assertFalse(self.parameter("default_team_id"))

    def test_what_makes_no_sense_is_refused(self):
        for name, value in (
            ("chat_url", "javascript:{manychat_id}"),
            ("chat_url", "https://app.manychat.com/"),
            ("retention_days", 0),
            ("silent_minutes", -1),
            ("quiet_hours", -0.5),
            ("overdue_minutes", -1),
        ):
            with self.assertRaises(ValidationError, msg=name):
                self.settings.create({name: value})

    def test_a_damaged_parameter_is_the_default(self):
        for value in ("", "muchos"):
            self.env["ir.config_parameter"].set_param("miasalud_crm.event_retention_days", value)
            self.env["ir.config_parameter"].set_param("miasalud_crm.default_team_id", value)
            shown = self.settings.create({})
            self.assertEqual((shown.retention_days, shown.default_team_id.id), (90, False))

    def test_addresses_that_manychat_can_use(self):
        for written, stored in GOOD.items():
            self.settings.create({"webhook_base_url": written}).execute()
            self.assertEqual(self.parameter("webhook_base_url"), stored)

    def test_addresses_that_manychat_cannot_use(self):
        for written, what in BAD.items():
            self.assertEqual(public_address.fault(public_address.normalized(written)), what, written)
            with self.assertRaises(ValidationError, msg=written):
                self.settings.create({"webhook_base_url": written})

    def test_the_address_stays_when_an_administrator_signs_in_elsewhere(self):
        self.settings.create({"webhook_base_url": "https://hooks.example.com"}).execute()
        self.env["ir.config_parameter"].set_param("web.base.url", "http://10.0.0.5:8069")
        requests = self.env["manychat.request"].with_user(self.manager).requests()
        self.assertTrue(requests["webhooks"][0]["url"].startswith("https://hooks.example.com/api/"))
        self.assertEqual(requests["warning"], "")
        self.assertEqual(self.settings.create({}).odoo_address, "http://10.0.0.5:8069")
        self.env["ir.config_parameter"].set_param("web.base.url", "https://hooks.example.com")
        self.assertFalse(self.settings.create({}).odoo_address)


class _Answers(http.server.BaseHTTPRequestHandler):
    """A web server whose every path is an answer: ``/STATUS/BODY``, with what is asked for after it."""

    def do_GET(self):
        status, body = self.server.answer
        self.server.asked.append(self.path)
        self.send_response(status)
        self.send_header("Location", "/secreto")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Stay silent."""


@tagged("post_install", "-at_install")
class TestAddress(QueueCase, TransactionCase):
    """What the test of the public address says, of a real server of each kind."""

    def setUp(self):
        super().setUp()
        self.manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.setup_model = self.env["manychat.setup"].with_user(self.manager)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
        self.server.asked = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def ask(self, status, body):
        self.server.answer = status, body if isinstance(body, bytes) else json.dumps(body).encode()
        return public_address.ask(self.address)

    def test_only_our_own_words_are_our_webhook(self):
        ours = {"status": "error", "code": "method_not_allowed", "message": "Use POST here.", "errors": []}
        self.assertEqual(self.ask(405, ours), ("ok", 405))
        for status, body in (
            (200, {"status": "ok"}),
            (200, b"<html>"),
            (200, b""),
            (500, b"x"),
            (200, [1]),
            (403, b""),
        ):
            self.assertEqual(self.ask(status, body), ("other", status))
        self.assertEqual(self.ask(404, b"<html>"), ("not_found", 404))

    def test_no_redirect_is_followed(self):
        self.assertEqual(self.ask(302, b""), ("redirect", 302))
        self.assertEqual(self.server.asked, [public_address.PROBED])

    def test_a_server_without_a_valid_certificate_and_none_at_all(self):
        secure = self.address.replace("http:", "https:")
        self.assertEqual(public_address.ask(secure)[0], "certificate")
        self.server.shutdown()
        self.server.server_close()
        self.assertEqual(public_address.ask(self.address), ("unreachable", None))
        self.assertEqual(public_address.ask("https://no-existe.invalid"), ("unreachable", None))

    def test_a_server_that_does_not_answer(self):
        self.patch(public_address, "TIMEOUT", 0.2)
        with _silent_port() as port:
            self.assertEqual(public_address.ask(f"http://127.0.0.1:{port}"), ("timeout", None))

    def test_each_result_is_a_sentence_and_only_a_good_one_turns_the_step_green(self):
        self.env["ir.config_parameter"].set_param("miasalud_crm.webhook_base_url", "https://hooks.example.com")
        for result in ("redirect", "not_found", "other", "certificate", "timeout", "unreachable"):
            self.patch(type(self.setup_model), "_ask", lambda setup, address, result=result: (result, 502))
            notice = self.setup_model.test_address()["params"]
            self.assertEqual(notice["type"], "warning")
            self.assertIn("https://hooks.example.com", notice["message"])
            self.assertEqual(self.setup_model._address_step()["state"], "todo")
        self.patch(type(self.setup_model), "_ask", lambda setup, address: ("ok", 405))
        self.assertEqual(self.setup_model.test_address()["params"]["type"], "success")
        self.assertEqual(self.setup_model._address_step()["state"], "done")
        self.env["ir.config_parameter"].set_param("miasalud_crm.webhook_base_url", "https://otra.example.com")
        self.assertEqual(self.setup_model._address_step()["state"], "todo")

    def test_the_address_of_odoo_can_be_kept(self):
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("miasalud_crm.webhook_base_url", False)
        parameters.set_param("web.base.url", "https://crm.example.com")
        step = self.setup_model._address_step()
        self.assertEqual((step["state"], step["actions"][0]["method"]), ("todo", "keep_address"))
        self.setup_model.keep_address()
        parameters.set_param("web.base.url", "http://localhost:8069")
        self.assertEqual(parameters.get_param("miasalud_crm.webhook_base_url"), "https://crm.example.com")
        parameters.set_param("miasalud_crm.webhook_base_url", False)
        self.assertNotIn("keep_address", str(self.setup_model._address_step()))
        self.setup_model.keep_address()
        self.assertFalse(parameters.get_param("miasalud_crm.webhook_base_url"))


@contextlib.contextmanager
def _silent_port():
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@tagged("post_install", "-at_install")
class TestDefaultTeam(ManychatCase):
    def setUp(self):
        super().setUp()
        self.team = self.env["crm.team"].create({"name": "Equipo de prueba"})
        self.env["manychat.settings"].create({"default_team_id": self.team.id}).execute()
        self.row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])

    def test_new_opportunities_fall_to_the_default_team(self):
        self.apply(opportunity())
        self.assertEqual(self.lead().team_id, self.team)

    def test_the_stages_own_team_comes_first(self):
        self.row.team_id = own = self.env["crm.team"].create({"name": "Equipo propio"})
        self.apply(opportunity())
        self.assertEqual(self.lead().team_id, own)

    def test_an_archived_default_team_gets_nothing(self):
        self.team.active = False
        self.apply(opportunity())
        self.assertNotEqual(self.lead().team_id, self.team)

    def test_a_stage_of_other_teams_does_not_get_the_default_team(self):
        other = self.env["crm.team"].create({"name": "Otro equipo"})
        stage = self.row.stage_id
        stage["team_ids" if "team_ids" in stage._fields else "team_id"] = other
        self.apply(opportunity())
        self.assertNotEqual(self.lead().team_id, self.team)

    def test_the_opportunity_belongs_to_the_teams_company(self):
        company = self.env["res.company"].create({"name": "Otra empresa de prueba"})
        self.team.company_id = company
        self.apply(opportunity())
        self.assertEqual((self.lead().team_id, self.lead().company_id), (self.team, company))
