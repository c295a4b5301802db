from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user, tagged

from bridge.contract.event import accept
from bridge.contract.payloads import EventType

from .. import queues
from ..models import manychat_setup
from .common import ManychatCase, QueueCase, at, let_jobs_run, opportunity

STEPS = [
    "key",
    "queue",
    "jobs",
    "address",
    "bridge",
    "stages",
    "pipeline",
    "people",
    "chat_link",
    "alert_receiver",
    "refused",
    "event",
]


class ChecklistCase(TransactionCase):
    def setUp(self):
        super().setUp()
        let_jobs_run(self.env)
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")
        self.admin = new_test_user(self.env, "admina", "sales_team.group_sale_manager,base.group_system")
        self.seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")
        self.patch(queues, "queue_report", lambda env: {"status": "not_configured"})
        queues._latest.clear()
        self.addCleanup(queues._latest.clear)
        self.env["manychat.advisor"].search([]).active = False

    def steps(self, user=None):
        return {step["name"]: step for step in self.env["manychat.setup"].with_user(user or self.manager).checklist()}

    def set(self, **values):
        self.env["manychat.settings"].create(values).execute()


@tagged("post_install", "-at_install")
class TestChecklist(ChecklistCase):
    def test_the_steps_in_their_order(self):
        found = [name for name in self.steps() if name in STEPS]  # other modules may add some
        self.assertEqual(found, STEPS)

    def test_exactly_the_first_open_step_is_the_next_one(self):
        def following():
            return [name for name, step in self.steps().items() if step["is_next"]]

        self.env["manychat.api.key"].search([]).active = False
        self.assertEqual(following(), ["key"])
        self.env["manychat.api.key"]._generate("Prueba")
        self.assertEqual(following(), ["queue"])
        self.patch(queues, "queue_report", lambda env: {"status": "ok", "depth": {"dead-letter-queue": 0}})
        queues._latest.clear()
        self.assertEqual(following(), ["address"])

    def test_an_optional_step_can_be_put_aside_and_taken_up_again(self):
        setup = self.env["manychat.setup"].with_user(self.manager)
        for name, step in self.steps().items():
            setup.skip(name)
            expected = "skipped" if step["optional"] and step["state"] == "todo" else step["state"]
            self.assertEqual(self.steps()[name]["state"], expected, name)
            setup.skip(name, False)
            self.assertEqual(self.steps()[name]["state"], step["state"], name)
        setup.skip("nada")
        self.assertEqual(setup._skipped(), set())
        with self.assertRaises(AccessError):
            self.env["manychat.setup"].with_user(self.seller).skip("people")

    def test_what_needs_attention_is_shown_though_it_was_put_aside(self):
        self.env["manychat.setup"].with_user(self.manager).skip("alert_receiver")
        self.set(alert_user_id=self.seller.id)
        self.seller.active = False
        self.assertEqual(self.steps()["alert_receiver"]["state"], "warning")

    def test_what_an_administrator_has_to_do_is_a_complete_message(self):
        self.env["manychat.api.key"].search([]).active = False
        self.env["manychat.bridge"].search([]).unlink()
        self.env["ir.config_parameter"].set_param("miasalud_crm.webhook_base_url", False)
        self.env["ir.config_parameter"].set_param("web.base.url", "http://localhost:8069")
        self.env.ref("miasalud_crm.cron_relay").active = False
        steps = self.steps()
        for name, words in {
            "key": ["CRM ▸ Configuration ▸ ManyChat ▸ Keys", "X-API-KEY"],
            "queue": ["queue_connection_string", "[miasalud_crm]", "MIASALUD_QUEUE_CONNECTION_STRING"],
            "jobs": ["max_cron_threads", "odoo.conf"],
            "address": ["https", "/api/v1/manychat/", "db_name"],
            "bridge": ["BRIDGE_ODOO_API_KEY", "BRIDGE_DATABASE_URL", "python -m bridge run", self.env.cr.dbname],
        }.items():
            message = steps[name]["ask"]
            for word in [*words, steps[name]["title"], steps[name]["text"], self.manager.name, "Why: "]:
                self.assertIn(word, message, name)
        # An administrator can do it.
        self.assertFalse(self.steps(self.admin)["key"]["ask"])
        for name in ("stages", "people", "chat_link", "alert_receiver", "event"):
            self.assertFalse(steps[name]["ask"], name)

    def test_the_checklist_costs_few_queries(self):
        for number in range(30):
            self.env["manychat.advisor"].create({"external_id": 9000 + number})
        user = self.manager
        # The other two have tests of their own.
        own = [name.replace("stages", "stage") for name in STEPS if name not in ("pipeline", "refused")]
        self.patch(manychat_setup, "STEPS", own)
        self.steps()
        self.env.flush_all()
        self.env.invalidate_all()
        with self.assertQueryCount(33):
            self.env["manychat.setup"].with_user(user).checklist()


