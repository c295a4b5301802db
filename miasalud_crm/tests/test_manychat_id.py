from freezegun import freeze_time

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged

from ..models.crm_lead_internal import INTERNAL
from .common import ManychatCase, at, opportunity


@tagged("post_install", "-at_install")
class TestManychatIdChange(ManychatCase):
    """A user who changes the conversation of an opportunity is asked, and the chatter records it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman")
        cls.manager = new_test_user(cls.env, "jefa", "sales_team.group_sale_manager")

    def setUp(self):
        super().setUp()
        self.apply(opportunity("MC-A", 17))
        self.env.flush_all()
        # As if it had been created in an earlier transaction.
        self.env.cr.execute("UPDATE crm_lead SET create_date = create_date - interval '1 day'")
        self.env.invalidate_all()
        self.opportunity = self.lead("MC-A")
        self.opportunity.user_id = self.vera
        self.mine = self.opportunity.with_user(self.vera)

    def changes(self, lead=None):
        """What the chatter says of IDs: author, from, to; oldest first."""
        self.env.flush_all()
        field = self.env["ir.model.fields"]._get("crm.lead", "x_manychat_id")
        values = self.env["mail.tracking.value"].sudo().search([("field_id", "=", field.id)], order="id")
        values = values.filtered(lambda value: value.mail_message_id.res_id == (lead or self.opportunity).id)
        return [
            (value.mail_message_id.author_id, value.old_value_char or "", value.new_value_char or "")
            for value in values
        ]

    def ask(self):
        action = self.mine.action_manychat_change_id()
        return self.env[action["res_model"]].with_user(self.vera).browse(action["res_id"])

    def test_the_question_says_what_happens(self):
        form = Form(self.ask())
        self.assertEqual(form.identity_id.manychat_id, "MC-A")
        self.assertIn("The conversation MC-A no longer moves this opportunity.", form.effect)
        form.manychat_id = " MC-B "
        self.assertIn("The conversation MC-B moves this opportunity from now on.", form.effect)
        form.save().action_change()
        self.assertEqual(self.opportunity.x_manychat_id, "MC-B")
        self.assertEqual(self.changes(), [(self.vera.partner_id, "MC-A", "MC-B")])

    def test_removing_lets_the_next_event_make_a_new_opportunity(self):
        self.ask().action_remove()
        self.assertFalse(self.opportunity.x_manychat_id)
        self.assertEqual(self.changes(), [(self.vera.partner_id, "MC-A", "")])
        self.assertEqual(self.apply(opportunity("MC-A", 18, 1))[0]["status"], "created")
        self.assertNotEqual(self.lead("MC-A"), self.opportunity)

    def test_an_id_of_another_opportunity_is_refused_and_nothing_changes(self):
        self.apply(opportunity("MC-B", 17))
        change = self.ask()
        change.manychat_id = "MC-B"
        with self.assertRaises(ValidationError), self.env.cr.savepoint():
            change.action_change()
        self.assertEqual(self.lead("MC-A"), self.opportunity)
        self.assertFalse(self.changes())

    def test_an_empty_id_is_no_change(self):
        with self.assertRaises(UserError):
            self.ask().action_change()

    def test_a_merged_opportunity_says_which_of_its_ids_goes(self):
        self.apply(opportunity("MC-B", 18, 1))
        survivor = (self.opportunity | self.lead("MC-B")).merge_opportunity()
        survivor.user_id = self.vera
        change = self.env["manychat.id.change"].with_user(self.vera).create({"lead_id": survivor.id})
        change.identity_id = survivor.manychat_identity_ids.filtered(lambda each: each.manychat_id == "MC-B")
        change.action_remove()
        self.assertEqual(survivor.manychat_identity_ids.mapped("manychat_id"), ["MC-A"])
        self.assertEqual(self.changes(survivor), [(self.vera.partner_id, "MC-B", "")])

    def test_only_users_who_may_change_the_opportunity_are_asked(self):
        other = new_test_user(self.env, "omar", "sales_team.group_sale_salesman")
        with self.assertRaises(AccessError):
            self.opportunity.with_user(other).action_manychat_change_id()

    def test_the_form_does_not_change_a_saved_id_by_itself(self):
        form = Form(self.mine, view="crm.crm_lead_view_form")
        with self.assertRaises(AssertionError):
            form.x_manychat_id = "MC-Z"
        plain = self.env["crm.lead"].create({"name": "A mano", "user_id": self.vera.id, "type": "opportunity"})
        with Form(plain.with_user(self.vera), view="crm.crm_lead_view_form") as form:
            form.x_manychat_id = "MC-Z"
            form.x_manychat_id = "MC-Y"  # a slip can be corrected before it is saved
        self.assertEqual(plain.x_manychat_id, "MC-Y")

    def test_a_call_and_an_import_are_recorded_too(self):
        self.mine.write({"x_manychat_id": "MC-B"})
        self.mine.load([".id", "x_manychat_id"], [[str(self.mine.id), "MC-C"]])
        self.mine.write({"x_manychat_id": False})
        self.assertEqual([change[1:] for change in self.changes()], [("MC-A", "MC-B"), ("MC-B", "MC-C"), ("MC-C", "")])

    def test_the_list_of_ids_records_on_both_opportunities(self):
        other = self.env["crm.lead"].create({"name": "Otra", "type": "opportunity"})
        self.mine.manychat_identity_ids.with_user(self.manager).lead_id = other
        self.assertEqual(self.changes(), [(self.manager.partner_id, "MC-A", "")])
        self.assertEqual(self.changes(other), [(self.manager.partner_id, "", "MC-A")])

    def test_neither_the_chat_nor_a_merge_nor_a_new_opportunity_is_a_change(self):
        self.apply(opportunity("MC-B", 18, 1), opportunity("MC-A", 18, 2))
        survivor = (self.opportunity | self.lead("MC-B")).with_user(self.manager).merge_opportunity()
        created = self.env["crm.lead"].with_user(self.vera).create({"name": "Con chat", "x_manychat_id": "MC-N"})
        self.assertFalse(self.changes(survivor.sudo()) or self.changes(created.sudo()))


@tagged("post_install", "-at_install")
class TestInternalFields(ManychatCase):
    def test_people_are_not_offered_what_only_the_addon_needs(self):
        admin = self.env.ref("base.user_admin")
        known = self.env["crm.lead"].with_user(admin).fields_get()
        for name in INTERNAL:
            offered = {each: known[name].get(each) for each in ("searchable", "sortable", "groupable", "exportable")}
            self.assertFalse(any(offered.values()), f"{name}: {offered}")
        for name in ("x_manychat_id", "manychat_words_at", "manychat_waits_since", "manychat_channel"):
            self.assertTrue(known[name]["searchable"], name)
            self.assertTrue(known[name]["groupable"], name)

    def test_odoos_own_fields_are_as_before(self):
        known = self.env["crm.lead"].fields_get()
        for name in ("stage_id", "user_id", "phone", "create_date"):
            self.assertTrue(known[name]["searchable"] and known[name]["groupable"] and known[name]["sortable"])


@tagged("post_install", "-at_install")
class TestLateEvents(ManychatCase):
    """The chatter of an event that comes late tells when it happened."""

    def bodies(self):
        return [str(message.body) for message in self.lead().message_ids.sorted("id")]

    def test_a_late_move_tells_the_events_own_date_in_the_companys_zone_and_language(self):
        self.env["res.lang"]._activate_lang("es_ES")
        self.env.company.partner_id.write({"tz": "America/Bogota", "lang": "es_ES"})
        with freeze_time(at(1).replace(tzinfo=None)):
            self.apply(opportunity(stage=17))
        with freeze_time(at(60).replace(tzinfo=None)):
            self.apply(opportunity(stage=21, minutes=2, summary="Hola"))
        last = self.bodies()[-1]
        self.assertIn("Hola", last)
        self.assertIn("2 mar 2026, 04:02", last)
        self.assertIn("America/Bogota", last)

    def test_a_late_event_speaks_the_language_of_the_salesperson(self):
        self.env["res.lang"]._activate_lang("es_ES")
        with freeze_time(at(1).replace(tzinfo=None)):
            self.apply(opportunity(stage=17))
        self.lead().user_id = new_test_user(self.env, "vera-late", "sales_team.group_sale_salesman", lang="es_ES")
        with freeze_time(at(60).replace(tzinfo=None)):
            self.apply(opportunity(stage=21, minutes=2, summary="Hola"))
        self.assertIn("2 mar 2026, 09:02", self.bodies()[-1])

    def test_an_event_in_time_has_the_date_of_its_line(self):
        with freeze_time(at(10).replace(tzinfo=None)):
            self.apply(opportunity(stage=17, summary="Hola"))
        self.assertFalse([body for body in self.bodies() if "2026" in body])

    def test_a_late_new_opportunity_tells_it_without_words_too(self):
        with freeze_time(at(11).replace(tzinfo=None)):
            self.apply(opportunity(stage=17))
        self.assertIn("This happened on 2 Mar 2026, 09:00 (UTC).", self.bodies()[-1])

    def test_a_late_event_that_changes_nothing_leaves_no_line(self):
        self.apply(opportunity(stage=17))
        before = len(self.bodies())
        self.apply(opportunity(stage=17, minutes=1))
        self.assertEqual(len(self.bodies()), before)
