import ast
import re
from collections import Counter
from pathlib import Path

import polib

from odoo.tests import TransactionCase, tagged
from odoo.tools import file_path
from odoo.tools.translate import TranslationModuleReader, code_translations

from .common import menu_paths

#: The same in both languages: names, and words that Spanish shares or has taken over.
SAME = {
    "Traceparent",
    "Base",
    "Bot",
    "Bots",
    "Error",
    "ID",
    "ManyChat",
    "Odoo",
    "Total",
    "Webhook",
    "Webhooks",
    "WhatsApp",
    "X-Dry-Run",
    "https://crm.example.com",
    "no",
    "https://app.manychat.com/fb…/chat/{manychat_id}",
}
#: What Odoo calls crm.lead, on 19 and on 18, and ir.cron. It exports the name with every module that extends a model.
ODOOS_OWN = {"Lead", "Lead/Opportunity", "Scheduled Actions"}
#: What the translation must carry over unchanged: placeholders, tags with their attributes, names of headers.
_CARRIED = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w+\}|</?[a-z]+|class=\"[^\"]*\"|X-[A-Z-]+|BRIDGE_\w+")

#: A path of menus, and what comes after it, that begins at one of the apps that our texts name.
# ManyChat has settings of its own.
_PATH = re.compile(r"(?:CRM|Settings(?! ▸ (?:API|Fields|Tags))|Ajustes) ▸ .*")


@tagged("post_install", "-at_install")
class TestTranslations(TransactionCase):
    """`make translations` updates the files with the terms. Terms that it leaves empty need a translation."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._terms = set()
        cls.template = polib.pofile(file_path("miasalud_crm/i18n/miasalud_crm.pot"))
        cls.spanish = polib.pofile(file_path("miasalud_crm/i18n/es.po"))

    @property
    def terms(self):
        """The texts that Odoo finds in the addon."""
        if not self._terms:
            # It only logs what it cannot read (an f-string among the arguments of _(), say), and leaves the rest out.
            with self.assertNoLogs("odoo.tools.translate", level="ERROR"):
                rows = TranslationModuleReader(self.env.cr, modules=["miasalud_crm"])
            own = self._of_this_app_alone()
            self._terms.update(source for _module, _type, name, record, source, *_ in rows if own(name, record))
            self._terms.difference_update(ODOOS_OWN)
        return self._terms

    def _of_this_app_alone(self):
        """A function that leaves out what other installed apps add to our models: a rating to whatever has a chatter.

        Odoo exports those texts as this app's, because the model or the field is also ours.
        """
        modules = self.env["ir.module.module"].search([("state", "=", "installed")])
        app = modules.filtered(lambda module: module.name == "miasalud_crm")
        known = app | app.upstream_dependencies(exclude_states=("uninstallable",))
        # and the ones that Odoo then installs by itself, such as SMS
        while more := (modules - known).filtered(
            lambda module, known=known: module.auto_install and module.dependencies_id.depend_id <= known
        ):
            known |= more
        names = {None, *known.mapped("name")}  # None: the fields of every model

        def is_own(name, record):
            model, _comma, attribute = name.partition(",")
            if model == "ir.model":
                return attribute == "name"
            if model == "ir.model.fields":
                field = self.env.ref(record)
                return self.env[field.model]._fields[field.name]._module in names
            return True

        return is_own

    def test_odoo_finds_every_term_of_the_code(self):
        """A call within an f-string is one that it does not find, and says nothing about."""
        written = {}
        for path in Path(file_path("miasalud_crm")).rglob("*.py"):
            if "tests" not in path.parts:
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.Call) and {"_", "_lt"} & {
                        getattr(node.func, "attr", ""),
                        getattr(node.func, "id", ""),
                    }:
                        written.setdefault(ast.literal_eval(node.args[0]), path.name)
        self.assertIn("And %s more.", written)
        self.assertEqual({text: name for text, name in written.items() if text not in self.terms | ODOOS_OWN}, {})

    def test_every_term_is_in_spanish(self):
        translated = {entry.msgid for entry in self.spanish if entry.msgstr}
        self.assertFalse(sorted(self.terms - translated), "to be translated in i18n/es.po")

    def test_the_template_has_every_term(self):
        self.assertFalse(sorted(self.terms - {entry.msgid for entry in self.template}), "run `make translations`")

    def test_no_translation_outlives_its_term(self):
        self.assertFalse(
            sorted({entry.msgid for entry in self.spanish} - self.terms - ODOOS_OWN), "run `make translations`"
        )

    def test_what_stands_for_something_else_is_carried_over(self):
        different = {
            entry.msgid: entry.msgstr
            for entry in self.spanish
            if entry.msgstr and Counter(_CARRIED.findall(entry.msgid)) != Counter(_CARRIED.findall(entry.msgstr))
        }
        self.assertFalse(different)

    def test_nothing_is_left_in_english(self):
        same = {entry.msgid for entry in self.spanish if entry.msgstr == entry.msgid}
        self.assertFalse(sorted(same - SAME), "translate it, or put it into SAME")

    def test_each_path_of_menus_that_a_text_names_exists_in_the_language_of_the_text(self):
        self.env["res.lang"]._activate_lang("es_ES")
        self.env["ir.module.module"].search([("state", "=", "installed")])._update_translations(["es_ES"])
        spanish = [entry.msgstr for entry in self.spanish if entry.msgid in self.terms]
        for language, texts in (("en_US", self.terms), ("es_ES", spanish)):
            env = self.env(context={"lang": language})
            paths = {path for menu, path in menu_paths(env).items() if not menu.child_id}
            for text in texts:
                for named in _PATH.findall(" ".join(text.split())):
                    self.assertTrue(any(named.startswith(path) for path in paths), f"{language}: {named}")

    def test_one_file_serves_every_spanish(self):
        for code in ("es_ES", "es_419", "es_MX", "es_CO"):
            with self.subTest(code=code):
                self.env["res.lang"]._activate_lang(code)
                self.env["ir.module.module"].search([("name", "=", "miasalud_crm")])._update_translations([code])
                action = self.env.ref("miasalud_crm.manychat_stage_map_action").with_context(lang=code)
                self.assertEqual(action.name, "Mapa de etapas")
                in_code = code_translations.get_python_translations("miasalud_crm", code)
                self.assertEqual(
                    in_code["Only sales managers may do this."], "Solo los gerentes de ventas pueden hacer esto."
                )
