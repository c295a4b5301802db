"""Views of :mod:`.views_0016` that read less. Columns and figures are the same.

- ``v_stage_periods`` asks for the opportunities twice instead of three times.
- ``v_funnel`` first gives each opportunity one row for each stage and month, and then adds up: a sort by Odoo's id is
  cheap, one by all the names is not, and COUNT(DISTINCT) needs one for each count.
- ``v_time_in_stage`` and ``v_first_response`` read what they are about once, and not again for all months together.
"""

# ruff: noqa: S608 (only names are put into these statements, and they are all here)

from __future__ import annotations

from collections.abc import Callable, Mapping

from .views_0016 import DIMENSIONS, HOUR, SLICES, Words, columns, median, moved_at, p90, ranked, slice_of


def _stage_periods(words: Words) -> str:
    # As in revision 0016. Moves of opportunities that count nowhere fall out at the end, with their whole history.
    of_lead = "OVER (PARTITION BY lead_id ORDER BY is_estimated, moved_at, applied_at, move_id)"
    dimensions = columns(DIMENSIONS, "o")
    return f"""
WITH o AS (
    SELECT lead_id, opportunity_id, status, stage, stage_by, decided_at, odoo_as_of, began_at, updated_at,
           {columns(DIMENSIONS)}
      FROM {words.at("v_opportunities")}
), moves AS (
    SELECT COALESCE(move.lead_id, own.lead_id) AS lead_id, 0 AS is_estimated, {moved_at("move")} AS moved_at,
           move.applied_at, move.id AS move_id,
           CASE WHEN move.status IN ('lost', 'deleted') THEN NULL ELSE {words.exact("move.stage_to")} END AS stage,
           move.moved_by, move.user_id
      FROM {words.at("opportunity_stages")} move
      JOIN {words.at("opportunities")} own ON own.id = move.opportunity_id
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
       COUNT(*) AS entered, SUM(is_there) AS in_stage, SUM(has_left) AS left_stage, SUM(has_moved) AS moved_on,
       SUM(was_lost) AS lost, SUM(is_won) AS won
  FROM (SELECT lead_id, {groups},
               MAX(CASE WHEN left_at IS NULL THEN 1 ELSE 0 END) AS is_there,
               MAX(CASE WHEN left_at IS NOT NULL THEN 1 ELSE 0 END) AS has_left,
               MAX(CASE WHEN ended_by = 'moved' THEN 1 ELSE 0 END) AS has_moved,
               MAX(CASE WHEN ended_by = 'lost' THEN 1 ELSE 0 END) AS was_lost,
               MAX(CASE WHEN status = 'won' THEN 1 ELSE 0 END) AS is_won
          FROM {words.at("v_stage_periods")}
         GROUP BY lead_id, {groups}) each_once
 GROUP BY {groups}"""


def _slices() -> str:
    """The dimensions by name, and "all": of each month, and ``whole``, of all months together."""
    names = [(name, whole) for whole in (0, 1) for name in ("all", *SLICES)]
    return "\n    UNION ALL ".join(f"SELECT '{name}' AS dimension, {whole} AS whole" for name, whole in names)


def _time_in_stage(words: Words) -> str:
    groups = "stage, month, dimension, dimension_value"
    return f"""
WITH slices AS (
    {_slices()}
), spans AS (
    SELECT p.stage, CASE WHEN s.whole = 0 THEN p.month END AS month,
           s.dimension, CASE s.dimension {slice_of("p")} END AS dimension_value,
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
    groups = "month, dimension, dimension_value"
    waited = words.milliseconds("o.began_at", "o.first_answered_at")
    return f"""
WITH slices AS (
    {_slices()}
), waits AS (
    SELECT CASE WHEN s.whole = 0 THEN {words.month("o.began_at")} END AS month,
           s.dimension, CASE s.dimension {slice_of("o")} END AS dimension_value,
           CASE WHEN o.first_answered_at IS NOT NULL THEN {waited} END AS ms
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


#: v_funnel and v_time_in_stage read v_stage_periods, so they are made anew too.
MAKERS: Mapping[str, Callable[[Words], str]] = {
    "v_stage_periods": _stage_periods,
    "v_funnel": _funnel,
    "v_time_in_stage": _time_in_stage,
    "v_first_response": _first_response,
}
