"""The views for analysts, of opportunities with awkward lives: written as the bridge writes them, by decisions."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from bridge.contract.opportunity_state import read_state
from bridge.results import Done
from bridge.store import opportunities, opportunity_differences, opportunity_states

from .conftest import NOON, Store, decision, opportunity, state
from .funnel import Funnel, at

DAY = 24 * 60
JUNE, JULY, AUGUST = date(2025, 6, 1), date(2025, 7, 1), date(2025, 8, 1)
PERIOD = ("stage", "entered_at", "left_at", "hours", "ended_by", "is_estimated")


@pytest.fixture
def funnel(store: Store) -> Funnel:
    return Funnel(store)


class Life:
    """What Odoo and the chat say of people, in minutes after noon, applied as it comes."""

    def __init__(self, funnel: Funnel):
        self.store = funnel.store

    def decides(self, minute: float, *what: str, person: str = "MC1", **said: Any) -> None:
        event = decision(minute, said.pop("stage_id", 1), person, decided=[*what], **said)
        self.store.run(opportunity_states.apply_decisions, [event])

    def writes(self, minute: float, stage_id: int, before: int | None = None, person: str = "MC1", **said: Any) -> None:
        """The bot's event brings the opportunity into a stage; Odoo answers at once."""
        names = {None: None, 1: "Nuevo", 2: "Cotización", 3: "Ganado"}
        event = opportunity(minute, person)
        answer = read_state(state(minute, stage_id, **said))
        assert answer
        done = Done("moved" if before else "created", answer.lead_id, names[before], names[stage_id], answer)
        self.store.run(opportunities.record, [event])
        self.store.run(opportunities.finish, {event.id: (event, done)})


@pytest.fixture
def life(funnel: Funnel) -> Life:
    return Life(funnel)


def test_an_opportunity_that_is_won_lost_restored_and_won_again(funnel: Funnel, life: Life) -> None:
    life.writes(0, 1)
    life.decides(60, "stage", "won", stage_id=3, status="won", closed_at=at(1).isoformat())
    life.decides(120, "restored", "stage", stage_id=2, before=3)
    life.decides(180, "lost", stage_id=2, before=2, status="lost", lost_reason="Precio", closed_at=at(3).isoformat())
    life.decides(300, "restored", stage_id=2, before=None)
    life.decides(360, "stage", "won", stage_id=3, before=2, status="won", closed_at=at(6).isoformat())

    assert funnel.rows("v_stage_periods", *PERIOD) == [
        ("Cotización", at(2), at(3), 1.0, "lost", 0),
        ("Cotización", at(5), at(6), 1.0, "moved", 0),
        ("Ganado", at(1), at(2), 1.0, "moved", 0),
        ("Ganado", at(6), None, None, None, 0),
        ("Nuevo", at(0), at(1), 1.0, "moved", 0),
    ]
    assert funnel.rows("v_funnel", "stage", "entered", "in_stage", "left_stage", "moved_on", "lost", "won") == [
        ("Cotización", 1, 0, 1, 1, 1, 1),
        ("Ganado", 1, 1, 1, 1, 0, 1),
        ("Nuevo", 1, 0, 1, 1, 0, 1),
    ]
    assert funnel.rows("v_conversion", "month", "opportunities", "won", "lost") == [(JUNE, 1, 1, 0)]
    assert funnel.rows("v_lost_reasons", "lost") == []


def test_a_lost_one_that_gets_another_stage_was_lost_in_the_stage_and_month_of_its_loss(
    funnel: Funnel, life: Life
) -> None:
    lost = {"status": "lost", "lost_reason": "Precio"}
    life.writes(0, 1)
    life.decides(60, "lost", **lost, closed_at=at(1).isoformat())
    life.decides(60 * DAY, "stage", stage_id=2, before=None, **lost)  # Odoo takes the date of the loss away

    assert funnel.rows("v_lost_reasons", "month", "stage", "lost_reason", "lost") == [(JUNE, "Nuevo", "Precio", 1)]
    assert funnel.rows("v_funnel", "month", "stage", "entered", "lost") == [(JUNE, "Nuevo", 1, 1)]
    assert funnel.rows("v_opportunities", "stage") == [("Cotización",)]


