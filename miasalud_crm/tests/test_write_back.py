import os
import socket
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from psycopg2 import IntegrityError

from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, TransactionCase, new_test_user, tagged
from odoo.tools import mute_logger

from bridge import manychat_answers

from .. import manychat_account
from .common import QueueCase
from .manychat_stand_in import TOKEN, running


class WriteBackCase(QueueCase, TransactionCase):
    def setUp(self):
        super().setUp()
        self.patch(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("MIASALUD_MANYCHAT")})
        self.admin = new_test_user(self.env, "admina", "base.group_system,sales_team.group_sale_manager")
        self.manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.settings = self.env.ref("miasalud_crm.write_back").with_user(self.admin)
        self.items = self.env["manychat.account.item"]
        self.row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 25)])

    def refreshed(self, stand_in=None):
        if stand_in:
            return self.settings.action_refresh()
        with running():
            return self.settings.action_refresh()

    def item(self, name):
        return self.items.search([("name", "=", name)]).ensure_one()

    def choose(self):
        self.refreshed()
        self.settings.write(
            {
                "enabled": True,
                "stage_field_id": self.item("Etapa CRM").id,
                "stage_id_field_id": self.item("Número de etapa").id,
                "won_tag_id": self.item("Ganada").id,
            }
        )
        self.row.with_user(self.admin).flow_id = self.item("Cotización lista")

    def rules(self):
        self.env.flush_all()
        bridge = self.env["manychat.bridge"].with_user(self.env.ref("miasalud_crm.user_bridge"))
        return bridge.heartbeat("host/1", "1")["settings"]["write_back"]


