from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestPipelineStep(ManychatCase):
    """The unused stages that stand in front of the chat's, and what a sales manager does with them."""

    def setUp(self):
        super().setUp()
        self.env["crm.lead"].with_context(active_test=False).search([]).unlink()
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")
        self.all_stages = self.env["crm.stage"].with_user(self.manager)
        self.mapped = self.env["manychat.stage.map"].search([]).stage_id
        (self.all_stages.search([]).sudo() - self.mapped).unlink()
        self.new, self.qualified, self.lost = self.all_stages.create(
            [
                {"name": "Nueva", "sequence": -9},
                {"name": "Calificada", "sequence": -8},
                {"name": "Lejana", "sequence": 999},
            ]
        )
        self.won = self.all_stages.create({"name": "Ganada", "sequence": -7, "is_won": True})

    def step(self):
        self.env.invalidate_all()
        return self.env["manychat.setup"].with_user(self.manager)._pipeline_step()

    def in_the_way(self):
        return self.all_stages._manychat_in_the_way()

    def fold_all(self):
        return self.env["manychat.stage.cleanup"].with_user(self.manager).action_fold_all()

    def cleanup(self):
        return Form(self.env["manychat.stage.cleanup"].with_user(self.manager))

    def choose(self, **choices):
        """Open the dialog, choose for the stages of these names, apply."""
        with self.cleanup() as form:
            for index in range(len(form.line_ids)):
                with form.line_ids.edit(index) as line:
                    line.choice = choices.get(line.stage_id.name, line.choice)
        form.record.action_apply()

    def test_one_click_folds_what_stands_in_front_and_another_undoes_it(self):
        self.assertEqual(self.in_the_way(), self.new + self.qualified + self.won)
        step = self.step()
        self.assertEqual(step["state"], "todo")
        self.assertIn("“Nueva”, “Calificada”, “Ganada”", step["text"])
        self.assertIn("Nueva, Calificada, Ganada", self.fold_all()["params"]["message"])
        self.assertEqual(self.step()["state"], "done")
        self.assertEqual((self.new + self.qualified + self.won + self.lost).mapped("fold"), [True, True, True, False])
        self.assertEqual(self.all_stages.search([]), self.mapped + self.lost + self.new + self.qualified + self.won)
        self.assertFalse(any(self.mapped.mapped("fold")))
        self.env["manychat.stage.cleanup"].with_user(self.manager).action_undo()
        self.assertFalse(any(self.all_stages.search([]).mapped("fold")))
        self.assertEqual(self.all_stages.search([]), self.new + self.qualified + self.won + self.mapped + self.lost)
        self.assertEqual(self.step()["state"], "todo")

    def test_the_undo_leaves_what_a_user_has_changed_since(self):
        self.fold_all()
        self.new.write({"fold": False, "sequence": 5000})
        self.env["manychat.stage.cleanup"].with_user(self.manager).action_undo()
        self.assertEqual((self.new.fold, self.new.sequence), (False, 5000))
        self.assertEqual((self.qualified.fold, self.qualified.sequence), (False, -8))

    def test_a_new_opportunity_of_a_user_then_begins_in_the_first_mapped_stage(self):
        self.fold_all()
        lead = self.env["crm.lead"].create({"name": "A mano", "type": "opportunity"})
        self.assertEqual(lead.stage_id, self.mapped[0])

    def test_a_stage_with_any_opportunity_or_lead_is_in_use(self):
        for values in ({"type": "opportunity"}, {"type": "lead"}, {"type": "opportunity", "active": False}):
            lead = self.env["crm.lead"].create({"name": "Una", "stage_id": self.qualified.id, **values})
            self.assertNotIn(self.qualified, self.in_the_way(), values)
            with self.assertRaisesRegex(UserError, "in use by now"):
                self.env["manychat.stage.decision"]._decide({self.qualified: "fold"})
            lead.unlink()
        self.assertIn(self.qualified, self.in_the_way())

    def test_a_stage_of_any_map_row_is_in_use(self):
        row = self.env["manychat.stage.map"].create({"name": "Otra", "stage_id": self.qualified.id})
        row.active = False
        self.assertNotIn(self.qualified, self.all_stages._manychat_all_unused())

    def test_a_stage_that_an_action_or_a_default_names_is_in_use(self):
        leads = self.env["ir.model"]._get("crm.lead")
        actions = self.env["ir.actions.server"]
        stage = self.qualified
        values = {"name": "Mover", "model_id": leads.id, "state": "code"}
        codes = (
            f"record.write({{'stage_id': {stage.id}}})",
            f"if record.stage_id.id == {stage.id}: pass",
            f"env['crm.lead'].search([('stage_id', 'in', [999999, {stage.id}])])",
            "env['crm.lead'].search([('stage_id.name', '=', 'Calificada')])",
        )
        for code in codes:
            action = actions.create({**values, "code": code})
            self.assertEqual(self.in_the_way(), self.new + self.won, code)
            action.unlink()
        self.env["ir.default"].set("crm.lead", "stage_id", stage.id)
        self.assertNotIn(stage, self.in_the_way())
        self.env["ir.default"].discard_values("crm.lead", "stage_id", [stage.id])
        actions.create({**values, "state": "object_write", "update_path": "stage_id", "value": str(stage.id)})
        self.assertNotIn(stage, self.in_the_way())

    def test_a_stage_that_an_automation_names_is_in_use(self):
        """With the app of automations; without it, Odoo's own stages of the team serve the same search of domains."""
        if "base.automation" in self.env:
            field = self.env["ir.model.fields"]._get("crm.lead", "stage_id")
            self.env["base.automation"].create(
                {
                    "name": "Al llegar",
                    "model_id": field.model_id.id,
                    "trigger": "on_stage_set",
                    "trigger_field_ids": [(6, 0, field.ids)],
                    "trg_field_ref": self.qualified.id,
                }
            )
        else:
            team = self.env["crm.team"].search([], limit=1)
            team.assignment_domain = f"[('stage_id', '=', {self.qualified.id})]"
        self.assertEqual(self.in_the_way(), self.new + self.won)

    def test_a_number_that_is_no_stage_counts_for_nothing(self):
        leads = self.env["ir.model"]._get("crm.lead")
        code = f"env['crm.lead'].search([('stage_id.sequence', '>', {self.new.id}), ('id', '=', {self.qualified.id})])"
        self.env["ir.actions.server"].create({"name": "Otra", "model_id": leads.id, "state": "code", "code": code})
        self.assertEqual(self.in_the_way(), self.new + self.qualified + self.won)

    def test_the_first_stage_of_users_who_have_a_pipeline_of_their_own_is_kept(self):
        self.env["crm.lead"].create({"name": "Propia", "type": "opportunity", "stage_id": self.qualified.id})
        self.assertEqual(self.in_the_way(), self.won)
        self.fold_all()
        lines = {line.stage_id: line for line in self.cleanup().save().line_ids}
        self.assertEqual((lines[self.new].choice, lines[self.won].choice), ("keep", "fold"))
        self.assertIn("begin here", lines[self.new].note)
        self.assertEqual(self.env["crm.lead"].create({"name": "A mano"}).stage_id, self.new)

    def test_the_last_open_stage_is_not_folded_by_itself(self):
        self.mapped.fold = True
        self.lost.fold = True
        self.assertEqual(self.in_the_way(), self.qualified + self.won)

    def test_a_kept_stage_is_no_longer_asked_about(self):
        self.choose(Nueva="keep", Calificada="fold", Ganada="keep")
        self.assertEqual((self.new + self.qualified + self.won).mapped("fold"), [False, True, False])
        step = self.step()
        self.assertEqual(step["state"], "done")
        self.assertIn("“Nueva”, “Ganada”", step["text"])
        self.choose(Nueva="fold", Calificada="keep")
        self.assertEqual((self.new + self.qualified + self.won).mapped("fold"), [True, False, False])

    def test_a_stage_that_was_folded_before_stays_so_after_the_undo(self):
        self.new.fold = True
        self.choose()
        self.env["manychat.stage.cleanup"].with_user(self.manager).action_undo()
        self.assertEqual((self.new + self.qualified).mapped("fold"), [True, False])

    def test_the_dialog_without_unused_stages_is_empty(self):
        (self.new + self.qualified + self.won + self.lost).unlink()
        self.assertFalse(self.cleanup().save().line_ids)
        self.assertEqual(self.step()["state"], "done")

    def test_only_sales_managers_tidy_up(self):
        vera = new_test_user(self.env, "vera", "sales_team.group_sale_salesman")
        for name in ("action_fold_all", "action_undo"):
            with self.assertRaises(AccessError):
                getattr(self.env["manychat.stage.cleanup"].with_user(vera), name)()

    def test_archiving_is_offered_only_where_stages_can_be_archived(self):
        decisions = self.env["manychat.stage.decision"]
        self.assertNotIn("archive", dict(decisions._choices()))
        # “Folded” in the place of the field that another app adds: a field would change the registry for all.
        self.all_stages.search([]).fold = True
        self.patch(type(self.env["crm.stage"]), "_active_name", "fold")
        self.assertIn("archive", dict(decisions._choices()))
        decisions._decide({self.qualified: "archive"})
        self.assertFalse(self.qualified.fold)
        decisions.search([])._revert()
        self.assertTrue(self.qualified.fold)
        with self.assertRaisesRegex(UserError, "needs a won stage"):
            self.mapped.is_won = False
            decisions._decide({self.won: "archive"})

    def test_a_pipeline_in_order_costs_the_checklist_few_queries(self):
        self.fold_all()
        self.step()
        self.env.flush_all()
        self.env.invalidate_all()
        with self.assertQueryCount(8):
            self.env["manychat.setup"].with_user(self.manager)._pipeline_step()

    def test_won_leads_an_opportunity_of_the_chat_to_the_chats_won_stage(self):
        self.won.sequence = self.mapped[-2].sequence  # between ours and our won stage
        self.apply(opportunity("MC-A", 25))
        hers = self.env["crm.lead"].create({"name": "Sin chat", "type": "opportunity", "stage_id": self.new.id})
        (self.lead("MC-A") + hers).action_set_won()
        self.assertEqual(self.lead("MC-A").stage_id, self.stages[26])
        self.assertEqual(hers.stage_id, self.won)
