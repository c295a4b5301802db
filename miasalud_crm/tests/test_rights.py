from contextlib import suppress

from odoo import fields
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestRights(ManychatCase):
    """Who sees what: an opportunity of each kind, with its event and its ManyChat id, as users of each group."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.here = cls.env.company
        cls.there = cls.env["res.company"].create({"name": "Otra Empresa"})
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman")
        cls.omar = new_test_user(cls.env, "omar", "sales_team.group_sale_salesman_all_leads")
        cls.jefa = new_test_user(cls.env, "jefa", "sales_team.group_sale_manager")
        cls.lejana = new_test_user(
            cls.env,
            "lejana",
            "sales_team.group_sale_manager",
            company_id=cls.there.id,
            company_ids=[fields.Command.set(cls.there.ids)],
        )
        cls.admin = new_test_user(cls.env, "root", "base.group_system,sales_team.group_sale_manager")

    def setUp(self):
        super().setUp()
        self.apply(*(opportunity(f"MC-{name}") for name in ("VERA", "UNASSIGNED", "LOST", "OMAR", "THERE")))
        self.apply(opportunity("MC-UNKNOWN", 99))  # waits, without an opportunity
        self.lead("MC-VERA").user_id = self.vera
        self.lead("MC-LOST").user_id = self.vera
        self.lead("MC-LOST").action_set_lost()
        self.lead("MC-OMAR").user_id = self.omar
        self.lead("MC-THERE").company_id = self.there
        self.env.flush_all()
        self.everything = {"MC-VERA", "MC-UNASSIGNED", "MC-LOST", "MC-OMAR", "MC-THERE"}

    def seen(self, model, user):
        """The ManyChat ids in ``model`` that ``user`` sees, the same in every way of reading."""
        records = self.env[model].with_user(user)
        domain = [("manychat_id", "=like", "MC-%")]
        by_search = set(records.search(domain).mapped("manychat_id"))
        groups = records._read_group(domain, ["manychat_id"])
        self.assertEqual({manychat_id for (manychat_id,) in groups}, by_search)
        self.assertEqual(records.search_count(domain), len(by_search))
        found = records.browse(pair[0] for pair in records.name_search("", domain))
        self.assertEqual(set(found.mapped("manychat_id")), by_search)
        hidden = self.env[model].search([*domain, ("manychat_id", "not in", list(by_search))])
        for record in hidden.with_user(user):
            record.invalidate_recordset()
            with self.assertRaises(AccessError):
                record.read(["manychat_id"])
        return by_search

    def test_a_salesperson_sees_what_belongs_to_their_own_and_to_unassigned_opportunities(self):
        own = {"MC-VERA", "MC-LOST", "MC-UNASSIGNED"}
        self.assertEqual(self.seen("manychat.identity", self.vera), own)
        self.assertEqual(self.seen("manychat.event", self.vera), own)

    def test_a_salesperson_for_all_sees_what_belongs_to_any_opportunity_of_the_company(self):
        all_here = self.everything - {"MC-THERE"}
        self.assertEqual(self.seen("manychat.identity", self.omar), all_here)
        self.assertEqual(self.seen("manychat.event", self.omar), all_here)

    def test_a_manager_sees_also_the_events_that_have_no_opportunity(self):
        for user in (self.jefa, self.admin):
            self.assertEqual(self.seen("manychat.identity", user), self.everything - {"MC-THERE"})
            self.assertEqual(self.seen("manychat.event", user), self.everything - {"MC-THERE"} | {"MC-UNKNOWN"})

    def test_another_company_sees_its_own(self):
        here = {"MC-VERA", "MC-UNASSIGNED", "MC-LOST", "MC-OMAR"}
        for manychat_id in here:
            self.lead(manychat_id).write({"user_id": False, "company_id": self.here.id})
        self.assertEqual(self.seen("manychat.identity", self.lejana), {"MC-THERE"})
        self.assertEqual(self.seen("manychat.event", self.lejana), {"MC-THERE", "MC-UNKNOWN"})

    def test_what_is_seen_is_what_belongs_to_visible_opportunities(self):
        for user in (self.vera, self.omar, self.jefa, self.lejana):
            leads = self.env["crm.lead"].with_user(user).with_context(active_test=False).search([])
            visible = self.everything & set(leads.mapped("x_manychat_id"))
            self.assertEqual(self.seen("manychat.identity", user), visible)

    def test_the_events_counted_on_an_opportunity_are_those_that_the_button_opens(self):
        self.apply(opportunity("MC-VERA", 18, minutes=1))
        for user in (self.vera, self.omar, self.jefa):
            lead = self.lead("MC-VERA").with_user(user)
            action = lead.action_view_manychat_events()
            shown = self.env["manychat.event"].with_user(user).search_count(action["domain"])
            self.assertEqual((lead.manychat_event_count, shown), (2, 2))

    def test_only_managers_see_the_payload_of_an_event(self):
        event = self.lead("MC-VERA").manychat_identity_ids.lead_id
        event = self.env["manychat.event"].search([("lead_id", "=", event.id)])
        with self.assertRaises(AccessError):
            event.with_user(self.vera).read(["payload"])
        self.assertTrue(event.with_user(self.jefa).read(["payload"])[0]["payload"])

    def test_salespeople_read_and_managers_configure(self):
        for model in ("manychat.stage.map", "manychat.stage.alias", "manychat.advisor"):
            for user in (self.vera, self.omar):
                self.assertTrue(self.env[model].with_user(user).has_access("read"))
                for operation in ("write", "create", "unlink"):
                    self.assertFalse(self.env[model].with_user(user).has_access(operation))
            for operation in ("read", "write", "create", "unlink"):
                self.assertTrue(self.env[model].with_user(self.jefa).has_access(operation))

    def test_no_user_writes_the_event_log(self):
        for user in (self.vera, self.omar, self.jefa, self.admin):
            for operation in ("write", "create", "unlink"):
                self.assertFalse(self.env["manychat.event"].with_user(user).has_access(operation))

    def test_salespeople_see_no_key_and_managers_make_none(self):
        for model in ("manychat.api.key", "manychat.api.key.create", "manychat.api.key.replace", "manychat.wrong.key"):
            for user in (self.vera, self.omar):
                self.assertFalse(self.env[model].with_user(user).has_access("read"))
            self.assertTrue(self.env[model].with_user(self.admin).has_access("read"))
        for operation in ("create", "unlink"):
            self.assertFalse(self.env["manychat.api.key"].with_user(self.jefa).has_access(operation))
        for model in ("manychat.api.key.create", "manychat.api.key.replace"):
            self.assertFalse(self.env[model].with_user(self.jefa).has_access("create"))

    def test_a_row_of_the_map_belongs_to_the_company_of_its_team(self):
        team = self.env["crm.team"].create({"name": "Lejos", "company_id": self.there.id})
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])
        row.team_id = team
        alias = self.env["manychat.stage.alias"].create({"name": "Lejana", "map_id": row.id})
        open_alias = self.env["manychat.stage.alias"].search([("manychat_stage_id", "=", 99)])
        self.env.flush_all()
        for user, sees in ((self.jefa, False), (self.vera, False), (self.lejana, True)):
            rows = self.env["manychat.stage.map"].with_user(user).search([])
            self.assertEqual(row in rows, sees)
            self.assertEqual(len(rows), 11 if sees else 10)
            aliases = self.env["manychat.stage.alias"].with_user(user).search([])
            self.assertEqual(alias in aliases, sees)
            self.assertIn(open_alias, aliases)

    def test_what_another_company_has_taken_is_refused_in_words(self):
        team = self.env["crm.team"].create({"name": "Lejos", "company_id": self.there.id})
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])
        row.team_id = team
        free = self.env["crm.stage"].create({"name": "Libre"})
        with self.assertRaisesRegex(ValidationError, "17 already belongs"):
            self.env["manychat.stage.map"].with_user(self.jefa).create(
                {"name": "Otra", "manychat_stage_id": 17, "stage_id": free.id}
            )
        identity = self.lead("MC-OMAR").manychat_identity_ids
        with self.assertRaisesRegex(ValidationError, "opportunity that you may not see"):
            identity.with_user(self.jefa).manychat_id = "MC-THERE"

    def test_a_salesperson_writes_no_field_that_the_chat_sets(self):
        lead = self.lead("MC-VERA")
        kept = [
            field
            for name, field in lead._fields.items()
            if name.startswith("manychat_") and field.store and field.readonly and field.type != "one2many"
        ]
        self.assertGreaterEqual(len(kept), 8)
        before = lead.read([field.name for field in kept])
        for field in kept:
            value = {"datetime": "2099-01-01 00:00:00", "many2one": False, "json": {"x": 1}}.get(field.type, "9999")
            with self.subTest(field=field.name):
                for user in (self.vera, self.omar):
                    leads = self.env["crm.lead"].with_user(user)
                    with self.assertRaises(AccessError):
                        lead.with_user(user).write({field.name: value})
                    with self.assertRaises(AccessError):
                        leads.create({"name": "A", field.name: value})
                    made, imported = leads, False
                    # Odoo 19 itself refuses a field of administrators.
                    with suppress(AccessError):
                        made = leads.with_context(**{f"default_{field.name}": value}).create({"name": "A"})
                    with suppress(AccessError):
                        imported = leads.load(["name", field.name], [["A", str(value)]])["ids"]
                    self.assertFalse(made.sudo()[field.name])
                    self.assertFalse(imported)
        self.env.invalidate_all()
        self.assertEqual(lead.read([field.name for field in kept]), before)

    def test_a_user_cannot_pass_for_the_chat(self):
        lead = self.lead("MC-VERA").with_user(self.vera).with_context(manychat_applying=True)
        for word in (True, "yes"):
            before = lead.sudo().manychat_order
            lead.with_context(manychat_applying=word).stage_id = lead.stage_id.search(
                [("id", "!=", lead.stage_id.id)], limit=1
            )
            self.assertGreater(lead.sudo().manychat_order, before)

    def test_a_manager_corrects_what_the_chat_said_and_not_the_order_of_events(self):
        lead = self.lead("MC-VERA").with_user(self.jefa)
        lead.write({"manychat_channel": "WhatsApp", "manychat_entry_date": "2026-01-01 00:00:00"})
        with self.assertRaises(AccessError):
            lead.manychat_order = "9999"
        # The addon itself still moves it, for the manager and for the chat.
        lead.stage_id = self.stages[20]
        self.assertTrue(lead.manychat_order)
        self.apply(opportunity("MC-VERA", 21, minutes=60 * 24 * 365))
        self.assertEqual(lead.copy().manychat_order, False)

    def test_a_salesperson_opens_the_form_of_their_opportunity(self):
        form = Form(self.lead("MC-VERA").with_user(self.vera))
        self.assertEqual(form.x_manychat_id, "MC-VERA")
        form.name = "Plan familiar"
        form.save()
