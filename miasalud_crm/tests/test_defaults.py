from unittest.mock import patch

from odoo.modules.registry import Registry
from odoo.tests import tagged

from ..models.ir_default import DEFAULTS, Defaults
from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestDefaults(ManychatCase):
    """A batch asks once for the defaults of each model, and gets what Odoo would give it."""

    def setUp(self):
        super().setUp()
        # Nothing has changed yet in the transaction, as when a batch begins.
        patcher = patch.object(Registry, "cache_invalidated", set())
        patcher.start()
        self.addCleanup(patcher.stop)
        self.batch = self.env["ir.default"].with_context(**{DEFAULTS: Defaults()})

    def lead_defaults(self, ir_default):
        return ir_default._get_model_defaults("crm.lead")

    def test_odoo_is_asked_once(self):
        asked = []
        cls = next(
            cls
            for cls in self.registry["ir.default"].__mro__
            if "_get_model_defaults" in vars(cls) and (cls.__module__.startswith("odoo.addons.base."))
        )
        own = vars(cls)["_get_model_defaults"]
        with patch.object(cls, "_get_model_defaults", lambda *args: asked.append(args) or own(*args)):
            for _record in range(3):
                self.lead_defaults(self.batch)
        self.assertEqual(len(asked), 1)

    def test_a_default_that_changes_in_the_transaction_counts_at_once(self):
        self.lead_defaults(self.batch)
        self.env["ir.default"].set("crm.lead", "function", "Paciente")
        self.assertEqual(self.lead_defaults(self.batch)["function"], "Paciente")

    def test_each_user_has_their_own(self):
        self.lead_defaults(self.batch)
        admin = self.env.ref("base.user_admin")
        with patch.object(Registry, "cache_invalidated", set()):
            self.env["ir.default"].set("crm.lead", "function", "Paciente", user_id=admin.id)
        self.assertEqual(self.lead_defaults(self.batch.with_user(admin))["function"], "Paciente")
        self.assertNotIn("function", self.lead_defaults(self.batch))

    def test_opportunities_of_the_chat_have_the_default_of_all_users(self):
        self.env["ir.default"].set("crm.lead", "function", "Paciente")
        self.env.registry.cache_invalidated.clear()
        self.apply(opportunity("MC-1", 16), opportunity("MC-2", 16))
        self.assertEqual([self.lead(person).function for person in ("MC-1", "MC-2")], ["Paciente"] * 2)
