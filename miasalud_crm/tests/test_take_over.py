from datetime import timedelta

from freezegun import freeze_time

from odoo import release
from odoo.tests import tagged

from ..apply import known_people
from ..moments import naive_utc
from .common import DAY, ManychatCase, opportunity

#: Before the conversations of the tests.
EARLIER = naive_utc(DAY - timedelta(days=30))
#: After them.
LATER = naive_utc(DAY + timedelta(days=30))


class KnownPeopleCase(ManychatCase):
    """Contacts with a field ``x_manychat_id``, as an earlier integration made them."""

    FIELD_TYPE = "char"
    FIELD_OPTIONS = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["ir.model.fields"].create(
            {
                "model_id": cls.env["ir.model"]._get_id("res.partner"),
                "name": "x_manychat_id",
                "field_description": "ManyChat",
                "ttype": cls.FIELD_TYPE,
                **cls.FIELD_OPTIONS,
            }
        )

    def contact(self, manychat_id="MC-TEST-1", **values):
        return self.env["res.partner"].create({"name": "Ana Inventada", "x_manychat_id": manychat_id, **values})

    def deal(self, partner, created=EARLIER, **values):
        """An opportunity that people made by hand."""
        with freeze_time(created):
            lead = self.env["crm.lead"].create(
                {"name": "A mano", "type": "opportunity", "partner_id": partner.id, **values}
            )
            self.settle()
        # These are the transaction's time, which nothing freezes.
        query = "UPDATE crm_lead SET create_date = %s, date_last_stage_update = %s WHERE id = %s"
        self.env.cr.execute(query, [created, created, lead.id])
        self.env.invalidate_all()
        return lead

    def settle(self):
        """What Odoo does before a commit: it writes the tracked changes, with their dates."""
        self.env.flush_all()
        self.env.cr.precommit.run()

    def contacts_now(self):
        self.env.flush_all()
        self.env.cr.execute("SELECT id, xmin::text, write_date, to_jsonb(p) FROM res_partner p ORDER BY id")
        return self.env.cr.fetchall()


