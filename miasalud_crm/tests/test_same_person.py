from itertools import combinations

from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from ..apply.phone_key import phone_key
from .common import ManychatCase, opportunity

#: Ways to write one line; each tuple: number, and the code of the country of a number without one.
LINES = {
    "Mexico": [
        *(("+52 1 55 1234 5678", None), ("+525512345678", 57), ("5215512345678", 52), ("525512345678", None)),
        *(("55 1234 5678", 52), ("044 55 1234 5678", 52), ("01 (55) 1234-5678", 52), ("0052 1 55 1234 5678", 52)),
    ],
    "Argentina": [
        *(("+54 9 11 2345-6789", None), ("+54 11 2345 6789", 52), ("011 15 2345-6789", 54), ("11 2345-6789", 54)),
        *(("5491123456789", 54), ("+54 11 15 2345-6789", None), ("+54 (0)11 2345-6789", 52)),
    ],
    "Córdoba": [("+54 9 351 234 5678", None), ("0351 15 234-5678", 54), ("351 234 5678", 54)],
    "Brazil": [("+55 11 98765-4321", None), ("+55 11 8765-4321", 52), ("(11) 98765-4321", 55), ("011 8765 4321", 55)],
    "Brazil, a fixed line": [("+55 11 3333-4444", None), ("(11) 3333-4444", 55)],
    "Brazil, no fixed line": [("+55 11 93333-4444", None)],
    "Colombia": [("+57 300 123 4567", 52), ("300 1234567", 57), ("573001234567", 52), ("573001234567", 57)],
    "United States": [("+1 (305) 555-0123 ext. 4", 52), ("305.555.0123", 1), ("0013055550123", 52)],
    "France": [("+33 6 12 34 56 78", 52), ("06 12 34 56 78", 33)],
}


