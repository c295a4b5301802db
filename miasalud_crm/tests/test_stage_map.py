from psycopg2 import IntegrityError

from odoo.exceptions import ValidationError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestStageMap(ManychatCase):
    def setUp(self):
        super().setUp()
        self.map = self.env["manychat.stage.map"]
        self.row = self.map.search([("manychat_stage_id", "=", 17)])
        self.free_stage = self.env["crm.stage"].create({"name": "Libre"})

    def test_a_pipeline_stage_belongs_to_one_manychat_stage(self):
        with self.assertRaisesRegex(ValidationError, "already belongs to another ManyChat stage"):
            self.map.create({"name": "Otra", "stage_id": self.row.stage_id.id})

    def test_a_label_is_listed_once_in_any_spelling(self):
        with self.assertRaisesRegex(ValidationError, "already in the list"):
            self.map.create({"name": "RECIÉN  suscrito pendiente de ac", "stage_id": self.free_stage.id})

    def test_a_number_is_listed_once(self):
        with self.assertRaisesRegex(ValidationError, "17"):
            self.map.create({"name": "Otra", "manychat_stage_id": 17, "stage_id": self.free_stage.id})

    def test_several_rows_may_have_no_number(self):
        other = self.env["crm.stage"].create({"name": "Libre también"})
        self.map.create({"name": "Sin número", "stage_id": self.free_stage.id})
        self.map.create({"name": "Sin número también", "stage_id": other.id})

    def test_the_database_itself_keeps_the_map_one_to_one(self):
        other = self.map.search([("manychat_stage_id", "=", 18)])
        for column, value in (
            ("stage_id", self.row.stage_id.id),
            ("label_key", self.row.label_key),
            ("manychat_stage_id", 17),
        ):
            with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"), self.env.cr.savepoint():
                self.env.cr.execute(f"UPDATE manychat_stage_map SET {column} = %s WHERE id = %s", [value, other.id])

    def test_an_archived_row_is_not_in_the_way_of_its_successor(self):
        self.row.active = False
        successor = self.row.copy({"active": True})
        self.assertEqual(successor.stage_id, self.row.stage_id)
        with self.assertRaises(ValidationError):
            self.row.active = True

    def test_an_alias_leads_to_its_stage(self):
        self.row.alias_ids = [(0, 0, {"name": "Pendiente AC"}), (0, 0, {"manychat_stage_id": 170})]
        self.apply(opportunity("MC-A", None, label="pendiente ac"), opportunity("MC-B", 170))
        self.assertEqual(self.lead("MC-A").stage_id, self.row.stage_id)
        self.assertEqual(self.lead("MC-B").stage_id, self.row.stage_id)

    def test_a_label_that_looks_like_a_stage_is_that_stage_and_makes_no_alias(self):
        aliases = self.env["manychat.stage.alias"].search_count([])
        for number, letter in enumerate("\u200b\u00ad\u3164\ufeff\u2060\ufe0f"):
            label = f"{letter}{self.row.name[:4]}{letter}{self.row.name[4:]}"
            self.apply(opportunity(f"MC-{number}", None, label=label))
            self.assertEqual(self.lead(f"MC-{number}").stage_id, self.row.stage_id)
        self.assertEqual(self.env["manychat.stage.alias"].search_count([]), aliases)

    def test_an_alias_cannot_be_ambiguous(self):
        alias = self.env["manychat.stage.alias"]
        alias.create({"name": "Pendiente AC", "map_id": self.row.id})
        for values in (
            {"name": "PENDIENTE ac"},
            {"name": self.row.name},
            {"manychat_stage_id": 18},
            {"name": " "},
            {"name": "\u3164"},
        ):
            with self.assertRaises(ValidationError), self.env.cr.savepoint():
                alias.create(values)

    def test_a_new_row_for_an_unknown_stage_releases_its_events(self):
        event = opportunity(stage=99)
        self.apply(event)
        self.map.create({"name": "Etapa 99", "manychat_stage_id": 99, "stage_id": self.free_stage.id})
        self.assertFalse(self.env["manychat.stage.alias"].search([("manychat_stage_id", "=", 99)]))
        self.assertEqual(self.env["manychat.event"].search([("event_id", "=", event["id"])]).state, "pending")

    def test_salespeople_read_the_map_and_managers_change_it(self):
        salesperson = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        manager = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.assertTrue(self.map.with_user(salesperson).has_access("read"))
        self.assertFalse(self.map.with_user(salesperson).has_access("write"))
        self.row.with_user(manager).name = "Pendiente"
        self.assertFalse(self.env["manychat.api.key"].with_user(manager).has_access("create"))
