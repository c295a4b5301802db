import ast
import json
import re
from pathlib import Path
from unittest.mock import patch

from odoo.tests import HttpCase, TransactionCase, tagged
from odoo.tools import file_path

import bridge
from bridge.contract.payloads import EventType
from bridge.contract.request_headers import RequestHeaders
from bridge.contract.webhook import WebhookError, read_event

from .. import sentences
from ..controllers.api import throttle
from ..sentence_templates import TEMPLATES
from ..sentences import in_language, menu_path
from .common import DAY, ManychatCase, menu_paths, opportunity

SPANISH = "es_ES"
_PART = re.compile(r"%\((\w+)\)s")
_TRANSLATE = sentences.get_translation


def spoken(module, language, source, args):
    """A translation into a language of tests, which turns the order of a sentence's parts around."""
    if language in (None, "en_US"):
        return _TRANSLATE(module, "en_US", source, args)
    parts = re.split(r"(%\(\w+\)s)", source)
    said = "«" + "".join(each if each.startswith("%(") else each.upper() for each in parts) + "»"
    return said % args if args else said


class InSpanish:
    """Mixed into tests in which each sentence is in capitals where the reader is Spanish."""

    def setUp(self):
        super().setUp()
        self.env["res.lang"]._activate_lang(SPANISH)
        self.startPatcher(patch.object(sentences, "get_translation", spoken))
        sentences._patterns.cache_clear()
        self.addCleanup(sentences._patterns.cache_clear)
        self.addCleanup(self.registry.clear_all_caches)
        self.spanish = self.env(context={**self.env.context, "lang": SPANISH})


@tagged("post_install", "-at_install")
class TestTemplates(TransactionCase):
    def written(self):
        """The literals that the code says, each with the file."""
        found = {}
        for root, names in (
            (Path(bridge.__file__).parent, {"sentence"}),
            (Path(file_path("miasalud_crm")), {"sentence", "say"}),
        ):
            for path in root.rglob("*.py"):
                if "tests" in path.parts:
                    continue
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names:
                        literal = node.args[0 if node.func.id == "sentence" else 1]
                        found.setdefault(ast.literal_eval(literal), path.name)
        return found

    def test_each_sentence_of_the_code_is_listed_for_the_translators_and_no_other(self):
        written = self.written()
        self.assertIn("must be a whole number", written)
        self.assertEqual({text: name for text, name in written.items() if text not in TEMPLATES}, {})
        self.assertEqual(set(TEMPLATES) - written.keys(), set())
        self.assertEqual(len(set(TEMPLATES)), len(TEMPLATES))

    def test_no_message_of_the_contract_is_written_in_another_way(self):
        """What a bot or a user reads of an event is a sentence: no literal of an error stands without it."""
        bare = []
        for path in (Path(bridge.__file__).parent / "contract").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if (
                            isinstance(key, ast.Constant)
                            and key.value == "message"
                            and not isinstance(value, (ast.Name, ast.Call, ast.Attribute, ast.Subscript))
                        ):
                            bare.append((path.name, ast.unparse(value)))
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("ContractError", "WebhookError"):
                    bare += [
                        (path.name, each.value)
                        for each in node.args[1:]
                        if isinstance(each, ast.Constant) and isinstance(each.value, str) and " " in each.value
                    ]
        self.assertEqual(bare, [])


