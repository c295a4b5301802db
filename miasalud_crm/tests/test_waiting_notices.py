from datetime import timedelta

from freezegun import freeze_time

from odoo import fields
from odoo.tests import new_test_user, tagged

from ..models import manychat_waiting, manychat_waiting_notice
from .common import ManychatCase, at, opportunity


class WaitingCase(ManychatCase):
    """Monday to Friday, 8–17, in UTC. The conversations of the tests begin on a Monday at 9:00 (see ``DAY``)."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["crm.lead"].search([("manychat_waits_since", "!=", False)]).write({"manychat_waits_since": False})
        cls.env.company.resource_calendar_id = cls.calendar_of("Empresa", 8, 17)
        cls.leader = new_test_user(cls.env, "jefa", "sales_team.group_sale_manager", lang="en_US", tz="UTC")
        cls.vera = new_test_user(cls.env, "vera", "sales_team.group_sale_salesman", lang="en_US", tz="UTC")
        cls.team = cls.env["crm.team"].create({"name": "Equipo", "user_id": cls.leader.id})
        cls.map = {row.manychat_stage_id: row for row in cls.env["manychat.stage.map"].search([])}
        rows = cls.env["manychat.stage.map"].search([])
        rows.write({"tells_since": at(-999).replace(tzinfo=None), "limited_since": at(-999).replace(tzinfo=None)})
        rows.team_id = cls.team
        cls.env["manychat.advisor"].create({"external_id": 700, "user_id": cls.vera.id})

    @classmethod
    def calendar_of(cls, name, begin, end):
        day = {"name": "x", "hour_from": begin, "hour_to": end, "day_period": "morning"}
        hours = [(0, 0, {**day, "dayofweek": str(number)}) for number in range(5)]
        return cls.env["resource.calendar"].create({"name": name, "tz": "UTC", "attendance_ids": [(5,), *hours]})

    def setUp(self):
        super().setUp()
        for name in ("commit", "rollback"):
            self.patch(self.env.cr, name, lambda: None)

    def limit(self, number, hours):
        """As if it had been set long before."""
        self.map[number].answer_hours = hours
        self.map[number].limited_since = at(-999).replace(tzinfo=None)

    def writes(self, words="Hola", minutes=0, *, name="Ana", stage=17, **fields):
        """The customer writes in the chat, in minutes since Monday 9:00."""
        fields = {"commercial_advisor_id": 700, "first_name": name, **fields}
        self.apply(opportunity(name, stage, minutes, summary=words, **fields))

    def answers(self, minutes, *, name="Ana", user=None):
        """Vera writes a message in the chatter."""
        with self.time(minutes):
            self.lead(name).with_user(user or self.vera).message_post(body="¡Hola!", message_type="comment")
            self.env.flush_all()

    def time(self, minutes):
        return freeze_time(at(minutes).replace(tzinfo=None))

    def minute(self, minutes=0):
        """One run of the scheduled action; returns our open activities, in the order of their creation."""
        with self.time(minutes), self.assertNoLogs(manychat_waiting.__name__, "ERROR"):
            self.env["manychat.waiting"]._cron_waiting()
        return self.activities()

    def activities(self, name=None):
        domain = [("activity_type_id", "in", self.env["manychat.waiting"]._activity_types().ids)]
        if name:
            domain.append(("res_id", "=", self.lead(name).id))
        return self.env["mail.activity"].search(domain, order="id")

    def type(self, name):
        return self.env.ref(f"miasalud_crm.{name}")

    def mails(self):
        return self.env["mail.mail"].sudo().search_count([])


@tagged("post_install", "-at_install")
class TestWaitingNotices(WaitingCase):
    """The salesperson hears that a customer wrote: one activity, however much they write, until a user answers."""

    def test_words_become_one_activity_of_the_salesperson(self):
        self.writes("Quiero una cita")
        mails = self.mails()
        activity = self.minute(1)
        self.assertEqual(activity.user_id, self.vera)
        self.assertEqual(activity.activity_type_id, self.type("activity_words"))
        self.assertEqual(activity.summary, "Customer wrote: Quiero una cita")
        self.assertEqual(activity.date_deadline, at(1).date())
        self.assertIn("Quiero una cita", activity.note)
        self.assertEqual(self.mails(), mails)

    def test_more_words_update_it(self):
        self.writes("Hola")
        activity = self.minute(1)
        self.writes("¿Hay alguien?", 2)
        self.writes("Es <b>urgente</b>\nde verdad", 3)
        messages = self.env["mail.message"].search_count([])
        self.assertEqual(self.minute(4), activity)
        self.assertEqual(activity.summary, "Customer wrote (3 messages), last: Es <b>urgente</b> de verdad")
        self.assertIn("&lt;b&gt;urgente", activity.note)
        self.assertEqual(self.env["mail.message"].search_count([]), messages)

    def test_it_goes_when_a_user_answers_and_comes_back_with_new_words(self):
        self.writes("Hola")
        self.minute(1)
        self.answers(2)
        self.assertFalse(self.minute(3))
        self.writes("Gracias", 4)
        self.assertEqual(self.minute(5).summary, "Customer wrote: Gracias")

    def test_marking_it_done_is_an_answer(self):
        self.writes("Hola")
        activity = self.minute(1)
        with self.time(2):
            activity.with_user(self.vera).action_feedback(feedback="Llamada")
        self.assertFalse(self.lead("Ana").manychat_waits_since)
        self.assertFalse(self.minute(3))

    def test_a_deleted_activity_does_not_come_back_for_the_same_words(self):
        self.writes("Hola")
        self.minute(1).unlink()
        self.assertFalse(self.minute(2))
        self.writes("¿Sigue ahí?", 3)
        self.assertEqual(len(self.minute(4)), 1)

    def test_a_stage_may_be_silent(self):
        self.map[17].tells_salesperson = False
        self.writes("Hola")
        self.assertFalse(self.minute(1))
        self.map[17].tells_salesperson = True  # now: what was written before is old
        self.assertFalse(self.minute(2))
        with freeze_time(fields.Datetime.now() + timedelta(days=1)):
            self.map[17].tells_since = at(2).replace(tzinfo=None)
        self.writes("¿Hola?", 3)
        self.assertEqual(len(self.minute(4)), 1)

    def test_no_words_no_activity(self):
        self.writes(None)
        self.assertFalse(self.minute(1))

    def test_an_event_that_comes_late_tells_once(self):
        self.writes("Nuevo", 10)
        activity = self.minute(11)
        self.writes("Viejo", 5)
        self.assertEqual(self.minute(12), activity)
        self.assertIn("Nuevo", activity.summary)

    def test_it_is_in_the_salespersons_language(self):
        self.env["res.lang"]._activate_lang("es_ES")
        self.vera.lang = "es_ES"
        seen = []
        original = type(self.env["manychat.waiting"])._title

        def title(rows, *args):
            seen.append(rows.env.lang)
            return original(rows, *args)

        self.patch(type(self.env["manychat.waiting"]), "_title", title)
        self.writes("Hola")
        self.minute(1)
        self.assertEqual(seen, ["es_ES"])

    # --- Who

    def test_words_of_an_opportunity_without_salesperson_wait_for_whoever_takes_it(self):
        self.writes("Hola", commercial_advisor_id=None)
        self.assertFalse(self.minute(1))
        self.lead("Ana").user_id = self.vera
        self.assertEqual(self.minute(2).user_id, self.vera)

    def test_another_salesperson_takes_the_activity_over(self):
        omar = new_test_user(self.env, "omar", "sales_team.group_sale_salesman", lang="en_US")
        self.writes("Hola")
        activity = self.minute(1)
        self.lead("Ana").user_id = omar
        self.assertEqual(self.minute(2), activity)
        self.assertEqual(activity.user_id, omar)
        self.lead("Ana").user_id = False
        self.assertFalse(self.minute(3))

    def test_the_leader_hears_it_if_the_salesperson_has_left_or_may_not_read_it(self):
        self.writes("Hola")
        self.vera.active = False
        self.assertEqual(self.minute(1).user_id, self.leader)
        self.assertEqual(self.minute(2).user_id, self.leader)
        company = self.env["res.company"].create({"name": "Otra"})
        self.vera.active = True
        self.writes("Hola", name="Beto")
        self.env.cr.execute("UPDATE crm_lead SET company_id = %s WHERE id = %s", [company.id, self.lead("Beto").id])
        self.env.invalidate_all()
        self.leader.company_ids |= company
        self.minute(3)
        self.assertEqual(self.activities("Beto").user_id, self.leader)
        self.leader.active = False
        self.writes("Hola", 4, name="Clara")
        self.vera.active = False
        self.minute(5)
        self.assertFalse(self.activities("Clara"), "no user is left, and the job goes on")

    def test_the_leader_does_not_follow_the_opportunity(self):
        self.writes("Hola")
        self.vera.active = False
        self.minute(1)
        self.assertNotIn(self.leader.partner_id, self.lead("Ana").message_partner_ids)

    # --- Back from lost

    def test_who_comes_back_from_lost_is_always_reported(self):
        self.map[17].tells_salesperson = False
        self.writes("Hola")
        with self.time(1):
            self.lead("Ana").action_set_lost()
            self.env.flush_all()
        self.assertFalse(self.minute(2))
        with self.time(60):
            self.writes("Lo pensé mejor", 59)
        activity = self.minute(61)
        self.assertEqual((activity.summary, activity.user_id), ("Back from lost: Lo pensé mejor", self.vera))
        self.answers(62)
        self.assertFalse(self.minute(63))

    def test_who_comes_back_without_words_and_without_salesperson_is_the_leaders(self):
        self.map[17].tells_salesperson = False
        self.writes("Hola", commercial_advisor_id=None)
        with self.time(1):
            self.lead("Ana").action_set_lost()
            self.env.flush_all()
        with self.time(60):
            self.writes(None, 59, commercial_advisor_id=None)
        activity = self.minute(61)
        self.assertEqual(activity.user_id, self.leader)
        self.assertIn(self.stages[17].name, activity.summary)
        self.assertEqual(self.minute(62), activity)
        with self.time(63):
            self.lead("Ana").with_user(self.leader).stage_id = self.stages[19]
            self.env.flush_all()
        self.assertFalse(self.minute(64))

    # --- The ends

    def test_a_lost_or_deleted_opportunity_leaves_no_activity(self):
        for name in ("Ana", "Beto"):
            self.writes("Hola", name=name)
        self.assertEqual(len(self.minute(1)), 2)
        self.lead("Ana").action_set_lost()
        self.lead("Beto").unlink()
        self.assertFalse(self.minute(2))

    def test_a_merged_opportunity_has_one_activity(self):
        for name in ("Ana", "Beto"):
            self.writes("Hola", name=name)
        self.minute(1)
        merged = (self.lead("Ana") | self.lead("Beto")).merge_opportunity()
        activity = self.minute(2)
        self.assertEqual((len(activity), activity.res_id), (1, merged.id))

    def test_a_users_own_activity_of_our_type_stays(self):
        self.writes("Hola")
        self.minute(1)
        own = self.lead("Ana").activity_schedule("miasalud_crm.activity_words", user_id=self.vera.id)
        own.automated = False
        self.answers(2)
        self.assertEqual(self.minute(3), own)

    def test_erasing_the_person_removes_the_words(self):
        self.writes("Tengo diabetes")
        activity = self.minute(1)
        self.env["manychat.event"].with_user(self.bridge_user).erase("Ana")
        self.env.invalidate_all()
        self.assertFalse(activity.note)
        self.assertNotIn("diabetes", activity.summary or "")
        self.minute(2)
        self.assertNotIn("diabetes", f"{activity.summary}{activity.note}")

    # --- Many

    def test_many_customers_take_as_many_statements_as_few(self):
        def statements(names):
            self.apply(*(opportunity(name, 17, summary="Hola", commercial_advisor_id=700) for name in names))
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.minute(1)
            return self.env.cr.sql_log_count - before

        statements(["MC-warm"])
        few = statements([f"MC-{number}" for number in range(3)])
        many = statements([f"MC-{number}" for number in range(100, 160)])
        self.assertLessEqual(many, few + 10)
        self.assertEqual(len(self.activities()), 64)

    def test_batches_reach_everyone(self):
        for module in (manychat_waiting, manychat_waiting_notice):
            self.patch(module, "BATCH", 3)
        self.apply(
            *(opportunity(f"MC-{number}", 17, summary="Hola", commercial_advisor_id=700) for number in range(10))
        )
        self.assertEqual(len(self.minute(1)), 10)
        self.env["crm.lead"].search([("x_manychat_id", "=like", "MC-%")]).write({"manychat_waits_since": False})
        self.assertFalse(self.minute(2))

    def test_what_was_written_before_the_setting_is_no_news(self):
        self.map[17].tells_since = at(30).replace(tzinfo=None)
        self.apply(*(opportunity(f"MC-{n}", 17, summary="Hola", commercial_advisor_id=700) for n in range(10)))
        self.assertFalse(self.minute(40))

    def test_nothing_is_computed_where_nothing_is_wanted(self):
        self.env["manychat.stage.map"].search([]).write({"tells_salesperson": False})
        self.writes("Hola")
        self.env.flush_all()
        self.minute(1)
        with self.assertQueryCount(1):
            self.env["manychat.waiting"]._cron_waiting()

    def test_a_failure_stops_no_job(self):
        self.writes("Hola")
        self.patch(type(self.env["manychat.waiting"]), "_tell", lambda *_args: 1 / 0)
        with self.assertLogs(manychat_waiting.__name__, "ERROR") as logs:
            self.env["manychat.waiting"]._cron_waiting()
        self.assertNotIn("Hola", logs.output[0])
