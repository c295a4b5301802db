"""Time limits of answers: when each is due, and how the answer came, for the funnel."""

import json
import logging
import time
from collections import defaultdict
from datetime import timedelta

import psycopg2

from odoo import api, fields, models
from odoo.tools import SQL

from .. import private_sql
from ..working_time import WorkingTime

_logger = logging.getLogger(__name__)

#: Opportunities per transaction: a fraction of a second each.
BATCH = 500
#: Seconds that one run lasts at most. The job is due again a minute later.
RUN_SECONDS = 30
#: How old the overdue hours of those that wait now may be in the funnel.
MEASURED_FOR = timedelta(minutes=15)


class ManychatWaiting(models.Model):
    """A customer who waits for an answer in a stage with a time limit; until the funnel has it, also one who waited.

    A row with ``answered_at`` was added when a user answered. Each other row is the open one of its opportunity: the
    scheduled action makes and ends it. No user reads this table.
    """

    _name = "manychat.waiting"
    _description = "Customer Waiting for an Answer"
    _log_access = False

    lead_id = fields.Many2one("crm.lead", required=True, readonly=True, ondelete="cascade", index=True)
    period_id = fields.Many2one("manychat.stage.history", readonly=True, ondelete="cascade", index=True)
    since = fields.Datetime(required=True, readonly=True, help="The opportunity's *Waits for Us Since*.")
    start = fields.Datetime(readonly=True, help="From when the limit counts.")
    hours = fields.Float(readonly=True, help="The limit in working hours.")
    calendar_id = fields.Many2one("resource.calendar", readonly=True, ondelete="set null")
    calendar_version = fields.Char(readonly=True, help="Changes with the calendar's hours and holidays.")
    due = fields.Datetime(readonly=True)
    leader_due = fields.Datetime(readonly=True)
    salesperson_notified = fields.Boolean(readonly=True)
    leader_notified = fields.Boolean(readonly=True)
    overdue_hours = fields.Float(readonly=True)
    measured_at = fields.Datetime(readonly=True)
    answered_at = fields.Datetime(readonly=True)

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    def init(self):
        self.env.cr.execute(
            """
            CREATE UNIQUE INDEX IF NOT EXISTS manychat_waiting_one_open
                ON manychat_waiting (lead_id) WHERE answered_at IS NULL;
            CREATE INDEX IF NOT EXISTS manychat_waiting_answered
                ON manychat_waiting (id) WHERE answered_at IS NOT NULL;
            CREATE INDEX IF NOT EXISTS manychat_waiting_due
                ON manychat_waiting (due) WHERE answered_at IS NULL AND salesperson_notified IS NOT TRUE;
            CREATE INDEX IF NOT EXISTS manychat_waiting_leader_due
                ON manychat_waiting (leader_due) WHERE answered_at IS NULL AND leader_notified IS NOT TRUE;
            CREATE INDEX IF NOT EXISTS manychat_waiting_measured
                ON manychat_waiting (measured_at, due) WHERE answered_at IS NULL
            """
        )

    # ------------------------------------------------------------
    # Cron
    # ------------------------------------------------------------

    @api.model
    def _cron_waiting(self):
        """Keep the time limits of answers, and tell salespeople and team leaders about waiting customers.

        Each batch is a transaction of its own. If events wait for the relay, which may need this very thread, the run
        ends after a batch, and the rest follows in a minute. Never raises: Odoo deactivates a job that keeps failing.
        """
        if not self._is_wanted():
            return
        deadline = time.monotonic() + RUN_SECONDS
        for step in (self._count_answers, self._end, self._begin, self._measure, self._tell, self._close_notices):
            last = 0
            try:
                while last is not None:
                    with private_sql.private(self.env.cr):
                        last = step(last)
                        self.env.flush_all()
                    self.env.cr.commit()  # pylint: disable=invalid-commit
                    self.env.invalidate_all()
                    if time.monotonic() > deadline or self.env["manychat.event"]._relay_is_awaited():
                        return
            except psycopg2.errors.SerializationFailure:
                self._give_up()  # a user or a bridge was changing the same opportunity; the rest can wait a minute
            except Exception as error:
                self._give_up()
                _logger.error(
                    "Salespeople could not be notified of waiting customers; it is tried again in a minute: %s",
                    private_sql.failure(error),
                )

    def _give_up(self):
        self.env.invalidate_all(flush=False)
        self.env.cr.rollback()

    def _is_wanted(self):
        """Whether a stage has a limit or tells its salespeople, or something is left from when one did."""
        [(wanted,)] = self.env.execute_query(
            SQL(
                """
                SELECT EXISTS (SELECT FROM manychat_stage_map WHERE active AND (answer_hours > 0 OR tells_salesperson))
                    OR EXISTS (SELECT FROM manychat_waiting)
                    OR EXISTS (SELECT FROM crm_lead
                                WHERE manychat_back_at IS NOT NULL
                                  AND (manychat_noticed_at IS NULL OR manychat_noticed_at < manychat_back_at))
                    OR EXISTS (SELECT FROM mail_activity WHERE activity_type_id = ANY(%s) AND automated AND active)
                """,
                self._activity_types().ids,
            )
        )
        return wanted

    # ------------------------------------------------------------
    # Business: the funnel's figures
    # ------------------------------------------------------------

    def _count_answers(self, last):
        """Add one batch of the answers that users have given to the stage periods.

        :param int last: id of the last row of the batch before
        :return int: the same of this batch, ``None`` after the last one
        """
        statement = """
            SELECT id FROM manychat_waiting
             WHERE answered_at IS NOT NULL AND id > %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
        """
        answered = self._locked(statement, [last, BATCH])
        opened = self.search([("lead_id", "in", answered.lead_id.ids), ("answered_at", "=", False)])
        opened = {row.lead_id: row for row in opened}
        to_count, over = [], answered
        times = self._working_times(answered | self.union(*opened.values()))
        for row in answered:
            known = opened.get(row.lead_id, self)
            if known.since and known.since <= row.answered_at:
                over |= known
            if known.since != row.since:  # the customer wrote and was answered between two runs
                known = self
            hours = times(known.calendar_id or row._calendar())
            due = known.due or hours.after(row.start, row.hours)
            to_count.append((row.period_id.id, 1, int(row.answered_at > due), hours.between(due, row.answered_at)))
        self._add_to_periods(to_count)
        over.unlink()
        return answered[-1:].id or None

    def _end(self, last):
        """End one batch of the waitings that no user answered, and clear *Answer Due* where no customer waits.

        The chat closed or moved the opportunity, or the stage has no limit any more.

        :return int: see :meth:`_count_answers`
        """
        statement = """
            SELECT waiting.id
              FROM manychat_waiting waiting
              JOIN crm_lead lead ON lead.id = waiting.lead_id
         LEFT JOIN manychat_stage_map map ON map.stage_id = lead.stage_id AND map.active AND map.answer_hours > 0
             WHERE waiting.answered_at IS NULL AND waiting.id > %s
               AND (lead.manychat_waits_since IS NULL OR NOT lead.active OR map.id IS NULL)
             ORDER BY waiting.id LIMIT %s FOR UPDATE OF waiting SKIP LOCKED
        """
        ended = self._locked(statement, [last, BATCH])
        now, times = fields.Datetime.now(), self._working_times(ended)
        self._add_to_periods(
            [
                (row.period_id.id, 0, 0, times(row.calendar_id).between(row.due, row.period_id.left_at or now))
                for row in ended
                if row.due and row.due < now
            ]
        )
        ended.unlink()
        self._clear_due_dates()
        return ended[-1:].id or None

    def _clear_due_dates(self):
        statement = """
            SELECT id FROM crm_lead lead
             WHERE manychat_answer_due IS NOT NULL
               AND NOT EXISTS (SELECT FROM manychat_waiting WHERE lead_id = lead.id AND answered_at IS NULL)
             ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
        """
        ids = [row["id"] for row in private_sql.fetch(self.env.cr, statement, [BATCH])]
        if ids:
            self.env.cr.execute("UPDATE crm_lead SET manychat_answer_due = NULL WHERE id = ANY(%s)", [ids])

    def _add_to_periods(self, figures):
        """:param list figures: tuples of period id, answers, late answers, overdue hours"""
        totals = defaultdict(lambda: [0, 0, 0.0])
        for period_id, *counts in figures:
            totals[period_id] = [total + count for total, count in zip(totals[period_id], counts, strict=True)]
        rows = [(period_id, *total) for period_id, total in totals.items() if period_id and any(total)]
        if rows:
            self.env.cr.execute(
                SQL(
                    """
                    UPDATE manychat_stage_history stage_period
                       SET answers = COALESCE(stage_period.answers, 0) + added.answers,
                           answers_late = COALESCE(stage_period.answers_late, 0) + added.late,
                           overdue_hours = COALESCE(stage_period.overdue_hours, 0) + added.hours
                      FROM (VALUES %s) AS added (id, answers, late, hours)
                     WHERE stage_period.id = added.id
                    """,
                    SQL(", ").join(SQL("(%s, %s, %s, %s::float8)", *row) for row in rows),
                )
            )

    # ------------------------------------------------------------
    # Business: due dates
    # ------------------------------------------------------------

    def _begin(self, last):
        """Begin one batch of waitings, or find their new due dates: stage, team, limit or calendar has changed.

        The clock of a limit starts when the customer wrote, or when the chat brought the waiting customer into a stage
        with a limit, and not again when the chat moves them on. Words from before the limit was set do not count.

        :return int: see :meth:`_count_answers`
        """
        if not self.env["manychat.stage.map"]._limited_stage_ids():
            return None
        versions = self._calendar_versions()
        # As the transaction's first statement, it sees what is committed when it locks.
        query = SQL(
            """
            FROM crm_lead lead
            JOIN manychat_stage_map map ON map.stage_id = lead.stage_id AND map.active AND map.answer_hours > 0
       LEFT JOIN crm_team team ON team.id = lead.team_id
            JOIN res_company company ON company.id = COALESCE(lead.company_id, team.company_id, %s)
       LEFT JOIN manychat_stage_history period ON period.lead_id = lead.id AND period.left_at IS NULL
       LEFT JOIN manychat_waiting waiting ON waiting.lead_id = lead.id AND waiting.answered_at IS NULL
      CROSS JOIN LATERAL (SELECT COALESCE(team.manychat_calendar_id, company.resource_calendar_id) AS id) calendar
           WHERE lead.manychat_waits_since IS NOT NULL AND lead.active
             AND GREATEST(lead.manychat_waits_since, lead.manychat_words_at, period.entered_at) >= map.limited_since
            """,
            self.env.company.id,
        )
        statement = SQL(
            """
            SELECT lead.id %s
               AND lead.id > %s
               AND (waiting.id IS NULL OR waiting.since <> lead.manychat_waits_since
                    OR waiting.hours <> map.answer_hours
                    OR waiting.period_id IS DISTINCT FROM period.id
                    OR waiting.calendar_id IS DISTINCT FROM calendar.id
                    OR waiting.calendar_version IS DISTINCT FROM %s::jsonb ->> calendar.id::text
                    OR lead.manychat_answer_due IS DISTINCT FROM waiting.due)
             ORDER BY lead.id LIMIT %s FOR NO KEY UPDATE OF lead SKIP LOCKED
            """,
            query,
            last,
            json.dumps(versions),
            BATCH,
        )
        ids = [row["id"] for row in private_sql.fetch(self.env.cr, statement)]
        if not ids:
            return None
        self.env.cr.execute(
            SQL(
                """
                SELECT lead.id AS lead_id, lead.manychat_waits_since AS since, lead.manychat_words_at AS words_at,
                       map.answer_hours AS hours, map.limited_since, period.id AS period_id, period.entered_at,
                       calendar.id AS calendar_id, waiting.start, waiting.since AS known_since,
                       waiting.salesperson_notified, waiting.leader_notified
                %s AND lead.id = ANY(%s)
                """,
                query,
                ids,
            )
        )
        self._write_due_dates(self.env.cr.dictfetchall(), versions)
        return ids[-1]

    def _write_due_dates(self, waitings, versions):
        now = fields.Datetime.now()
        for waiting in waitings:
            waiting["start"] = _clock_start(waiting)
        since = min((waiting["start"] for waiting in waitings), default=now)
        times = self._working_times(self, since)
        rows = []
        for waiting in waitings:
            hours = times(self.env["resource.calendar"].browse(waiting["calendar_id"] or ()))
            due = hours.after(waiting["start"], waiting["hours"])
            leader_due = hours.after(due, waiting["hours"])
            row = {
                **{name: waiting[name] for name in ("lead_id", "period_id", "since", "start", "hours", "calendar_id")},
                "calendar_version": versions.get(str(waiting["calendar_id"])),
                "due": due,
                "leader_due": leader_due,
                # Each hears of it once, unless the deadline has moved into the future.
                "salesperson_notified": bool(waiting["salesperson_notified"]) and due <= now,
                "leader_notified": bool(waiting["leader_notified"]) and leader_due <= now,
            }
            rows.append(row)
        if not rows:
            return
        names = list(rows[0])
        columns = SQL(", ").join(SQL.identifier(name) for name in names)
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO manychat_waiting (%(columns)s) VALUES %(rows)s
                ON CONFLICT (lead_id) WHERE answered_at IS NULL DO UPDATE
                   SET (%(columns)s) = ROW(%(excluded)s), measured_at = NULL, overdue_hours = NULL
                """,
                columns=columns,
                rows=SQL(", ").join(SQL("%s", tuple(row.values())) for row in rows),
                excluded=SQL(", ").join(SQL("EXCLUDED.%s", SQL.identifier(name)) for name in names),
            )
        )
        # Not over the ORM: to no user and no automation is it a change of the opportunity.
        self.env.cr.execute(
            """
            UPDATE crm_lead SET manychat_answer_due = waiting.due
              FROM manychat_waiting waiting
             WHERE waiting.lead_id = crm_lead.id AND waiting.answered_at IS NULL AND crm_lead.id = ANY(%s)
            """,
            [[row["lead_id"] for row in rows]],
        )

    def _measure(self, last):
        """Measure for one batch how long the answer is overdue by now, for the funnel.

        :return int: see :meth:`_count_answers`
        """
        now = fields.Datetime.now()
        statement = """
            SELECT id FROM manychat_waiting
             WHERE answered_at IS NULL AND due < %s AND (measured_at IS NULL OR measured_at < %s) AND id > %s
             ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
        """
        overdue = self._locked(statement, [now, now - MEASURED_FOR, last, BATCH])
        times = self._working_times(overdue)
        for row in overdue:
            row.write({"overdue_hours": times(row.calendar_id).between(row.due, now), "measured_at": now})
        return overdue[-1:].id or None

    def _locked(self, statement, params):
        return self.browse(row["id"] for row in private_sql.fetch(self.env.cr, statement, params))

    def _working_times(self, rows, since=None):
        """A function from a calendar to its :class:`WorkingTime`, which serves all questions about ``rows``."""
        moments = [moment for row in rows for moment in (row.start, row.since, row.due) if moment]
        since = since or min(moments, default=fields.Datetime.now())
        times = {}

        def working_time(calendar):
            if calendar.id not in times:
                times[calendar.id] = WorkingTime(calendar, since)
            return times[calendar.id]

        return working_time

    def _calendar(self):
        self.ensure_one()
        lead = self.lead_id
        company = lead.company_id or lead.team_id.company_id or self.env.company
        return lead.team_id.manychat_calendar_id or company.resource_calendar_id

    @api.model
    def _calendar_versions(self):
        """What changes whenever the hours or the holidays of a calendar change: dict of calendar id, as text → text."""
        self.env.cr.execute(
            """
            SELECT calendar.id::text,
                   concat_ws(' ', calendar.write_date,
                       (SELECT concat(count(*), ' ', max(write_date)) FROM resource_calendar_attendance
                         WHERE calendar_id = calendar.id),
                       (SELECT concat(count(*), ' ', max(write_date)) FROM resource_calendar_leaves
                         WHERE resource_id IS NULL AND (calendar_id = calendar.id OR calendar_id IS NULL)))
              FROM resource_calendar calendar
             WHERE id IN (SELECT manychat_calendar_id FROM crm_team UNION SELECT resource_calendar_id FROM res_company)
            """
        )
        return dict(self.env.cr.fetchall())


def _clock_start(waiting):
    """From when the limit of the stage counts for ``waiting``, a dict of :meth:`ManychatWaiting._begin`."""
    if waiting["start"] and waiting["known_since"] == waiting["since"]:
        return waiting["start"]
    # An event may carry a date in the future.
    start = min(max(waiting["since"], waiting["entered_at"] or waiting["since"]), fields.Datetime.now())
    return start if start >= waiting["limited_since"] else waiting["words_at"] or start
