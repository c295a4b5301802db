from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import SQL

from ..deliveries import REFUSALS
from .common import ManychatCase, opportunity, refuse


@tagged("post_install", "-at_install")
class TestErase(ManychatCase):
    def erase(self, manychat_id):
        return self.env["manychat.event"].with_user(self.bridge_user).erase(manychat_id)

    def refused_bodies(self):
        return [event.request["body"] for event in self.env["manychat.event"].search(REFUSALS)]

    def test_a_persons_data_leaves_the_log_and_the_opportunity_stays(self):
        event = opportunity("MC-A", first_name="Ana", summary="Algo privado")
        event |= {"extra": {"email": "privado@ejemplo.co"}, "warnings": [{"field": "privado", "message": "x"}]}
        self.apply(event, opportunity("MC-AB", first_name="Beto"))
        for manychat_id in ("MC-A", "MC-AB"):
            refuse(self.env, f'{{"manychat_id":"{manychat_id}"}}')
        self.assertEqual(self.erase("MC-A"), {"events": 1, "rejections": 1, "lead_ids": self.lead("MC-A").ids})
        self.env.flush_all()
        self.env.cr.execute("SELECT row_to_json(e)::text FROM manychat_event e WHERE event_id = %s", [event["id"]])
        row = self.env.cr.fetchone()[0]
        for text in ("Ana", "privado", "MC-A"):
            self.assertNotIn(text, row)
        self.assertEqual(self.env["manychat.event"].search_count([("manychat_id", "=", "MC-AB")]), 2)
        self.assertEqual(self.refused_bodies(), ['{"manychat_id":"MC-AB"}'])

    def test_a_refused_request_is_found_whatever_the_form_of_its_id(self):
        bodies = [
            '{"manychat_id": "712"}',
            '{"manychat_id": 712.0}',
            '{"manychat_id": "0712"}',
            '{"id": 712, "first_name": "Ana"}',
            '{"manychat_id": "user 712"}',
            '{"manychat_id": "712", "nombre_lead": "Ana" "whatsapp": 1}',
            '{"nombre_lead": "' + "x" * 5000 + '", "manychat_id": " 712 "}',
        ]
        for body in [*bodies, '{"manychat_id": "7123"}', '{"id": 5}']:
            refuse(self.env, body)
        self.assertEqual(self.erase("712")["rejections"], len(bodies))
        self.assertEqual(set(self.refused_bodies()), {'{"manychat_id": "7123"}', '{"id": 5}'})

    def test_of_a_refused_request_whose_person_is_unknown_only_the_form_is_kept(self):
        body = '{"manychat_id": "{{user_id}}", "nombre_lead": "Ana Inventada", "whatsapp": "+520000000001",}'
        kept = refuse(self.env, body, code="not_json").request
        self.assertTrue(kept["masked"])
        self.assertEqual(
            kept["body"], '{"manychat_id": "{{user_id}}", "nombre_lead": "xxx xxxxxxxxx", "whatsapp": "+000000000000",}'
        )

    def test_the_label_of_an_unknown_stage_goes_with_the_only_person_who_sent_it(self):
        self.apply(
            opportunity("MC-A", None, label="Ana Inventada llamó"),
            opportunity("MC-A", None, minutes=1, label="Pospuesto"),
            opportunity("MC-B", None, label="Pospuesto"),
            opportunity("MC-A", 99, minutes=2, label="Ana otra vez"),
        )
        self.erase("MC-A")
        aliases = self.env["manychat.stage.alias"].search([("is_open", "=", True)])
        self.assertEqual(aliases.mapped("name"), ["Pospuesto"])
        self.assertEqual(aliases.waiting_count, 1)

    def test_nothing_in_our_tables_speaks_of_a_person_who_is_erased(self):
        said = {"first_name": "Zacarías", "phone": "+520000000077", "summary": "Le duele la rodilla"}
        self.apply(opportunity("MC-77", **said), opportunity("MC-77", None, minutes=1, label="Zacarías no contesta"))
        refuse(self.env, '{"manychat_id": "MC-77", "nombre_lead": "Zacarías", "campaign_id": "x"}')
        self.erase("MC-77")
        self.env.flush_all()
        # The opportunity and what belongs to it stay: an Odoo user decides about them.
        stays = {"manychat_identity", "manychat_stage_history"}
        self.env.cr.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'manychat%%'")
        for table in {row[0] for row in self.env.cr.fetchall()} - stays:
            self.env.cr.execute(SQL("SELECT row_to_json(t)::text FROM %s t", SQL.identifier(table)))
            for (row,) in self.env.cr.fetchall():
                for text in ("Zacarías", "0000000077", "rodilla", "MC-77"):
                    self.assertNotIn(text, row, table)

    def test_open_stages_and_refused_requests_are_not_kept_for_ever(self):
        self.apply(opportunity("MC-A", None, label="Ana Inventada llamó"), opportunity("MC-B", 99))
        refuse(self.env, "{}")
        self.env["manychat.event"].search([("manychat_id", "=", "MC-A")]).unlink()
        for table in ("manychat_stage_alias", "manychat_event"):
            self.env.cr.execute(SQL("UPDATE %s SET create_date = '2020-01-01'", SQL.identifier(table)))
        self.env.invalidate_all()
        self.env["manychat.stage.alias"]._gc_open()
        self.env["manychat.event"]._trim_refused()
        self.assertEqual(self.env["manychat.stage.alias"].search([("is_open", "=", True)]).manychat_stage_id, 99)
        self.assertFalse(self.refused_bodies())

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