@tagged("post_install", "-at_install")
class TestManychatAnswers(WriteBackCase):
    """What *Test* and *Refresh* say, whatever ManyChat or the network does."""

    def said(self, action="action_test"):
        notice = getattr(self.settings, action)()["params"]
        self.assertNotIn(TOKEN, str(notice))
        return notice["type"], notice["message"]

    @contextmanager
    def setting(self, **settings):
        with patch.dict(os.environ, {f"MIASALUD_MANYCHAT_API_{name.upper()}": text for name, text in settings.items()}):
            yield

    def test_a_right_token_shows_the_account(self):
        with running() as stand_in:
            kind, text = self.said()
        self.assertEqual((kind, stand_in.asked), ("success", ["/fb/page/getInfo"]))
        self.assertIn("“MiaSalud”", text)

    def test_no_token_says_where_it_is_set(self):
        self.assertIn("MIASALUD_MANYCHAT_API_TOKEN", self.said()[1])

    def test_a_wrong_token_is_recognised_in_both_ways_that_manychat_has(self):
        with running(token="another") as stand_in:
            self.assertIn("does not accept the API token (Wrong token)", self.said()[1])
            stand_in.answers["/fb/page/getInfo"] = (200, {"status": "error", "message": "Token is invalid"})
            self.assertIn("does not accept the API token (Token is invalid)", self.said()[1])
            stand_in.answers["/fb/page/getInfo"] = (403, b"<html>")
            self.assertIn("does not accept the API token (HTTP 403)", self.said()[1])

    def test_an_error_with_status_200_is_an_error_in_manychats_words(self):
        with running() as stand_in:
            stand_in.answers["/fb/page/getInfo"] = (200, {"status": "error", "message": "Page is\ndisabled"})
            self.assertEqual(self.said(), ("warning", "ManyChat answered with an error: Page is disabled"))

    def test_an_answer_of_another_kind_is_an_error(self):
        with running() as stand_in:
            for status, body in ((200, b"<html>"), (200, b"[]"), (200, {"status": "success", "data": []}), (302, b"")):
                with self.subTest(status=status, body=body):
                    stand_in.answers["/fb/page/getInfo"] = (status, body)
                    self.assertEqual(self.said(), ("warning", f"ManyChat answered with an error: HTTP {status}"))
            self.assertNotIn("/fb/page/elsewhere", stand_in.asked)
            # No address, as an odd server between may send.
            stand_in.location = "http://["
            self.assertEqual(self.said(), ("warning", "ManyChat answered with an error: HTTP 302"))

    def test_the_stop_for_a_day_is_named(self):
        with running() as stand_in:
            stand_in.answers["/fb/page/getInfo"] = (429, {"status": "error", "message": "Rate limit exceeded"})
            self.assertIn("24 hours", self.said()[1])

    def test_too_many_calls_are_no_wrong_token(self):
        """ManyChat says so with any status, and a server between without JSON."""
        with running() as stand_in:
            for status, body in (
                (403, {"status": "error", "message": "Rate limit exceeded for this token"}),
                (200, {"status": "error", "message": "Too many requests"}),
                (403, b"<html>too many requests</html>"),
                (400, {"status": "error", "message": "API calls are blocked for 24 hours"}),
            ):
                with self.subTest(status=status, body=body):
                    stand_in.answers["/fb/page/getInfo"] = (status, body)
                    self.assertIn("has passed the limits", self.said()[1])

    def test_an_error_that_speaks_of_tokens_is_no_wrong_token(self):
        """There are tokens for one-time notifications, too."""
        with running() as stand_in:
            stand_in.answers["/fb/page/getInfo"] = (400, {"status": "error", "message": "Notification token is used"})
            self.assertEqual(self.said()[1], "ManyChat answered with an error: Notification token is used")

    def test_a_netrc_file_does_not_replace_the_token(self):
        netrc = Path(self.enterContext(TemporaryDirectory()), "netrc")
        netrc.write_text("machine 127.0.0.1 login another password another")
        with patch.dict(os.environ, NETRC=str(netrc)), running():
            self.assertEqual(self.said()[0], "success")

    def test_an_answer_without_end_is_given_up(self):
        self.patch(manychat_account, "TIMEOUT", (0.2, 0.2))
        self.patch(manychat_answers, "MOST_BYTES", 2000)
        with running() as stand_in:
            stand_in.answers["/fb/page/getInfo"] = (200, b" " * 3000)
            self.assertIn("does not answer (127.0.0.1: its answer is too long)", self.said()[1])

    def test_no_network_and_a_server_in_trouble_say_what_to_check(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]  # no program listens there afterwards
        with self.setting(token=TOKEN, url=f"http://127.0.0.1:{port}"):
            self.assertIn("does not answer (127.0.0.1: ConnectionError)", self.said()[1])
        with running() as stand_in:
            stand_in.answers["/fb/page/getInfo"] = (502, b"<html>")
            self.assertIn("does not answer (HTTP 502)", self.said()[1])

    def test_silence_ends_after_seconds(self):
        self.patch(manychat_account, "TIMEOUT", (0.2, 0.2))
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        with self.setting(token=TOKEN, url=f"http://127.0.0.1:{silent.getsockname()[1]}"):
            self.assertIn("does not answer (127.0.0.1: ReadTimeout)", self.said()[1])

    def test_the_token_goes_over_https_or_to_this_machine_only(self):
        for url in ("http://api.manychat.com", "ftp://127.0.0.1", "api.manychat.com", "https://", "http://[::1"):
            with self.subTest(url), self.setting(token=TOKEN, url=url):
                self.assertIn("not valid (manychat_api_url)", self.said()[1])

    def test_a_token_that_no_header_can_hold_is_refused_before_it_is_sent(self):
        for token in ("uno dos", "clave\u00f1"):
            with self.subTest(token), self.setting(token=token):
                _kind, text = self.said()
                self.assertIn("not valid (manychat_api_token)", text)
                self.assertNotIn(token, text)

    def test_a_neutralized_copy_asks_nothing(self):
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        with running() as stand_in:
            self.assertIn("neutralized", self.said()[1])
            self.assertEqual(stand_in.asked, [])

    def test_lists_that_do_not_come_leave_the_old_ones(self):
        self.choose()
        before = self.items.search([]).read(["name", "missing"])
        with running() as stand_in:
            stand_in.tags = [{"nombre": "otra forma"}]
            kind, text = self.said("action_refresh")
            self.assertEqual(kind, "warning")
            self.assertIn("The lists stay as they were.", text)
            stand_in.answers["/fb/page/getFlows"] = (502, b"")
            self.assertEqual(self.said("action_refresh")[0], "warning")
        self.assertEqual(self.items.search([]).read(["name", "missing"]), before)


