"""The views for analysts as revision 0016 made them. They give the same figures on SQL Server, PostgreSQL and SQLite.

A migration that changes a table in a way that its views do not survive drops them before and makes them anew after it.
One that changes a view has a file like this one of its own. :mod:`bridge.store.views` has the columns' descriptions.

What the three databases say differently is in :class:`Words`. Nothing else here may be of one database only: so no
FILTER, no DISTINCT ON, and medians by ROW_NUMBER, because PERCENTILE_CONT is no aggregate on SQL Server and missing in
SQLite. Percentiles are those of the nearest rank. Times are counted in whole milliseconds and divided as doubles, so
that all databases come to the same figure.
"""

# ruff: noqa: S608 (only names are put into these statements, and they are all here)

from __future__ import annotations

from collections.abc import Callable, Mapping

from alembic import op

from . import role
from .place import place

HOUR, SECOND = 3_600_000, 1_000
#: What people divide opportunities by. Names are not unique, so each has its id beside it.
DIMENSIONS = (
    "channel_id",
    "channel",
    "campaign_id",
    "campaign",
    "commercial_advisor_id",
    "commercial_advisor",
    "medical_advisor_id",
    "medical_advisor",
    "salesperson_id",
    "salesperson",
    "team_id",
    "team",
)
#: A median of parts tells nothing of the whole, so the views with medians have a row for each value of each of these.
SLICES = ("channel", "campaign", "commercial_advisor", "medical_advisor", "salesperson", "team")


def create(makers: Mapping[str, Callable[[Words], str]], dictionary: type[Words] | None = None) -> None:
    """Make views, and let the role of the readers, if there is one, read them.

    :param makers: their SQL by their names, in an order in which later ones read earlier ones
    :param dictionary: of a later revision
    """
    words = (dictionary or Words)(op.get_context().dialect.name)
    for name, make in makers.items():
        op.execute(f"CREATE VIEW {words.at(name)} AS\n{make(words).strip()}")
    role.grant_again(makers)


def drop(makers: Mapping[str, Callable[[Words], str]]) -> None:
    """Drop them."""
    words = Words(op.get_context().dialect.name)
    for name in reversed([*makers]):
        op.execute(f"DROP VIEW {words.at(name)}")


class Words:
    """What each database has its own words for."""

    def __init__(self, dialect: str):
        self.dialect = dialect
        schema = place()["schema"]
        quote = op.get_context().dialect.identifier_preparer.quote
        self._prefix = f"{quote(schema)}." if schema else ""

    def at(self, name: str) -> str:
        """A table or view with its schema."""
        return f"{self._prefix}{name}"

    def month(self, moment: str) -> str:
        """The first day of its month, as a date."""
        return {
            "mssql": f"DATEFROMPARTS(YEAR({moment}), MONTH({moment}), 1)",
            "postgresql": f"CAST(date_trunc('month', {moment}) AS date)",
            "sqlite": f"date({moment}, 'start of month')",
        }[self.dialect]

    def day(self, moment: str) -> str:
        """Its day, as a date."""
        return f"date({moment})" if self.dialect == "sqlite" else f"CAST({moment} AS date)"

    def milliseconds(self, start: str, end: str) -> str:
        """Whole milliseconds between two moments, each cut to its millisecond; 0 if ``end`` is earlier."""
        between = {
            "mssql": f"DATEDIFF_BIG(millisecond, {start}, {end})",
            "postgresql": f"CAST(EXTRACT(EPOCH FROM date_trunc('milliseconds', {end}) "
            f"- date_trunc('milliseconds', {start})) * 1000 AS bigint)",
            "sqlite": f"({self._sqlite(end)} - {self._sqlite(start)})",
        }[self.dialect]
        return f"CASE WHEN {end} < {start} THEN 0 ELSE {between} END"

    @staticmethod
    def _sqlite(moment: str) -> str:
        # SQLAlchemy stores "2025-06-10 12:00:00.000000". SQLite's own functions would round the fraction.
        return (
            f"CAST(strftime('%s', substr({moment}, 1, 19)) AS INTEGER) * 1000 "
            f"+ CAST(substr({moment}, 21, 3) AS INTEGER)"
        )

    def exact(self, text: str) -> str:
        """A text that groups by its exact characters.

        SQL Server's default collation takes "Alta" for "ALTA" and, in many databases, one emoji for another.
        """
        return f"{text} COLLATE Latin1_General_100_BIN2" if self.dialect == "mssql" else text


