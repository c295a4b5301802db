"""Working hours between moments, and moments after working hours, for many questions about one calendar."""

from bisect import bisect_left, bisect_right
from datetime import timedelta, timezone

from .moments import naive_utc

#: The calendar is asked for so much time at once.
STEP = timedelta(weeks=8)
#: A calendar without any working hours for so long has none: then every hour counts.
PATIENCE = timedelta(days=366)
HOUR = timedelta(hours=1)


class WorkingTime:
    """The working time of a calendar from a moment on, in the calendar's time zone and without its public holidays.

    ``resource.calendar.plan_hours`` gives the same answer to one question. It reads the calendar each time.

    :param calendar: ``resource.calendar``, or an empty one: then every hour counts
    :param datetime since: the earliest moment of all questions; naive UTC, as all moments here
    """

    def __init__(self, calendar, since):
        self._calendar = calendar
        self._known_until = since
        self._starts, self._ends, self._hours_at_end = [], [], []

    def after(self, moment, hours):
        """The moment at which ``hours`` working hours have passed since ``moment``.

        :param float hours: more than 0
        """
        self._learn_until(moment)
        target = self._hours_at(moment) + hours
        while not self._hours_at_end or self._hours_at_end[-1] < target:
            before = self._hours_at_end[-1:]
            until = self._known_until + PATIENCE
            while self._known_until < until and self._hours_at_end[-1:] == before:
                self._learn_until(self._known_until + STEP)
            if self._hours_at_end[-1:] == before:
                return moment + hours * HOUR
        position = bisect_left(self._hours_at_end, target)
        return self._ends[position] - (self._hours_at_end[position] - target) * HOUR

    def between(self, start, end):
        """How many working hours there are between two moments; 0 if ``end`` is not the later one."""
        if end <= start:
            return 0.0
        self._learn_until(end)
        if not self._ends and self.after(start, 1) == start + HOUR:
            return (end - start) / HOUR
        return self._hours_at(end) - self._hours_at(start)

    def _hours_at(self, moment):
        """Working hours from the beginning until ``moment``."""
        ended = bisect_right(self._ends, moment)
        hours = self._hours_at_end[ended - 1] if ended else 0.0
        if ended < len(self._starts) and self._starts[ended] < moment:
            hours += (moment - self._starts[ended]) / HOUR
        return hours

    def _learn_until(self, moment):
        while self._known_until < moment:
            start, end = self._known_until, self._known_until + STEP
            for begin, stop in self._intervals(start, end):
                self._starts.append(begin)
                self._ends.append(stop)
                self._hours_at_end.append((self._hours_at_end[-1] if self._ends[1:] else 0.0) + (stop - begin) / HOUR)
            self._known_until = end

    def _intervals(self, start, end):
        if not self._calendar:
            return []
        # Odoo also takes the holidays of other companies, where no resource is named.
        holidays = [("time_type", "=", "leave")]
        if self._calendar.company_id:
            holidays.append(("company_id", "in", [False, self._calendar.company_id.id]))
        bounds = (moment.replace(tzinfo=timezone.utc) for moment in (start, end))
        intervals = self._calendar._work_intervals_batch(*bounds, domain=holidays)[False]
        return [(naive_utc(begin), naive_utc(stop)) for begin, stop, _attendance in intervals if stop > begin]
