"""Views of :mod:`.views_0019` that are right in cases that were not thought of.

- A person who was taken from an opportunity did not lose it for the others.
- Where SQL has not seen the beginning, no first response is counted from the first move that it happens to know; nor
  from an answer that came before the beginning, as a merge brings it.
- An opportunity was lost in the stage, and in the month, of its last loss, whatever was done with it since.
- On SQLite, times are those between two moments also if the first is no whole second.
- Medians are those of one channel, campaign, person or team each, also of those without a name or with the same one.
"""

# ruff: noqa: S608 (only names are put into these statements, and they are all here)

from __future__ import annotations

from collections.abc import Callable, Mapping

from .views_0016 import DIMENSIONS, HOUR, SLICES, Words, columns, median, moved_at, p90, ranked, slice_of
from .views_0016 import MAKERS as OF_0016
from .views_0019 import MAKERS as OF_0019
from .views_0019 import _slices

#: An answer may be so many milliseconds earlier than the beginning: the one has whole seconds, and clocks differ.
_SAME_MOMENT = 60_000


class ExactWords(Words):
    """What each database has its own words for."""

    @staticmethod
    def _sqlite(moment: str) -> str:
        # One is subtracted from another.
        return f"({Words._sqlite(moment)})"


def _opportunities(words: Words) -> str:
    # After a merge several rows have one lead. The row of its first person gives what was said in the chat, the newest
    # state what Odoo has. A person taken from a lead is "deleted" there, and the lead is not. A move from no stage is
    # the creation, or a restoration after a loss.
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
    SELECT COALESCE(move.lead_id, o.lead_id) AS lead_id, MIN({moved_at("move")}) AS began_at,
           MIN(CASE WHEN move.stage_from IS NULL THEN {moved_at("move")} END) AS created_at,
           MIN(CASE WHEN move.status = 'lost' THEN {moved_at("move")} END) AS lost_at
      FROM {words.at("opportunity_stages")} move
      JOIN {words.at("opportunities")} o ON o.id = move.opportunity_id
     WHERE move.status IS NULL OR move.status <> 'deleted'
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
       CASE WHEN begun.created_at IS NULL OR begun.lost_at < begun.created_at THEN 0 ELSE 1 END AS began_is_known,
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
    # known when the opportunity got there. Moves of opportunities that count nowhere fall out at the end, with their
    # whole history. "deleted", of an opportunity that is there, is a person who was taken from it.
    of_lead = "OVER (PARTITION BY lead_id ORDER BY is_estimated, moved_at, applied_at, move_id)"
    dimensions = columns(DIMENSIONS, "o")
    return f"""
WITH o AS (
    SELECT lead_id, opportunity_id, status, stage, stage_by, closed_at, decided_at, odoo_as_of, began_at, updated_at,
           {columns(DIMENSIONS)}
      FROM {words.at("v_opportunities")}
), moves AS (
    SELECT COALESCE(move.lead_id, own.lead_id) AS lead_id, 0 AS is_estimated, {moved_at("move")} AS moved_at,
           move.applied_at, move.id AS move_id,
           CASE WHEN move.status = 'lost' THEN NULL ELSE {words.exact("move.stage_to")} END AS stage,
           move.moved_by, move.user_id
      FROM {words.at("opportunity_stages")} move
      JOIN {words.at("opportunities")} own ON own.id = move.opportunity_id
     WHERE move.status IS NULL OR move.status <> 'deleted'
    UNION ALL
    SELECT o.lead_id, 1, COALESCE(o.closed_at, o.decided_at, o.odoo_as_of, o.began_at), o.updated_at, NULL,
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


def _id_of(table: str) -> str:
    return " ".join(f"WHEN '{name}' THEN {table}.{name}_id" for name in SLICES)


def _time_in_stage(words: Words) -> str:
    groups = "stage, month, dimension, dimension_id, dimension_value"
    return f"""
WITH slices AS (
    {_slices()}
), spans AS (
    SELECT p.stage, CASE WHEN s.whole = 0 THEN p.month END AS month,
           s.dimension, CASE s.dimension {_id_of("p")} END AS dimension_id,
           CASE s.dimension {slice_of("p")} END AS dimension_value,
           {words.milliseconds("p.entered_at", "p.left_at")} AS ms
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
    groups = "month, dimension, dimension_id, dimension_value"
    early = words.milliseconds("o.first_answered_at", "o.began_at")
    waited = words.milliseconds("o.began_at", "o.first_answered_at")
    return f"""
WITH slices AS (
    {_slices()}
), waits AS (
    SELECT CASE WHEN s.whole = 0 THEN {words.month("o.began_at")} END AS month,
           s.dimension, CASE s.dimension {_id_of("o")} END AS dimension_id,
           CASE s.dimension {slice_of("o")} END AS dimension_value,
           CASE WHEN o.first_answered_at IS NOT NULL THEN {waited} END AS ms
      FROM {words.at("v_opportunities")} o
     CROSS JOIN slices s
     WHERE o.began_is_known = 1 AND (o.first_answered_at IS NULL OR {early} < {_SAME_MOMENT})
), ranked AS (
    SELECT {groups}, ms,
           {ranked(groups)}
      FROM waits
)
SELECT {groups}, COUNT(*) AS opportunities, COUNT(ms) AS answered, {median(HOUR)} AS median_hours,
       {p90(HOUR)} AS p90_hours
  FROM ranked
 GROUP BY {groups}"""


def _lost_reasons(words: Words) -> str:
    # A lost one that gets another stage has no date of the loss in Odoo any more, one that is archived again a new one.
    groups = f"month, lost_reason, stage, currency, {columns(DIMENSIONS)}"
    lost_at = words.month("COALESCE(loss.left_at, o.closed_at, o.decided_at, o.odoo_as_of, o.updated_at)")
    return f"""
WITH losses AS (
    SELECT lead_id, stage, left_at,
           ROW_NUMBER() OVER (PARTITION BY lead_id
                              ORDER BY left_at DESC, entered_at DESC, CASE WHEN move_id IS NULL THEN 0 ELSE 1 END,
                                       move_id DESC) AS nth
      FROM {words.at("v_stage_periods")}
     WHERE status = 'lost' AND ended_by = 'lost'
)
SELECT {groups}, COUNT(*) AS lost, SUM(expected_revenue) AS expected_revenue
  FROM (SELECT {lost_at} AS month, o.lost_reason, COALESCE(loss.stage, o.stage) AS stage, o.currency,
               o.expected_revenue, {columns(DIMENSIONS, "o")}
          FROM {words.at("v_opportunities")} o
          LEFT JOIN losses loss ON loss.lead_id = o.lead_id AND loss.nth = 1
         WHERE o.status = 'lost') given_up
 GROUP BY {groups}"""


#: All are made anew: most read v_opportunities, and all have times.
BEFORE: Mapping[str, Callable[[Words], str]] = {**OF_0016, **OF_0019}
MAKERS: Mapping[str, Callable[[Words], str]] = {
    **BEFORE,
    "v_opportunities": _opportunities,
    "v_stage_periods": _stage_periods,
    "v_time_in_stage": _time_in_stage,
    "v_first_response": _first_response,
    "v_lost_reasons": _lost_reasons,
}
