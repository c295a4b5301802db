import random
from datetime import datetime, timedelta

from odoo.tests import TransactionCase, tagged

from ..working_time import WorkingTime


def moment(text):
    return datetime.fromisoformat(text)


@tagged("post_install", "-at_install")
class TestWorkingTime(TransactionCase):
    """Monday to Friday, 8–12 and 13–17, in Bogotá (UTC−5). March 2, 2026 is a Monday."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        hours = [
            (0, 0, {"name": "x", "dayofweek": str(day), "hour_from": begin, "hour_to": end, "day_period": period})
            for day in range(5)
            for begin, end, period in ((8, 12, "morning"), (13, 17, "afternoon"))
        ]
        cls.calendar = cls.env["resource.calendar"].create(
            {"name": "Bogotá", "tz": "America/Bogota", "attendance_ids": [(5,), *hours], "company_id": False}
        )

    def time(self, since="2026-01-05 00:00:00", calendar=None):
        return WorkingTime(self.calendar if calendar is None else calendar, moment(since))

    def holiday(self, start, end, **values):
        company = self.env["res.company"].browse(values.pop("company_id", self.env.company.id))
        leaves = self.env["resource.calendar.leaves"].with_company(company)
        leave = leaves.create({"name": "Fiesta", "date_from": start, "date_to": end, "resource_id": False, **values})
        self.assertEqual(leave.company_id, company)

    def test_hours_of_one_day(self):
        # 10:00 in Bogotá is 15:00 UTC.
        self.assertEqual(self.time().after(moment("2026-03-02 15:00:00"), 1.5), moment("2026-03-02 16:30:00"))

    def test_noon_night_and_weekend_do_not_count(self):
        # Friday 11:00: one hour until noon, four in the afternoon, three on Monday morning.
        self.assertEqual(self.time().after(moment("2026-03-06 16:00:00"), 8), moment("2026-03-09 16:00:00"))
        # Saturday: as from Monday 8:00.
        self.assertEqual(self.time().after(moment("2026-03-07 16:00:00"), 2), moment("2026-03-09 15:00:00"))

    def test_a_public_holiday_does_not_count_and_another_companys_does_not_matter(self):
        self.holiday("2026-03-03 05:00:00", "2026-03-04 04:59:59", calendar_id=self.calendar.id)
        # Monday 16:00: one hour; Tuesday is free; one hour on Wednesday.
        self.assertEqual(self.time().after(moment("2026-03-02 21:00:00"), 2), moment("2026-03-04 14:00:00"))
        company = self.env["res.company"].create({"name": "Otra"})
        self.calendar.company_id = self.env.company
        self.holiday("2026-03-04 05:00:00", "2026-03-05 04:59:59", calendar_id=False, company_id=company.id)
        self.assertEqual(self.time().after(moment("2026-03-02 21:00:00"), 2), moment("2026-03-04 14:00:00"))

    def test_the_clocks_of_a_time_zone_may_change(self):
        self.calendar.tz = "America/New_York"  # from March 8, 2026 on, 8:00 is 12:00 UTC and no longer 13:00
        self.assertEqual(self.time().after(moment("2026-03-06 21:00:00"), 2), moment("2026-03-09 13:00:00"))

    def test_hours_between_two_moments(self):
        time = self.time()
        self.assertEqual(time.between(moment("2026-03-06 16:00:00"), moment("2026-03-09 16:00:00")), 8)
        self.assertEqual(time.between(moment("2026-03-07 16:00:00"), moment("2026-03-08 16:00:00")), 0)
        self.assertEqual(time.between(moment("2026-03-09 16:00:00"), moment("2026-03-06 16:00:00")), 0)

    def test_without_working_hours_every_hour_counts(self):
        empty = self.env["resource.calendar"].create({"name": "Vacío", "attendance_ids": [(5,)]})
        for calendar in (empty, self.env["resource.calendar"]):
            time = self.time(calendar=calendar)
            self.assertEqual(time.after(moment("2026-03-07 16:00:00"), 3), moment("2026-03-07 19:00:00"))
            self.assertEqual(time.between(moment("2026-03-07 16:00:00"), moment("2026-03-08 16:00:00")), 24)

    def test_it_agrees_with_odoos_own_planning(self):
        chance = random.Random(6)
        self.holiday("2026-03-03 05:00:00", "2026-03-04 04:59:59", calendar_id=self.calendar.id)
        self.holiday("2026-04-10 15:00:00", "2026-04-12 12:00:00", calendar_id=self.calendar.id)
        time = self.time("2026-02-01 00:00:00")
        for _ in range(60):
            start = moment("2026-02-01 00:00:00") + timedelta(minutes=chance.randrange(60 * 24 * 60))
            hours = chance.choice([0.25, 1, 2.5, 4, 8, 60])
            planned = self.calendar.plan_hours(hours, start, compute_leaves=True)
            difference = abs(time.after(start, hours) - planned)
            self.assertLess(difference, timedelta(seconds=1), (start, hours))
            self.assertAlmostEqual(time.between(start, planned), hours, places=3)