def test_of_two_losses_the_last_one_counts(funnel: Funnel, life: Life) -> None:
    life.writes(0, 1)
    life.decides(60, "lost", status="lost", closed_at=at(1).isoformat())
    life.decides(30 * DAY, "restored", before=None)
    life.decides(30 * DAY + 60, "stage", stage_id=2)
    life.decides(60 * DAY, "lost", stage_id=2, before=2, status="lost", closed_at=at(24 * 60).isoformat())

    assert funnel.rows("v_lost_reasons", "month", "stage", "lost") == [(AUGUST, "Cotización", 1)]


def test_a_loss_that_sql_has_not_seen_is_dated_by_odoo(funnel: Funnel, life: Life) -> None:
    life.writes(0, 1)
    lost = state(60 * DAY, 1, status="lost", closed_at=at(24).isoformat(), decided_at=at(24 * 59).isoformat())
    funnel.store.run(opportunity_differences.adopt, {"MC1": read_state(lost)}, at(24 * 70))

    assert funnel.rows("v_lost_reasons", "month", "stage", "lost") == [(JUNE, "Nuevo", 1)]
    assert funnel.rows("v_stage_periods", *PERIOD) == [("Nuevo", at(0), at(24), None, "lost", 0)]


def test_a_person_who_was_taken_from_an_opportunity_does_not_end_its_stay(funnel: Funnel, life: Life) -> None:
    life.writes(0, 1)
    life.decides(10, "merged", person="MC2", merged_into=7)
    life.decides(60, "deleted", person="MC2", status="deleted")  # the conversation was separated; MC1 has it still
    life.decides(120, "stage", stage_id=2)

    assert funnel.rows("v_stage_periods", *PERIOD) == [
        ("Cotización", at(2), None, None, None, 0),
        ("Nuevo", at(0), at(2), 2.0, "moved", 0),
    ]
    assert funnel.rows("v_funnel", "stage", "entered", "lost") == [("Cotización", 1, 0), ("Nuevo", 1, 0)]
    assert funnel.rows("v_opportunities", "people", "began_at", "began_is_known") == [(1, at(0), 1)]


def test_a_chain_of_merges_leaves_the_moves_of_the_one_that_remains(funnel: Funnel, life: Life) -> None:
    for number, person in enumerate(("MC1", "MC2", "MC3")):
        life.writes(10 * number, 1, person=person, lead_id=7 + number)
    life.decides(60, "merged", person="MC3", lead_id=8, merged_into=8)
    for person in ("MC2", "MC3"):
        life.decides(120, "merged", person=person, lead_id=7, merged_into=7)
    for person in ("MC1", "MC2", "MC3"):
        merged = {} if person == "MC1" else {"merged_into": 7}
        life.decides(180, "stage", "won", person=person, stage_id=3, status="won", **merged)

    assert funnel.rows("v_opportunities", "lead_id", "people", "status") == [(7, 3, "won")]
    assert funnel.rows("v_stage_periods", *PERIOD) == [
        ("Ganado", at(3), None, None, None, 0),
        ("Nuevo", at(0), at(3), 3.0, "moved", 0),
    ]
    assert funnel.rows("v_conversion", "opportunities", "won") == [(1, 1)]


def test_no_wait_is_counted_from_a_move_that_is_not_the_beginning(funnel: Funnel, life: Life) -> None:
    """It would be one of no time: what SQL sees first is often the answer itself."""
    life.decides(60, "stage", "answered", stage_id=2, before=1, first_answered_at=at(1).isoformat())
    # Lost before SQL knew it, and restored: a move from no stage, too.
    life.decides(60, "lost", person="MC2", lead_id=8, status="lost", first_answered_at=at(1).isoformat())
    life.decides(90, "restored", person="MC2", before=None, lead_id=8, first_answered_at=at(1).isoformat())

    assert funnel.rows("v_opportunities", "lead_id", "began_is_known", "began_at") == [(7, 0, at(1)), (8, 0, at(1))]
    assert funnel.rows("v_first_response", "opportunities") == []


