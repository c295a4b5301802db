"""The columns of the views for analysts, and what they mean. The migrations have the SQL. A test compares the two."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Date, Float, Integer, MetaData, Numeric, Table

from .column_types import Moment, key, text

#: Not the schema's: these are no tables.
views = MetaData()


def _dimensions() -> tuple[Column[Any], ...]:
    return (
        Column("channel_id", Integer, doc="`channels.id` of the person's channel"),
        Column("channel", text(256), doc="its name"),
        Column("campaign_id", Integer, doc="`campaigns.id` of the person's newest assignment"),
        Column("campaign", text(256), doc="its name"),
        Column("commercial_advisor_id", Integer, doc="`advisors.id` of the commercial adviser"),
        Column("commercial_advisor", text(256), doc="their name"),
        Column("medical_advisor_id", Integer, doc="`advisors.id` of the medical adviser"),
        Column("medical_advisor", text(256), doc="their name"),
        Column("salesperson_id", Integer, doc="Odoo's id of the user who has the opportunity"),
        Column("salesperson", text(256), doc="their name"),
        Column("team_id", Integer, doc="Odoo's id of the sales team"),
        Column("team", text(256), doc="its name"),
    )


def _slice() -> tuple[Column[Any], ...]:
    return (
        Column(
            "dimension",
            key(32),
            doc="`all`, or what the row is about: `channel`, `campaign`, `commercial_advisor`, `medical_advisor`, "
            "`salesperson` or `team`. Choose one: each opportunity is in every dimension",
        ),
        Column(
            "dimension_id", Integer, doc="its id, as in `v_opportunities`; NULL: the opportunities have none, or `all`"
        ),
        Column("dimension_value", text(256), doc="its name; NULL: none is known, or `all`"),
    )


def _month(of: str) -> Column[Any]:
    return Column("month", Date, doc=f"first day of the month, in UTC, {of}")


Table(
    "v_opportunities",
    views,
    Column("lead_id", Integer, doc="Odoo's id of the opportunity: one row for each"),
    Column("opportunity_id", Integer, doc="`opportunities.id` of its first person"),
    Column("contact_id", Integer, doc="`contacts.id` of its first person"),
    Column("people", Integer, doc="people whose conversations it follows: more than 1 after a merge"),
    *_dimensions(),
    Column("status", key(16), doc="`open`, `won` or `lost`; `open` if SQL does not know"),
    Column("stage", text(256), doc="the stage that Odoo shows; a lost one may have been given another since its loss"),
    Column("lost_reason", text(256), doc="as users chose it in Odoo"),
    Column("expected_revenue", Numeric(18, 2), doc="in `currency`"),
    Column("currency", text(8), doc="ISO 4217"),
    Column("began_at", Moment, doc="the first move that SQL knows; without any, when SQL got the opportunity"),
    Column("began_is_known", Integer, doc="1: SQL has seen the beginning; 0: it began at `began_at` or earlier"),
    Column("first_answered_at", Moment, doc="when a user first answered the customer"),
    Column("closed_at", Moment, doc="when it was won or lost"),
    Column("decided_at", Moment, doc="when a person last changed it in Odoo"),
    Column("odoo_as_of", Moment, doc="when Odoo had this state"),
    Column("stage_by", key(16), doc="what moved it to its stage, as `opportunities.stage_by`"),
    Column("updated_at", Moment, doc="when the bridge last wrote one of its rows"),
    info={"about": "One row for each opportunity in Odoo. Deleted ones, and those merged into others, are left out."},
)
Table(
    "v_stage_periods",
    views,
    Column("move_id", sa.BigInteger, doc="`opportunity_stages.id` of the move that began it; NULL: no such row"),
    Column("lead_id", Integer, doc="Odoo's id of the opportunity"),
    Column("opportunity_id", Integer, doc="`opportunities.id` of its first person"),
    Column("stage", text(256), doc="the stage in Odoo, by its name at that time"),
    Column("previous_stage", text(256), doc="the stage of the period before; NULL: the first"),
    Column("next_stage", text(256), doc="the stage that it went to; NULL: lost, or still there"),
    Column("entered_at", Moment, doc="when it happened, in the chat or in Odoo"),
    Column("left_at", Moment, doc="when it went on or was lost; NULL: still there"),
    Column("hours", Float, doc="hours from one to the other; NULL: still there, or SQL did not see a move"),
    Column("ended_by", key(16), doc="`moved`, `lost`, or NULL: still there"),
    Column(
        "is_estimated",
        Integer,
        doc="1: SQL did not see the move; `entered_at` is an estimate, by `closed_at` or `decided_at`",
    ),
    Column("moved_by", key(16), doc="as `opportunity_stages.moved_by`"),
    Column("user_id", Integer, doc="Odoo's id of the user who moved it there"),
    _month("of `entered_at`"),
    Column("status", key(16), doc="the opportunity's status now, as in `v_opportunities`"),
    *_dimensions(),
    Column("updated_at", Moment, doc="as in `v_opportunities`"),
    info={
        "about": "One row for each stay of an opportunity in a stage. A lost opportunity is in no stage; a restored "
        "one begins another stay. All other figures about stages come from here."
    },
)
Table(
    "v_funnel",
    views,
    Column("stage", text(256), doc="the stage in Odoo"),
    _month("in which opportunities entered the stage"),
    *_dimensions(),
    Column("entered", Integer, doc="opportunities that entered the stage"),
    Column("in_stage", Integer, doc="those of them that are there now, in the stay that began in the month"),
    Column("left_stage", Integer, doc="those of them that left it, also by being lost"),
    Column("moved_on", Integer, doc="those of them that left it for another stage"),
    Column("lost", Integer, doc="those of them that were lost there, also if restored since"),
    Column("won", Integer, doc="those of them that are won now"),
    info={
        "about": "The funnel. Each row counts an opportunity once. Rows of one stage and month can be added up. Over "
        "several months, an opportunity that came back counts in each: count `lead_id` of `v_stage_periods` instead."
    },
)
Table(
    "v_time_in_stage",
    views,
    Column("stage", text(256), doc="the stage in Odoo"),
    _month("in which the stay began; NULL: all months together"),
    *_slice(),
    Column("periods", Integer, doc="stays that have ended, as in `v_stage_periods` where `hours` is known"),
    Column("median_hours", Float, doc="hours; of an even number of stays, the mean of the two in the middle"),
    Column("p90_hours", Float, doc="hours; the shortest stay than which at least nine of ten are not longer"),
    info={"about": "How long opportunities stay in a stage. Medians cannot be added up: choose the row that you need."},
)
Table(
    "v_first_response",
    views,
    _month("in which the opportunity began; NULL: all months together"),
    *_slice(),
    Column("opportunities", Integer, doc="those whose beginning SQL has seen, and that have no answer from before it"),
    Column("answered", Integer, doc="those of them that a user has answered"),
    Column("median_hours", Float, doc="hours from the beginning to the answer, of those answered"),
    Column("p90_hours", Float, doc="hours; at least nine of ten answers took no longer"),
    info={"about": "How long customers wait for the first answer of a user. Nights and weekends count."},
)
Table(
    "v_conversion",
    views,
    _month("in which the opportunities began"),
    *_dimensions(),
    Column("opportunities", Integer, doc="opportunities that began"),
    Column("still_open", Integer, doc="those of them that are open now"),
    Column("won", Integer, doc="those of them that are won now"),
    Column("lost", Integer, doc="those of them that are lost now"),
    Column("won_percent", Float, doc="percent: 100 · `won` / `opportunities`; of several rows, divide their sums"),
    Column("lost_percent", Float, doc="percent: 100 · `lost` / `opportunities`"),
    info={"about": "What became of the opportunities that began in a month. All rows can be added up."},
)
Table(
    "v_lost_reasons",
    views,
    _month("of its last loss"),
    Column("lost_reason", text(256), doc="as users chose it in Odoo; NULL: none"),
    Column("stage", text(256), doc="the stage of its last loss"),
    Column("currency", text(8), doc="ISO 4217"),
    *_dimensions(),
    Column("lost", Integer, doc="opportunities that are lost now: restored ones do not count"),
    Column("expected_revenue", Numeric(18, 2), doc="the sum, in `currency`"),
    info={"about": "Why opportunities were lost. All rows can be added up; revenues only of one currency."},
)
Table(
    "v_event_latency",
    views,
    Column("day", Date, doc="day of receipt by the webhook, in UTC"),
    Column("type", text(32), doc="kind of event, as `audit.type`"),
    Column("source", text(32), doc="what received the event, as `audit.source`"),
    Column("events", Integer, doc="events received"),
    Column("unfinished", Integer, doc="those of them without an outcome yet"),
    Column("dead_lettered", Integer, doc="those of them that failed for good"),
    Column("median_seconds", Float, doc="seconds from the receipt to the outcome; not of events that users sent again"),
    Column("p90_seconds", Float, doc="seconds; at least nine of ten took no longer"),
    Column("max_seconds", Float, doc="seconds; the slowest"),
    info={"about": "How fast events get from the webhook to their outcome. Days as long as `audit` is kept."},
)
