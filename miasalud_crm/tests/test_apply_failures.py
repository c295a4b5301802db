from unittest.mock import patch

import psycopg2

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import ManychatCase, opportunity


@tagged("post_install", "-at_install")
class TestApplyFailures(ManychatCase):
    """Events that cannot be applied: unmapped stages, refusals, broken envelopes."""

    # --- Unmapped stages

    def test_an_unknown_stage_fails_and_waits_on_an_open_alias(self):
        result = self.apply(opportunity(stage=None, label="Etapa Nueva"))[0]
        self.assertEqual((result["status"], result["code"], result["lead_id"]), ("error", "unmapped_stage", False))
        alias = self.env["manychat.stage.alias"].search([("name", "=", "Etapa Nueva")])
        self.assertEqual((alias.map_id.id, alias.waiting_count), (False, 1))

    def waiting(self, stage):
        """An event of that unmapped stage, and its row."""
        event = opportunity(f"MC-{stage}", stage)
        self.apply(event)
        return self.env["manychat.event"].search([("event_id", "=", event["id"])])

    def test_mapping_a_row_again_releases_what_waited_for_its_aliases(self):
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 18)])
        self.env["manychat.stage.alias"].create({"manychat_stage_id": 118, "map_id": row.id})
        row.active = False
        events = self.waiting(18) | self.waiting(118)
        self.assertEqual(events.mapped("state"), ["failed", "failed"])
        row.active = True
        self.assertEqual(events.mapped("state"), ["pending", "pending"])

    def test_an_event_refused_while_its_stage_was_being_mapped_is_found(self):
        event = self.waiting(99)
        event.alias_id.with_context(active_test=False).write({"name": "Noventa y nueve"})
        stage = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 18)])
        self.env.cr.execute("UPDATE manychat_stage_alias SET map_id = %s WHERE id = %s", [stage.id, event.alias_id.id])
        self.env.invalidate_all()
        other = self.waiting(98)
        self.env["manychat.stage.alias"]._cron_release()
        self.assertEqual((event.state, other.state), ("pending", "failed"))

    def test_an_alias_that_events_wait_for_is_not_deleted(self):
        event = self.waiting(99)
        with self.assertRaisesRegex(UserError, "1 events wait"):
            event.alias_id.unlink()

    def test_pointing_the_alias_somewhere_sends_the_event_on_its_way_again(self):
        event = opportunity(stage=99)
        self.apply(event)
        alias = self.env["manychat.stage.alias"].search([("manychat_stage_id", "=", 99)])
        alias.map_id = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 18)])
        row = self.env["manychat.event"].search([("event_id", "=", event["id"])])
        self.assertEqual(row.state, "pending")
        self.assertEqual(self.apply(event)[0]["stage_after"], "Retornó en AC")
        self.assertEqual(row.state, "done")

    # --- Refusals

    def test_one_bad_event_does_not_stop_the_others(self):
        good = [opportunity(f"MC-{number}", first_name="Buena") for number in range(9)]
        bad = opportunity("MC-BAD", first_name="Mala")
        create = self.registry["crm.lead"].create

        def refuse(leads, vals_list):
            if any(vals.get("contact_name") == "Mala" for vals in vals_list):
                raise UserError("No se puede.")  # pylint: disable=translation-required
            return create(leads, vals_list)

        with (
            patch.object(self.registry["crm.lead"], "create", refuse),
            mute_logger("odoo.addons.miasalud_crm.models.crm_lead_apply"),
        ):
            results = self.apply(*good[:4], bad, *good[4:])
        self.assertEqual([result["status"] for result in results], ["created"] * 4 + ["error"] + ["created"] * 5)
        self.assertEqual((results[4]["code"], results[4]["message"]), ("refused", "No se puede."))
        self.assertFalse(self.env["crm.lead"].search([("x_manychat_id", "=", "MC-BAD")]))
        self.assertEqual(self.apply(bad)[0]["status"], "created")

    def test_an_event_that_breaks_the_contract_is_refused_beside_good_ones(self):
        broken = opportunity("MC-X")
        broken["payload"] = {"manychat_id": "MC-X"}
        results = self.apply("nonsense", broken, opportunity("MC-Y"))
        self.assertEqual([result["code"] for result in results], ["invalid", "invalid", False])
        self.assertEqual(results[1]["event_id"], broken["id"])
        self.assertIn("state", results[1]["message"])

    def test_an_empty_batch_is_no_error(self):
        self.assertEqual(self.apply(), [])

    def test_something_else_than_a_list_is_refused(self):
        for nonsense in (None, 5, "x", {}):
            with self.assertRaises(UserError):
                self.env["crm.lead"].with_user(self.bridge_user).manychat_apply(nonsense)

    def test_an_envelope_from_the_future_is_refused_beside_good_ones(self):
        future = opportunity("MC-X")
        future["received_at"] = "9999-12-31T23:59:59Z"
        results = self.apply(opportunity("MC-A"), future, opportunity("MC-B"))
        self.assertEqual([result["status"] for result in results], ["created", "error", "created"])
        self.assertEqual(results[1]["code"], "invalid")

    def test_a_failure_of_the_database_blames_no_event(self):
        def cancelled(*args):
            raise psycopg2.errors.QueryCanceled("x")

        self.patch(self.registry["crm.lead"], "_manychat_create", cancelled)
        with self.assertRaises(psycopg2.OperationalError):
            self.apply(opportunity("MC-A"), opportunity("MC-B"))

    def test_a_unique_rule_of_another_app_is_a_refusal_and_no_conflict(self):
        self.env.cr.execute("CREATE UNIQUE INDEX ON crm_lead (phone) WHERE phone IS NOT NULL")
        self.apply(opportunity("MC-A", phone="+520000000001"))
        with mute_logger("odoo.sql_db", "odoo.addons.miasalud_crm.models.crm_lead_apply"):
            result = self.apply(opportunity("MC-B", phone="+520000000001"))[0]
        self.assertEqual((result["status"], result["code"]), ("error", "refused"))
