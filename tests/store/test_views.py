"""The views for analysts give the figures that a person computes by hand, on every database."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.store import schema

from .conftest import NOON, Store
from .funnel import Funnel, V, at

JUNE, JULY = date(2025, 6, 1), date(2025, 7, 1)


@pytest.fixture
def funnel(store: Store) -> Funnel:
    return Funnel(store)


PERIOD = ("lead_id", "stage", "entered_at", "left_at", "hours", "ended_by")


def test_every_view_has_the_columns_that_are_described_and_reads_empty_tables(funnel: Funnel) -> None:
    inspector = sa.inspect(funnel.store.engine)
    assert set(inspector.get_view_names()) >= set(V)
    for name, view in V.items():
        assert funnel.rows(name, *view.columns.keys()) == []
        with funnel.store.engine.connect() as connection:
            found = connection.execute(sa.text(f"SELECT * FROM {name}")).keys()
        assert list(found) == view.columns.keys()


def test_a_stay_ends_when_the_next_begins_also_in_the_next_month(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), ("Cita", 24 * 25))

    assert funnel.rows("v_stage_periods", *PERIOD, "month") == [
        (1, "Cita", at(600), None, None, None, JULY),
        (1, "Nuevo", at(0), at(600), 600.0, "moved", JUNE),
    ]
    assert funnel.rows("v_funnel", "stage", "month", "entered", "in_stage", "left_stage", "moved_on", "lost") == [
        ("Cita", JULY, 1, 1, 0, 0, 0),
        ("Nuevo", JUNE, 1, 0, 1, 1, 0),
    ]


def test_a_lost_and_restored_opportunity_has_two_stays_and_counts_once(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), (None, 2), ("Nuevo", 10), ("Venta", 11), status="won")

    assert funnel.rows("v_stage_periods", *PERIOD, "previous_stage") == [
        (1, "Nuevo", at(0), at(2), 2.0, "lost", None),
        (1, "Nuevo", at(10), at(11), 1.0, "moved", "Nuevo"),
        (1, "Venta", at(11), None, None, None, "Nuevo"),
    ]
    counted = funnel.rows("v_funnel", "stage", "entered", "in_stage", "left_stage", "moved_on", "lost", "won")
    assert counted == [("Nuevo", 1, 0, 1, 1, 1, 1), ("Venta", 1, 1, 0, 0, 0, 1)]
    assert funnel.rows("v_lost_reasons", "lost") == []


def test_a_lost_opportunity_is_in_no_stage_and_has_its_reason(funnel: Funnel) -> None:
    for lead, revenue in ((1, 100), (2, 50)):
        funnel.lived(
            lead,
            ("Nuevo", 0),
            (None, 24 * 30),
            closed_at=at(720),
            lost_reason="Precio",
            currency="EUR",
            expected_revenue=revenue,
        )

    assert funnel.rows("v_funnel", "stage", "entered", "in_stage", "lost") == [("Nuevo", 2, 0, 2)]
    assert funnel.rows("v_lost_reasons", "month", "lost_reason", "stage", "lost", "expected_revenue", "currency") == [
        (JULY, "Precio", "Nuevo", 2, 150, "EUR")
    ]
    assert funnel.rows("v_conversion", "month", "opportunities", "still_open", "won", "lost", "lost_percent") == [
        (JUNE, 2, 0, 0, 2, 100.0)
    ]


def test_without_moves_an_opportunity_is_in_its_stage_since_an_unknown_time(funnel: Funnel) -> None:
    funnel.person(1, stage="Cita", odoo_as_of=at(5))

    assert funnel.rows("v_stage_periods", *PERIOD, "is_estimated") == [(1, "Cita", at(5), None, None, None, 1)]
    assert funnel.rows("v_funnel", "stage", "entered", "in_stage") == [("Cita", 1, 1)]
    assert funnel.rows("v_time_in_stage", "stage") == []
    assert funnel.rows("v_first_response", "opportunities") == []


def test_a_move_that_sql_missed_ends_the_stay_and_gives_no_time(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), ("Cita", 3), stage="Venta", decided_at=at(1))

    assert funnel.rows("v_stage_periods", *PERIOD, "is_estimated") == [
        (1, "Cita", at(3), at(3), None, "moved", 0),
        (1, "Nuevo", at(0), at(3), 3.0, "moved", 0),
        (1, "Venta", at(3), None, None, None, 1),
    ]


def test_an_opportunity_that_is_not_in_odoo_counts_nowhere(funnel: Funnel) -> None:
    funnel.person(None, "waiting", stage=None, status=None)
    deleted = funnel.lived(1, ("Nuevo", 0))
    with funnel.store.engine.begin() as connection:
        connection.execute(
            schema.opportunities.update().where(schema.opportunities.c.id == deleted).values(status="deleted")
        )
    again = funnel.person(3, "again", stage="Nuevo")
    funnel.move(again, "Nuevo", 1, lead=2)  # it was deleted, and the person's next event made another
    funnel.move(again, None, 2, lead=2, status="deleted")
    funnel.move(again, "Nuevo", 3, lead=3)

    assert funnel.rows("v_opportunities", "lead_id", "began_at") == [(3, at(3))]
    assert funnel.rows("v_funnel", "stage", "entered", "lost") == [("Nuevo", 1, 0)]


def test_merged_people_count_as_the_one_opportunity_that_they_have(funnel: Funnel) -> None:
    first = funnel.person(1, "X", stage="Nuevo", odoo_as_of=at(2))
    second = funnel.person(1, "Y", stage="Venta", merged_into=1, odoo_as_of=at(9), status="won")
    funnel.move(first, "Nuevo", 0, lead=1)
    funnel.move(second, "Nuevo", 1, lead=2)  # before the merge
    funnel.move(second, "Cita", 4, lead=1, moved_by="person")
    funnel.move(first, "Cita", 4, lead=1, moved_by="person")  # the same decision, for the other person
    funnel.move(second, "Venta", 6, lead=1)

    assert funnel.rows("v_opportunities", "lead_id", "people", "status", "opportunity_id") == [(1, 2, "won", first)]
    assert funnel.rows("v_stage_periods", "stage", "hours", "moved_by") == [
        ("Cita", 2.0, "person"),
        ("Nuevo", 4.0, "chat"),
        ("Venta", None, "chat"),
    ]
    assert funnel.rows("v_conversion", "opportunities", "won", "won_percent") == [(1, 1, 100.0)]


def test_a_person_with_two_conversations_is_lost_once_and_waits_once(funnel: Funnel) -> None:
    lost: dict[str, Any] = {"status": "lost", "stage": "Nuevo", "first_answered_at": at(2), "closed_at": at(3)}
    lost |= {"odoo_as_of": at(3), "expected_revenue": 80, "currency": "EUR"}  # and no reason
    people = [funnel.person(1, name, merged_into=merged, **lost) for name, merged in (("X", None), ("Y", 1))]
    funnel.move(people[0], "Nuevo", 0, lead=1)
    for each in people:  # both have the decision
        funnel.move(each, None, 3, lead=1, status="lost", moved_by="person")

    assert funnel.rows("v_lost_reasons", "lost_reason", "stage", "lost", "expected_revenue") == [(None, "Nuevo", 1, 80)]
    assert funnel.rows("v_funnel", "stage", "entered", "in_stage", "lost") == [("Nuevo", 1, 0, 1)]
    assert funnel.rows("v_conversion", "opportunities", "lost", "lost_percent") == [(1, 1, 100.0)]
    for view, count, hours in (("v_time_in_stage", "periods", 3.0), ("v_first_response", "opportunities", 2.0)):
        for month in (JUNE, None):
            found = funnel.rows(view, count, "median_hours", "p90_hours", dimension="all", month=month)
            assert found == [(1, hours, hours)]


def test_a_person_taken_from_an_opportunity_does_not_delete_it(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), odoo_as_of=at(0))
    funnel.person(1, "Y", stage="Nuevo", status="deleted", odoo_as_of=at(5))

    assert funnel.rows("v_opportunities", "lead_id", "people", "status") == [(1, 1, "open")]


def test_a_date_ahead_of_its_application_does_not_put_a_move_after_a_persons(funnel: Funnel) -> None:
    opportunity = funnel.person(1, stage="Cita")
    funnel.move(opportunity, "Nuevo", 0, lead=1, event_at=at(8))
    funnel.move(opportunity, "Cita", 1, lead=1, moved_by="person")

    assert funnel.rows("v_stage_periods", "stage", "entered_at", "left_at") == [
        ("Cita", at(1), None),
        ("Nuevo", at(0), at(1)),
    ]


def test_moves_that_came_in_another_order_are_in_that_of_their_events(funnel: Funnel) -> None:
    opportunity = funnel.person(1, stage="C")
    for stage, hours in (("C", 2), ("A", 0), ("B", 1)):
        funnel.move(opportunity, stage, hours, lead=1, applied_at=at(5))

    assert [row[0] for row in funnel.rows("v_stage_periods", "stage", "next_stage")] == ["A", "B", "C"]
    assert funnel.rows("v_stage_periods", "stage", "next_stage") == [("A", "B"), ("B", "C"), ("C", None)]


@pytest.mark.parametrize(
    ("hours", "median", "p90"),
    [
        ([7], 7.0, 7.0),
        ([1, 4], 2.5, 4.0),
        ([5, 5, 5, 1], 5.0, 5.0),  # ties
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5.5, 9.0),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 6.0, 10.0),
    ],
)
def test_median_and_ninth_decile_of_the_time_in_a_stage(
    funnel: Funnel, hours: list[int], median: float, p90: float
) -> None:
    for lead, each in enumerate(hours, 1):
        funnel.lived(lead, ("Nuevo", 0), ("Cita", each))

    for month in (JUNE, None):
        assert funnel.rows(
            "v_time_in_stage", "stage", "periods", "median_hours", "p90_hours", dimension="all", month=month
        ) == [("Nuevo", len(hours), median, p90)]


def test_a_median_is_that_of_each_channel(funnel: Funnel) -> None:
    web = funnel.insert("channels", name_key="web", name="Web")
    for lead, hours in ((1, 2), (2, 4), (3, 9)):
        funnel.lived(lead, ("Nuevo", 0), ("Cita", hours), contact={"channel_id": web} if lead < 3 else None)

    assert funnel.rows("v_time_in_stage", "dimension_value", "median_hours", dimension="channel", month=JUNE) == [
        ("Web", 3.0),
        (None, 9.0),
    ]


def test_time_to_the_first_response_leaves_out_who_waits(funnel: Funnel) -> None:
    for lead, answered in ((1, at(1)), (2, at(4)), (3, None)):
        funnel.lived(lead, ("Nuevo", 0), first_answered_at=answered)
    funnel.lived(4, ("Nuevo", 24 * 30))

    names = ("month", "opportunities", "answered", "median_hours", "p90_hours")
    assert funnel.rows("v_first_response", *names, dimension="all") == [
        (JUNE, 3, 2, 2.5, 4.0),
        (JULY, 1, 0, None, None),
        (None, 4, 2, 2.5, 4.0),
    ]


def test_the_funnel_is_divided_by_channel_newest_campaign_adviser_and_salesperson(funnel: Funnel) -> None:
    web = funnel.insert("channels", name_key="web", name="Web")
    for campaign in (85, 86):
        funnel.insert("campaigns", id=campaign, name=f"C{campaign}")
    funnel.insert("advisors", id=3, name="Ada")
    opportunity = funnel.lived(
        1, ("Nuevo", 0), contact={"channel_id": web}, commercial_advisor_id=3, salesperson_id=7, salesperson="Eva"
    )
    [row] = funnel.store.rows("opportunities", id=opportunity)
    assignments: list[tuple[int | None, float]] = [(86, 5), (85, 1), (None, 9)]
    for campaign_id, hours in assignments:
        funnel.insert("campaign_contacts", contact_id=row.contact_id, campaign_id=campaign_id, assigned_at=at(hours))

    names = ("channel", "campaign_id", "campaign", "commercial_advisor", "medical_advisor", "salesperson", "entered")
    assert funnel.rows("v_funnel", *names) == [("Web", 86, "C86", "Ada", None, "Eva", 1)]


def test_stages_are_told_apart_by_their_exact_characters(funnel: Funnel) -> None:
    names = ["Añadido", "añadido", "Anadido", "Cita 😀", "Cita 🎉"]
    for lead, name in enumerate(names, 1):
        funnel.lived(lead, (name, 0))

    assert {row[0]: row[1] for row in funnel.rows("v_funnel", "stage", "entered")} == dict.fromkeys(names, 1)


def test_months_and_days_are_those_of_utc(funnel: Funnel) -> None:
    local = datetime(2025, 6, 30, 21, 0, tzinfo=timezone(timedelta(hours=-5)))  # 1 July in UTC
    opportunity = funnel.person(1, stage="Nuevo")
    funnel.move(opportunity, "Nuevo", 0, lead=1, event_at=local, applied_at=local)

    assert funnel.rows("v_funnel", "month", "entered") == [(JULY, 1)]


@pytest.mark.parametrize("begun", [NOON, NOON + timedelta(microseconds=987_000)])
def test_latency_counts_to_the_millisecond_and_leaves_out_what_users_sent_again(
    funnel: Funnel, begun: datetime
) -> None:
    def event(number: int, milliseconds: float | None, **more: Any) -> None:
        finished = None if milliseconds is None else begun + timedelta(milliseconds=milliseconds)
        values: dict[str, Any] = {
            "type": "contact",
            "queue": "q",
            "source": "odoo",
            "manychat_id": "MC1",
            "payload": "{}",
        }
        values |= {"occurred_at": NOON, "clock_is_wrong": False, "received_at": begun, "started_at": NOON}
        values |= {"attempts": 1, "attempt_in_progress": False, "finished_at": finished, "event_id": f"a{number}"}
        funnel.insert("audit", **values | {"outcome": "stored" if finished else None} | more)

    for number, milliseconds in enumerate((250.9, 750, 1500, -3000, None)):
        event(number, milliseconds)
    event(9, 9_000_000, retries=1, outcome="dead_lettered")

    names = ("day", "type", "source", "events", "unfinished", "dead_lettered")
    assert funnel.rows("v_event_latency", *names, "median_seconds", "p90_seconds", "max_seconds") == [
        (date(2025, 6, 10), "contact", "odoo", 6, 1, 1, 0.5, 1.5, 1.5)
    ]
