from freezegun import freeze_time

from odoo import fields
from odoo.exceptions import ValidationError
from odoo.tests import tagged

from .common import ManychatCase


@tagged("post_install", "-at_install")
class TestAnswerSettings(ManychatCase):
    """What a sales manager says of each stage: who hears of the customer's words, and how soon they get an answer."""

    def row(self, number=17):
        return self.env["manychat.stage.map"].search([("manychat_stage_id", "=", number)])

    def test_every_stage_tells_the_salesperson_and_none_has_a_limit(self):
        rows = self.env["manychat.stage.map"].search([])
        self.assertTrue(all(rows.mapped("tells_salesperson")))
        self.assertFalse(any(rows.mapped("answer_hours")))

    def test_hours_below_zero_are_refused_by_hand_and_by_import(self):
        with self.assertRaises(ValidationError) as refused:
            self.row().answer_hours = -1
        self.assertIn(self.row().name, str(refused.exception))
        result = self.env["manychat.stage.map"].load([".id", "answer_hours"], [[str(self.row().id), "-1"]])
        self.assertIn(self.row().name, result["messages"][0]["message"])

    def test_an_import_sets_both(self):
        self.env["manychat.stage.map"].load(
            [".id", "answer_hours", "tells_salesperson"], [[str(self.row().id), "4.5", "0"]]
        )
        self.assertEqual((self.row().answer_hours, self.row().tells_salesperson), (4.5, False))

    def test_a_limit_whose_team_has_no_leader_is_warned_of(self):
        row = self.row()
        row.write({"team_id": self.env["crm.team"].create({"name": "Sin líder", "user_id": False}).id})
        self.assertFalse(row.warning)
        row.answer_hours = 4
        self.assertIn("Sin líder", row.warning)
        row.team_id.user_id = self.env.ref("base.user_admin")
        self.assertFalse(row.warning)

    def test_only_what_comes_after_the_switch_counts(self):
        row = self.row()
        with freeze_time("2026-03-02 09:00:00"):
            row.write({"tells_salesperson": False})
        before = row.tells_since
        with freeze_time("2026-03-03 09:00:00"):
            row.write({"tells_salesperson": True, "answer_hours": 4})
        moment = fields.Datetime.to_datetime("2026-03-03 09:00:00")
        self.assertNotEqual(before, moment)
        self.assertEqual((row.tells_since, row.limited_since), (moment, moment))
        with freeze_time("2026-03-04 09:00:00"):
            row.write({"tells_salesperson": True, "answer_hours": 2})
        self.assertEqual((row.tells_since, row.limited_since), (moment, moment), "another limit is no new beginning")
