from odoo.tests import tagged

from ..models import manychat_waiting, manychat_waiting_notice
from .common import at, opportunity
from .test_waiting_notices import WaitingCase

HOUR = 60
#: A whole day: from Monday 9:00 to Tuesday 9:00 and so on.
DAY = 24 * HOUR


@tagged("post_install", "-at_install")
class TestWaitingLimits(WaitingCase):
    """A stage says within how many working hours customers get an answer; work is from 8 to 17."""

    def setUp(self):
        super().setUp()
        self.limit(17, 4)

    def due(self, name="Ana"):
        return self.lead(name).manychat_answer_due

    def moment(self, minutes):
        return at(minutes).replace(tzinfo=None)

    def figures(self, *stages):
        """Of each stage: answers, late ones, in time (%), overdue now, overdue hours."""
        measures = [
            "answers:sum",
            "answers_late:sum",
            "answered_in_time:avg",
            "overdue_now:count_distinct",
            "overdue_hours:sum",
        ]
        self.env.flush_all()
        rows = self.env["manychat.funnel"]._read_group([("lead_id.type", "!=", "x")], ["map_id"], measures)
        found = {row.manychat_stage_id: [value or 0 for value in values] for row, *values in rows}
        return [[round(value, 2) for value in found[stage]] for stage in stages]

    # --- Due dates

    def test_the_answer_is_due_after_the_working_hours_of_the_limit(self):
        self.writes("Hola", 0)
        self.minute(1)
        self.assertEqual(self.due(), self.moment(4 * HOUR))
        self.writes("Hola", 7 * HOUR, name="Beto")  # 16:00: one hour today, three tomorrow
        self.minute(7 * HOUR + 1)
        self.assertEqual(self.due("Beto"), self.moment(DAY + 2 * HOUR))

    def test_a_stage_without_limit_has_no_due_date(self):
        self.writes("Hola", stage=19)
        self.minute(1)
        self.assertFalse(self.due())
        self.assertFalse(self.env["manychat.waiting"].search([("lead_id", "=", self.lead("Ana").id)]))

    def test_the_team_has_hours_of_its_own(self):
        self.team.manychat_calendar_id = self.calendar_of("Tarde", 14, 20)
        self.writes("Hola", 0)
        self.minute(1)
        self.assertEqual(self.due(), self.moment(9 * HOUR))

    def test_new_hours_a_holiday_another_team_and_another_limit_move_it(self):
        self.writes("Hola", 0)
        self.minute(1)
        self.team.manychat_calendar_id = self.calendar_of("Tarde", 14, 20)
        self.minute(2)
        self.assertEqual(self.due(), self.moment(9 * HOUR))
        holiday = self.env["resource.calendar.leaves"].create(
            {
                "name": "Fiesta",
                "date_from": self.moment(-9 * HOUR),
                "date_to": self.moment(14 * HOUR),
                "calendar_id": self.team.manychat_calendar_id.id,
            }
        )
        self.minute(3)
        self.assertEqual(self.due(), self.moment(DAY + 9 * HOUR))
        holiday.unlink()
        self.minute(4)
        self.assertEqual(self.due(), self.moment(9 * HOUR))
        other = self.env["crm.team"].create({"name": "Otro equipo", "user_id": self.leader.id})
        self.lead("Ana").write({"team_id": other.id})
        self.minute(5)
        self.assertEqual(self.due(), self.moment(4 * HOUR))
        self.map[17].answer_hours = 2
        self.minute(6)
        self.assertEqual(self.due(), self.moment(2 * HOUR))
        self.map[17].answer_hours = 0
        self.minute(7)
        self.assertFalse(self.due())
        self.assertFalse(self.env["manychat.waiting"].search([]))

    def test_a_calendar_that_is_deleted_gives_way_to_the_companys(self):
        calendar = self.team.manychat_calendar_id = self.calendar_of("Tarde", 14, 20)
        self.writes("Hola", 0)
        self.minute(1)
        self.team.manychat_calendar_id = False
        calendar.unlink()
        self.minute(2)
        self.assertEqual(self.due(), self.moment(4 * HOUR))

    def test_the_clock_goes_on_when_the_chat_moves_a_waiting_customer(self):
        self.limit(19, 2)
        self.writes("Hola", 0)
        self.minute(1)
        self.writes("Quiero comprar", HOUR, stage=19)
        self.minute(HOUR + 1)
        self.assertEqual(self.due(), self.moment(2 * HOUR))
        self.writes(None, 2 * HOUR, stage=20)  # a stage without limit
        self.minute(2 * HOUR + 1)
        self.assertFalse(self.due())
        self.writes(None, 3 * HOUR, stage=19)
        self.minute(3 * HOUR + 1)
        self.assertEqual(self.due(), self.moment(5 * HOUR), "the limit counts from the entry")

    def test_entering_by_the_chat_begins_a_limit_without_any_words(self):
        self.writes(None, 0)
        self.minute(1)
        self.assertEqual(self.due(), self.moment(4 * HOUR))
        [activity] = self.minute(4 * HOUR + 1)
        self.assertIn(self.stages[17].name, activity.summary)

    def test_what_customers_wrote_before_the_limit_was_set_does_not_count(self):
        self.writes("Hola", 0)
        with self.time(HOUR):
            self.map[17].answer_hours = 0
            self.map[17].answer_hours = 4
        self.minute(HOUR + 1)
        self.assertFalse(self.due())
        self.writes("¿Hola?", 2 * HOUR)
        self.minute(2 * HOUR + 1)
        self.assertEqual(self.due(), self.moment(6 * HOUR))

    # --- Overdue

    def test_the_salesperson_hears_it_then_the_leader_and_each_once(self):
        mails = self.mails()
        self.map[17].tells_salesperson = False
        self.writes("Quiero una cita", 0)
        mails = self.mails()
        self.assertFalse(self.minute(4 * HOUR - 1))
        [activity] = self.minute(4 * HOUR)
        self.assertEqual((activity.user_id, activity.activity_type_id), (self.vera, self.type("activity_overdue")))
        self.assertEqual(activity.summary, "Answer overdue: Quiero una cita")
        self.assertEqual(activity.date_deadline, at(0).date())
        self.assertEqual(self.minute(8 * HOUR - 1), activity)
        activity, leaders = self.minute(8 * HOUR)
        self.assertEqual((leaders.user_id, leaders.activity_type_id), (self.leader, self.type("activity_leader")))
        self.assertEqual(leaders.summary, f"{self.vera.name} has not answered: Quiero una cita")
        (activity | leaders).unlink()
        self.assertFalse(self.minute(9 * HOUR))
        self.assertEqual(self.mails(), mails)

    def test_the_notice_of_words_becomes_the_notice_of_the_late_answer(self):
        self.writes("Quiero una cita", 0)
        [activity] = self.minute(1)
        self.assertEqual(self.minute(4 * HOUR), activity)
        self.assertEqual(activity.activity_type_id, self.type("activity_overdue"))

    def test_an_answer_ends_both_and_says_so_in_the_chatter(self):
        self.writes("Quiero una cita", 0)
        self.minute(4 * HOUR)
        self.assertEqual(len(self.minute(8 * HOUR)), 2)
        self.answers(9 * HOUR)
        self.assertFalse(self.due())
        self.assertFalse(self.minute(9 * HOUR + 1))
        bodies = " ".join(self.lead("Ana").message_ids.mapped("body"))
        self.assertIn("Answered on", bodies)

    def test_the_leader_who_is_done_has_not_answered_the_customer(self):
        self.writes("Quiero una cita", 0)
        self.minute(4 * HOUR)
        _activity, leaders = self.minute(8 * HOUR)
        with self.time(8 * HOUR + 5):
            leaders.with_user(self.leader).action_feedback(feedback="Hablé con Vera")
        self.assertTrue(self.lead("Ana").manychat_waits_since)
        self.assertEqual(len(self.minute(8 * HOUR + 6)), 1)

    def test_without_salesperson_the_leader_hears_it_at_once(self):
        self.writes("Hola", 0, commercial_advisor_id=None)
        self.assertFalse(self.minute(1))
        [activity] = self.minute(4 * HOUR)
        self.assertEqual(activity.user_id, self.leader)
        self.assertEqual(self.minute(8 * HOUR), activity)

    def test_a_leader_who_is_the_salesperson_hears_it_once(self):
        self.team.user_id = self.vera
        self.writes("Hola", 0)
        self.minute(4 * HOUR)
        self.assertEqual(len(self.minute(8 * HOUR)), 1)

    def test_a_longer_limit_takes_the_notices_back(self):
        self.writes("Hola", 0)
        self.minute(4 * HOUR)
        self.assertEqual(len(self.minute(8 * HOUR)), 2)
        self.map[17].answer_hours = 40
        [activity] = self.minute(8 * HOUR + 1)
        self.assertEqual(activity.activity_type_id, self.type("activity_words"))
        self.map[17].answer_hours = 4
        self.assertEqual(len(self.minute(8 * HOUR + 2)), 2, "overdue again")

    def test_lost_and_merged_opportunities_are_not_overdue(self):
        for name in ("Ana", "Beto"):
            self.writes("Hola", 0, name=name)
        self.minute(4 * HOUR)
        with self.time(4 * HOUR + 1):
            merged = (self.lead("Ana") | self.lead("Beto")).merge_opportunity()
        self.assertEqual(self.minute(4 * HOUR + 2).mapped("res_id"), merged.ids)
        with self.time(4 * HOUR + 3):
            merged.action_set_lost()
            self.env.flush_all()
        self.assertFalse(self.minute(4 * HOUR + 4))
        self.assertFalse(merged.manychat_answer_due)

    def test_the_filter_finds_who_is_overdue_now(self):
        for name, minutes in (("Ana", 0), ("Beto", HOUR), ("Clara", 0)):
            self.writes("Hola", minutes, name=name)
        self.minute(HOUR + 1)
        self.answers(2 * HOUR, name="Clara")
        leads = self.lead("Ana") | self.lead("Beto") | self.lead("Clara")
        with self.time(4 * HOUR + 30):
            found = leads.search([("id", "in", leads.ids), ("manychat_answer_overdue", "=", True)])
            others = leads.search([("id", "in", leads.ids), ("manychat_answer_overdue", "=", False)])
            self.assertEqual(leads.mapped("manychat_answer_overdue"), [lead in found for lead in leads])
        self.assertEqual(found, self.lead("Ana"))
        self.assertEqual(others, leads - found)

    # --- The funnel

    def test_the_funnel_counts_answers_and_overdue_hours(self):
        """Ana waits from 9:00, answered at 12:00: in time. She writes at 13:00, due on Tuesday at 8:00 (four hours:
        13–17), answered on Tuesday at 10:30: 2.5 hours late. Beto writes at 9:00, due at 13:00, answered at 14:00: one
        hour late. Clara writes on Monday at 15:00, due on Tuesday at 10:00, waits still at 16:00: six hours."""
        for name in ("Ana", "Beto"):
            self.writes("Hola", 0, name=name)
        self.minute(1)
        self.answers(3 * HOUR)
        self.minute(3 * HOUR + 1)
        self.writes("Una pregunta", 4 * HOUR)
        self.minute(4 * HOUR + 1)
        self.answers(5 * HOUR, name="Beto")
        self.writes("Hola", 6 * HOUR, name="Clara")
        self.minute(6 * HOUR + 1)
        self.answers(DAY + 90)
        self.minute(DAY + 91)
        self.minute(DAY + 7 * HOUR)
        with self.time(DAY + 7 * HOUR):
            self.assertEqual(self.figures(17), [[3, 2, 33.33, 1, 9.5]])

    def test_answers_within_a_minute_count_too(self):
        self.writes("Hola", 0)
        self.answers(0.25)
        self.writes("¿Y el precio?", 0.5)
        self.answers(0.75)
        self.minute(1)
        self.assertEqual(self.figures(17), [[2, 0, 100, 0, 0]])

    def test_a_late_move_by_hand_is_a_late_answer_in_the_stage_that_it_leaves(self):
        self.limit(19, 1)
        self.writes("Hola", 0)
        self.minute(1)
        with self.time(6 * HOUR):
            self.lead("Ana").with_user(self.vera).stage_id = self.stages[19]
            self.env.flush_all()
        self.minute(6 * HOUR + 1)
        with self.time(6 * HOUR + 1):
            self.assertEqual(self.figures(17, 19), [[1, 1, 0, 0, 2], [0, 0, 0, 0, 0]])

    def test_who_is_moved_on_by_the_chat_was_not_answered(self):
        self.writes("Hola", 0)
        self.minute(5 * HOUR)
        self.writes(None, 6 * HOUR, stage=19)
        self.minute(6 * HOUR + 1)
        with self.time(6 * HOUR + 1):
            self.assertEqual(self.figures(17), [[0, 0, 0, 0, 2]])

    def test_salesperson_team_and_channel_have_figures_of_their_own(self):
        self.writes("Hola", 0, channel="Facebook")
        self.writes("Hola", 0, name="Beto", channel="Instagram")
        self.answers(6 * HOUR)
        self.minute(6 * HOUR + 1)
        self.env.flush_all()
        for field, value in (("channel", "Facebook"), ("user_id", self.vera), ("team_id", self.team)):
            rows = self.env["manychat.funnel"]._read_group([("answers", ">", 0)], [field], ["overdue_hours:sum"])
            self.assertEqual(rows, [(value, 2.0)])

    # --- Many

    def test_many_take_as_many_statements_as_few(self):
        def statements(names, minutes):
            self.apply(*(opportunity(name, 17, minutes, summary="Hola", commercial_advisor_id=700) for name in names))
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.minute(minutes + 1)
            return self.env.cr.sql_log_count - before

        statements(["MC-warm"], 0)
        few = statements([f"MC-{number}" for number in range(3)], 1)
        many = statements([f"MC-{number}" for number in range(100, 150)], 2)
        self.assertLessEqual(many, few + 10)

    def test_batches_reach_everyone(self):
        for module in (manychat_waiting, manychat_waiting_notice):
            self.patch(module, "BATCH", 3)
        self.apply(*(opportunity(f"MC-{n}", 17, summary="Hola", commercial_advisor_id=700) for n in range(10)))
        self.minute(1)
        self.assertEqual(self.env["manychat.waiting"].search_count([("due", "!=", False)]), 10)
        self.minute(4 * HOUR)
        self.assertEqual(len(self.minute(8 * HOUR)), 20)
        with self.time(9 * HOUR):
            leads = self.env["crm.lead"].search([("x_manychat_id", "=like", "MC-%")])
            leads.with_user(self.vera).action_manychat_answered()
            self.env.flush_all()
        self.assertFalse(self.minute(9 * HOUR + 1))
        self.assertEqual(self.figures(17), [[10, 10, 0, 0, 40]])  # an hour each until 17:00 … and three more

    def test_an_answer_costs_one_statement_where_a_limit_is_set_and_none_elsewhere(self):
        for name, stage in (("Ana", 17), ("Beto", 19)):
            self.writes("Hola", 0, name=name, stage=stage)
        costs = []
        for name in ("Ana", "Beto"):
            lead = self.lead(name)
            lead.manychat_waits_since  # noqa: B018 (read)
            self.env["manychat.stage.map"]._limited_stage_ids()
            self.env.flush_all()
            with self.time(5):
                before = self.env.cr.sql_log_count
                lead.write({"manychat_answered_at": self.moment(5), "manychat_waits_since": False})
                self.env.flush_all()
                costs.append(self.env.cr.sql_log_count - before)
        self.assertEqual(len(self.env["manychat.waiting"].search([])), 1)
        self.assertLessEqual(costs[0], costs[1] + 1)
