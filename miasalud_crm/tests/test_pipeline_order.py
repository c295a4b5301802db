from odoo.tests import TransactionCase, tagged

from ..hooks import STAGES, map_stages

OPEN = [name for _label, number, name in STAGES if number != 26]
WON = "Orden de Venta Confirmada"


@tagged("post_install", "-at_install")
class TestPipelineOrder(TransactionCase):
    """Where the installation puts its stages, in the pipelines that it may find."""

    def setUp(self):
        super().setUp()
        self.env["manychat.stage.map"].with_context(active_test=False).search([]).unlink()
        self.env["crm.lead"].with_context(active_test=False).search([]).unlink()
        self.env["crm.stage"].search([]).unlink()

    def install(self, *stages):
        """Install in a pipeline of these stages and return the names after.

        :param stages: name, with ``*`` if it is won; sequence; pairs of more fields and values
        """
        made = self.env["crm.stage"].create(
            [
                {"name": name.strip("*"), "sequence": sequence, "is_won": "*" in name, **dict(more)}
                for name, sequence, *more in stages
            ]
        )
        before = (self.env["crm.stage"].search([]) & made).mapped("name")
        map_stages(self.env)
        after = self.env["crm.stage"].search([])
        self.assertEqual((after & made).mapped("name"), before, "the existing stages have another order")
        return after.mapped("name")

    def test_an_empty_database_gets_the_eleven_in_order(self):
        self.assertEqual(self.install(), [*OPEN, WON])

    def test_open_stages_come_before_odoos_won_stage_and_ours_comes_last(self):
        names = self.install(("New", 1), ("Qualified", 2), ("Proposition", 3), ("Won*", 70))
        self.assertEqual(names, ["New", "Qualified", "Proposition", *OPEN, "Won", WON])

    def test_stages_close_together_make_room(self):
        names = self.install(("Uno", 1), ("Dos", 2), ("Ganada*", 3), ("Después", 4))
        self.assertEqual(names, ["Uno", "Dos", *OPEN, "Ganada", "Después", WON])

    def test_stages_of_equal_sequence_keep_their_order(self):
        names = self.install(("A", 1), ("B", 1), ("C*", 1), ("D", 1), ("E", 40))
        self.assertEqual(names, ["A", "B", *OPEN, "C", "D", "E", WON])

    def test_a_pipeline_without_a_won_stage_goes_on_with_ours(self):
        self.assertEqual(self.install(("Uno", 5), ("Dos", 5)), ["Dos", "Uno", *OPEN, WON])

    def test_of_several_won_stages_the_first_counts(self):
        names = self.install(("Uno", 1), ("Ganada*", 10), ("Otra vez", 20), ("Renovada*", 30))
        self.assertEqual(names, ["Uno", *OPEN, "Ganada", "Otra vez", "Renovada", WON])

    def test_a_won_stage_before_all_others_does_not_make_ours_the_first(self):
        names = self.install(("Ganada*", 0), ("Uno", 1), ("Cerrada*", 2))
        self.assertEqual(names, ["Ganada", "Uno", *OPEN, "Cerrada", WON])

    def test_a_pipeline_of_won_stages_only_begins_with_ours(self):
        self.assertEqual(self.install(("Ganada*", 1)), [*OPEN, "Ganada", WON])

    def test_the_pipeline_of_each_team_begins_where_it_began(self):
        teams = self.env["crm.team"].create([{"name": "Norte"}, {"name": "Sur"}])
        field = "team_ids" if "team_ids" in self.env["crm.stage"]._fields else "team_id"
        north, south = ((field, team.ids if field == "team_ids" else team.id) for team in teams)
        names = self.install(
            ("Norte", 1, north), ("Norte ganada*", 2, north), ("Sur", 3, south), ("Sur ganada*", 4, south)
        )
        self.assertEqual(names, ["Norte", "Norte ganada", "Sur", *OPEN, "Sur ganada", WON])

    def test_adopted_stages_keep_their_sequence(self):
        names = self.install(("Uno", 1), ("Retornó en AC", 2), ("Ganada*", 3))
        others = [name for name in OPEN if name != "Retornó en AC"]
        self.assertEqual(names, ["Uno", "Retornó en AC", *others, "Ganada", WON])
        self.assertEqual(self.env["crm.stage"].search([("name", "=", "Retornó en AC")]).sequence, 2)

    def test_an_adopted_won_stage_stays_and_the_stages_before_it_make_room(self):
        names = self.install(("Uno", 1), ("Dos", 2), (f"{WON}*", 3), ("Posventa", 3))
        self.assertEqual(names, ["Uno", "Dos", *OPEN, WON, "Posventa"])
        self.assertEqual(self.env["crm.stage"].search([("name", "=", WON)]).sequence, 3)

    def test_between_adopted_stages_without_room_ours_come_after_all(self):
        names = self.install(("Retornó en AC", 2), (f"{WON}*", 3), ("Después", 4))
        others = [name for name in OPEN if name != "Retornó en AC"]
        self.assertEqual(names, ["Retornó en AC", WON, "Después", *others])

    def test_new_opportunities_of_users_begin_where_they_began(self):
        self.install(("Uno", 1), ("Dos", 2), ("Ganada*", 3))
        self.assertEqual(self.env["crm.lead"].create({"name": "A mano", "type": "opportunity"}).stage_id.name, "Uno")
