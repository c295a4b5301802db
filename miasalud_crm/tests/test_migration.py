import secrets

from freezegun import freeze_time

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import new_test_user, tagged

from .common import opportunity
from .test_take_over import LATER, KnownPeopleCase


class MigrationCase(KnownPeopleCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(cls.env, "jefa_de_ventas", "sales_team.group_sale_manager")
        cls.migration = cls.env["manychat.migration"].with_user(cls.manager).create({})
        cls.calls = cls.env["manychat.migration"].with_user(cls.bridge_user)

    def migrate(self, *envelopes):
        results = self.calls.apply_events(list(envelopes))
        self.env.invalidate_all()
        return results

    def undo(self, **options):
        result = self.calls.roll_back(**options)
        self.env.invalidate_all()
        return result

    def row(self, lead):
        """All that the database says of an opportunity, with its chatter, history and followers."""
        self.settle()
        self.env.cr.execute("SELECT to_jsonb(l) FROM crm_lead l WHERE id = %s", [lead.id])
        [columns] = self.env.cr.fetchone() or [None]
        return {
            "columns": columns,
            "messages": lead.message_ids.ids,
            "followers": lead.message_partner_ids.ids,
            "periods": self.env["manychat.stage.history"]
            .search([("lead_id", "=", lead.id)])
            .read(["stage_id", "entered_at", "left_at", "lost", "next_stage_id"]),
        }


@tagged("post_install", "-at_install")
class TestMigration(MigrationCase):
    # --- The window

    def test_no_call_works_unless_a_manager_has_opened_a_migration(self):
        self.migration.action_close()
        for call in (
            lambda: self.calls.apply_events([opportunity()]),
            lambda: self.calls.get_overview([], {}),
            lambda: self.calls.get_people(["MC-TEST-1"]),
            self.calls.get_writers,
            self.calls.roll_back,
        ):
            with self.assertRaisesRegex(UserError, "No migration is open"):
                call()
        self.migration.action_open()
        self.assertEqual(self.migrate(opportunity())[0]["status"], "created")

    def test_only_the_bridge_calls_and_only_a_manager_opens(self):
        seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman_all_leads")
        for user in (seller, self.manager):
            with self.assertRaises(AccessError):
                self.env["manychat.migration"].with_user(user).apply_events([opportunity()])
        with self.assertRaises(AccessError):
            self.env["manychat.migration"].with_user(seller).create({})
        with self.assertRaises(AccessError):
            self.migration.with_user(seller).action_close()

    def test_one_migration_is_open_at_a_time(self):
        with self.assertRaises(ValidationError):
            self.env["manychat.migration"].with_user(self.manager).create({})

    def test_what_is_said_of_people_are_ids_and_numbers(self):
        partner = self.contact(phone="+520000000001", email="secreto@example.com")
        lead = self.deal(partner)
        [person] = self.calls.get_people(["MC-TEST-1", "MC-UNKNOWN"]).values()
        self.assertEqual((person["contacts"], person["open"]), (1, [lead.id]))
        said = str(person)
        for secret in ("Inventada", "secreto", "0001", "A mano"):
            self.assertNotIn(secret, said)

    # --- Applying

    def test_a_migration_notifies_nobody(self):
        seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman", email="v@example.com")
        adviser = {"external_id": 700, "role": "commercial", "user_id": seller.id}
        self.env["manychat.advisor"].create(adviser)
        team = self.env["crm.team"].create({"name": "Chat"})
        team.message_subscribe(self.manager.partner_id.ids, self.env.ref("crm.mt_salesteam_lead").ids)
        self.env["manychat.stage.map"].search([("manychat_stage_id", "=", 17)]).team_id = team
        lead = self.deal(self.contact("MC-B"), user_id=seller.id, team_id=team.id)
        self.settle()
        newest = self.env["mail.message"].search([], limit=1, order="id desc").id or 0
        mails, activities = self.env["mail.mail"].search_count([]), self.env["mail.activity"].search_count([])
        self.migrate(opportunity(commercial_advisor_id=700), opportunity("MC-B", commercial_advisor_id=700))
        self.assertEqual((self.lead().user_id, lead.stage_id), (seller, self.stages[17]))
        self.settle()
        self.assertEqual(self.env["mail.mail"].search_count([]), mails)
        self.assertEqual(self.env["mail.activity"].search_count([]), activities)
        messages = self.env["mail.message"].search([("id", ">", newest), ("model", "=", "crm.lead")])
        self.assertTrue(messages)
        self.assertFalse(messages.notification_ids)

    def test_no_automation_rule_answers_what_a_migration_brings(self):
        if "base.automation" not in self.env:
            self.skipTest("base_automation is not installed")  # it is beside the addon in the suite “neighbours”
        model = self.env["ir.model"]._get("crm.lead")
        rule = self.env["base.automation"].create(
            {"name": "x", "model_id": model.id, "trigger": "on_create_or_write", "filter_domain": "[]"}
        )
        self.env["ir.actions.server"].create(
            {
                "name": "x",
                "model_id": model.id,
                "usage": "base_automation",
                "base_automation_id": rule.id,
                "state": "code",
                "code": "env['res.partner.category'].create({'name': 'Automated'})",
            }
        )
        self.migrate(opportunity(), opportunity("MC-B"))
        self.assertFalse(self.env["res.partner.category"].search([("name", "=", "Automated")]))
        self.apply(opportunity("MC-C"))
        self.assertTrue(self.env["res.partner.category"].search([("name", "=", "Automated")]))

    def test_a_migration_replaces_no_salesperson(self):
        seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")
        other = new_test_user(self.env, "otra", "sales_team.group_sale_salesman")
        self.env["manychat.advisor"].create({"external_id": 700, "role": "commercial", "user_id": other.id})
        lead = self.deal(self.contact(), user_id=seller.id)
        self.migrate(opportunity(commercial_advisor_id=700))
        self.assertEqual((lead.stage_id, lead.user_id), (self.stages[17], seller))

    def test_a_live_event_meanwhile_wins_and_an_older_one_does_not(self):
        self.apply(opportunity(stage=20, minutes=9))
        self.assertEqual(self.migrate(opportunity(stage=17))[0]["status"], "stale")
        self.migrate(opportunity("MC-B", stage=17, minutes=5))
        self.assertEqual(self.apply(opportunity("MC-B", stage=16, minutes=1))[0]["status"], "stale")
        self.assertEqual(self.apply(opportunity("MC-B", stage=18, minutes=6))[0]["status"], "moved")

    def test_every_row_of_it_has_its_batch(self):
        event = opportunity()
        self.migrate(event)
        self.migrate(event)
        row = self.env["manychat.event"].search([("event_id", "=", event["id"])])
        self.assertEqual(row.migration_id.batch, self.migration.batch)
        self.assertEqual((self.migration.created_count, len(self.migration.line_ids)), (1, 1))

    def test_an_event_that_odoo_refuses_takes_no_neighbour_along(self):
        results = self.migrate(opportunity("MC-A"), opportunity("MC-B", stage=99), opportunity("MC-C"))
        self.assertEqual([result["status"] for result in results], ["created", "error", "created"])
        self.assertEqual(len(self.migration.line_ids), 2)

    # --- Undoing

    def test_undoing_deletes_what_was_created_and_the_same_event_may_come_again(self):
        event = opportunity(summary="Hola")
        lead = self.env["crm.lead"].browse(self.migrate(event)[0]["lead_id"])
        self.assertEqual(self.undo()["undone"], {"created": 1, "taken_over": 0, "followed": 0})
        self.assertFalse(lead.exists())
        self.assertFalse(self.env["manychat.identity"].search([("manychat_id", "=", "MC-TEST-1")]))
        self.assertEqual(self.undo()["undone"], {"created": 0, "taken_over": 0, "followed": 0})
        self.assertEqual(self.migrate(event)[0]["status"], "created")

    def test_undoing_brings_back_exactly_what_a_taken_over_opportunity_was(self):
        lost = self.deal(self.contact("MC-LOST"))
        with freeze_time(LATER):
            lost.action_set_lost()
            self.settle()
        open_one = self.deal(self.contact())
        of_type_lead = self.deal(self.contact("MC-LEAD"), type="lead")
        won = self.deal(self.contact("MC-WON"))
        leads = open_one | of_type_lead | won | lost
        before = [self.row(lead) for lead in leads]
        contacts = self.contacts_now()
        values = {"first_name": "Ana", "phone": "+520000000001", "summary": "Hola", "channel": "Facebook"}
        self.migrate(
            opportunity(stage=21, **values),
            opportunity("MC-LEAD", stage=18, **values),
            opportunity("MC-WON", stage=26, **values),
            opportunity("MC-LOST", stage=18, **values),
        )
        for lead, was in zip(leads, before, strict=True):
            self.assertNotEqual(self.row(lead), was)
        self.assertEqual(self.undo()["undone"]["taken_over"], 4)
        for lead, was in zip(leads, before, strict=True):
            self.assertEqual(self.row(lead), was)
        self.assertEqual(self.contacts_now(), contacts)

    def test_undoing_brings_back_an_opportunity_that_was_known_before(self):
        self.apply(opportunity(stage=17))
        self.settle()
        before = self.row(self.lead())
        self.migrate(opportunity(stage=21, minutes=5, summary="Hola"))
        self.migrate(opportunity(stage=22, minutes=6))
        self.assertEqual(self.lead().stage_id, self.stages[22])
        self.assertEqual(self.undo()["undone"]["followed"], 2)
        self.assertEqual(self.row(self.lead()), before)

    def test_undoing_an_event_that_changed_nothing_changes_nothing(self):
        self.apply(opportunity(stage=20, minutes=9))
        self.settle()
        before = self.row(self.lead())
        self.assertEqual(self.migrate(opportunity(stage=17))[0]["status"], "stale")
        self.assertEqual(self.undo()["undone"]["followed"], 1)
        self.assertEqual(self.row(self.lead()), before)

    def test_undoing_leaves_what_was_used_since(self):
        used = {
            "MC-MOVED": lambda lead: lead.write({"stage_id": self.stages[20].id}),
            "MC-NOTE": lambda lead: lead.message_post(body="Llamé", message_type="comment"),
            "MC-ACTIVITY": lambda lead: lead.activity_schedule("mail.mail_activity_data_todo"),
            "MC-TAG": lambda lead: lead.write({"tag_ids": [(0, 0, {"name": secrets.token_hex(4)})]}),
            "MC-EVENT": lambda lead: self.apply(opportunity("MC-EVENT", stage=18, minutes=9)),
            "MC-STALE": lambda lead: self.apply(opportunity("MC-STALE", stage=18, minutes=-9)),
        }
        taken = self.deal(self.contact("MC-NOTE"))
        self.migrate(*(opportunity(manychat_id) for manychat_id in (*used, "MC-UNUSED")))
        self.env.cr.execute("UPDATE crm_lead SET write_date = write_date - interval '1 minute'")
        self.env.cr.execute(
            "UPDATE manychat_migration_line SET after = jsonb_set(after, '{write_date}', to_jsonb(lead.write_date)) "
            "FROM crm_lead lead WHERE lead.id = lead_id"
        )
        self.env.cr.execute("UPDATE manychat_event SET applied_at = applied_at - interval '1 minute'")
        self.env.invalidate_all()
        for manychat_id, use in used.items():
            use(self.lead(manychat_id))
            self.settle()
        told = self.undo(dry_run=True)
        result = self.undo()
        self.assertEqual(told, result)
        self.assertEqual({kept["manychat_id"] for kept in result["kept"]}, set(used))
        self.assertEqual(result["undone"]["created"], 1)
        for manychat_id in used:
            self.assertTrue(self.lead(manychat_id).exists())
        self.assertEqual(taken.stage_id, self.stages[17])
        # As a value, which each user reads in their own language; the operator's terminal gets the sentence.
        lines = self.migration.line_ids.filtered("kept")
        reasons = {line.manychat_id: line.kept for line in lines}
        self.assertEqual(
            reasons,
            {
                "MC-MOVED": "messages",
                "MC-NOTE": "messages",
                "MC-ACTIVITY": "activities",
                "MC-TAG": "changed",
                "MC-EVENT": "events",
                "MC-STALE": "events",
            },
        )
        sentences = {kept["manychat_id"]: kept["reason"] for kept in result["kept"]}
        self.assertEqual(sentences["MC-ACTIVITY"], "It has activities since.")

    def test_undoing_leaves_what_was_merged_or_deleted(self):
        self.migrate(opportunity("MC-A"), opportunity("MC-B"), opportunity("MC-C"))
        (self.lead("MC-A") | self.lead("MC-B")).merge_opportunity()
        self.lead("MC-C").unlink()
        self.settle()
        result = self.undo()
        self.assertEqual(result["undone"]["created"], 0)
        self.assertEqual({kept["manychat_id"] for kept in result["kept"]}, {"MC-A", "MC-B", "MC-C"})
        self.assertEqual(self.lead("MC-A"), self.lead("MC-B"))

    def test_undoing_leaves_what_people_attached_to_or_follow(self):
        self.migrate(*(opportunity(f"MC-{name}") for name in ("FILE", "FOLLOWER", "UNUSED")))
        file = {"name": "receta.pdf", "raw": b"x", "res_model": "crm.lead", "res_id": self.lead("MC-FILE").id}
        self.env["ir.attachment"].create(file)
        self.lead("MC-FOLLOWER").message_subscribe(self.manager.partner_id.ids)
        result = self.undo()
        self.assertEqual({kept["manychat_id"] for kept in result["kept"]}, {"MC-FILE", "MC-FOLLOWER"})
        self.assertEqual(result["undone"]["created"], 1)

    def test_a_dry_run_takes_the_migrations_own_later_events_for_no_use(self):
        lead = self.deal(self.contact())
        before = self.row(lead)
        self.migrate(opportunity(stage=17))
        self.migrate(opportunity(stage=18, minutes=4))
        newest = self.undo(dry_run=True, limit=1)
        older = self.undo(dry_run=True, limit=1, before_id=newest["next"])
        self.assertEqual((newest["kept"], older["kept"]), ([], []))
        newest = self.undo(limit=1)
        self.undo(limit=1, before_id=newest["next"])
        self.assertEqual(self.row(lead), before)

    def test_a_dry_run_undoes_nothing_and_pages_end(self):
        self.migrate(*(opportunity(f"MC-{number}") for number in range(5)))
        self.assertEqual(self.undo(dry_run=True)["undone"]["created"], 5)
        first = self.undo(limit=3)
        second = self.undo(limit=3, before_id=first["next"])
        self.assertEqual((first["undone"]["created"], second["undone"]["created"]), (3, 2))
        self.assertEqual(self.undo(before_id=second["next"])["next"], 0)

    def test_what_a_person_used_between_two_runs_stays(self):
        self.migrate(opportunity(stage=17))
        self.env.cr.execute("UPDATE crm_lead SET write_date = write_date - interval '1 minute'")
        self.env.invalidate_all()
        self.lead().message_post(body="Llamé", message_type="comment")
        self.settle()
        self.migrate(opportunity(stage=18, minutes=5))
        result = self.undo()
        self.assertEqual((result["undone"]["followed"], len(result["kept"])), (1, 1))
        self.assertEqual(self.lead().stage_id, self.stages[17])

    def test_an_erased_person_is_in_no_list_of_a_migration(self):
        self.migrate(opportunity(phone="+520000000001"))
        self.env["manychat.event"].with_user(self.bridge_user).erase("MC-TEST-1")
        self.assertFalse(self.env["manychat.migration.line"].search([("manychat_id", "=", "MC-TEST-1")]))

    # --- Planning

    def test_the_overview_says_what_a_plan_must_know(self):
        self.contact("MC-A")
        self.contact("MC-A", active=False)
        self.contact("MC-B", active=False)
        states = [(False, "  RECIÉN suscrito (sin asignar)"), (22, False), (False, "Nuevo"), (99, False)]
        seller = new_test_user(self.env, "vendedora", "sales_team.group_sale_salesman")
        self.env["manychat.advisor"].create({"external_id": 700, "role": "commercial", "user_id": seller.id})
        self.env["manychat.advisor"].create({"external_id": 701, "role": "commercial"})
        found = self.calls.get_overview(states, {"commercial": [700, 701, 702], "medical": [101]})
        numbers = {row["id"]: row["number"] for row in found["map"]}
        self.assertEqual([numbers.get(row) for row in found["mapped"]], [16, 22, None, None])
        self.assertEqual(found["advisers"], {"commercial": [701, 702], "medical": [101]})
        self.assertEqual(found["contacts"], {"people": 2, "contacts": 3, "doubled": 1, "archived": 1})
        self.assertEqual([stage["number"] for stage in found["stages"]], list(range(16, 27)))
        self.assertTrue(all(stage["mapped_to"] in stage["same_name"] for stage in found["stages"]))

    def test_contacts_without_an_id_are_in_no_count(self):
        for manychat_id in ("", " ", "\t", "MC-A\xa0"):
            self.contact(manychat_id)
        self.migrate(opportunity())
        self.assertEqual(self.migration._contacts()["contacts"], 1)
        self.env.cr.execute("UPDATE res_partner SET write_date = '2099-01-01'")
        self.assertEqual([writer["partners"] for writer in self.calls.get_writers()], [1])

    def test_who_wrote_contacts_since_the_migration_began_is_named(self):
        self.migrate(opportunity())
        self.assertEqual(self.calls.get_writers(), [])
        partner = self.contact("MC-A")
        self.settle()
        self.env.cr.execute(
            "UPDATE res_partner SET write_date = %s WHERE id = %s", [LATER.replace(year=2099), partner.id]
        )
        [writer] = self.calls.get_writers()
        self.assertEqual((writer["user"], writer["partners"]), (self.env.user.login, 1))