@tagged("post_install", "-at_install")
class TestPeopleStep(ChecklistCase):
    def people(self):
        step = self.steps()["people"]
        return step["state"], step["text"]

    def adviser(self, number, user=None):
        return self.env["manychat.advisor"].create({"external_id": number, "user_id": user and user.id})

    def test_without_any_of_the_three_ways_the_opportunities_have_no_salesperson(self):
        state, text = self.people()
        self.assertEqual(state, "todo")
        self.assertIn("no salesperson", text)

    def test_a_default_salesperson(self):
        self.set(default_user_id=self.seller.id)
        state, text = self.people()
        self.assertEqual(state, "done")
        self.assertIn("vendedora", text)
        self.seller.active = False
        state, text = self.people()
        self.assertEqual(state, "warning")
        self.assertIn("archived", text)

    def test_advisers(self):
        self.adviser(1)
        self.assertEqual(
            self.people(), ("todo", "One adviser has no Odoo user, so their opportunities have no salesperson.")
        )
        self.adviser(2, self.seller)
        self.adviser(3)
        state, text = self.people()
        self.assertEqual(state, "todo")
        self.assertIn("of one adviser go", text)
        self.assertIn("2 advisers have no Odoo user", text)
        self.env["manychat.advisor"].search([("external_id", "in", [1, 3])]).user_id = self.manager
        state, text = self.people()
        self.assertEqual((state, text), ("done", "The opportunities of 3 advisers go to their Odoo users."))

    def test_odoos_own_rules(self):
        self.env["ir.config_parameter"].set_param("crm.lead.auto.assignment", True)
        self.env["crm.team.member"].search([]).assignment_max = 0
        self.assertEqual(self.people()[0], "todo")
        team = self.env["crm.team"].create({"name": "Equipo", "member_ids": self.seller.ids})
        team.crm_team_member_ids.assignment_max = 30
        job = self.env.ref("crm.ir_cron_crm_lead_assign")
        job.active = True
        self.assertEqual(self.people()[0], "done")
        self.assertIn("assignment rules", self.people()[1])
        job.active = False
        self.assertIn("Assign Leads", self.people()[1])

    def test_the_alert_receiver(self):
        step = self.steps()["alert_receiver"]
        self.assertEqual((step["state"], step["optional"]), ("todo", True))
        self.assertIn(self.env["manychat.alert"]._receiver().name, step["text"])
        self.set(alert_user_id=self.seller.id)
        self.assertEqual(self.steps()["alert_receiver"]["state"], "done")

    def test_the_link_to_the_chat(self):
        self.env["ir.config_parameter"].set_param("miasalud_crm.chat_url", False)
        self.assertEqual(self.steps()["chat_link"]["state"], "todo")
        self.set(chat_url="https://app.manychat.com/fb1/chat/{manychat_id}")
        self.assertEqual(self.steps()["chat_link"]["state"], "done")


