from collections import defaultdict

from odoo.tests import new_test_user, tagged

from .common import ManychatCase, opportunity

COLUMNS = ["id", "name", "manychat_stage_id", "stage_id/id", "team_id", "sequence", "alias_ids/name"]


@tagged("post_install", "-at_install")
class TestImport(ManychatCase):
    """Export and import of the stage map, with Odoo's own spreadsheets."""

    def setUp(self):
        super().setUp()
        jefa = new_test_user(self.env, "jefa", "sales_team.group_sale_manager,base.group_allow_export")
        self.map = self.env["manychat.stage.map"].with_user(jefa)
        self.rows = self.map.search([])
        self.row = self.rows.filtered(lambda row: row.manychat_stage_id == 17)

    def exported(self, *columns):
        return self.rows.export_data(list(columns or COLUMNS))["datas"]

    def state(self):
        fields = ["name", "manychat_stage_id", "stage_id", "team_id", "sequence", "alias_ids"]
        return self.map.search([]).read(fields, load=False)

    def load(self, columns, lines):
        result = self.map.load(columns, [list(map(str, line)) for line in lines])
        self.env.invalidate_all()
        return result

    def test_an_exported_map_imported_again_changes_nothing(self):
        self.row.alias_ids = [(0, 0, {"name": "Pendiente AC"})]
        before, lines = self.state(), self.exported(*COLUMNS[:-1], "alias_ids/id", "alias_ids/name")
        result = self.load([*COLUMNS[:-1], "alias_ids/id", "alias_ids/name"], lines)
        self.assertFalse(result["messages"])
        self.assertEqual(result["ids"], self.rows.ids)
        self.assertEqual(self.state(), before)

    def test_an_import_by_name_updates_and_adds_rows(self):
        self.env["crm.stage"].create({"name": "Libre"})
        lines = self.exported("id", "name", "stage_id")
        position = self.rows.ids.index(self.row.id)
        lines[position][1] = "Pendiente"
        result = self.load(["id", "name", "stage_id"], [*lines, ["__import__.nueva", "Nueva", "Libre"]])
        self.assertFalse(result["messages"])
        self.assertEqual(self.row.name, "Pendiente")
        new = self.env.ref("__import__.nueva")
        self.assertEqual((new.name, new.stage_id.name), ("Nueva", "Libre"))

    def test_two_rows_swap_their_stages_and_numbers_in_one_import(self):
        first, second = self.rows[:2]
        stages, numbers = (first.stage_id, second.stage_id), (first.manychat_stage_id, second.manychat_stage_id)
        lines = (first + second).export_data(["id", "name", "manychat_stage_id", "stage_id/id"])["datas"]
        lines[0][2:], lines[1][2:] = lines[1][2:], lines[0][2:]
        result = self.load(["id", "name", "manychat_stage_id", "stage_id/id"], lines)
        self.assertFalse(result["messages"])
        self.assertEqual((second.stage_id, first.stage_id), stages)
        self.assertEqual((second.manychat_stage_id, first.manychat_stage_id), numbers)

    def test_each_wrong_line_has_its_own_error_and_nothing_is_imported(self):
        self.env["crm.stage"].create([{"name": "Libre"}, {"name": "Libre también"}])
        before = self.state()
        lines = [
            ["Buena", 90, "Libre"],
            ["Doble", 17, "Libre también"],
            ["Sin etapa", 91, "No existe"],
            ["Ocupada", 92, self.row.stage_id.name],
        ]
        result = self.load(["name", "manychat_stage_id", "stage_id"], lines)
        self.assertFalse(result["ids"])
        shown = defaultdict(str)
        for message in result["messages"]:
            shown[message["record"]] += message["message"]
        self.assertNotIn(0, shown)
        self.assertIn("17 already belongs", shown[1])
        self.assertIn("No existe", shown[2])
        self.assertIn("already belongs to another ManyChat stage", shown[3])
        self.assertEqual(self.state(), before)

    def test_a_duplicate_within_the_file_is_reported(self):
        self.env["crm.stage"].create([{"name": "Libre"}, {"name": "Libre también"}])
        result = self.load(
            ["name", "manychat_stage_id", "stage_id"], [["Una", 90, "Libre"], ["UNA", 91, "Libre también"]]
        )
        self.assertFalse(result["ids"])
        self.assertIn("already in the list", " ".join(message["message"] for message in result["messages"]))

    def test_importing_a_row_for_an_unknown_stage_releases_its_events(self):
        event = opportunity("MC-A", 99)
        self.apply(event)
        self.env["crm.stage"].create({"name": "Libre"})
        result = self.load(["name", "manychat_stage_id", "stage_id"], [["Etapa 99", 99, "Libre"]])
        self.assertTrue(result["ids"], result["messages"])
        self.assertEqual(self.env["manychat.event"].search([("event_id", "=", event["id"])]).state, "pending")

    def test_the_import_screen_takes_a_csv_file(self):
        self.env["crm.stage"].create({"name": "Libre"})
        wizard = (
            self.env["base_import.import"]
            .with_user(self.map.env.user)
            .create(
                {
                    "res_model": "manychat.stage.map",
                    "file": b"ManyChat Stage,ManyChat Stage ID,Pipeline Stage\nNueva,90,Libre\n",
                    "file_type": "text/csv",
                    "file_name": "mapa.csv",
                }
            )
        )
        options = {"quoting": '"', "separator": ",", "has_headers": True}
        preview = wizard.parse_preview(options)
        self.assertEqual(preview["matches"], {0: ["name"], 1: ["manychat_stage_id"], 2: ["stage_id"]})
        result = wizard.execute_import(
            ["name", "manychat_stage_id", "stage_id"], preview["headers"], preview["options"]
        )
        self.assertFalse(result["messages"])
        self.assertEqual(self.map.browse(result["ids"]).stage_id.name, "Libre")

    def test_advisers_swap_their_numbers_in_one_import(self):
        first, second = self.env["manychat.advisor"].create(
            [{"external_id": 700, "name": "Ana"}, {"external_id": 701, "name": "Beto"}]
        )
        lines = (first + second).with_user(self.map.env.user).export_data(["id", "external_id"])["datas"]
        lines[0][1], lines[1][1] = lines[1][1], lines[0][1]
        result = (
            self.env["manychat.advisor"]
            .with_user(self.map.env.user)
            .load(["id", "external_id"], [list(map(str, line)) for line in lines])
        )
        self.assertFalse(result["messages"])
        self.assertEqual((first.external_id, second.external_id), (701, 700))