@tagged("post_install", "-at_install")
class TestTakeOver(KnownPeopleCase):
    def assert_taken_over(self, lead, stage=17, status="moved", **event):
        before = self.contacts_now()
        result = self.apply(opportunity(stage=stage, **event))[0]
        self.assertEqual((result["lead_id"], result["status"]), (lead.id, status))
        self.assertEqual(self.lead(), lead)
        self.assertEqual(self.contacts_now(), before)
        return result

    def assert_created(self, *others, stage=17, **event):
        before = self.contacts_now()
        result = self.apply(opportunity(stage=stage, **event))[0]
        self.assertEqual(result["status"], "created")
        self.assertNotIn(result["lead_id"], [lead.id for lead in others])
        self.assertEqual(self.contacts_now(), before)
        return self.lead()

    def test_the_open_opportunity_of_a_known_person_goes_on(self):
        lead = self.deal(self.contact())
        self.assert_taken_over(lead, stage=17, first_name="Otra", phone="+520000000009", summary="Hola")
        self.assertEqual((lead.name, lead.stage_id), ("A mano", self.stages[17]))
        self.assertEqual(len(self.stage_messages(lead)), 1)
        periods = self.env["manychat.stage.history"].search([("lead_id", "=", lead.id)], order="id")
        self.assertEqual(periods.mapped("moved_by"), ["person", "chat"])

    def test_blanks_around_an_id_do_not_count(self):
        for number, around in enumerate((" ", "\t", "\n", "\xa0", "\u200b", "\ufeff")):
            lead = self.deal(self.contact(f"{around}MC-{number}{around}"))
            self.apply(opportunity(f"MC-{number}"))
            self.assertEqual(self.lead(f"MC-{number}"), lead)

    def test_the_next_event_finds_it_by_its_id(self):
        lead = self.deal(self.contact())
        self.assert_taken_over(lead, stage=17)
        self.assert_taken_over(lead, stage=18, minutes=1)
        self.assertEqual(self.env["manychat.identity"].search_count([("lead_id", "=", lead.id)]), 1)

    def test_several_events_of_one_batch_go_to_it(self):
        lead = self.deal(self.contact())
        results = self.apply(opportunity(stage=17), opportunity(stage=19, minutes=1))
        self.assertEqual([result["lead_id"] for result in results], [lead.id] * 2)
        self.assertEqual(lead.stage_id, self.stages[19])

    def test_the_newest_of_several_open_ones_goes_on_and_names_the_others(self):
        partner = self.contact()
        old = self.deal(partner, EARLIER - timedelta(days=9))
        new = self.deal(partner, EARLIER)
        middle = self.deal(partner, EARLIER - timedelta(days=5))
        self.assert_taken_over(new)
        self.assertEqual(new.manychat_identity_ids.duplicate_lead_ids, old | middle)

    def test_the_opportunities_of_doubled_contacts_count_together(self):
        self.deal(self.contact(), EARLIER - timedelta(days=9))
        self.assert_taken_over(self.deal(self.contact()))

    def test_the_opportunity_of_an_archived_contact_goes_on(self):
        partner = self.contact()
        lead = self.deal(partner)
        partner.active = False
        self.assert_taken_over(lead)

    def test_an_opportunity_of_the_persons_company_is_not_the_persons(self):
        company = self.env["res.partner"].create({"name": "Empresa Inventada", "is_company": True})
        partner = self.contact(parent_id=company.id)
        self.assert_created(self.deal(company))
        self.assertEqual(self.lead().partner_id, partner)

    def test_an_opportunity_comes_before_a_lead_and_a_lead_becomes_an_opportunity(self):
        partner = self.contact()
        lead = self.deal(partner, type="lead")
        opportunity_of_old = self.deal(partner, EARLIER - timedelta(days=9))
        self.assert_taken_over(opportunity_of_old)
        other = self.contact("MC-B")
        lead = self.deal(other, type="lead")
        self.apply(opportunity("MC-B"))
        self.assertEqual((self.lead("MC-B"), lead.type), (lead, "opportunity"))

    def test_a_closed_opportunity_is_another_matter(self):
        partner = self.contact()
        lost, won = self.deal(partner), self.deal(partner)
        with freeze_time(EARLIER + timedelta(days=1)):
            lost.action_set_lost()
            won.action_set_won()
            self.settle()
        self.assert_created(lost, won)
        self.assertFalse(lost.active)
        self.assertTrue(won.stage_id.is_won)

    def test_a_decision_of_a_person_that_is_newer_than_the_event_stands(self):
        lost = self.deal(self.contact())
        with freeze_time(LATER):
            lost.action_set_lost()
            self.settle()
        self.assert_taken_over(lost, status="stale")
        self.assertFalse(lost.active)

    def test_a_sale_that_is_won_already_is_not_won_twice(self):
        won = self.deal(self.contact())
        with freeze_time(EARLIER):
            won.stage_id = self.stages[26]
            self.settle()
        self.assert_taken_over(won, stage=26, status="unchanged")

    def test_an_older_event_does_not_move_what_a_person_moved(self):
        lead = self.deal(self.contact())
        with freeze_time(LATER):
            lead.stage_id = self.stages[25]
            self.settle()
        self.assert_taken_over(lead, status="stale")
        self.assertEqual(lead.stage_id, self.stages[25])

    def test_the_stage_that_a_person_chose_at_the_creation_is_a_decision(self):
        lead = self.deal(self.contact(), LATER, stage_id=self.stages[25].id)
        self.assert_taken_over(lead, status="stale")

    def test_an_opportunity_that_follows_another_conversation_keeps_it(self):
        partner = self.contact()
        lead = self.deal(partner, x_manychat_id="MC-OTHER")
        self.assert_created(lead)

    def test_a_known_person_without_an_opportunity_is_the_customer_of_the_new_one(self):
        partner = self.contact(phone="+52 55 0000 0001", email="ANA@EXAMPLE.COM")
        lead = self.assert_created(phone="+520000000002", first_name="Ana")
        self.assertEqual((lead.partner_id, lead.phone, lead.user_id.id), (partner, "+520000000002", False))
        before = self.contacts_now()
        self.apply(opportunity(stage=18, minutes=1, phone="+520000000003"))
        self.assertEqual(lead.phone, "+520000000003")
        self.assertEqual(self.contacts_now(), before)

    def test_a_contact_of_another_company_is_not_the_customer(self):
        company = self.env["res.company"].create({"name": "Otra"})
        self.contact(company_id=company.id)
        self.assertFalse(self.assert_created().partner_id)

    def test_people_whom_odoo_does_not_know_get_their_own(self):
        self.deal(self.contact("MC-OTHER"))
        self.assertFalse(self.assert_created().partner_id)

    def test_an_event_without_a_mapped_stage_takes_nothing_over(self):
        lead = self.deal(self.contact())
        self.assertEqual(self.apply(opportunity(stage=99))[0]["code"], "unmapped_stage")
        self.assertFalse(lead.x_manychat_id)

    def test_the_number_of_queries_does_not_grow_with_the_number_of_people(self):
        def taken(count, tag):
            for number in range(count):
                self.deal(self.contact(f"{tag}-{number}"))
            events = [opportunity(f"{tag}-{number}") for number in range(count)]
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.apply(*events)
            return self.env.cr.sql_log_count - before

        taken(2, "WARM")
        few, many = taken(4, "FEW"), taken(24, "MANY")
        self.assertLess(many - few, 20 * 12, "a query more for each person, several times over")