def columns(names: tuple[str, ...], table: str = "") -> str:
    return ", ".join(f"{table}.{name}" if table else name for name in names)


def median(unit: int) -> str:
    """Of the rows of a group by their ``nth`` of ``n`` values ``ms``, which are in their order, NULLs last."""
    middle = "nth <= n AND nth IN ((n + 1) / 2, (n + 2) / 2)"
    total = f"CAST(SUM(CASE WHEN {middle} THEN ms ELSE 0 END) AS FLOAT)"
    return f"{total} / NULLIF(SUM(CASE WHEN {middle} THEN 1 ELSE 0 END), 0) / {unit}"


def p90(unit: int) -> str:
    return f"CAST(MIN(CASE WHEN nth <= n AND nth >= (9 * n + 9) / 10 THEN ms END) AS FLOAT) / {unit}"


def ranked(groups: str) -> str:
    """``nth`` and ``n`` for :func:`median` and :func:`p90`."""
    return (
        f"ROW_NUMBER() OVER (PARTITION BY {groups} ORDER BY CASE WHEN ms IS NULL THEN 1 ELSE 0 END, ms) AS nth,\n"
        f"           COUNT(ms) OVER (PARTITION BY {groups}) AS n"
    )


def _slices() -> str:
    """The dimensions by name, and "all"."""
    return "\n    UNION ALL ".join(f"SELECT '{name}' AS dimension" for name in ("all", *SLICES))


def slice_of(table: str) -> str:
    return " ".join(f"WHEN '{name}' THEN {table}.{name}" for name in SLICES)


# ------------------------------------------------------------
# The views
# ------------------------------------------------------------


def moved_at(move: str) -> str:
    # A bot's clock may be ahead: nothing happened after Odoo had applied it.
    return f"CASE WHEN {move}.applied_at < {move}.event_at THEN {move}.applied_at ELSE {move}.event_at END"