@tagged("post_install", "-at_install")
class TestInLanguage(InSpanish, TransactionCase):
    def test_each_sentence_is_recognised_by_its_own_template(self):
        for template in TEMPLATES:
            names = dict.fromkeys(_PART.findall(template))
            if names.keys() & {"menu", "labels", "model"}:
                continue  # these parts are looked up
            # Long and odd parts, as templates of one word would take them for something else.
            parts = {name: f"x{number}.y-{name}" for number, name in enumerate(names)}
            with self.subTest(template=template):
                english = template % parts if parts else template
                self.assertEqual(in_language(self.spanish, english), spoken(None, SPANISH, template, parts))
                self.assertEqual(in_language(self.env, english), english)

    def test_what_is_inside_of_a_sentence_is_said_too(self):
        said = in_language(self.spanish, "left out: must be between 0 and 7")
        self.assertEqual(said, "«LEFT OUT: «MUST BE BETWEEN 0 AND 7»»")

    def test_several_problems_keep_their_fields(self):
        english = "manychat_id: must not be empty; state.stage_id: must be a whole number"
        self.assertEqual(
            in_language(self.spanish, english),
            "manychat_id: «MUST NOT BE EMPTY»; state.stage_id: «MUST BE A WHOLE NUMBER»",
        )
        self.assertEqual(
            in_language(self.spanish, english.replace("; ", "\n")).splitlines()[1],
            "state.stage_id: «MUST BE A WHOLE NUMBER»",
        )

    def test_what_another_module_said_stays_as_it_is(self):
        for text in (
            "You have to choose a team, or press Save: nothing is stored; try again",
            "Error (no answer), identity unknown",
            "¡Hola! %(x)s 100 % {…}",
            "a" * 5000,
            "",
            False,
        ):
            with self.subTest(text=text):
                self.assertEqual(in_language(self.spanish, text), text)

    def test_what_was_stored_in_the_companys_language_is_said_in_english_to_others(self):
        stored = spoken(None, SPANISH, "cut to %(limit)s characters", {"limit": 256})
        self.assertEqual(in_language(self.env, stored), "cut to 256 characters")
        self.assertEqual(in_language(self.spanish, stored), stored)

    def test_labels_of_fields_are_those_of_the_reader(self):
        field = self.env["ir.model.fields"]._get("crm.lead", "function")
        field.with_context(lang=SPANISH).field_description = "Puesto de trabajo"
        self.env["ir.model"]._get("crm.lead").with_context(lang=SPANISH).name = "Oportunidad"
        model = self.env["ir.model"]._get("crm.lead").with_context(lang="en_US").name
        english = f"“{field.field_description}” is required ({model}), and the event does not fill it."
        self.assertEqual(
            in_language(self.spanish, english),
            "«“Puesto de trabajo” IS REQUIRED (Oportunidad), AND THE EVENT DOES NOT FILL IT.»",
        )

    def test_errors_of_the_queue_are_said_with_their_details(self):
        for english, spanish in (
            (
                "the SAS lacks a right (AuthorizationPermissionMismatch)",
                "«THE SAS LACKS «A RIGHT (AuthorizationPermissionMismatch)»»",
            ),
            ("the storage account takes no keys (403 X)", "«THE STORAGE ACCOUNT TAKES NO KEYS» (403 X)"),
            (
                "no token to log in with; tried managed identity (no answer), identity (gives no token)",
                "«NO TOKEN TO LOG IN WITH; TRIED «MANAGED IDENTITY» («NO ANSWER»), «IDENTITY» («GIVES NO TOKEN»)»",
            ),
            (
                "queue_account_url: not a URL such as https://ACCOUNT.queue.core.windows.net",
                "queue_account_url: «NOT A URL SUCH AS https://ACCOUNT.queue.core.windows.net»",
            ),
        ):
            with self.subTest(english=english):
                self.assertEqual(in_language(self.spanish, english), spanish)

    def test_every_refusal_of_the_contract_is_said_whole(self):
        """Of real bodies: no English is left but the names of fields."""
        stage = {"stage_id": 17}
        for event_type, body in (
            (EventType.OPPORTUNITY, b"{}"),
            (EventType.OPPORTUNITY, b'{"manychat_id": "1", "state": {"stageId": 1}}'),
            (EventType.OPPORTUNITY, b'{"manychat_id": "1", "nombre_lead": "Ana"}'),
            (EventType.CAMPAIGN_ASSIGNMENT, b'{"manychat_id": "1"}'),
            (EventType.CAMPAIGN_CONTACT, b'{"manychat_id": "1", "campaign_id": 5}'),
            (EventType.CONTACT, b'{"manychat_id": "1", "nombre_lead": "Ana "B""}'),
            (EventType.CONTACT, b'{"manychat_id": , "nombre_lead": "Ana"}'),
            (EventType.CONTACT, b"[]"),
            (EventType.CONTACT, b"\xff"),
            (EventType.CONTACT, b'{"a": 1, "a": 2}'),
        ):
            with self.subTest(body=body):
                with self.assertRaises(WebhookError) as caught:
                    read_event(event_type, body, RequestHeaders({}.get), received_at=DAY, source="odoo")
                answer = sentences.answer_in_language(self.spanish, caught.exception.body)
                for text in (answer["message"], *(each["message"] for each in answer["errors"])):
                    self.assertIn("«", text)
                    plain = re.sub(r"\{\{.*?\}\}+|[a-z]+_[a-z_]+|\bstate\b|stageId|POST /\S+|\bFULL\b", "", text)
                    self.assertNotRegex(plain, "[a-z]{2}")
                self.assertEqual(answer["code"], caught.exception.code)
        body = json.dumps(
            {"manychat_id": "1", "phone": [], "entry_date": "03/04/2025", "first_name": "x" * 300, "fist_name": "y",
             "medical_advisor_id": "N/A", "channel": "null", "state": {**stage, "date": "2999-01-01"}}
        ).encode()  # fmt: skip
        event = read_event(EventType.OPPORTUNITY, body, RequestHeaders({}.get), received_at=DAY, source="odoo")
        said = sentences.problems_in_language(self.spanish, event.warnings)
        self.assertGreater(len(said), 6)
        for each in said:
            self.assertNotRegex(re.sub("[a-z]+_[a-z_]+", "", each["message"]), "[a-z]{2}")


