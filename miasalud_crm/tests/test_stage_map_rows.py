from datetime import timedelta

from odoo import fields
from odoo.exceptions import ValidationError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestStageMapRows(ManychatCase):
    """New rows come last, two rows swap, and a row in use is not given up unawares."""

    def setUp(self):
        super().setUp()
        self.jefa = new_test_user(self.env, "jefa", "sales_team.group_sale_manager,base.group_allow_export")
        self.map = self.env["manychat.stage.map"].with_user(self.jefa)
        self.rows = self.map.search([])
        self.first, self.second, self.third = self.rows[:3]
        self.free, self.spare, self.idle = self.env["crm.stage"].create(
            [{"name": name, "sequence": 99} for name in ("Libre", "Reserva", "Ociosa")]
        )

    # --- New rows

    def test_a_new_row_comes_last_however_it_is_made(self):
        made = self.map.create({"name": "Por RPC", "stage_id": self.free.id})
        with Form(self.map) as form:
            form.name, form.stage_id = "Por formulario", self.spare
        made |= form.record
        result = self.map.load(["name", "stage_id", "sequence"], [["Por archivo", "Ociosa", ""]])
        self.assertFalse(result["messages"])
        made |= self.map.browse(result["ids"])
        self.assertEqual(self.map.search([]), self.rows + made)

    def test_rows_made_together_come_last_in_their_order(self):
        made = self.map.create(
            [{"name": f"Fila {stage.id}", "stage_id": stage.id} for stage in (self.spare, self.free)]
        )
        self.assertEqual(self.map.search([]), self.rows + made)

    def test_a_row_comes_after_archived_ones_too(self):
        self.rows[-1].active = False
        made = self.map.create({"name": "Nueva", "stage_id": self.free.id})
        self.rows[-1].active = True
        self.assertEqual(self.map.search([]), self.rows + made)

    def test_an_explicit_place_counts(self):
        made = self.map.create({"name": "Primera", "stage_id": self.free.id, "sequence": 0})
        self.assertEqual(self.map.search([])[0], made)
        result = self.map.load(["name", "stage_id", "sequence"], [["Segunda", "Reserva", "1"]])
        self.assertEqual(self.map.search([])[1], self.map.browse(result["ids"]))

    def test_a_stage_made_from_the_map_comes_last_in_the_pipeline(self):
        context = {"manychat_stage_at_the_end": True}
        with Form(self.env["crm.stage"].with_user(self.jefa).with_context(**context)) as form:
            form.name = "Recién hecha"
        self.assertEqual(self.env["crm.stage"].search([])[-1], form.record)
        made = self.env["crm.stage"].with_user(self.jefa).with_context(**context).name_create("Y otra")[0]
        self.assertEqual(self.env["crm.stage"].search([])[-1].id, made)

    def test_a_stage_that_an_import_of_the_map_makes_comes_last_in_the_pipeline(self):
        rows = self.map.with_context(name_create_enabled_fields={"stage_id": True}, import_file=True)
        result = rows.load(["name", "stage_id"], [["Nueva", "Etapa importada"]])
        self.assertFalse(result["messages"])
        self.assertEqual(self.env["crm.stage"].search([])[-1].name, "Etapa importada")

    def test_a_stage_made_elsewhere_stands_where_odoo_puts_it(self):
        self.assertEqual(self.env["crm.stage"].create({"name": "Otra"}).sequence, 1)

    # --- Swap

    def test_two_rows_swap_their_stages(self):
        mine, theirs = self.first.stage_id, self.second.stage_id
        vals = {"stage_id": theirs.id}
        swap = self.first.get_swap(vals)
        self.assertEqual(swap["row_id"], self.second.id)
        self.assertIn(f"“{self.second.name}” gets “{mine.name}”, and this row gets “{theirs.name}”", swap["question"])
        self.first.swap(vals)
        self.assertEqual((self.first.stage_id, self.second.stage_id), (theirs, mine))

    def test_two_rows_swap_label_and_number_at_once(self):
        before = [(row.name, row.manychat_stage_id) for row in self.first + self.second]
        vals = {"name": f" {self.second.name.upper()}", "manychat_stage_id": self.second.manychat_stage_id}
        self.first.swap(vals)
        self.assertEqual((self.second.name, self.second.manychat_stage_id), before[0])
        self.assertEqual(self.first.manychat_stage_id, before[1][1])
        self.assertEqual(self.first.name.strip().lower(), before[1][0].lower())

    def test_a_row_without_a_number_takes_anothers_which_then_has_none(self):
        number = self.second.manychat_stage_id
        self.first.manychat_stage_id = 0
        self.first.swap({"manychat_stage_id": number})
        self.assertEqual((self.first.manychat_stage_id, self.second.manychat_stage_id), (number, 0))

    def test_three_rows_rotate_by_two_swaps(self):
        stages = (self.first + self.second + self.third).mapped("stage_id.id")
        self.first.swap({"stage_id": stages[1]})
        self.second.swap({"stage_id": stages[2]})
        self.assertEqual(
            [row.stage_id.id for row in self.first + self.second + self.third], [stages[1], stages[2], stages[0]]
        )

    def test_three_rows_rotate_in_one_import(self):
        rows = self.first + self.second + self.third
        columns = ["id", "name", "manychat_stage_id", "stage_id/id"]
        lines = rows.export_data(columns)["datas"]
        values = [line[1:] for line in lines]
        lines = [[line[0], *values[(index + 1) % 3]] for index, line in enumerate(lines)]
        result = self.map.load(columns, [list(map(str, line)) for line in lines])
        self.assertFalse(result["messages"])
        self.assertEqual(rows.export_data(columns)["datas"], [[line[0], *map_back(line)] for line in lines])

    def test_what_belongs_to_nobody_or_to_two_rows_is_no_swap(self):
        self.assertFalse(self.first.get_swap({"stage_id": self.free.id, "name": "Libre", "team_id": False}))
        both = {"stage_id": self.second.stage_id.id, "name": self.third.name}
        self.assertFalse(self.first.get_swap(both))
        with self.assertRaises(ValidationError), self.env.cr.savepoint():
            self.first.swap(both)
        self.third.active = False
        self.assertFalse(self.third.get_swap({"stage_id": self.second.stage_id.id}))

    # --- Archive and delete

    def test_a_row_in_use_says_what_will_wait(self):
        row = self.rows.filtered(lambda row: row.manychat_stage_id == 17)
        row.alias_ids = [(0, 0, {"name": "Pendiente AC"})]
        self.apply(opportunity("MC-A"), opportunity("MC-B", None, label="pendiente ac"), opportunity("MC-C", 18))
        self.env["manychat.event"].search([]).write({"received_at": fields.Datetime.now()})
        self.env["manychat.event"].search([("manychat_id", "=", "MC-A")]).state = "queued"
        text = row.get_consequences(False)
        for words in (row.name, "on their way to it: 1", "last 7 days: 2", "“Pendiente AC”", "Archive all the same?"):
            self.assertIn(words, text)
        self.assertNotIn(row.with_context(active_test=False).search([("manychat_stage_id", "=", 18)]).name, text)
        self.assertIn("aliases are deleted", row.get_consequences(True))
        old = fields.Datetime.now() - timedelta(days=30)
        self.env["manychat.event"].search([]).write({"received_at": old, "state": "done"})
        row.alias_ids.unlink()
        self.assertFalse(row.get_consequences(False))
        self.assertFalse(row.get_consequences(True))

    def test_an_alias_of_an_archived_row_is_open_when_it_arrives_again(self):
        row = self.rows.filtered(lambda row: row.manychat_stage_id == 17)
        row.alias_ids = [(0, 0, {"name": "Pendiente AC"})]
        row.active = False
        self.apply(opportunity("MC-A", None, label="Pendiente AC"))
        alias = self.env["manychat.stage.alias"].search([("is_open", "=", True)])
        self.assertEqual((alias.name, alias.waiting_count), ("Pendiente AC", 1))

    # --- Empty numbers

    def test_a_number_that_is_missing_is_empty_on_screens_and_in_exports(self):
        row = self.map.create({"name": "Sin número", "stage_id": self.free.id})
        self.assertIs(row.read(["manychat_stage_id"])[0]["manychat_stage_id"], False)
        self.assertIs(row.web_read({"manychat_stage_id": {}})[0]["manychat_stage_id"], False)
        self.assertEqual(row.export_data(["name", "manychat_stage_id"])["datas"], [["Sin número", ""]])
        self.assertEqual(row.manychat_stage_id, 0)
        alias = self.env["manychat.stage.alias"].create({"name": "Otra"})
        self.assertIs(alias.read(["manychat_stage_id"])[0]["manychat_stage_id"], False)
        new = self.env["manychat.advisor"].onchange({}, [], {"external_id": {}, "name": {}})
        self.assertFalse(new["value"].get("external_id"))

    # --- Stages of the pipeline

    def test_the_stages_own_form_says_what_a_change_means_for_the_chat(self):
        stage = self.first.stage_id
        for name, words in (("is_won", "mark its opportunity as won"), ("fold", "a column that is folded")):
            result = stage.onchange({name: True}, [name], {"is_won": {}, "fold": {}})
            self.assertIn(words, result["warning"]["message"])
        won = self.stages[26]
        self.assertIn("no longer", won.onchange({"is_won": False}, ["is_won"], {"is_won": {}})["warning"]["message"])
        self.assertNotIn("ManyChat", str(self.free.onchange({"fold": True}, ["fold"], {"fold": {}}).get("warning")))


