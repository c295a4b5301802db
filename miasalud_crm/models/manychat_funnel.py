from collections.abc import Collection
from contextlib import contextmanager, suppress
from datetime import timedelta

from psycopg2.errors import InFailedSqlTransaction

from odoo import api, fields, models
from odoo.tools import SQL

from ..rights import access_required
from .manychat_stage_history import CHAT, PERSON

#: In the context of a query: those of its conditions that restrict which periods of the history are asked for.
PERIODS = "manychat_funnel_periods"
#: A longer period has most of the opportunities: choosing them first costs more than it saves.
SHORT_PERIOD = timedelta(days=92)
#: So many stage periods are grouped in memory, some 60 bytes each for all measures. More are sorted, on the disk.
IN_MEMORY = 5_000_000


class ManychatFunnel(models.Model):
    """The funnel: one row per stage period, with the fields of the opportunity that users group and filter by.

    Each group (a stage, a month, a total) counts an opportunity once, no matter how often it came back.
    """

    _name = "manychat.funnel"
    _description = "ManyChat Funnel"
    _auto = False
    _order = "entered_at desc, id desc"
    _rec_name = "lead_id"
    _depends = {
        "manychat.stage.history": [
            "lead_id",
            "stage_id",
            "previous_stage_id",
            "next_stage_id",
            "entered_at",
            "left_at",
            "lost",
            "moved_by",
            "user_id",
            "answers",
            "answers_late",
            "overdue_hours",
        ],
        "manychat.waiting": ["period_id", "answered_at", "due", "overdue_hours"],
        "crm.lead": [
            "active",
            "stage_id",
            "user_id",
            "team_id",
            "company_id",
            "manychat_channel",
            "manychat_commercial_advisor_id",
            "manychat_medical_advisor_id",
        ],
        "crm.stage": ["is_won"],
        "manychat.stage.map": ["stage_id", "sequence", "active"],
    }

    # Dimensions
    lead_id = fields.Many2one("crm.lead", "Opportunity", readonly=True)
    map_id = fields.Many2one("manychat.stage.map", "ManyChat Stage", readonly=True)
    stage_id = fields.Many2one("crm.stage", "Pipeline Stage", readonly=True)
    previous_stage_id = fields.Many2one("crm.stage", "Came From", readonly=True)
    next_stage_id = fields.Many2one("crm.stage", "Went To", readonly=True)
    entered_at = fields.Datetime("Entered On", readonly=True)
    left_at = fields.Datetime("Left On", readonly=True)
    moved_by = fields.Selection([(CHAT, "Chat"), (PERSON, "Person")], readonly=True)
    mover_id = fields.Many2one("res.users", "Moved By (User)", readonly=True)
    channel = fields.Char(readonly=True)
    commercial_advisor_id = fields.Many2one("manychat.advisor", "Commercial Adviser", readonly=True)
    medical_advisor_id = fields.Many2one("manychat.advisor", "Medical Adviser", readonly=True)
    user_id = fields.Many2one("res.users", "Salesperson", readonly=True)
    team_id = fields.Many2one("crm.team", "Sales Team", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    status = fields.Selection([("open", "Open"), ("won", "Won"), ("lost", "Lost")], "Status Now", readonly=True)

    # Measures: each holds the opportunity's id where it counts, so that an opportunity that came twice counts once
    entered = fields.Integer(
        readonly=True, aggregator="count_distinct", help="How many opportunities have entered the stage."
    )
    in_stage = fields.Integer(
        "In Stage Now",
        readonly=True,
        aggregator="count_distinct",
        help="How many opportunities are in the stage now. Lost opportunities are in no stage.",
    )
    left = fields.Integer(
        readonly=True,
        aggregator="count_distinct",
        help="How many opportunities have left the stage, including lost ones. An opportunity that has come back also "
        "counts as in the stage now.",
    )
    lost = fields.Integer(
        readonly=True,
        aggregator="count_distinct",
        help="How many opportunities were lost (or archived) while they were in the stage.",
    )
    advanced = fields.Integer(
        "Went Further",
        readonly=True,
        aggregator="count_distinct",
        help="How many opportunities later reached a stage further down the stage map, or a won stage, by any way.",
    )
    convertible = fields.Integer(
        "Can Go Further",
        readonly=True,
        aggregator="count_distinct",
        help="The opportunities from which the conversion is calculated.",
    )
    conversion = fields.Float(
        "Conversion (%)",
        readonly=True,
        aggregator="avg",
        digits=(5, 1),
        help="The part of the opportunities in the stage that later reached a stage further down the stage map, or a "
        "won stage. They may skip stages or go back in between. A won stage has no conversion: no stage comes after "
        "it.",
    )
    hours = fields.Float(
        "Median Time in Stage (hh:mm)",
        readonly=True,
        aggregator="avg",
        help="Half of the completed stage periods were shorter, half were longer, in hours and minutes. If an "
        "opportunity came more than once, each period counts.",
    )
    # Time limits of the stage map. The stage periods have the waits that ended, the table of waits those that go on.
    answers = fields.Integer(
        "Answers with Time Limit",
        readonly=True,
        aggregator="sum",
        help="How often users answered customers who waited in the stage while it had a time limit.",
    )
    answers_late = fields.Integer(
        "Answered Late",
        readonly=True,
        aggregator="sum",
        help="How many of these answers came after the time limit.",
    )
    answered_in_time = fields.Float(
        "Answered in Time (%)",
        readonly=True,
        aggregator="avg",
        digits=(5, 1),
        help="The part of these answers that came within the time limit. Customers who still wait do not count.",
    )
    overdue_now = fields.Integer(
        readonly=True,
        aggregator="count_distinct",
        help="How many opportunities wait for an answer now, after the time limit.",
    )
    overdue_hours = fields.Float(
        "Time Overdue (hh:mm)",
        readonly=True,
        aggregator="sum",
        help="Working hours that customers waited in the stage after the time limit, in hours and minutes. Those who "
        "wait now are included, up to a quarter of an hour ago.",
    )

    # ------------------------------------------------------------
    # ORM
    # ------------------------------------------------------------

    @api.model
    def _search(self, domain, *args, **kwargs):
        periods = tuple(leaf for leaf in _conjuncts(list(domain)) if _period_condition(leaf))
        return super(ManychatFunnel, self.with_context(**{PERIODS: periods}))._search(domain, *args, **kwargs)

    @api.model
    def _read_group(self, *args, **kwargs):
        with self._without_compiling():
            return super()._read_group(*args, **kwargs)

    @api.model
    def _read_grouping_sets(self, *args, **kwargs):  # since Odoo 19
        with self._without_compiling():
            return super()._read_grouping_sets(*args, **kwargs)

    @contextmanager
    def _without_compiling(self):
        """Keep PostgreSQL from compiling the queries of the block, which takes longer than it saves: up to seconds."""
        cr = self.env.cr
        cr.execute("SELECT current_setting('jit'), set_config('jit', 'off', true)")
        before = cr.fetchone()[0]
        try:
            yield
        finally:
            # A transaction that failed forgets the setting by itself.
            with suppress(InFailedSqlTransaction):
                cr.execute("SELECT set_config('jit', %s, true)", [before], log_exceptions=False)

    @property
    def _table_query(self):
        # The window sees all periods of an opportunity. PostgreSQL does not know that opportunities without any period
        # that is asked for can be left out, and would sort the periods of years for those of a week.
        conditions = [_period_condition(leaf) for leaf in self.env.context.get(PERIODS) or ()]
        asked_for = SQL(
            "lead_id IN (SELECT lead_id FROM manychat_stage_history WHERE %s)",
            SQL(" AND ").join([SQL("TRUE"), *filter(None, conditions)]),
        )
        return SQL(
            """
            WITH step AS (  -- the steps of the funnel: mapped stages in the map's order; a won stage is its end
                SELECT stage.id AS stage_id, map.id AS map_id,
                       CASE WHEN stage.is_won THEN 'infinity'
                            WHEN map.id IS NOT NULL
                            THEN (row_number() OVER (ORDER BY map.sequence, map.id))::float8 END AS position
                  FROM crm_stage stage
             LEFT JOIN (SELECT DISTINCT ON (stage_id) id, stage_id, sequence
                          FROM manychat_stage_map
                         ORDER BY stage_id, active DESC, sequence, id) map ON map.stage_id = stage.id
            ), steps AS (  -- the same by the stage's id; no join, so that the periods stay in the index's order
                SELECT array_agg(COALESCE(map_id, 0) ORDER BY number) AS maps,
                       array_agg(COALESCE(position, 0) ORDER BY number) AS positions
                  FROM generate_series(1, (SELECT max(id) FROM crm_stage)) AS number
             LEFT JOIN step ON stage_id = number
            ), stage_period AS (
                SELECT history.*,
                       NULLIF((SELECT maps FROM steps)[history.stage_id], 0) AS map_id,
                       NULLIF((SELECT positions FROM steps)[history.stage_id], 0) AS position,
                       max((SELECT positions FROM steps)[history.stage_id]) OVER (
                           PARTITION BY history.lead_id ORDER BY history.id DESC
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS furthest_later
                  FROM manychat_stage_history history
                 WHERE history.%s
            )
            SELECT sp.id,
                   sp.lead_id,
                   sp.map_id,
                   sp.stage_id,
                   sp.previous_stage_id,
                   sp.next_stage_id,
                   sp.entered_at,
                   sp.left_at,
                   sp.moved_by,
                   sp.user_id AS mover_id,
                   lead.manychat_channel AS channel,
                   lead.manychat_commercial_advisor_id AS commercial_advisor_id,
                   lead.manychat_medical_advisor_id AS medical_advisor_id,
                   lead.user_id,
                   lead.team_id,
                   lead.company_id,
                   CASE WHEN NOT lead.active THEN 'lost' WHEN now_in.is_won THEN 'won' ELSE 'open' END AS status,
                   sp.lead_id AS entered,
                   CASE WHEN sp.left_at IS NULL THEN sp.lead_id END AS in_stage,
                   CASE WHEN sp.left_at IS NOT NULL THEN sp.lead_id END AS "left",
                   CASE WHEN sp.lost THEN sp.lead_id END AS lost,
                   CASE WHEN sp.furthest_later > sp.position THEN sp.lead_id END AS advanced,
                   CASE WHEN sp.position < 'infinity' THEN sp.lead_id END AS convertible,
                   CASE WHEN sp.position < 'infinity'
                        THEN CASE WHEN sp.furthest_later > sp.position THEN 100 ELSE 0 END END AS conversion,
                   date_part('epoch', sp.left_at - sp.entered_at) / 3600 AS hours,
                   sp.answers,
                   sp.answers_late,
                   100.0 * (sp.answers - sp.answers_late) / NULLIF(sp.answers, 0) AS answered_in_time,
                   -- Subqueries and no join: PostgreSQL leaves them out where these measures are not asked for.
                   CASE WHEN sp.left_at IS NULL
                        THEN (SELECT sp.lead_id FROM manychat_waiting
                               WHERE period_id = sp.id AND answered_at IS NULL AND due < %s) END AS overdue_now,
                   COALESCE(sp.overdue_hours, 0) + CASE WHEN sp.left_at IS NULL
                        THEN COALESCE((SELECT overdue_hours FROM manychat_waiting
                                        WHERE period_id = sp.id AND answered_at IS NULL), 0) ELSE 0 END AS overdue_hours
              FROM stage_period sp
              JOIN crm_lead lead ON lead.id = sp.lead_id
         LEFT JOIN crm_stage now_in ON now_in.id = lead.stage_id
            """,
            asked_for if any(conditions) else SQL("lead_id IS NOT NULL"),
            fields.Datetime.now(),
        )

    def _read_group_select(self, aggregate_spec, query):
        # The part and the median of a group do not follow from those of its subgroups: compute them for each group.
        if aggregate_spec == "conversion:avg":
            return SQL(
                "100.0 * %s / NULLIF(%s, 0)",
                self._read_group_select("advanced:count_distinct", query),
                self._read_group_select("convertible:count_distinct", query),
            )
        if aggregate_spec == "answered_in_time:avg":
            return SQL(
                "100.0 * (SUM(%(all)s) - SUM(%(late)s)) / NULLIF(SUM(%(all)s), 0)",
                all=self._field_to_sql(self._table, "answers", query),
                late=self._field_to_sql(self._table, "answers_late", query),
            )
        name, _separator, function = aggregate_spec.partition(":")
        if aggregate_spec != "hours:avg" and function != "count_distinct":
            return super()._read_group_select(aggregate_spec, query)
        value = self._field_to_sql(self._table, name, query)
        # These aggregates sort. PostgreSQL would sort all rows by their groups first, by the names of channels and
        # advisers too. With an array, it finds the groups by hashing and sorts the values, which are nearly in order.
        is_large = self._is_large()
        term = value if is_large else SQL.identifier("value")
        if function == "count_distinct":
            aggregate = SQL("COUNT(DISTINCT %s)", term)
        else:
            aggregate = SQL("percentile_cont(0.5) WITHIN GROUP (ORDER BY %s)", term)
        if is_large:
            return aggregate
        array = SQL("array_agg(%s) FILTER (WHERE %s IS NOT NULL)", value, value)
        return SQL("(SELECT %s FROM (SELECT unnest(%s) AS value) AS array_of_group)", aggregate, array)

    def _is_large(self):
        """Whether the arrays of all stage periods might not fit into memory."""
        cache, key = self.env.cr.cache, "manychat_funnel_is_large"
        if key not in cache:
            estimate = SQL("SELECT reltuples FROM pg_class WHERE oid = 'manychat_stage_history'::regclass")
            cache[key] = self.env.execute_query(estimate)[0][0] > IN_MEMORY
        return cache[key]

    # ------------------------------------------------------------
    # Actions
    # ------------------------------------------------------------

    @access_required("read")
    def action_open_lead(self):
        """Open the opportunity of this row."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": "crm.lead",
            "res_id": self.lead_id.id,
            "views": [(self.env.ref("crm.crm_lead_view_form").id, "form")],
        }

    @access_required("read")
    def action_open_leads(self):
        """Open the opportunities of the selected rows, or of all shown rows; lost ones included."""
        rows = self or self.search(self.env.context.get("active_domain", []))
        return self._leads_action(rows.lead_id)

    @api.model
    def _leads_action(self, leads):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Opportunities"),
            "res_model": "crm.lead",
            "views": [(False, "list"), (False, "kanban"), (self.env.ref("crm.crm_lead_view_form").id, "form")],
            "domain": [("id", "in", leads.ids)],
            "context": {"active_test": False, "create": False},
        }


def _conjuncts(domain):
    """Those leaves of ``domain``, a list in prefix notation, that every found row satisfies."""
    leaves, position = [], 0

    def skip(position):
        """The position after the term that begins at ``position``."""
        arity = {"&": 2, "|": 2, "!": 1}.get(domain[position] if isinstance(domain[position], str) else None, 0)
        position += 1
        for _term in range(arity):
            position = skip(position)
        return position

    while position < len(domain):
        if domain[position] == "&":  # both of its terms count, like terms without an operator
            position += 1
        elif isinstance(domain[position], str):
            position = skip(position)
        else:
            leaves.append(tuple(domain[position]))
            position += 1
    return leaves


def _period_condition(leaf):
    """``leaf`` of a domain as a condition on the stage history, or ``None``."""
    field, operator, value = leaf
    if (field, operator) == ("id", "in") and isinstance(value, Collection) and value:
        return SQL("id IN %s", tuple(value))
    if field == "entered_at" and operator in (">", ">=") and value:
        try:
            since = fields.Datetime.to_datetime(value)
        except (TypeError, ValueError):
            return None
        return SQL("entered_at >= %s", since) if since > fields.Datetime.now() - SHORT_PERIOD else None
    return None