@tagged("post_install", "-at_install")
class TestReader(InSpanish, ManychatCase):
    """Each user reads the same row in their own language."""

    def in_both(self, field, row):
        row.invalidate_recordset()
        return row[field], row.with_env(self.spanish)[field]

    def test_the_warnings_of_an_event(self):
        self.apply(opportunity(medical_advisor_id="N/A"))
        row = self.env["manychat.event"].search([], limit=1)
        english, spanish = self.in_both("warning_text", row)
        self.assertEqual(english, "medical_advisor_id: left out: must be a whole number")
        self.assertEqual(spanish, "medical_advisor_id: «LEFT OUT: «MUST BE A WHOLE NUMBER»»")

    def test_what_the_bridge_reported(self):
        self.apply(opportunity())
        row = self.env["manychat.event"].search([], limit=1)
        row.write({"state": "failed", "code": "wrong_queue", "message": "Events of type contact belong on x."})
        self.assertEqual(
            self.in_both("details", row),
            ("Events of type contact belong on x.", "«EVENTS OF TYPE contact BELONG ON x.»"),
        )

    def test_an_unmapped_stage_names_the_menu_as_the_reader_sees_it(self):
        self.env.ref("miasalud_crm.manychat_stage_alias_menu").with_context(lang=SPANISH).name = "Alias de etapas"
        self.apply(opportunity(stage=None, label="Etapa nueva"))
        row = self.env["manychat.event"].search([], limit=1)
        english, spanish = self.in_both("details", row)
        self.assertIn("ManyChat ▸ Stage Aliases;", english)
        self.assertIn("Alias de etapas", spanish)
        self.assertNotIn("Stage Aliases", spanish)

    def test_a_refused_request(self):
        error = WebhookError(
            422, "invalid", "state: must not be empty", [{"field": "state", "message": "must not be empty"}]
        )
        key = self.env["manychat.api.key"].browse()
        sent = {"method": "POST", "path": "/x", "headers": [], "body": "{}"}
        self.env["manychat.event"]._record_refusal(EventType.OPPORTUNITY, error, sent, key)
        row = self.env["manychat.event"].search([("state", "=", "refused")], limit=1)
        english, spanish = self.in_both("reason", row)
        self.assertIn("must not be empty", english)
        self.assertIn("«MUST NOT BE EMPTY»", spanish)