class SamePersonCase(ManychatCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.company.country_id = cls.env.ref("base.mx")
        cls.manager = new_test_user(cls.env, "mara-doble", "sales_team.group_sale_manager")
        cls.people = cls.env["manychat.same.person"].with_user(cls.manager)

    def by_hand(self, **values):
        """An opportunity that a user created."""
        vals = {"name": "Ana a mano", "type": "opportunity", "phone": "55 1234 5678", "user_id": False, **values}
        return self.env["crm.lead"].create(vals)

    def rows(self, user=None):
        return self.people.with_user(user or self.manager).search([("phone_key", "=", "525512345678")])


@tagged("post_install", "-at_install")
class TestPhoneKey(SamePersonCase):
    def test_one_line_has_one_key_however_it_is_written(self):
        keys = {}
        for line, numbers in LINES.items():
            for number, code in numbers:
                keys.setdefault(line, set()).add(phone_key(number, code))
        self.assertEqual({line: len(found) for line, found in keys.items()}, dict.fromkeys(LINES, 1))
        for one, other in combinations(keys.values(), 2):
            self.assertFalse(one & other)

    def test_what_is_no_phone_number_has_no_key(self):
        for number in ("", None, False, "1234", "no tiene", "+", "12345678901234567890"):
            self.assertIsNone(phone_key(number, 52))

    def test_the_opportunitys_own_country_counts_more_than_the_companys(self):
        lead = self.by_hand(phone="11 98765-4321", country_id=self.env.ref("base.br").id)
        self.assertEqual(lead.manychat_phone_key, "551187654321")
        lead.country_id = self.env.ref("base.ar")
        self.assertNotEqual(lead.manychat_phone_key, "551187654321")

    def test_the_upgrade_fills_the_same_keys_as_odoo_computes(self):
        leads = self.env["crm.lead"]
        for numbers in LINES.values():
            for number, _code in numbers:
                leads |= self.by_hand(phone=number)
        leads[:3].country_id = self.env.ref("base.ar")
        leads |= self.by_hand(phone=False) | self.by_hand(phone="nada")
        self.env.flush_all()
        computed = dict(zip(leads.ids, leads.mapped("manychat_phone_key"), strict=True))
        self.env.cr.execute("UPDATE crm_lead SET manychat_phone_key = NULL")
        self.patch(type(leads), "_manychat_phones_after", _by_sevens(type(leads)._manychat_phones_after))
        self.env["crm.lead"]._manychat_fill_phone_keys()
        self.env.invalidate_all()
        self.assertEqual({lead.id: lead.manychat_phone_key for lead in leads}, computed)


def _by_sevens(plain):
    return lambda leads, last, mobile: plain(leads, last, mobile)[:7]


@tagged("post_install", "-at_install")
class TestSamePerson(SamePersonCase):
    def test_opportunities_with_one_phone_are_one_row(self):
        self.apply(
            opportunity("MC-1", phone="+5215512345678", first_name="Ana"),
            opportunity("MC-2", phone="525512345678", first_name="Ana", last_name="P"),
            opportunity("MC-3", phone="+5215599999999"),
        )
        row = self.rows()
        self.assertRecordValues(row, [{"lead_count": 2, "name": "Ana · Ana P"}])
        self.assertEqual(row.lead_ids, self.lead("MC-1") | self.lead("MC-2"))
        self.assertIn("Recién Suscrito Pendiente AC", row.places)

    def test_one_without_a_conversation_counts_beside_one_that_has_one(self):
        other = self.by_hand()
        self.assertFalse(self.rows())
        self.apply(opportunity("MC-1", phone="+5215512345678"))
        self.assertEqual(self.rows().lead_ids, self.lead("MC-1") | other)

    def test_won_and_lost_ones_are_not_suggested(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", 26, phone="+5215512345678"))
        lost = self.by_hand()
        lost.action_set_lost()
        self.assertFalse(self.rows())
        lost.toggle_active()
        self.assertEqual(self.rows().lead_count, 2)

    def test_a_row_counts_only_what_the_user_may_read(self):
        vera = new_test_user(self.env, "vera-doble", "sales_team.group_sale_salesman")
        self.apply(opportunity("MC-1", phone="+5215512345678"))
        other = self.by_hand(user_id=self.manager.id)
        self.assertEqual(self.rows().lead_count, 2)
        self.assertFalse(self.rows(vera))
        self.assertFalse(self.lead("MC-1").with_user(vera).manychat_same_person_ids)
        other.user_id = vera
        self.env.invalidate_all()
        self.assertEqual(self.rows(vera).lead_count, 2)
        self.assertEqual(self.lead("MC-1").with_user(vera).manychat_same_person_ids, other)
        portal = new_test_user(self.env, "cliente-doble", "base.group_portal")
        with self.assertRaises(AccessError):
            self.rows(portal)

    def test_companies_are_not_mixed(self):
        company = self.env["res.company"].create({"name": "Otra", "country_id": self.env.ref("base.mx").id})
        self.manager.company_ids |= company
        both = self.env["manychat.same.person"].with_user(self.manager)
        both = both.with_context(allowed_company_ids=[self.env.company.id, company.id])
        self.apply(opportunity("MC-1", phone="+5215512345678"))
        lead = self.lead("MC-1")
        lead.write({"team_id": False, "user_id": False})
        lead.company_id = self.env.company
        team = self.env["crm.team"].create({"name": "Otro", "company_id": company.id})
        other = self.by_hand(team_id=team.id, company_id=company.id)
        self.assertEqual((lead.company_id, other.company_id), (self.env.company, company))
        self.assertFalse(both.search([("phone_key", "=", lead.manychat_phone_key)]))
        self.assertFalse(lead.manychat_same_person_ids)
        shared = self.by_hand(team_id=False)
        self.assertFalse(shared.company_id)
        self.env.invalidate_all()
        row = both.search([("phone_key", "=", lead.manychat_phone_key)])
        self.assertEqual(row.lead_ids, lead | shared)
        self.assertEqual(lead.manychat_same_person_ids, shared)

    def test_odoos_own_merge_opens_with_these_opportunities(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", phone="525512345678"))
        leads = self.lead("MC-1") | self.lead("MC-2")
        for action in (self.rows().action_merge(), leads[0].with_user(self.manager).action_manychat_merge()):
            self.assertEqual(action["res_model"], "crm.merge.opportunity")
            wizard = Form(self.env["crm.merge.opportunity"].with_user(self.manager).with_context(**action["context"]))
            self.assertEqual(set(wizard.save().opportunity_ids.ids), set(leads.ids))

    def test_both_conversations_go_on_after_merging(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", phone="525512345678"))
        context = self.rows().action_merge()["context"]
        self.env["crm.merge.opportunity"].with_user(self.manager).with_context(**context).create({}).action_merge()
        self.assertFalse(self.rows())
        survivor = self.lead("MC-1")
        self.assertEqual(survivor, self.lead("MC-2"))
        self.apply(opportunity("MC-2", 19, minutes=5))
        self.assertEqual(survivor.stage_id, self.stages[19])
        self.apply(opportunity("MC-1", 20, minutes=6))
        self.assertEqual(survivor.stage_id, self.stages[20])

    def test_more_than_odoo_merges_at_once_are_offered_in_parts(self):
        self.apply(*(opportunity(f"MC-{n}", phone="+5215512345678") for n in range(7)))
        self.assertEqual(self.rows().lead_count, 7)
        self.assertEqual(len(self.rows().action_merge()["context"]["active_ids"]), 5)

    def test_people_who_share_a_phone_are_not_suggested_again(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", phone="525512345678"))
        lead = self.lead("MC-1").with_user(self.manager)
        self.assertTrue(lead.manychat_same_person_ids)
        lead.action_manychat_distinct()
        self.assertFalse(lead.manychat_same_person_ids)
        self.assertFalse(self.rows())
        # A third one may be either of them.
        self.apply(opportunity("MC-3", phone="+5215512345678"))
        self.assertEqual(self.rows().lead_count, 3)
        self.assertEqual(lead.manychat_same_person_ids, self.lead("MC-3"))
        self.rows().action_distinct()
        self.assertFalse(self.rows())
        self.assertEqual(self.env["manychat.distinct.person"].search_count([]), 3)

    def test_what_was_said_of_a_merged_opportunity_holds_for_the_one_that_stays(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", phone="525512345678"))
        self.lead("MC-1").action_manychat_distinct()
        other = self.by_hand(phone="5500000000")
        (self.lead("MC-2") | other).merge_opportunity()
        self.lead("MC-2").phone = "525512345678"
        self.assertFalse(self.rows())

    def test_a_manager_takes_it_back(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", phone="525512345678"))
        self.rows().action_distinct()
        self.env["manychat.distinct.person"].with_user(self.manager).search([]).unlink()
        self.assertEqual(self.rows().lead_count, 2)

    def test_only_who_may_write_all_of_them_sets_them_aside(self):
        self.apply(opportunity("MC-1", phone="+5215512345678"), opportunity("MC-2", phone="525512345678"))
        lead = self.lead("MC-1")
        portal = new_test_user(self.env, "cliente-doble", "base.group_portal")
        for action in ("action_manychat_distinct", "action_manychat_merge", "action_manychat_same_person"):
            with self.assertRaises(AccessError):
                getattr(lead.with_user(portal), action)()

    def test_the_list_takes_the_same_statements_for_any_number_of_people(self):
        counts = []
        for size in (1, 12):
            for number in range(size):
                phone = f"+5215510{size:02}{number:04}"
                self.apply(opportunity(f"A{size}-{number}", phone=phone), opportunity(f"B{size}-{number}", phone=phone))
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            found = self.people.web_search_read([], {"name": {}, "lead_count": {}, "places": {}})
            counts.append(self.env.cr.sql_log_count - before)
            self.assertGreaterEqual(len(found["records"]), size)
        self.assertLessEqual(counts[1], counts[0])

    def test_the_others_are_looked_up_by_an_index(self):
        self.env.cr.execute("SET LOCAL enable_seqscan = off")
        domain = [("manychat_phone_key", "=", "525512345678"), ("active", "=", True)]
        query = self.env["crm.lead"].with_user(self.manager)._search(domain).select()
        self.env.cr.execute("EXPLAIN " + query.code, query.params)
        plan = "\n".join(line for (line,) in self.env.cr.fetchall())
        self.assertIn("manychat_phone_key", plan.split("Filter:")[0])

    def test_a_form_without_a_conversation_asks_nothing(self):
        lead = self.by_hand()
        self.by_hand()
        self.env.flush_all()
        lead.read(["x_manychat_id", "manychat_phone_key", "active", "stage_id"])
        with self.assertQueryCount(0):
            self.assertFalse(lead.manychat_same_person_ids)