def map_back(line):
    """An imported line as it is exported: the number is a number."""
    return [line[1], int(line[2]), line[3]]


@tagged("post_install", "-at_install")
class TestAliasWaiting(ManychatCase):
    """Who waits for a user to say what a stage means."""

    def setUp(self):
        super().setUp()
        self.jefa = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        self.apply(opportunity("MC-A", first_name="Ana", last_name="Prueba"))
        self.apply(
            opportunity("MC-A", 99, minutes=1, first_name="Ana", last_name="Prueba"),
            *[opportunity(f"MC-{number}", 99, minutes=number) for number in range(2, 6)],
        )
        self.alias = self.env["manychat.stage.alias"].with_user(self.jefa).search([("manychat_stage_id", "=", 99)])

    def test_it_names_people_counts_them_and_says_since_when(self):
        self.assertEqual(self.alias.waiting_names, "Ana Prueba, MC-2, MC-3 and 2 more")
        self.assertEqual((self.alias.waiting_people_count, self.alias.waiting_lead_count), (5, 1))
        oldest = min(self.env["manychat.event"].search([("alias_id", "=", self.alias.id)]).mapped("received_at"))
        self.assertEqual(self.alias.waiting_since, oldest)
        leads = self.env["crm.lead"].search(self.alias.action_view_waiting_leads()["domain"])
        self.assertEqual(leads, self.lead("MC-A"))

    def test_a_page_of_aliases_costs_one_statement(self):
        self.apply(*[opportunity("MC-B", None, label=f"Otra {number}") for number in range(20)])
        aliases = self.env["manychat.stage.alias"].with_user(self.jefa).search([])
        self.assertEqual(len([name for name in aliases.mapped("waiting_names") if name]), 21)
        aliases.invalidate_recordset(["waiting_names", "waiting_since"])
        with self.assertQueryCount(1):
            aliases.mapped("waiting_names")

    def test_a_salesperson_learns_no_name(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        self.assertNotIn("waiting_names", self.alias.with_user(vera).fields_get())


@tagged("post_install", "-at_install")
class TestAdvisorName(ManychatCase):
    """An adviser's name is that of their user, unless a user has typed one."""

    def setUp(self):
        super().setUp()
        self.laura = new_test_user(self.env, "laura", "sales_team.group_sale_salesman", name="Laura Asesora")
        self.diego = new_test_user(self.env, "diego", "sales_team.group_sale_salesman", name="Diego Asesor")
        self.advisor = self.env["manychat.advisor"].create({"external_id": 700})

    def test_a_number_makes_way_for_the_users_name(self):
        self.assertEqual(self.advisor.name, "700")
        self.advisor.user_id = self.laura
        self.assertEqual(self.advisor.name, "Laura Asesora")

    def test_the_form_shows_it_at_once_and_a_correction_too(self):
        with Form(self.advisor) as form:
            form.user_id = self.laura
            self.assertEqual(form.name, "Laura Asesora")
        with Form(self.advisor) as form:
            form.user_id = self.diego
            self.assertEqual(form.name, "Diego Asesor")
        self.assertEqual(self.advisor.name, "Diego Asesor")

    def test_another_user_changes_a_name_that_was_the_users(self):
        self.advisor.user_id = self.laura
        self.advisor.user_id = self.diego
        self.assertEqual(self.advisor.name, "Diego Asesor")

    def test_a_name_that_a_user_typed_stays(self):
        self.advisor.name = "Dra. Laura"
        self.advisor.user_id = self.laura
        self.advisor.user_id = self.diego
        self.assertEqual(self.advisor.name, "Dra. Laura")
        self.advisor.write({"user_id": self.laura.id, "name": "Lau"})
        self.assertEqual(self.advisor.name, "Lau")

    def test_a_number_that_is_corrected_is_the_name_again(self):
        self.advisor.external_id = 701
        self.assertEqual(self.advisor.name, "701")