def _opportunities(words: Words) -> str:
    # After a merge several rows have one lead. The row of its first person gives what was said in the chat, the newest
    # state what Odoo has. A person taken from a lead is "deleted" there, and the lead is not.
    lead, gone = "PARTITION BY lead_id", "CASE WHEN status = 'deleted' THEN 1 ELSE 0 END"
    return f"""
WITH known AS (
    SELECT id, lead_id,
           ROW_NUMBER() OVER ({lead} ORDER BY {gone}, CASE WHEN merged_into IS NULL THEN 0 ELSE 1 END,
                              id) AS nth_person,
           ROW_NUMBER() OVER ({lead} ORDER BY {gone}, CASE WHEN odoo_as_of IS NULL THEN 1 ELSE 0 END,
                              odoo_as_of DESC, updated_at DESC, id) AS nth_state,
           SUM(1 - {gone}) OVER ({lead}) AS people,
           MAX(updated_at) OVER ({lead}) AS updated_at
      FROM {words.at("opportunities")}
     WHERE lead_id IS NOT NULL
), begun AS (
    SELECT COALESCE(move.lead_id, o.lead_id) AS lead_id, MIN({moved_at("move")}) AS began_at
      FROM {words.at("opportunity_stages")} move
      JOIN {words.at("opportunities")} o ON o.id = move.opportunity_id
     GROUP BY COALESCE(move.lead_id, o.lead_id)
), assigned AS (
    SELECT contact_id, campaign_id,
           ROW_NUMBER() OVER (PARTITION BY contact_id ORDER BY CASE WHEN assigned_at IS NULL THEN 1 ELSE 0 END,
                              assigned_at DESC, id DESC) AS nth
      FROM {words.at("campaign_contacts")}
     WHERE campaign_id IS NOT NULL
)
SELECT first.lead_id, person.id AS opportunity_id, person.contact_id, first.people,
       contact.channel_id, {words.exact("channel.name")} AS channel,
       assigned.campaign_id, {words.exact("campaign.name")} AS campaign,
       person.commercial_advisor_id, {words.exact("commercial.name")} AS commercial_advisor,
       person.medical_advisor_id, {words.exact("medical.name")} AS medical_advisor,
       state.salesperson_id, {words.exact("state.salesperson")} AS salesperson,
       state.team_id, {words.exact("state.team")} AS team,
       COALESCE(state.status, 'open') AS status, {words.exact("state.stage")} AS stage,
       {words.exact("state.lost_reason")} AS lost_reason, state.expected_revenue, state.currency,
       COALESCE(begun.began_at, person.created_at) AS began_at,
       CASE WHEN begun.began_at IS NULL THEN 0 ELSE 1 END AS began_is_known,
       state.first_answered_at, state.closed_at, state.decided_at, state.odoo_as_of, state.stage_by, first.updated_at
  FROM known first
  JOIN {words.at("opportunities")} person ON person.id = first.id
  JOIN known newest ON newest.lead_id = first.lead_id AND newest.nth_state = 1
  JOIN {words.at("opportunities")} state ON state.id = newest.id
  JOIN {words.at("contacts")} contact ON contact.id = person.contact_id
  LEFT JOIN {words.at("channels")} channel ON channel.id = contact.channel_id
  LEFT JOIN assigned ON assigned.contact_id = person.contact_id AND assigned.nth = 1
  LEFT JOIN {words.at("campaigns")} campaign ON campaign.id = assigned.campaign_id
  LEFT JOIN {words.at("advisors")} commercial ON commercial.id = person.commercial_advisor_id
  LEFT JOIN {words.at("advisors")} medical ON medical.id = person.medical_advisor_id
  LEFT JOIN begun ON begun.lead_id = first.lead_id
 WHERE first.nth_person = 1 AND (state.status IS NULL OR state.status <> 'deleted')"""


def _stage_periods(words: Words) -> str:
    # The last of the moves is the state that Odoo has now. It counts only if SQL has missed a move, and then it is not
    # known when the opportunity got there. A move to where the opportunity is already is no move: a decision about two
    # people of one lead is stored for both.
    of_lead = "OVER (PARTITION BY lead_id ORDER BY is_estimated, moved_at, applied_at, move_id)"
    dimensions = columns(DIMENSIONS, "o")
    return f"""
WITH o AS (
    SELECT lead_id, opportunity_id, status, stage, stage_by, decided_at, odoo_as_of, began_at, updated_at,
           {columns(DIMENSIONS)}
      FROM {words.at("v_opportunities")}
), moves AS (
    SELECT o.lead_id, 0 AS is_estimated, {moved_at("move")} AS moved_at, move.applied_at, move.id AS move_id,
           CASE WHEN move.status IN ('lost', 'deleted') THEN NULL ELSE {words.exact("move.stage_to")} END AS stage,
           move.moved_by, move.user_id
      FROM {words.at("opportunity_stages")} move
      JOIN {words.at("opportunities")} own ON own.id = move.opportunity_id
      JOIN o ON o.lead_id = COALESCE(move.lead_id, own.lead_id)
    UNION ALL
    SELECT o.lead_id, 1, COALESCE(o.decided_at, o.odoo_as_of, o.began_at), o.updated_at, NULL,
           CASE WHEN o.status = 'lost' THEN NULL ELSE o.stage END, o.stage_by, NULL
      FROM o
     WHERE o.stage IS NOT NULL OR o.status = 'lost'
), numbered AS (
    SELECT lead_id, is_estimated, move_id, stage, moved_by, user_id,
           CASE WHEN is_estimated = 1 AND LAG(moved_at) {of_lead} > moved_at
                THEN LAG(moved_at) {of_lead} ELSE moved_at END AS moved_at,
           LAG(stage) {of_lead} AS before,
           ROW_NUMBER() {of_lead} AS nth
      FROM moves
), changes AS (
    SELECT lead_id, is_estimated, move_id, stage, moved_by, user_id, moved_at, nth
      FROM numbered
     WHERE nth = 1 OR stage <> before OR (stage IS NULL AND before IS NOT NULL)
        OR (stage IS NOT NULL AND before IS NULL)
), periods AS (
    SELECT lead_id, is_estimated, move_id, stage, moved_by, user_id, moved_at, nth,
           LEAD(moved_at) OVER (PARTITION BY lead_id ORDER BY nth) AS left_at,
           LEAD(stage) OVER (PARTITION BY lead_id ORDER BY nth) AS next_stage,
           LEAD(is_estimated) OVER (PARTITION BY lead_id ORDER BY nth) AS end_is_estimated
      FROM changes
)
SELECT p.move_id, p.lead_id, o.opportunity_id, p.stage,
       LAG(p.stage) OVER (PARTITION BY p.lead_id ORDER BY p.nth) AS previous_stage, p.next_stage,
       p.moved_at AS entered_at, p.left_at,
       CASE WHEN p.is_estimated = 0 AND p.end_is_estimated = 0
            THEN CAST({words.milliseconds("p.moved_at", "p.left_at")} AS FLOAT) / {HOUR} END AS hours,
       CASE WHEN p.left_at IS NULL THEN NULL WHEN p.next_stage IS NULL THEN 'lost' ELSE 'moved' END AS ended_by,
       p.is_estimated, p.moved_by, p.user_id, {words.month("p.moved_at")} AS month, o.status,
       {dimensions}, o.updated_at
  FROM periods p
  JOIN o ON o.lead_id = p.lead_id
 WHERE p.stage IS NOT NULL"""


