"""How many statements a batch takes: a fixed number, whatever it holds. On a server each is a trip there and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.contract.opportunity_state import read_state
from bridge.results import Done, Failure
from bridge.store import audit, campaigns, contacts, dead_letters, opportunities, opportunity_states

from .conftest import Store, assignment, contact, decision, opportunity, state, update
from .test_audit import letter, taken

#: Events of a batch.
BATCH = 32
STATES = {"ultimo_estado": "Interesado", "canal_entrada": "Facebook"}
ADVISERS = {"comercial_id": 7, "medico_id": 8, "ultimo_estado": "x"}


def people(make: Callable[..., Event], start: int, **fields: Any) -> list[Event]:
    """Events of as many people as a batch has."""
    return [make(start, f"MC{n}", **fields) for n in range(BATCH)]


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """The statements that the database gets, each as often as it makes a trip."""
    seen: list[str] = []

    def see(_connection, _cursor, statement, parameters, _context, executemany) -> None:  # type: ignore[no-untyped-def]
        if statement.startswith("BEGIN"):
            return
        rows = len(parameters) if executemany else 1
        # SQLite has no trips. An INSERT of many rows is one statement, or goes to PostgreSQL without waiting for each.
        together = store.engine.dialect.name == "sqlite" or statement.startswith("INSERT")
        seen.extend([statement] * (1 if together else rows))

    sa.event.listen(store.engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", see)


def count(store: Store, work: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    with counted(store) as seen:
        store.run(work, *arguments, **named)
    return len(seen)


#: Statements that only servers need: a lock, or the next number of a sequence.
MORE = {"sqlite": 0, "postgresql": 1, "mssql": 2}


def test_an_attempt_of_a_batch_is_noted_in_two_statements(store: Store) -> None:
    received = [taken(event) for event in people(contact, 1)]

    assert count(store, audit.begin_new, received) == 2
    assert count(store, audit.begin, received) == 2


def test_the_end_of_a_batch_is_noted_in_two_statements(store: Store) -> None:
    events = people(contact, 1)
    store.run(audit.begin, [taken(event) for event in events])

    assert count(store, audit.finish, {event.id: Done("stored") for event in events}) == 2
    failures = {event.id: Failure("refused", "no") for event in events}
    assert count(store, audit.fail, failures, dead=False) == 1
    rows = list(store.run(audit.rows, failures).values())
    assert count(store, audit.mark_reported, rows) == 1
    assert count(store, audit.release_attempt, failures) == 1


@pytest.mark.parametrize(
    ("make", "apply", "fields", "new", "known"),
    [
        (contact, contacts.apply_contacts, STATES, 10, 6),
        (assignment, campaigns.apply_campaign_events, ADVISERS, 16, 10),
        (update, campaigns.apply_campaign_events, {"last_state": "x", "summary": "y"}, 10, 6),
        (opportunity, opportunities.record, {"commercial_advisor_id": 7, "channel": "Facebook"}, 16, 9),
    ],
    ids=["contacts", "assignments", "updates", "opportunities"],
)
def test_a_batch_takes_a_fixed_number_of_statements(
    store: Store,
    make: Callable[..., Event],
    apply: Callable[..., Any],
    fields: dict[str, Any],
    new: int,
    known: int,
) -> None:
    """
    :param new: of people who are new
    :param known: of people who have their rows
    """
    more = MORE[store.engine.dialect.name]
    assert count(store, apply, people(make, 1, **fields)) <= new + more
    assert count(store, apply, people(make, 2, **fields)) <= known + more
    assert len(store.rows("contacts")) == BATCH


@pytest.mark.parametrize("tells_states", [True, False], ids=["with states", "older addon"])
def test_what_odoo_did_with_a_batch_is_noted_in_six_statements(store: Store, *, tells_states: bool) -> None:
    events = people(opportunity, 1)
    store.run(opportunities.record, events)
    done = {
        event.id: (event, Done("moved", n + 1, "A", "B", read_state(state(2)) if tells_states else None))
        for n, event in enumerate(events)
    }

    assert count(store, opportunities.finish, done) <= 6 + MORE[store.engine.dialect.name]
    assert len(store.rows("opportunity_stages")) == BATCH
    assert count(store, opportunities.fail, [(event, Failure("refused", "no")) for event in events]) == 1


def test_a_batch_of_decisions_takes_a_fixed_number_of_statements(store: Store) -> None:
    more = MORE[store.engine.dialect.name]
    for minute, most in ((1, 13), (2, 8)):
        decisions = [decision(minute, manychat_id=f"MC{n}") for n in range(BATCH)]
        assert count(store, opportunity_states.apply_decisions, decisions) <= most + more
    assert len(store.rows("opportunity_stages")) == 2 * BATCH


def test_letters_of_a_batch_are_closed_and_opened_again_together(store: Store) -> None:
    events = people(contact, 1)
    letters = [letter(event, message_id=f"m{n}") for n, event in enumerate(events)]
    ids = [event.id for event in events]

    assert count(store, dead_letters.put, letters) <= 4
    assert count(store, dead_letters.resolve, ids) == 2
    assert count(store, dead_letters.put, letters) <= 4
    assert count(store, dead_letters.discard_all, ids) == 2
