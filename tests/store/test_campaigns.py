from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bridge.store.campaigns import apply_campaign_events
from bridge.store.contacts import apply_contacts
from bridge.store.engine import in_transaction

from .conftest import NOON, Store, assignment, contact, update


def test_an_assignment_keeps_advisers_dates_type_and_state(store: Store) -> None:
    event = assignment(
        comercial_id="700", medico_id="101", tipo_asignacion="medico", ultimo_estado="Asignado", summary="Preguntó"
    )
    store.run(apply_campaign_events, [event])

    [row] = store.rows("campaign_contacts")
    assert (row.campaign_id, row.type, row.last_state, row.summary) == (85, "medico", "Asignado", "Preguntó")
    assert (row.commercial_advisor_id, row.commercial_assignment_date) == (700, NOON)
    assert (row.medical_advisor_id, row.medical_assignment_date) == (101, NOON)
    assert {advisor.id: advisor.role for advisor in store.rows("advisors")} == {700: "commercial", 101: "medical"}
    assert [campaign.id for campaign in store.rows("campaigns")] == [85]
    assert [(state.state, state.category) for state in store.rows("contact_states")] == [("Asignado", "campaign")]


def test_an_assignment_for_an_unknown_contact_is_completed_by_the_contacts_event(store: Store) -> None:
    store.run(apply_campaign_events, [assignment(2)])
    [bare] = store.rows("contacts")
    assert (bare.manychat_id, bare.first_name) == ("MC1", None)
    store.run(apply_contacts, [contact(1, nombre_lead="Ana")])

    [row] = store.rows("contacts")
    assert (row.id, row.first_name) == (bare.id, "Ana")


def test_zero_means_no_adviser_and_removes_no_adviser(store: Store) -> None:
    store.run(apply_campaign_events, [assignment(1, comercial_id=700), assignment(2, comercial_id=0, medico_id=101)])

    [row] = store.rows("campaign_contacts")
    assert (row.commercial_advisor_id, row.medical_advisor_id) == (700, 101)
    assert row.commercial_assignment_date == NOON + timedelta(minutes=1)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "three batches"])
def test_any_delivery_order_ends_in_the_newest_adviser_and_state(
    store: Store, order: tuple[int, ...], together: bool
) -> None:
    events = [
        assignment(1, comercial_id=1, ultimo_estado="one", summary="first"),
        assignment(2, comercial_id=2, ultimo_estado="two"),
        assignment(3, medico_id=3, ultimo_estado="three"),
    ]
    delivered = [events[index] for index in order]
    for batch in [delivered] if together else [[each] for each in delivered]:
        store.run(apply_campaign_events, batch)

    [row] = store.rows("campaign_contacts")
    assert (row.commercial_advisor_id, row.medical_advisor_id) == (2, 3)
    assert (row.last_state, row.summary) == ("three", "first")
    assert row.assigned_at == NOON + timedelta(minutes=3)
    assert len(store.rows("contact_states")) == 3


def test_an_update_changes_the_campaign_it_names(store: Store) -> None:
    store.run(apply_campaign_events, [assignment(1, campaign_id=85), assignment(2, campaign_id=86)])
    store.run(
        apply_campaign_events,
        [
            update(
                3,
                campaign_id=85,
                medical_advisor_id=101,
                medical_assignment_date="2025-06-10T11:00:00Z",
                last_state="Asignado a médico",
            )
        ],
    )

    [first, second] = store.rows("campaign_contacts")
    assert (first.medical_advisor_id, first.last_state) == (101, "Asignado a médico")
    assert first.medical_assignment_date == NOON - timedelta(hours=1)
    assert (second.medical_advisor_id, second.last_state) == (None, None)


def test_an_update_without_a_campaign_goes_to_the_most_recent_assignment(store: Store) -> None:
    store.run(apply_campaign_events, [assignment(2, campaign_id=86), assignment(1, campaign_id=85)])
    store.run(apply_campaign_events, [update(3, last_state="here")])

    assert {row.campaign_id: row.last_state for row in store.rows("campaign_contacts")} == {85: None, 86: "here"}


def test_the_most_recent_assignment_is_that_of_the_updates_own_time(store: Store) -> None:
    store.run(apply_campaign_events, [assignment(1, campaign_id=85), assignment(5, campaign_id=86)])
    store.run(apply_campaign_events, [update(3, last_state="late in coming")])

    rows = {row.campaign_id: row.last_state for row in store.rows("campaign_contacts")}
    assert rows == {85: "late in coming", 86: None}


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_an_update_before_any_assignment_is_kept_and_the_first_assignment_takes_it_over(
    store: Store, together: bool
) -> None:
    early, later = update(1, last_state="early", medical_advisor_id=9), assignment(2, comercial_id=700)
    for batch in [[later, early]] if together else [[early], [later]]:
        store.run(apply_campaign_events, batch)

    [row] = store.rows("campaign_contacts")
    assert (row.campaign_id, row.last_state) == (85, "early")
    assert (row.medical_advisor_id, row.commercial_advisor_id) == (9, 700)


def test_many_contacts_may_have_an_update_without_a_campaign(store: Store) -> None:
    store.run(apply_campaign_events, [update(number, f"MC{number}", last_state="x") for number in range(5)])
    store.run(apply_campaign_events, [update(number, f"MC{number}", last_state="y") for number in range(10, 15)])

    assert len([row for row in store.rows("campaign_contacts") if row.campaign_id is None]) == 10


def test_the_same_events_again_change_nothing(store: Store) -> None:
    events = [assignment(1, comercial_id=1, ultimo_estado="a"), update(2, last_state="b", summary="s")]
    store.run(apply_campaign_events, events)
    before = [store.rows(table) for table in ("contact_states", "advisors", "campaigns")]
    [row] = store.rows("campaign_contacts")
    store.run(apply_campaign_events, events[::-1])

    assert [store.rows(table) for table in ("contact_states", "advisors", "campaigns")] == before
    [after] = store.rows("campaign_contacts")
    assert {**after._asdict(), "updated_at": None} == {**row._asdict(), "updated_at": None}


def test_eight_connections_that_assign_one_contact_make_one_row_without_an_error(store: Store) -> None:
    events = [assignment(minute, comercial_id=minute + 1) for minute in range(24)] + [
        update(minute, last_state=str(minute)) for minute in range(24, 48)
    ]

    def write(start: int) -> None:
        for event in events[start::8]:
            in_transaction(store.engine, apply_campaign_events, [event])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))

    rows = store.rows("campaign_contacts")
    assert [row.campaign_id for row in rows] == [85]
    assert (rows[0].commercial_advisor_id, rows[0].last_state) == (24, "47")
