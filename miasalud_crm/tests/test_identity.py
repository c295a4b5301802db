from odoo.exceptions import ValidationError
from odoo.tests import Form, new_test_user, tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestIdentity(ManychatCase):
    def merge(self, *manychat_ids):
        leads = self.env["crm.lead"].union(*(self.lead(manychat_id) for manychat_id in manychat_ids))
        return leads.merge_opportunity()

    def test_after_a_merge_both_conversations_move_the_survivor(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 21))
        survivor = self.merge("MC-A", "MC-B")
        self.assertEqual(self.lead("MC-A"), survivor)
        self.assertEqual(self.lead("MC-B"), survivor)
        for minute, manychat_id, stage in ((5, "MC-A", 22), (6, "MC-B", 23)):
            result = self.apply(opportunity(manychat_id, stage, minutes=minute))[0]
            self.assertEqual((result["status"], result["lead_id"]), ("moved", survivor.id))

    def test_after_a_merge_an_event_older_than_either_conversation_moves_nothing(self):
        self.apply(opportunity("MC-A", 21, minutes=2), opportunity("MC-B", 17, minutes=8))
        survivor = self.merge("MC-A", "MC-B")
        stage = survivor.stage_id
        self.assertEqual(self.apply(opportunity("MC-A", 25, minutes=7))[0]["status"], "stale")
        self.assertEqual(survivor.stage_id, stage)

    def test_events_of_both_conversations_in_one_batch_leave_the_survivor_in_the_newest_stage(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 18), opportunity("MC-C", 17))
        survivor = self.merge("MC-A", "MC-B")
        self.apply(
            opportunity("MC-C", 23, minutes=1),
            opportunity("MC-A", 22, minutes=2),
            opportunity("MC-B", 23, minutes=3),
            opportunity("MC-A", 22, minutes=4),
        )
        self.assertEqual(survivor.stage_id, self.stages[22])
        self.assertEqual(
            [after for _before, after in self.stage_messages(survivor)][-3:],
            ["Comienza AE", "Terminó AE", "Comienza AE"],
        )

    def test_what_the_survivor_of_a_merge_takes_over_the_chat_may_go_on_to_change(self):
        self.apply(opportunity("MC-A", 17, first_name="Ana", phone="+520000000001", summary="Primero"))
        manual = self.env["crm.lead"].create(
            {"name": "A mano", "type": "opportunity", "stage_id": self.stages[25].id, "probability": 90}
        )
        survivor = (self.lead("MC-A") | manual).merge_opportunity()
        self.apply(opportunity("MC-A", 18, minutes=1, first_name="Anabel", phone="+520000000002"))
        self.assertRecordValues(
            survivor,
            [{"name": "A mano", "contact_name": "Anabel", "phone": "+520000000002", "manychat_summary": "Primero"}],
        )

    def test_merging_duplicates_takes_them_off_the_list(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 18))
        identity = self.lead("MC-A").manychat_identity_ids
        identity.duplicate_lead_ids = self.lead("MC-B")
        survivor = self.merge("MC-A", "MC-B")
        self.assertFalse(survivor.manychat_identity_ids.duplicate_lead_ids)

    def test_a_merged_opportunity_shows_one_id_and_is_found_by_all(self):
        self.apply(opportunity("MC-A", 17), opportunity("MC-B", 18), opportunity("MC-C", 19))
        survivor = self.merge("MC-A", "MC-B", "MC-C")
        self.assertEqual(survivor.x_manychat_id, survivor.manychat_identity_ids[0].manychat_id)
        self.assertEqual(set(survivor.manychat_identity_ids.mapped("manychat_id")), {"MC-A", "MC-B", "MC-C"})

    def test_a_merge_into_an_opportunity_that_came_otherwise_brings_the_id_along(self):
        self.apply(opportunity("MC-A", 17, channel="Facebook"))
        other = self.env["crm.lead"].create(
            {"name": "Por teléfono", "type": "opportunity", "stage_id": self.stages[25].id, "probability": 90}
        )
        survivor = (self.lead("MC-A") | other).merge_opportunity()
        self.assertEqual(self.lead("MC-A"), survivor)
        self.assertEqual(survivor.manychat_channel, "Facebook")

    def test_a_duplicate_has_no_id(self):
        self.apply(opportunity(first_name="Ana"))
        copy = self.lead().copy()
        self.assertFalse(copy.x_manychat_id)
        self.assertFalse(copy.manychat_order)

    def test_a_deleted_opportunity_is_created_anew_when_the_chat_goes_on(self):
        self.apply(opportunity())
        self.lead().unlink()
        self.assertEqual(self.apply(opportunity(minutes=1))[0]["status"], "created")

    def test_an_id_can_be_typed_in_and_changed_and_cleared(self):
        lead = self.env["crm.lead"].create({"name": "A mano", "type": "opportunity", "x_manychat_id": "MC-H"})
        self.assertEqual(self.lead("MC-H"), lead)
        lead.x_manychat_id = "MC-I"
        self.assertEqual(self.lead("MC-I"), lead)
        self.assertEqual(self.apply(opportunity("MC-I", 18))[0]["lead_id"], lead.id)
        lead.x_manychat_id = False
        self.assertFalse(lead.manychat_identity_ids)

    def test_an_id_belongs_to_one_opportunity(self):
        self.apply(opportunity("MC-A"))
        with self.assertRaisesRegex(ValidationError, "MC-A.*already belongs"):
            self.env["crm.lead"].create({"name": "Otra", "x_manychat_id": "MC-A"})

    def test_searching_works_both_ways(self):
        self.apply(opportunity("MC-A"), opportunity("MC-B"))
        lead = self.env["crm.lead"]
        without = lead.create({"name": "Sin chat"})
        a, b = self.lead("MC-A"), self.lead("MC-B")
        everything = a | b | without
        for domain, expected in (
            ([("x_manychat_id", "ilike", "mc-")], a | b),
            ([("x_manychat_id", "in", ["MC-A", "MC-X"])], a),
            ([("x_manychat_id", "!=", "MC-A")], b | without),
            ([("x_manychat_id", "not in", ["MC-A"])], b | without),
            ([("x_manychat_id", "not ilike", "-b")], a | without),
            ([("x_manychat_id", "!=", False)], a | b),
            ([("x_manychat_id", "=", False)], without),
            ([("x_manychat_id", "in", ["MC-A", False])], a | without),
            ([("x_manychat_id", "=?", False)], everything),
            ([("x_manychat_id", "ilike", "")], everything),
            ([("x_manychat_id", "not in", ["MC-A", False])], b),
        ):
            self.assertEqual(lead.search([*domain, ("id", "in", everything.ids)]), expected, domain)

    def test_a_salesperson_sees_the_id_and_can_edit_the_opportunity(self):
        salesperson = new_test_user(self.env, "vera", "sales_team.group_sale_salesman_all_leads")
        self.apply(opportunity("MC-A"))
        with Form(self.lead("MC-A").with_user(salesperson), view="crm.crm_lead_view_form") as form:
            self.assertEqual(form.x_manychat_id, "MC-A")
            form.name = "Otro nombre"
