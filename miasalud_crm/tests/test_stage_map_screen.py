import json

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestStageMapScreen(ManychatCase):
    """What the screens of the stage map and of the aliases show, and what their buttons do."""

    def setUp(self):
        super().setUp()
        self.map = self.env["manychat.stage.map"]
        self.row = self.map.search([("manychat_stage_id", "=", 17)])
        self.free_stage = self.env["crm.stage"].create({"name": "Libre"})
        self.north, self.south = self.env["crm.team"].create([{"name": "Norte"}, {"name": "Sur"}])

    def for_team(self, stage, team):
        if "team_ids" in stage._fields:
            stage.team_ids = team
        else:
            stage.team_id = team

    def needing_attention(self):
        return self.map.search([("needs_attention", "=", True)])

    def notifications(self):
        """The messages of the notifications sent to this user, once."""
        self.env.cr.precommit.run()
        sent = self.env["bus.bus"].search([("message", "like", "simple_notification")])
        messages = [json.loads(line.message)["payload"]["message"] for line in sent]
        sent.unlink()
        return messages

    # --- Warnings

    def test_a_map_in_order_needs_no_attention(self):
        self.row.team_id = self.north
        self.for_team(self.row.stage_id, self.north)
        self.row.stage_id.fold = True
        self.assertFalse(self.needing_attention())
        self.assertEqual(self.map.search([("needs_attention", "=", False)]), self.map.search([]))

    def test_a_stage_of_another_team_is_warned_of(self):
        self.row.team_id = self.north
        self.for_team(self.row.stage_id, self.south)
        self.assertEqual(self.needing_attention(), self.row)
        self.assertIn("for the team “Sur” only", self.row.warning)
        self.assertNotIn(self.row, self.map.search([("needs_attention", "!=", True)]))
        self.row.team_id = False
        self.assertFalse(self.row.warning)

    def test_an_archived_team_is_warned_of(self):
        self.row.team_id = self.north
        self.north.active = False
        self.assertEqual(self.needing_attention(), self.row)
        self.assertIn("“Norte” is archived", self.row.warning)

    def test_an_archived_row_warns_of_nothing(self):
        self.row.write({"team_id": self.north.id, "active": False})
        self.north.active = False
        self.assertFalse(self.row.needs_attention)
        self.assertFalse(self.needing_attention())

    def test_the_form_warns_before_it_is_saved(self):
        self.for_team(self.row.stage_id, self.south)
        with Form(self.row) as form:
            self.assertFalse(form.warning)
            form.team_id = self.north
            self.assertIn("for the team “Sur” only", form.warning)

    def test_a_stage_that_is_mapped_is_not_deleted_and_the_error_says_what_to_do(self):
        stage = self.row.stage_id
        with self.assertRaisesRegex(UserError, "First choose another pipeline stage for it"):
            stage.unlink()
        self.row.active = False
        with self.assertRaisesRegex(UserError, "filter “Archived”"):
            stage.unlink()
        self.row.unlink()
        stage.unlink()

    # --- Counts

    def test_a_row_counts_the_opportunities_in_its_stage_and_opens_them(self):
        self.apply(opportunity("MC-A"), opportunity("MC-B"), opportunity("MC-C", 18))
        self.assertEqual(self.row.lead_count, 2)
        self.lead("MC-B").action_set_lost()
        self.env.invalidate_all()
        self.assertEqual(self.row.lead_count, 1)
        self.assertEqual(self.env["crm.lead"].search(self.row.action_view_leads()["domain"]), self.lead("MC-A"))

    def test_a_salesperson_counts_what_they_may_see(self):
        self.apply(opportunity("MC-A"), opportunity("MC-B"))
        self.lead("MC-A").user_id = self.env.user
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        self.assertEqual(self.row.with_user(vera).lead_count, 1)

    def test_a_row_counts_the_events_on_their_way_by_number_label_and_alias(self):
        self.row.alias_ids = [(0, 0, {"name": "Pendiente AC"})]
        events = [opportunity("MC-A"), opportunity("MC-B", None, label=self.row.name)]
        events += [opportunity("MC-C", None, label="pendiente ac"), opportunity("MC-D", 18)]
        self.apply(*events)
        rows = self.env["manychat.event"].search([("event_id", "in", [event["id"] for event in events])])
        rows.write({"state": "queued"})
        self.assertEqual(self.row.waiting_count, 3)
        shown = self.env["manychat.event"].search(self.row.action_view_waiting_events()["domain"])
        self.assertEqual(set(shown.mapped("manychat_id")), {"MC-A", "MC-B", "MC-C"})

    # --- Aliases

    def test_open_aliases_come_first_and_say_how_many_events_wait(self):
        self.env["manychat.stage.alias"].create({"name": "Otra", "map_id": self.row.id})
        self.apply(opportunity("MC-A", 99), opportunity("MC-B", 99), opportunity("MC-C", None, label="Nueva"))
        self.env["manychat.stage.alias"].create({"name": "Y otra", "map_id": self.row.id})
        aliases = self.env["manychat.stage.alias"].search([])
        self.assertEqual(aliases.mapped("is_open"), [True, True, False, False])
        by_number = aliases.filtered(lambda alias: alias.manychat_stage_id == 99)
        self.assertEqual(by_number.waiting_count, 2)
        shown = self.env["manychat.event"].search(by_number.action_view_waiting_events()["domain"])
        self.assertEqual(set(shown.mapped("manychat_id")), {"MC-A", "MC-B"})

    def test_the_map_says_how_many_stages_are_missing(self):
        self.assertEqual(self.map.open_aliases(), {"aliases": 0, "events": 0})
        self.apply(opportunity("MC-A", 99), opportunity("MC-B", 99), opportunity("MC-C", None, label="Nueva"))
        self.assertEqual(self.map.open_aliases(), {"aliases": 2, "events": 3})
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.map.with_user(vera).open_aliases()

    def test_choosing_what_a_stage_means_says_how_many_events_it_released(self):
        self.apply(opportunity("MC-A", 99), opportunity("MC-B", 99))
        alias = self.env["manychat.stage.alias"].search([("manychat_stage_id", "=", 99)])
        self.notifications()
        alias.map_id = self.row
        self.assertEqual(self.notifications(), ["Events released, now on their way to the pipeline: 2."])
        alias.map_id = self.map.search([("manychat_stage_id", "=", 18)])
        self.assertFalse(self.notifications())

    def test_an_unknown_stage_becomes_a_row_of_its_own(self):
        event = opportunity("MC-A", None, label="Libre  ")
        self.apply(event)
        alias = self.env["manychat.stage.alias"].search([("is_open", "=", True)])
        action = alias.action_map_to_new_row()
        with Form(self.map.with_context(**action["context"])) as form:
            # A pipeline stage of that name, which no row has yet, is most likely meant.
            self.assertEqual((form.name, form.stage_id), ("Libre", self.free_stage))
        self.assertFalse(alias.exists())
        self.assertEqual(self.env["manychat.event"].search([("event_id", "=", event["id"])]).state, "pending")
        self.apply(event)
        self.assertEqual(self.lead("MC-A").stage_id, self.free_stage)

    def test_a_number_becomes_a_row_whose_label_and_stage_are_left_to_the_person(self):
        self.apply(opportunity("MC-A", 99))
        action = self.env["manychat.stage.alias"].search([("is_open", "=", True)]).action_map_to_new_row()
        form = Form(self.map.with_context(**action["context"]))
        self.assertEqual((form.name, form.manychat_stage_id, form.stage_id.id), (False, 99, False))

    def test_discarding_an_unknown_stage_gives_its_events_up_until_it_arrives_again(self):
        jefa = new_test_user(self.env, "jefa", "sales_team.group_sale_manager")
        first, second = opportunity("MC-A", 99), opportunity("MC-B", 99, minutes=1)
        self.apply(first)
        alias = self.env["manychat.stage.alias"].search([("is_open", "=", True)])
        with self.assertRaisesRegex(UserError, "events wait for"):
            alias.with_user(jefa).unlink()
        alias.with_user(jefa).action_discard()
        self.assertFalse(alias.exists())
        self.assertEqual(self.env["manychat.event"].search([("event_id", "=", first["id"])]).state, "discarded")
        self.apply(second)
        self.assertEqual(self.map.open_aliases(), {"aliases": 1, "events": 1})

    def test_a_salesperson_discards_nothing(self):
        self.apply(opportunity("MC-A", 99))
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.env["manychat.stage.alias"].search([("is_open", "=", True)]).with_user(vera).action_discard()


@tagged("post_install", "-at_install")
class TestArchivedStage(ManychatCase):
    """Odoo's stages cannot be archived, until Studio or another app gives them a field for it."""

    def test_an_archived_stage_is_warned_of(self):
        # The field “Folded” in the place of the one that is missing: making a field would change the registry for all.
        stages = self.env["crm.stage"]
        stages.search([]).fold = True
        self.patch(type(stages), "_active_name", "fold")
        rows = self.env["manychat.stage.map"]
        row = rows.search([("manychat_stage_id", "=", 17)])
        self.assertFalse(rows.search([("needs_attention", "=", True)]))
        row.stage_id.fold = False
        self.env.invalidate_all()
        self.assertEqual(rows.search([("needs_attention", "=", True)]), row)
        self.assertIn("is archived", row.warning)