@tagged("post_install", "-at_install")
class TestWriteBackSettings(WriteBackCase):
    def test_nothing_goes_back_until_an_administrator_switches_it_on(self):
        nothing = dict.fromkeys(
            ("stage_field", "stage_id_field", "salesperson_field", "status_field", "won_tag", "lost_tag")
        )
        self.assertEqual(self.rules(), {"enabled": False, **nothing, "flows": {}})

    def test_what_is_chosen_reaches_the_bridge_with_its_heartbeat(self):
        self.choose()
        self.assertEqual(
            self.rules(),
            {
                "enabled": True,
                "stage_field": {"id": 11, "name": "Etapa CRM", "type": "text"},
                "stage_id_field": {"id": 12, "name": "Número de etapa", "type": "number"},
                "salesperson_field": None,
                "status_field": None,
                "won_tag": {"id": 21, "name": "Ganada"},
                "lost_tag": None,
                "flows": {str(self.row.stage_id.id): {"ns": "content20260101_2", "name": "Cotización lista"}},
            },
        )
        self.row.active = False
        self.assertEqual(self.rules()["flows"], {})

    def test_the_form_opens_and_saves_while_manychat_is_away(self):
        self.choose()
        with Form(self.settings) as form:
            self.assertEqual(form.stage_field_id.name, "Etapa CRM")
            form.salesperson_field_id = self.item("Asesor")
        self.assertEqual(self.rules()["salesperson_field"], {"id": 13, "name": "Asesor", "type": "text"})

    def test_a_copy_sends_nothing_back(self):
        self.choose()
        self.env["ir.config_parameter"].set_param("database.is_neutralized", True)
        self.assertIs(self.rules()["enabled"], False)

    def test_refreshing_follows_names_and_keeps_what_is_chosen_as_missing_with_how_to_make_it(self):
        self.choose()
        with running() as stand_in:
            stand_in.fields = [{"id": 12, "name": "Etapa (número)", "type": "number"}]
            stand_in.tags, stand_in.flows = [], {"flows": [], "folders": []}
            self.refreshed(stand_in)
        self.assertEqual(self.settings.stage_id_field_id.name, "Etapa (número)")
        self.assertEqual(
            set(self.items.search([("missing", "=", True)]).mapped("name")), {"Etapa CRM", "Ganada", "Cotización lista"}
        )
        self.assertFalse(self.items.search([("name", "in", ("Asesor", "Perdida"))]))
        for words in ("“Etapa CRM”", "New User Field", "“Ganada”", "New Tag", "“Cotización lista”"):
            self.assertIn(words, self.settings.warning)
        self.assertIn("not in ManyChat", self.settings.stage_field_id.display_name)
        rules = self.rules()
        self.assertEqual((rules["stage_field"], rules["won_tag"], rules["flows"]), (None, None, {}))
        self.assertEqual(rules["stage_id_field"], {"id": 12, "name": "Etapa (número)", "type": "number"})

    def test_a_field_made_anew_with_its_name_takes_its_place(self):
        self.choose()
        with running() as stand_in:
            stand_in.fields[0] = {"id": 99, "name": "Etapa CRM", "type": "text"}
            self.refreshed(stand_in)
        self.assertEqual(self.rules()["stage_field"], {"id": 99, "name": "Etapa CRM", "type": "text"})
        self.assertFalse(self.settings.warning)

    def test_a_field_that_comes_back_later_takes_its_place_too(self):
        self.choose()
        with running() as stand_in:
            made = stand_in.fields.pop(0)
            self.refreshed(stand_in)
            self.assertIsNone(self.rules()["stage_field"])
            stand_in.fields.append({**made, "id": 98})
            self.refreshed(stand_in)
        self.assertEqual(self.rules()["stage_field"], {"id": 98, "name": "Etapa CRM", "type": "text"})
        self.assertEqual(self.items.search_count([("name", "=", "Etapa CRM")]), 1)

    def test_what_is_missing_goes_when_it_is_chosen_no_more(self):
        self.choose()
        with running() as stand_in:
            stand_in.fields.pop(0)
            self.refreshed(stand_in)
            self.settings.stage_field_id = False
            self.refreshed(stand_in)
        self.assertFalse(self.items.search([("name", "=", "Etapa CRM")]))
        self.assertFalse(self.settings.warning)

    def test_a_field_of_another_type_does_not_take_its_place(self):
        self.choose()
        with running() as stand_in:
            stand_in.fields[0] = {"id": 99, "name": "Etapa CRM", "type": "date"}
            self.refreshed(stand_in)
        self.assertIsNone(self.rules()["stage_field"])

    def test_a_field_that_has_another_type_since_is_not_written_and_the_page_says_so(self):
        self.choose()
        with running() as stand_in:
            stand_in.fields[0] = {"id": 11, "name": "Etapa CRM", "type": "number"}
            self.refreshed(stand_in)
            self.assertIsNone(self.rules()["stage_field"])
            self.assertIn("“Etapa CRM” has the type Number, which cannot take this value", self.settings.warning)
            self.assertEqual(self.rules()["stage_id_field"]["id"], 12)
            stand_in.fields[0] = {"id": 11, "name": "Etapa CRM", "type": "text"}
            self.refreshed(stand_in)
        self.assertEqual(self.rules()["stage_field"]["id"], 11)
        self.assertFalse(self.settings.warning)

    def test_a_field_that_cannot_take_the_value_is_refused_in_words(self):
        self.refreshed()
        self.env.flush_all()
        field, tag = self.item("Etapa CRM").id, self.item("Ganada").id
        for record, values, words in (
            (self.settings, {"stage_field_id": self.item("Nacimiento").id}, "cannot take this value"),
            (self.settings, {"status_field_id": self.item("Número de etapa").id}, "cannot take this value"),
            (self.settings, {"won_tag_id": field}, "Choose a tag"),
            (self.settings, {"stage_field_id": field, "status_field_id": field}, "different fields"),
            (self.settings, {"won_tag_id": tag, "lost_tag_id": tag}, "different tags"),
            (self.row.with_user(self.admin), {"flow_id": tag}, "Choose a flow"),
        ):
            with self.subTest(words), self.assertRaisesRegex(ValidationError, words), self.env.cr.savepoint():
                record.write(values)
            record.invalidate_recordset()

    def test_on_with_nothing_chosen_says_so(self):
        self.settings.enabled = True
        self.assertIn("Nothing is chosen yet", self.settings.warning)

    def test_managers_see_and_only_administrators_change_ask_and_choose_flows(self):
        self.choose()
        settings = self.settings.with_user(self.manager)
        self.assertTrue(settings.enabled)
        self.assertEqual(settings.stage_field_id.display_name, "Etapa CRM")
        self.assertIn("Ventas / Bienvenida", self.items.with_user(self.manager).search([]).mapped("display_name"))
        flow = self.item("Bienvenida").id
        for attempt in (
            lambda: settings.write({"enabled": False}),
            settings.action_test,
            settings.action_refresh,
            lambda: self.items.with_user(self.manager)._refresh(),
            lambda: self.row.with_user(self.manager).write({"flow_id": flow}),
            lambda: self.env["manychat.stage.map"].with_user(self.manager).create({"name": "X", "flow_id": flow}),
        ):
            with self.assertRaises(AccessError):
                attempt()
        # Their own changes to a row with a flow still work.
        self.row.with_user(self.manager).team_id = self.env["crm.team"].create({"name": "Ventas"})
        seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")
        for model in ("manychat.write.back", "manychat.account.item"):
            self.assertFalse(self.env[model].with_user(seller).has_access("read"))
        self.assertEqual(self.row.with_user(seller).name, self.row.name)
        with self.assertRaises(AccessError):
            self.row.with_user(seller).read(["flow_id"])

    def test_the_chatter_says_who_chose_a_flow_and_nothing_of_other_changes(self):
        self.choose()
        message = self.settings.message_ids[0]
        self.assertEqual(message.author_id, self.admin.partner_id)
        self.assertIn(f"“{self.row.name}”: none → Cotización lista", message.body)
        count = len(self.settings.message_ids)
        self.row.with_user(self.admin).write({"flow_id": self.item("Cotización lista").id, "tells_salesperson": False})
        self.row.with_user(self.manager).sequence = 3
        self.assertEqual(len(self.settings.message_ids), count)

    def test_an_administrator_outside_sales_sets_all_of_it(self):
        outside = new_test_user(self.env, "sistemas", "base.group_system")
        self.settings = self.settings.with_user(outside)
        self.admin = outside
        self.choose()
        with Form(self.settings) as form:
            form.enabled = False
        self.assertIs(self.rules()["enabled"], False)

    def test_the_token_is_nowhere_in_the_database(self):
        with running():
            self.settings.action_test()
            self.refreshed()
        self.env.flush_all()
        for table in ("ir_config_parameter", "manychat_write_back", "manychat_account_item"):
            self.env.cr.execute(f"SELECT count(*) FROM {table} t WHERE to_jsonb(t)::text LIKE %s", [f"%{TOKEN}%"])  # pylint: disable=sql-injection
            self.assertEqual(self.env.cr.fetchone(), (0,))

    @mute_logger("odoo.sql_db")
    def test_an_item_is_there_once(self):
        self.refreshed()
        with self.assertRaises(IntegrityError), self.env.cr.savepoint():
            self.items.create({"kind": "tag", "remote_id": "21", "name": "Doble"})