def _funnel(words: Words) -> str:
    groups = f"stage, month, {columns(DIMENSIONS)}"
    return f"""
SELECT {groups},
       COUNT(DISTINCT lead_id) AS entered,
       COUNT(DISTINCT CASE WHEN left_at IS NULL THEN lead_id END) AS in_stage,
       COUNT(DISTINCT CASE WHEN left_at IS NOT NULL THEN lead_id END) AS left_stage,
       COUNT(DISTINCT CASE WHEN ended_by = 'moved' THEN lead_id END) AS moved_on,
       COUNT(DISTINCT CASE WHEN ended_by = 'lost' THEN lead_id END) AS lost,
       COUNT(DISTINCT CASE WHEN status = 'won' THEN lead_id END) AS won
  FROM {words.at("v_stage_periods")}
 GROUP BY {groups}"""


def _time_in_stage(words: Words) -> str:
    groups = "stage, month, dimension, dimension_value"
    return f"""
WITH slices AS (
    {_slices()}
), spans AS (
    SELECT p.stage, p.month, s.dimension, CASE s.dimension {slice_of("p")} END AS dimension_value,
           {words.milliseconds("p.entered_at", "p.left_at")} AS ms
      FROM {words.at("v_stage_periods")} p
     CROSS JOIN slices s
     WHERE p.hours IS NOT NULL
    UNION ALL
    SELECT p.stage, NULL, s.dimension, CASE s.dimension {slice_of("p")} END,
           {words.milliseconds("p.entered_at", "p.left_at")}
      FROM {words.at("v_stage_periods")} p
     CROSS JOIN slices s
     WHERE p.hours IS NOT NULL
), ranked AS (
    SELECT {groups}, ms,
           {ranked(groups)}
      FROM spans
)
SELECT {groups}, COUNT(*) AS periods, {median(HOUR)} AS median_hours, {p90(HOUR)} AS p90_hours
  FROM ranked
 GROUP BY {groups}"""


