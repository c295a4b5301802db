from contextlib import suppress
from unittest.mock import patch

from odoo import api
from odoo.tests import tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestOtherApps(ManychatCase):
    """Other apps that use the cursor while an opportunity is created or moved, as they may under any user."""

    def setUp(self):
        super().setUp()
        self.lead_class = type(self.env["crm.lead"])
        self.original = {name: getattr(self.lead_class, name) for name in ("create", "write")}

    def extend(self, name, extension):
        """Put ``extension(original, leads, values)`` in the place of a method, as a module that inherits does."""
        original = self.original[name]

        @api.model_create_multi
        def create(leads, vals_list):
            return extension(original, leads, vals_list)

        def write(leads, vals):
            return extension(original, leads, vals)

        self.startPatcher(patch.object(self.lead_class, name, create if name == "create" else write))

    def check(self):
        """A person comes, moves with money and a salesperson, and their neighbour comes too: all as without others."""
        vera = self.env["manychat.advisor"].create({"external_id": 700, "user_id": self.env.ref("base.user_admin").id})
        results = self.apply(
            opportunity("MC-A", 17, first_name="Ana", phone="+520000000001", channel="Facebook"),
            opportunity("MC-B", 17, commercial_advisor_id=700),
            opportunity("MC-A", 22, minutes=1, summary="Quiere una cita"),
        )
        self.assertEqual([result["status"] for result in results], ["created", "created", "moved"], results)
        self.assertEqual(self.lead("MC-A").stage_id, self.stages[22])
        self.assertEqual(self.lead("MC-B").user_id, vera.user_id)
        self.assertEqual(self.stage_messages(self.lead("MC-A")), [("Recién Suscrito Pendiente AC", "Comienza AE")])
        periods = self.env["manychat.stage.history"].search([("lead_id", "=", self.lead("MC-A").id)], order="id")
        self.assertEqual(periods.stage_id, self.stages[17] | self.stages[22])
        results = self.apply(opportunity("MC-A", 22, minutes=1, summary="Quiere una cita"))
        self.assertEqual(results[0]["code"], "duplicate")

    def test_a_savepoint_around_creating_and_writing(self):
        def in_savepoint(original, leads, values):
            with leads.env.cr.savepoint():
                return original(leads, values)

        for name in ("create", "write"):
            self.extend(name, in_savepoint)
        self.check()

    def test_a_savepoint_that_another_app_rolls_back_for_itself(self):
        def in_two_savepoints(original, leads, values):
            result = original(leads, values)
            with suppress(ValueError), leads.env.cr.savepoint():
                leads.env["crm.tag"].sudo().create({"name": "Prueba"})
                raise ValueError
            return result

        for name in ("create", "write"):
            self.extend(name, in_two_savepoints)
        self.check()
        self.assertFalse(self.env["crm.tag"].search([("name", "=", "Prueba")]))

    def test_a_commit_and_a_flush_after_creating_and_writing(self):
        def and_commit(original, leads, values):
            result = original(leads, values)
            leads.env.cr.commit()
            leads.env.cr.flush()
            leads.env.flush_all()
            return result

        for name in ("create", "write"):
            self.extend(name, and_commit)
        self.check()

    def test_a_commit_waits_for_its_batch(self):
        """What is applied with an event that fails later is not kept: neither by a commit of another app."""

        def and_commit(original, leads, values):
            result = original(leads, values)
            leads.env.cr.commit()
            if any(lead.phone == "+520000000009" for lead in result):
                raise ValueError
            return result

        self.extend("create", and_commit)
        good, bad = opportunity("MC-A", first_name="Ana"), opportunity("MC-B", phone="+520000000009")
        self.assertEqual([result["status"] for result in self.apply(good, bad)], ["created", "error"])
        self.assertFalse(self.env["crm.lead"].search([("phone", "=", "+520000000009")]))
        self.assertEqual(len(self.env["crm.lead"].search([("x_manychat_id", "=", "MC-A")])), 1)

    def test_a_rollback_refuses_its_event_and_no_other(self):
        def roll_back(original, leads, values):
            result = original(leads, values)
            if any(lead.phone == "+520000000009" for lead in result):
                leads.env.cr.rollback()
            return result

        self.extend("create", roll_back)
        good, bad = opportunity("MC-A", first_name="Ana"), opportunity("MC-B", phone="+520000000009")
        results = self.apply(good, bad)
        self.assertEqual([result["status"] for result in results], ["created", "error"])
        self.assertIn("rolled everything back", results[1]["message"])

    def test_the_cursor_is_as_it_was_afterwards(self):
        before = dict(vars(self.env.cr))
        self.apply(opportunity())
        after = vars(self.env.cr)
        for name in ("flush", "commit", "rollback"):
            self.assertEqual(before.get(name), after.get(name))

    def test_values_that_other_apps_compute_are_computed_with_money_and_all(self):
        """A field of another app that depends on the currency, pending while a savepoint flushes."""

        def with_money(original, leads, values):
            result = original(leads, values)
            for lead in result:
                lead.expected_revenue = 100.005
            with leads.env.cr.savepoint():
                pass
            return result

        self.extend("create", with_money)
        self.check()
        self.assertAlmostEqual(self.lead("MC-A").expected_revenue, 100.01)
