from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestErase(ManychatCase):
    def erase(self, manychat_id):
        return self.env["manychat.event"].with_user(self.bridge_user).erase(manychat_id)

    def test_a_persons_data_leaves_the_log_and_the_opportunity_stays(self):
        event = opportunity("MC-A", first_name="Ana", summary="Algo privado")
        event |= {"extra": {"email": "privado@ejemplo.co"}, "warnings": [{"field": "privado", "message": "x"}]}
        self.apply(event, opportunity("MC-AB", first_name="Beto"))
        key = self.env["manychat.api.key"]
        for manychat_id in ("MC-A", "MC-AB"):
            self.env["manychat.rejection"]._record(
                "/x", "invalid", "", f'{{"manychat_id":"{manychat_id}"}}'.encode(), key
            )
        self.assertEqual(self.erase("MC-A"), {"events": 1, "rejections": 1, "lead_ids": self.lead("MC-A").ids})
        self.env.flush_all()
        self.env.cr.execute("SELECT row_to_json(e)::text FROM manychat_event e WHERE event_id = %s", [event["id"]])
        row = self.env.cr.fetchone()[0]
        for text in ("Ana", "privado", "MC-A"):
            self.assertNotIn(text, row)
        self.assertEqual(self.env["manychat.event"].search_count([("manychat_id", "=", "MC-AB")]), 1)
        self.assertEqual(self.env["manychat.rejection"].search([]).mapped("body"), ['{"manychat_id":"MC-AB"}'])

    def test_an_erased_event_is_still_not_applied_again(self):
        event = opportunity("MC-A", 17)
        self.apply(event)
        self.erase("MC-A")
        self.apply(opportunity("MC-A", 18, minutes=1))
        self.assertEqual(self.apply(event)[0]["code"], "duplicate")
        self.assertEqual(self.lead("MC-A").stage_id, self.stages[18])

    def test_events_that_waited_for_a_stage_are_given_up(self):
        event = opportunity("MC-A", 99)
        self.apply(event)
        self.erase("MC-A")
        alias = self.env["manychat.stage.alias"].search([("manychat_stage_id", "=", 99)])
        alias.map_id = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 18)])
        row = self.env["manychat.event"].search([("event_id", "=", event["id"])])
        self.assertEqual((row.state, row.code), ("discarded", "erased"))

    def test_an_unknown_person_is_no_error(self):
        self.assertEqual(self.erase("MC-UNKNOWN"), {"events": 0, "rejections": 0, "lead_ids": []})

    def test_only_the_bridge_may_erase(self):
        with self.assertRaises(AccessError):
            self.env["manychat.event"].erase("MC-A")