def _first_response(words: Words) -> str:
    groups = "month, dimension, dimension_value"
    waited = (
        f"CASE WHEN o.first_answered_at IS NOT NULL THEN {words.milliseconds('o.began_at', 'o.first_answered_at')} END"
    )
    return f"""
WITH slices AS (
    {_slices()}
), waits AS (
    SELECT {words.month("o.began_at")} AS month, s.dimension, CASE s.dimension {slice_of("o")} END AS dimension_value,
           {waited} AS ms
      FROM {words.at("v_opportunities")} o
     CROSS JOIN slices s
     WHERE o.began_is_known = 1
    UNION ALL
    SELECT NULL, s.dimension, CASE s.dimension {slice_of("o")} END, {waited}
      FROM {words.at("v_opportunities")} o
     CROSS JOIN slices s
     WHERE o.began_is_known = 1
), ranked AS (
    SELECT {groups}, ms,
           {ranked(groups)}
      FROM waits
)
SELECT {groups}, COUNT(*) AS opportunities, COUNT(ms) AS answered, {median(HOUR)} AS median_hours,
       {p90(HOUR)} AS p90_hours
  FROM ranked
 GROUP BY {groups}"""


def _conversion(words: Words) -> str:
    groups = f"month, {columns(DIMENSIONS)}"
    return f"""
SELECT {groups},
       COUNT(*) AS opportunities,
       SUM(CASE WHEN status = 'open' THEN 1 ELSE 0 END) AS still_open,
       SUM(CASE WHEN status = 'won' THEN 1 ELSE 0 END) AS won,
       SUM(CASE WHEN status = 'lost' THEN 1 ELSE 0 END) AS lost,
       CAST(100 * SUM(CASE WHEN status = 'won' THEN 1 ELSE 0 END) AS FLOAT) / COUNT(*) AS won_percent,
       CAST(100 * SUM(CASE WHEN status = 'lost' THEN 1 ELSE 0 END) AS FLOAT) / COUNT(*) AS lost_percent
  FROM (SELECT {words.month("began_at")} AS month, status, {columns(DIMENSIONS)}
          FROM {words.at("v_opportunities")}) begun
 GROUP BY {groups}"""


def _lost_reasons(words: Words) -> str:
    groups = f"month, lost_reason, stage, currency, {columns(DIMENSIONS)}"
    return f"""
SELECT {groups}, COUNT(*) AS lost, SUM(expected_revenue) AS expected_revenue
  FROM (SELECT {words.month("COALESCE(closed_at, decided_at, updated_at)")} AS month, lost_reason, stage, currency,
               expected_revenue, {columns(DIMENSIONS)}
          FROM {words.at("v_opportunities")}
         WHERE status = 'lost') given_up
 GROUP BY {groups}"""


def _event_latency(words: Words) -> str:
    # A user who sends an event again, days later, does not make the path slow.
    groups = "day, type, source"
    return f"""
WITH events AS (
    SELECT {words.day("received_at")} AS day, type, source, outcome,
           CASE WHEN retries = 0 AND finished_at IS NOT NULL
                THEN {words.milliseconds("received_at", "finished_at")} END AS ms
      FROM {words.at("audit")}
), ranked AS (
    SELECT {groups}, outcome, ms,
           {ranked(groups)}
      FROM events
)
SELECT {groups}, COUNT(*) AS events, SUM(CASE WHEN outcome IS NULL THEN 1 ELSE 0 END) AS unfinished,
       SUM(CASE WHEN outcome = 'dead_lettered' THEN 1 ELSE 0 END) AS dead_lettered,
       {median(SECOND)} AS median_seconds, {p90(SECOND)} AS p90_seconds,
       CAST(MAX(ms) AS FLOAT) / {SECOND} AS max_seconds
  FROM ranked
 GROUP BY {groups}"""


MAKERS: Mapping[str, Callable[[Words], str]] = {
    "v_opportunities": _opportunities,
    "v_stage_periods": _stage_periods,
    "v_funnel": _funnel,
    "v_time_in_stage": _time_in_stage,
    "v_first_response": _first_response,
    "v_conversion": _conversion,
    "v_lost_reasons": _lost_reasons,
    "v_event_latency": _event_latency,
}