@tagged("post_install", "-at_install")
class TestEventStep(ChecklistCase):
    def setUp(self):
        super().setUp()
        self.env["manychat.event"].search([]).unlink()
        self.number = 0

    def event(self, manychat_id="MC-1", **values):
        self.number += 1
        values = {
            "event_id": f"{self.number:064x}",
            "type": "opportunity",
            "state": "done",
            "manychat_id": manychat_id,
            "received_at": fields.Datetime.now(),
            "source": "odoo",
            "key_prefix": "mck_abcdefgh",
            **values,
        }
        return self.env["manychat.event"].create(values)

    def state(self):
        return self.steps()["event"]["state"]

    def text(self):
        return self.steps()["event"]["text"]

    def test_a_test_event_is_not_one(self):
        self.assertEqual(self.state(), "todo")
        self.event("TEST-0123456789ab")
        self.assertEqual(self.state(), "todo")
        self.assertIn("A test event", self.text())

    def test_demonstration_data_is_not_one(self):
        self.event(key_prefix=False)
        self.assertEqual(self.state(), "todo")

    def test_one_that_waits_is_not_yet_one(self):
        self.event(state="queued")
        self.assertEqual(self.state(), "todo")
        self.assertIn("waits", self.text())

    def test_one_that_failed_says_why(self):
        event = self.event(state="failed", code="unmapped_stage", message="Etapa desconocida")
        self.assertEqual(self.state(), "warning")
        self.assertIn(event.reason or event.message, self.text())

    def test_a_refused_request_is_not_one(self):
        self.event(event_id="refused-1", state="refused")
        self.assertEqual(self.state(), "todo")

    def test_an_event_without_a_stage_is_not_yet_one(self):
        self.event(type="contact")
        self.assertEqual(self.state(), "todo")
        self.assertIn("none names a stage", self.text())

    def test_an_applied_one_is_one_for_good(self):
        self.event()
        self.assertEqual(self.state(), "done")
        self.event(state="failed")
        self.assertEqual(self.state(), "done")

    def test_one_by_the_api_or_by_a_queue_as_before_is_one(self):
        for source in ("api", "queue"):
            event = self.event(source=source, key_prefix=False)
            self.assertEqual(self.state(), "done")
            event.unlink()

    def test_one_of_an_earlier_version_is_one(self):
        self.event(key_prefix=False, key_name="Bot")
        self.assertEqual(self.state(), "done")

    def test_a_damaged_event_does_not_break_the_checklist(self):
        event = accept(
            EventType.OPPORTUNITY, {"manychat_id": "MC-1", "state": {"stage": "X"}}, received_at=at(0), source="api"
        )
        self.env["manychat.event"]._insert(event, "done", None)
        self.env["manychat.event"].search([("event_id", "=", event.id)]).received_at = False
        self.assertIn("unknown time", self.text())


@tagged("post_install", "-at_install")
class TestDefaultSalesperson(QueueCase, ManychatCase):
    def setUp(self):
        super().setUp()
        self.seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")
        self.other = new_test_user(self.env, "otro", "sales_team.group_sale_salesman")
        self.env["manychat.settings"].create({"default_user_id": self.seller.id}).execute()

    def adviser(self, number, user):
        return self.env["manychat.advisor"].create({"external_id": number, "user_id": user.id})

    def test_gets_what_names_no_adviser(self):
        self.apply(opportunity())
        self.assertEqual(self.lead().user_id, self.seller)

    def test_gets_what_names_an_adviser_without_a_user_until_they_have_one(self):
        self.apply(opportunity(commercial_advisor_id=7))
        self.assertEqual(self.lead().user_id, self.seller)
        self.env["manychat.advisor"].search([("external_id", "=", 7)]).user_id = self.other
        self.assertEqual(self.lead().user_id, self.other)

    def test_does_not_get_what_an_adviser_has(self):
        self.adviser(7, self.other)
        self.apply(opportunity(commercial_advisor_id=7))
        self.assertEqual(self.lead().user_id, self.other)

    def test_gives_way_to_an_adviser_that_a_later_event_names(self):
        self.adviser(7, self.other)
        self.apply(opportunity())
        self.apply(opportunity(minutes=5, stage=19, commercial_advisor_id=7))
        self.assertEqual(self.lead().user_id, self.other)

    def test_does_not_come_back_when_a_user_has_chosen_another_one(self):
        self.apply(opportunity())
        self.lead().user_id = self.other
        self.env.flush_all()
        self.apply(opportunity(minutes=5, stage=19))
        self.assertEqual(self.lead().user_id, self.other)
        self.lead().user_id = False
        self.apply(opportunity(minutes=10, stage=21))
        self.assertFalse(self.lead().user_id)

    def test_gets_nothing_when_archived(self):
        self.seller.active = False
        self.apply(opportunity())
        self.assertFalse(self.lead().user_id)

    def test_gets_nothing_of_a_company_that_is_not_theirs(self):
        company = self.env["res.company"].create({"name": "Otra empresa de prueba"})
        row = self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)])
        row.team_id = self.env["crm.team"].create({"name": "Equipo de la otra", "company_id": company.id})
        self.apply(opportunity())
        self.assertFalse(self.lead().user_id)

    def test_gets_no_test_event(self):
        self.apply(opportunity("TEST-0123456789ab"))
        self.assertFalse(self.lead("TEST-0123456789ab").user_id)
        self.assertFalse(
            self.env["manychat.stage.history"].search([("lead_id", "=", self.lead("TEST-0123456789ab").id)])
        )

    def test_leaves_it_to_odoos_own_rules(self):
        self.assign_by_rules(self.other)
        self.apply(opportunity())
        self.assertFalse(self.lead().user_id)

    def assign_by_rules(self, user):
        self.env["ir.config_parameter"].set_param("crm.lead.auto.assignment", True)
        self.env["crm.team"].search([]).assignment_optout = True
        team = self.env["crm.team"].create({"name": "Por reglas", "member_ids": user.ids})
        team.crm_team_member_ids.assignment_max = 60
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = team
        return team

    def test_odoos_own_rules_assign_ours_and_move_none(self):
        team = self.assign_by_rules(self.other)
        self.apply(opportunity(), opportunity("MC-TEST-2"))
        stages = self.lead().stage_id
        team._cron_assign_leads()
        for manychat_id in ("MC-TEST-1", "MC-TEST-2"):
            lead = self.lead(manychat_id)
            self.assertEqual((lead.user_id, lead.stage_id, lead.type), (self.other, stages, "opportunity"))
        # What the chat says afterwards moves it, and takes no salesperson away.
        self.apply(opportunity(minutes=5, stage=19))
        self.assertEqual((self.lead().user_id, self.lead().stage_id), (self.other, self.stages[19]))

    def test_odoos_own_rules_find_a_team_for_ours(self):
        team = self.assign_by_rules(self.other)
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = False
        self.apply(opportunity())
        self.lead().team_id = False
        self.env.cr.execute(
            "UPDATE crm_lead SET create_date = now() - interval '1 hour' WHERE id = %s", [self.lead().id]
        )
        self.env.invalidate_all()
        team._cron_assign_leads()
        self.assertEqual((self.lead().team_id, self.lead().user_id), (team, self.other))
        self.assertEqual(self.lead().stage_id, self.stages[17])

    def test_costs_no_query_when_there_is_none(self):
        self.env["manychat.settings"].create({"default_user_id": False}).execute()
        self.assertFalse(self.env["crm.lead"]._manychat_default_user())
        with self.assertQueryCount(0):
            self.env["crm.lead"]._manychat_default_user()