class FieldOfAnotherKind(KnownPeopleCase):
    """The field as other people made it."""

    ID = "40212"

    def assert_found(self):
        lead = self.deal(self.contact(self.ID))
        self.contact(0 if isinstance(self.ID, (int, float)) else "")
        known_people.drop_index(self.env.cr)
        known_people.index(self.env.cr)
        self.apply(opportunity("40212"))
        self.assertEqual(self.lead("40212"), lead)
        self.assertEqual(self.env["manychat.migration"]._contacts()["contacts"], 1)
        self.assertFalse(known_people.is_unreadable(self.env))
        self.env.cr.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 'manychat_known_people'")
        self.assertEqual(self.env.cr.fetchone(), (1,))


@tagged("post_install", "-at_install")
class TestTakeOverOfNumbers(FieldOfAnotherKind):
    FIELD_TYPE, ID = "integer", 40212

    def test_an_id_that_is_a_number_in_odoo_is_found_too(self):
        self.assert_found()


@tagged("post_install", "-at_install")
class TestTakeOverOfDecimals(FieldOfAnotherKind):
    FIELD_TYPE, ID = "float", 40212.0

    def test_an_id_that_is_a_decimal_in_odoo_is_found_too(self):
        self.assert_found()


@tagged("post_install", "-at_install")
class TestTakeOverOfTranslatedTexts(FieldOfAnotherKind):
    FIELD_OPTIONS = {"translate": "standard" if release.version_info[0] > 18 else True}

    def test_an_id_that_is_translated_in_odoo_is_found_too(self):
        self.assert_found()


@tagged("post_install", "-at_install")
class TestTakeOverOfEachCompanysTexts(FieldOfAnotherKind):
    FIELD_OPTIONS = {"company_dependent": True}

    def test_an_id_of_one_company_is_found_too(self):
        self.assert_found()


@tagged("post_install", "-at_install")
class TestTakeOverOfAnUnreadableField(FieldOfAnotherKind):
    FIELD_OPTIONS = {"store": False, "readonly": True}

    def test_a_plan_hears_of_a_field_that_cannot_be_looked_up(self):
        self.assertTrue(known_people.is_unreadable(self.env))
        self.assertEqual(self.apply(opportunity())[0]["status"], "created")


@tagged("post_install", "-at_install")
class TestTakeOverWithoutField(ManychatCase):
    def test_without_such_a_field_nobody_is_known(self):
        self.assertNotIn("x_manychat_id", self.env["res.partner"]._fields)
        partner = self.env["res.partner"].create({"name": "Ana Inventada"})
        self.env["crm.lead"].create({"name": "x", "partner_id": partner.id})
        self.assertEqual(self.apply(opportunity())[0]["status"], "created")
        self.assertFalse(self.lead().partner_id)
