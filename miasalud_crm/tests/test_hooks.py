from unittest.mock import patch

from odoo.tests import tagged

from ..demo import conversations
from ..hooks import STAGES, adopt_manychat_ids, load_demo, map_stages
from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestHooks(ManychatCase):
    """The install hook. Each test makes the database that the hook may find, by undoing its work in this one."""

    def forget_stages(self):
        rows = self.env["manychat.stage.map"].search([])
        stages = rows.stage_id
        rows.unlink()
        stages.unlink()

    def make_stage(self, stage_id, name, **vals):
        self.env.cr.execute(
            "INSERT INTO crm_stage (id, name, sequence) VALUES (%s, jsonb_build_object('en_US', %s::text), %s)",
            [stage_id, name, stage_id],
        )
        stage = self.env["crm.stage"].browse(stage_id)
        stage.write(vals)
        return stage

    def test_installing_creates_the_eleven_stages_in_order(self):
        rows = self.env["manychat.stage.map"].search([])
        self.assertEqual([(row.name, row.manychat_stage_id, row.stage_id.name) for row in rows], STAGES)
        self.assertEqual(self.env["crm.stage"].search([]) & rows.stage_id, rows.stage_id)

    def test_only_the_confirmed_order_is_won(self):
        rows = self.env["manychat.stage.map"].search([])
        self.assertEqual(rows.filtered("stage_id.is_won").mapped("manychat_stage_id"), [26])

    def test_created_stages_survive_an_uninstall(self):
        stages = self.env["manychat.stage.map"].search([]).stage_id
        self.assertFalse(self.env["ir.model.data"].search([("model", "=", "crm.stage"), ("res_id", "in", stages.ids)]))

    def test_stages_that_exist_are_adopted_and_not_changed(self):
        self.forget_stages()
        self.env.cr.execute("UPDATE crm_stage SET id = id + 100000 WHERE id BETWEEN 16 AND 26")
        for _label, number, name in STAGES:
            self.make_stage(number, name, fold=True, sequence=5)
        self.env.invalidate_all()
        count = self.env["crm.stage"].search_count([])
        map_stages(self.env)
        rows = self.env["manychat.stage.map"].search([])
        self.assertEqual(self.env["crm.stage"].search_count([]), count)
        self.assertEqual([(row.manychat_stage_id, row.stage_id.id) for row in rows], [(n, n) for _, n, _ in STAGES])
        self.assertEqual(set(rows.stage_id.mapped("sequence")), {5})
        self.assertEqual(set(rows.stage_id.mapped("fold")), {True})
        self.assertFalse(any(rows.stage_id.mapped("is_won")))

    def test_a_stage_is_found_by_its_name_in_any_spelling(self):
        self.forget_stages()
        stage = self.env["crm.stage"].create({"name": " comienza  COTIZACIO\u0301N"})
        map_stages(self.env)
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 25)])
        self.assertEqual(row.stage_id, stage)

    def setUp(self):
        super().setUp()
        self.env.flush_all()
        self.env.cr.execute("DELETE FROM manychat_identity; UPDATE crm_lead SET x_manychat_id = NULL")
        self.env.invalidate_all()

    def test_ids_of_an_earlier_field_are_adopted_and_duplicates_listed(self):
        make = self.env["crm.lead"].create
        old, new, lost, single = make([{"name": name, "type": "opportunity"} for name in ("old", "new", "lost", "one")])
        self.env.flush_all()
        lost.action_archive()
        self.env.flush_all()
        for days, lead, manychat_id in ((3, old, "MC-2"), (2, new, " MC-2 "), (1, lost, "MC-2"), (1, single, "MC-1")):
            self.env.cr.execute(
                "UPDATE crm_lead SET x_manychat_id = %s, create_date = now() - %s * interval '1 day' WHERE id = %s",
                [manychat_id, days, lead.id],
            )
        adopt_manychat_ids(self.env)
        self.assertEqual(self.lead("MC-1"), single)
        self.assertEqual(self.lead("MC-2"), new)
        identity = self.env["manychat.identity"].search([("manychat_id", "=", "MC-2")])
        self.assertEqual(identity.with_context(active_test=False).duplicate_lead_ids, old | lost)
        self.assertEqual(self.apply(opportunity("MC-2", 18))[0]["lead_id"], new.id)

    def test_an_opportunity_gets_the_id_before_a_newer_lead_and_an_open_one_before_a_closed_one(self):
        kinds = (("opp", "opportunity"), ("lead", "lead"), ("lost", "opportunity"), ("open", "lead"))
        opp, lead, lost, still_open = self.env["crm.lead"].create(
            [{"name": name, "type": kind, "user_id": False} for name, kind in kinds]
        )
        lost.action_archive()
        self.env.flush_all()
        for days, record, manychat_id in (
            (2, opp, "MC-1"),
            (1, lead, "MC-1"),
            (1, lost, "MC-2"),
            (2, still_open, "MC-2"),
        ):
            self.env.cr.execute(
                "UPDATE crm_lead SET x_manychat_id = %s, create_date = now() - %s * interval '1 day' WHERE id = %s",
                [manychat_id, days, record.id],
            )
        adopt_manychat_ids(self.env)
        self.assertEqual((self.lead("MC-1"), self.lead("MC-2")), (opp, still_open))
        self.assertFalse(lead.x_manychat_id)
        identity = self.env["manychat.identity"].search([("manychat_id", "=", "MC-1")])
        self.assertEqual(identity.duplicate_lead_ids, lead)

    def test_only_a_database_with_demo_data_gets_the_demo_conversations(self):
        module = self.env["ir.module.module"].search([("name", "=", "miasalud_crm")])
        for has_demo in (True, False):
            module.demo = has_demo
            self.env.flush_all()
            with patch.object(conversations, "load") as load:
                load_demo(self.env)
            self.assertEqual(load.called, has_demo)
