"""Each field of a row has the value of the newest event that says it, in whatever order the events arrive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.contract.event import Event, accept
from bridge.contract.payloads import EventType
from bridge.store import campaigns, contacts, opportunities, records, schema

from .conftest import NOON, Store, assignment, contact, opportunity, update

#: Values that tell which event said them, by the fields of each payload and the columns of each table.
TEXTS = st.sampled_from(["uno", "dos", "tres"])
NUMBERS = st.integers(1, 3)
DATES = st.sampled_from([(NOON + timedelta(days=day)).isoformat() for day in (-3, -2, -1)])
CONTACT = {
    "nombre_lead": ("first_name", TEXTS),
    "apellido_lead": ("last_name", TEXTS),
    "whatsapp": ("phone", TEXTS),
    "email_lead": ("email", st.sampled_from(["a@b.co", "c@d.co"])),
    "datetime_suscripcion": ("subscribed_at", DATES),
    "estado_inicial": ("initial_state", TEXTS),
    "ultimo_estado": ("last_state", TEXTS),
}
OPPORTUNITY = {
    "entry_date": ("entry_date", DATES),
    "commercial_advisor_id": ("commercial_advisor_id", NUMBERS),
    "medical_advisor_id": ("medical_advisor_id", NUMBERS),
}
ASSIGNMENT = {
    "tipo_asignacion": ("type", TEXTS),
    "ultimo_estado": ("last_state", TEXTS),
    "summary": ("summary", TEXTS),
    "comercial_id": ("commercial_advisor_id", NUMBERS),
    "medico_id": ("medical_advisor_id", NUMBERS),
}
FIELDS: dict[str, dict[str, tuple[str, st.SearchStrategy[Any]]]] = {
    "contacts": CONTACT,
    "opportunities": OPPORTUNITY,
    "campaign_contacts": ASSIGNMENT,
}
MAKE: dict[str, Callable[..., Event]] = {
    "contacts": contact,
    "opportunities": opportunity,
    "campaign_contacts": assignment,
}
APPLY: dict[str, Callable[..., Any]] = {
    "contacts": contacts.apply_contacts,
    "opportunities": opportunities.record,
    "campaign_contacts": campaigns.apply_campaign_events,
}


def payloads(table: str) -> st.SearchStrategy[list[tuple[int, dict[str, Any]]]]:
    """Three or four events: the minute of each, and any of the fields that it may carry. Minutes may be equal."""
    fields = st.fixed_dictionaries({}, optional={name: values for name, (_, values) in FIELDS[table].items()})
    return st.lists(st.tuples(st.integers(1, 4), fields), min_size=3, max_size=4)


def newest(events: Sequence[Event], table: str) -> dict[str, Any]:
    """The model."""
    row: dict[str, Any] = {column: None for column, _ in FIELDS[table].values()}
    for event in sorted(events, key=lambda each: each.order):
        for name, (column, _) in FIELDS[table].items():
            value = getattr(event.payload, name)
            row[column] = row[column] if value is None else value
    return row


@pytest.mark.parametrize("table", FIELDS)
@pytest.mark.parametrize("repeated", [False, True], ids=["once", "twice"])
def test_every_order_of_arrival_ends_in_the_same_row(store: Store, table: str, repeated: bool) -> None:
    runs = itertools.count()

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(payloads(table))
    def check(said: list[tuple[int, dict[str, Any]]]) -> None:
        run = next(runs)
        # Each order is tried on a person of its own.
        orders = list(itertools.permutations(range(len(said))))
        people = {f"MC-{run}-{n}": order for n, order in enumerate(orders)}
        events = {person: [MAKE[table](minute, person, **fields) for minute, fields in said] for person in people}
        for turn in range(len(said)):
            for _ in range(1 + repeated):
                store.run(APPLY[table], [events[person][order[turn]] for person, order in people.items()])
        rows = {row.contact_id: row for row in store.rows(table)} if table != "contacts" else {}
        for row in store.rows("contacts"):
            if row.manychat_id in people:
                stored = rows.get(row.id, row)
                wanted = newest(events[row.manychat_id], table)
                assert {name: getattr(stored, name) for name in wanted} == wanted, people[row.manychat_id]
                assert stored.event_id == max(events[row.manychat_id], key=lambda each: each.order).id

    check()


def in_every_order(store: Store, apply: Any, make: Callable[[str], list[Event]], table: str) -> list[Any]:
    """The rows that each order of the events leaves."""
    left = []
    for n, order in enumerate(itertools.permutations(range(len(make("MC"))))):
        events = make(f"MC-{n}")
        for index in order:
            store.run(apply, [events[index]])
        [person] = store.rows("contacts", manychat_id=f"MC-{n}")
        left += [person] if table == "contacts" else store.rows(table, contact_id=person.id)
    return left


def test_an_event_between_two_others_is_newer_than_the_one_that_filled_the_field(store: Store) -> None:
    def make(person: str) -> list[Event]:
        return [
            contact(3, person, nombre_lead="Ana"),
            contact(1, person, whatsapp="+1", email_lead="a@b.co"),
            contact(2, person, whatsapp="+2"),
        ]

    rows = in_every_order(store, contacts.apply_contacts, make, "contacts")
    assert {(row.first_name, row.phone, row.email) for row in rows} == {("Ana", "+2", "a@b.co")}


def test_an_older_event_that_arrives_second_completes_the_opportunity(store: Store) -> None:
    def make(person: str) -> list[Event]:
        return [
            opportunity(1, person, first_name="Ana"),
            opportunity(
                0,
                person,
                commercial_advisor_id=700,
                medical_advisor_id=101,
                entry_date=NOON.isoformat(),
                state={"summary": "Fiebre"},
            ),
        ]

    rows = in_every_order(store, opportunities.record, make, "opportunities")
    completed = {(row.commercial_advisor_id, row.medical_advisor_id, row.entry_date, row.summary) for row in rows}
    assert completed == {(700, 101, NOON, "Fiebre")}
    assert {row.attempts for row in rows} == {1}


def test_the_stage_is_that_of_the_newest_event_with_both_its_names(store: Store) -> None:
    def make(person: str) -> list[Event]:
        older = accept(
            EventType.OPPORTUNITY,
            {"manychat_id": person, "state": {"stage": "Cotiza", "date": NOON.isoformat()}},
            received_at=NOON,
            source="odoo",
        )
        return [opportunity(1, person), older]

    rows = in_every_order(store, opportunities.record, make, "opportunities")
    assert {(row.manychat_stage_id, row.manychat_stage) for row in rows} == {(17, None)}


def test_a_date_without_an_adviser_moves_no_older_adviser_out_of_the_way(store: Store) -> None:
    def make(person: str) -> list[Event]:
        day = [(NOON - timedelta(days=n)).isoformat() for n in (2, 1, 0)]
        return [
            assignment(0, person, campaign_id=85),
            update(1, person, campaign_id=85, medical_advisor_id=7, medical_assignment_date=day[1]),
            update(2, person, campaign_id=85, medical_assignment_date=day[2]),
            update(3, person, campaign_id=85, medical_advisor_id=8, medical_assignment_date=day[0]),
        ]

    rows = in_every_order(store, campaigns.apply_campaign_events, make, "campaign_contacts")
    assert {(row.medical_advisor_id, row.medical_assignment_date) for row in rows} == {(7, NOON)}


def test_a_contacts_own_event_wins_over_an_opportunitys_whatever_their_dates(store: Store) -> None:
    def apply(connection: Any, events: list[Event]) -> None:
        own = [event for event in events if event.type is EventType.CONTACT]
        contacts.apply_contacts(connection, own)
        contacts.complete_from_opportunities(connection, [each for each in events if each not in own], NOON)

    def make(person: str) -> list[Event]:
        return [
            contact(1, person, nombre_lead="Ana"),
            opportunity(2, person, first_name="Eva", last_name="Gil", phone="+1"),
            opportunity(3, person, phone="+2", channel="Facebook"),
        ]

    rows = in_every_order(store, apply, make, "contacts")
    assert {(row.first_name, row.last_name, row.phone) for row in rows} == {("Ana", "Gil", "+2")}
    assert all(row.channel_id for row in rows)


def test_a_field_that_the_api_emptied_is_filled_by_later_events_only(store: Store) -> None:
    row = store.run(records.create, schema.contacts, {"manychat_id": "MC1", "phone": "+1", "email": None}, NOON)
    store.run(records.update, schema.contacts, row.id, {"phone": None}, NOON + timedelta(minutes=2))
    store.run(contacts.apply_contacts, [contact(1, whatsapp="+2", email_lead="a@b.co")])
    [row] = store.rows("contacts")
    assert (row.phone, row.email) == (None, "a@b.co")

    store.run(contacts.apply_contacts, [contact(3, whatsapp="+3")])
    assert store.rows("contacts")[0].phone == "+3"


def test_what_an_import_wrote_is_older_than_every_event_of_the_contact(store: Store) -> None:
    with store.engine.begin() as connection:
        values = {"first_name": "Import", "phone": "+0", "created_at": NOON, "updated_at": NOON}
        connection.execute(schema.contacts.insert().values(manychat_id="MC1", **values))
    store.run(opportunities.record, [opportunity(1, first_name="Eva", last_name="Gil")])
    [row] = store.rows("contacts")
    assert (row.first_name, row.last_name) == ("Import", "Gil")

    store.run(contacts.apply_contacts, [contact(-100_000, nombre_lead="Ana")])
    [row] = store.rows("contacts")
    assert (row.first_name, row.last_name, row.phone) == ("Ana", "Gil", "+0")


def test_fields_that_the_contract_does_not_know_follow_the_same_rule(store: Store) -> None:
    for make, apply, table in (
        (contact, contacts.apply_contacts, "contacts"),
        (assignment, campaigns.apply_campaign_events, "campaign_contacts"),
        (opportunity, opportunities.record, "opportunities"),
    ):
        newer, older = make(2), replace(make(1), extra={"ad_id": 7})
        store.run(apply, [newer])
        store.run(apply, [older])
        assert [row.extra for row in store.rows(table)] == ['{"ad_id": 7}']


def test_a_row_that_one_event_has_said_needs_no_versions_of_fields(store: Store) -> None:
    store.run(contacts.apply_contacts, [contact(1, nombre_lead="Ana", whatsapp="+1")])
    store.run(campaigns.apply_campaign_events, [assignment(2, comercial_id=7, ultimo_estado="x")])
    store.run(opportunities.record, [opportunity(3, commercial_advisor_id=7)])

    tables = ("contacts", "campaign_contacts", "opportunities")
    assert [row.field_versions for table in tables for row in store.rows(table)] == [None, None, None]