@tagged("post_install", "-at_install")
class TestAnswers(InSpanish, HttpCase):
    """What the webhook answers is in the company's language. Programs read ``code`` and ``field``."""

    def setUp(self):
        super().setUp()
        throttle.forget()
        self.key = self.env["manychat.api.key"]._generate("Prueba")

    def call(self, body, key=None, **headers):
        sent = {"X-API-KEY": self.key if key is None else key, "Content-Type": "application/json", **headers}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = self.base_url() + EventType.OPPORTUNITY.spec.path
        return self.opener.post(url, data=data, headers=sent, timeout=30).json()

    def answers(self):
        person = {"manychat_id": "1", "medical_advisor_id": "N/A", "state": {"stage_id": 17}}
        return {
            "refused": self.call({}),
            "broken": self.call(b'{"manychat_id": "1", "first_name": "Ana "B""}'),
            "no key": self.call({}, key="mck_wrong"),
            "warned": self.call(person),
            "dry": self.call({**person, "manychat_id": "2"}, **{"X-Dry-Run": "1"}),
            "unmapped": self.call({"manychat_id": "3", "state": {"stage_id": 9999}}, **{"X-Dry-Run": "1"}),
        }

    def test_in_a_spanish_company(self):
        self.env.company.partner_id.lang = SPANISH
        spanish = self.answers()
        self.env.company.partner_id.lang = "en_US"
        throttle.forget()
        english = self.answers()
        for name, answer in spanish.items():
            with self.subTest(name):
                said = [
                    answer.get("message"),
                    *(each["message"] for each in answer.get("errors") or answer.get("warnings") or ()),
                ]
                self.assertTrue(any(said))
                for text in filter(None, said):
                    self.assertIn("«", text)
                self.assertNotIn("«", json.dumps(english[name], ensure_ascii=False))
                for key in ("status", "code"):
                    self.assertEqual(answer.get(key), english[name].get(key))
                for key in ("errors", "warnings"):
                    fields = [[each["field"] for each in one.get(key, ())] for one in (answer, english[name])]
                    self.assertEqual(*fields)


@tagged("post_install", "-at_install")
class TestMenuPaths(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.lang"]._activate_lang(SPANISH)
        modules = cls.env["ir.module.module"].search([("name", "in", ["base", "crm", "sales_team", "miasalud_crm"])])
        modules._update_translations([SPANISH])

    def test_a_path_is_made_of_the_menus_as_the_reader_sees_them(self):
        for language in ("en_US", SPANISH):
            env = self.env(context={**self.env.context, "lang": language})
            menu = env.ref("miasalud_crm.manychat_stage_map_menu")
            self.assertEqual(menu_path(env, "miasalud_crm.manychat_stage_map_menu"), menu_paths(env)[menu])
            self.assertEqual(menu_path(env, "miasalud_crm.manychat_stage_map_menu").count("▸"), 3)
        self.assertNotEqual(*(menu_paths(self.env(context={"lang": code}))[menu] for code in ("en_US", SPANISH)))
        self.assertEqual(menu_path(self.env, "miasalud_crm.no_such_menu"), "ManyChat")

    def test_a_path_follows_a_renamed_menu(self):
        self.assertIn("ManyChat", menu_path(self.env, "miasalud_crm.manychat_stage_map_menu"))
        with self.assertQueryCount(0):
            menu_path(self.env, "miasalud_crm.manychat_stage_map_menu")
        self.env.ref("miasalud_crm.manychat_stage_map_menu").name = "Stages of the Bots"
        self.assertTrue(menu_path(self.env, "miasalud_crm.manychat_stage_map_menu").endswith("▸ Stages of the Bots"))