@tagged("post_install", "-at_install")
class TestLeftovers(ManychatCase):
    def setUp(self):
        super().setUp()
        self.manager = new_test_user(self.env, "jefa", "base.group_user,sales_team.group_sale_manager")
        self.tests = self.env["manychat.test.event"].with_user(self.manager)
        rows = self.env["manychat.stage.map"].search([], limit=2)
        begun = self.tests.start(*rows.ids)
        self.test = self.tests.browse(begun["id"])
        self.person = self.test.sudo().manychat_id
        self.apply(opportunity(self.person), opportunity("TEST-aaaaaaaaaaaa"), opportunity("MC-TEST-1"))

    def people(self):
        return set(self.env["manychat.identity"].search([("lead_id", "!=", False)]).mapped("manychat_id")) & {
            self.person,
            "TEST-aaaaaaaaaaaa",
            "MC-TEST-1",
        }

    def test_the_end_of_a_test_deletes_its_own_opportunity(self):
        self.test.finish()
        self.assertEqual(self.people(), {"TEST-aaaaaaaaaaaa", "MC-TEST-1"})

    def test_a_kept_opportunity_goes_by_a_button_later(self):
        self.test.finish(keep=True)
        self.assertEqual(self.tests.leftovers(), 2)
        self.tests.delete_leftovers()
        self.assertEqual((self.tests.leftovers(), self.people()), (0, {"MC-TEST-1"}))

    def test_what_is_left_goes_after_a_day(self):
        self.env["manychat.test.event"]._gc_leftovers()
        self.assertEqual(self.tests.leftovers(), 2)
        old = self.env["manychat.identity"].search([("manychat_id", "=", self.person)])
        self.env.cr.execute(
            "UPDATE manychat_identity SET create_date = %s WHERE id = %s",
            [fields.Datetime.now() - timedelta(days=2), old.id],
        )
        self.env.invalidate_all()
        self.env["manychat.test.event"]._gc_leftovers()
        self.assertEqual(self.people(), {"TEST-aaaaaaaaaaaa", "MC-TEST-1"})