def test_an_answer_from_before_the_beginning_is_none_that_its_customer_waited_for(funnel: Funnel, life: Life) -> None:
    life.writes(120, 1)  # and then another one is merged into it that was answered before
    life.decides(180, "merged", person="MC2", merged_into=7, first_answered_at=at(1).isoformat())
    life.writes(0, 1, person="MC3", lead_id=9)
    life.decides(30, "answered", person="MC3", lead_id=9, first_answered_at=at(0.5).isoformat())
    # Odoo has whole seconds, the bot's date may be later in the second.
    life.writes(0.01, 1, person="MC4", lead_id=10)
    life.decides(1, "answered", person="MC4", lead_id=10, first_answered_at=NOON.isoformat())

    names = ("opportunities", "answered", "median_hours", "p90_hours")
    assert funnel.rows("v_first_response", *names, dimension="all", month=JUNE) == [(2, 2, 0.25, 0.5)]


def test_what_has_no_name_or_the_name_of_another_has_a_median_of_its_own(funnel: Funnel) -> None:
    """Bots send the ids of campaigns and advisers; their names come by the API, if at all."""
    for campaign in (85, 86):
        funnel.insert("campaigns", id=campaign)
    for lead, (hours, campaign_id, salesperson_id) in enumerate([(2, 85, 5), (10, 86, 6), (20, None, None)], 1):
        known = {"first_answered_at": at(hours), "salesperson_id": salesperson_id}
        name = "Ana" if salesperson_id else None
        row = funnel.lived(lead, ("Nuevo", 0), ("Cita", hours), salesperson=name, **known)
        if campaign_id:
            [stored] = funnel.store.rows("opportunities", id=row)
            funnel.insert("campaign_contacts", contact_id=stored.contact_id, campaign_id=campaign_id, assigned_at=NOON)

    for view in ("v_time_in_stage", "v_first_response"):
        names = ("dimension_id", "dimension_value", "median_hours")
        assert funnel.rows(view, *names, dimension="campaign", month=JUNE) == [
            (85, None, 2.0),
            (86, None, 10.0),
            (None, None, 20.0),
        ]
        assert funnel.rows(view, *names, dimension="salesperson", month=JUNE) == [
            (5, "Ana", 2.0),
            (6, "Ana", 10.0),
            (None, None, 20.0),
        ]
        assert funnel.rows(view, "dimension_id", "median_hours", dimension="all", month=None) == [(None, 10.0)]


def test_who_moved_it_is_found_by_a_load_of_what_is_new(funnel: Funnel, life: Life) -> None:
    """A decision that comes after a later state changes who moved it, and the row's mark."""
    life.writes(0, 1)
    funnel.store.run(opportunity_differences.adopt, {"MC1": read_state(state(90, 2))}, datetime.now(timezone.utc))
    [loaded] = funnel.store.rows("opportunities")
    life.decides(60, "stage", stage_id=2)

    [row] = funnel.store.rows("opportunities")
    assert (loaded.stage_by, row.stage_by) == (None, "person")
    assert row.updated_at > loaded.updated_at


def test_long_names_ends_of_months_and_stays_of_no_time(funnel: Funnel) -> None:
    name = "Ñ😀" * 128 if funnel.store.engine.dialect.name != "mssql" else "Ñ" * 256
    last = datetime(2025, 6, 30, 23, 59, 59, 999999, tzinfo=timezone.utc)
    first = datetime(2025, 7, 1, tzinfo=timezone.utc)
    row = funnel.person(1, stage="Cita", salesperson=name, lost_reason=name)
    for stage, moment in ((name, last), ("Otra", last), (name, first), ("Cita", first)):
        funnel.move(row, stage, 0, lead=1, event_at=moment, applied_at=first)

    assert funnel.rows("v_stage_periods", "stage", "month", "hours") == [
        ("Cita", JULY, None),
        ("Otra", JUNE, pytest.approx(1 / 3_600_000)),
        (name, JUNE, 0.0),
        (name, JULY, 0.0),
    ]
    assert funnel.rows("v_funnel", "stage", "month", "entered", "salesperson") == [
        ("Cita", JULY, 1, name),
        ("Otra", JUNE, 1, name),
        (name, JUNE, 1, name),
        (name, JULY, 1, name),
    ]
