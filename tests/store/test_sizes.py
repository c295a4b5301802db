"""What the store is asked may be large: no statement outgrows SQL Server, and the work grows with the rows, not faster.

A bridge asks for a batch of 32 at most; an operator may name thousands of ids, and a purge may come after years.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.keys import OdooKey
from bridge.contract.opportunity_state import read_state
from bridge.importer import writer
from bridge.results import Done, Failure
from bridge.store import (
    api_keys,
    audit,
    campaigns,
    contacts,
    dead_letters,
    last_write_wins,
    manychat_echoes,
    manychat_known,
    manychat_wishes,
    manychat_writes,
    migration_journal,
    notices,
    odoo_settings,
    opportunities,
    opportunity_differences,
    opportunity_states,
    pauses,
    retention,
    standby_refusals,
    upsert,
)
from bridge.store import schema as tables
from bridge.store.dead_letters import Filter
from bridge.store.notices import Notice

from .conftest import NOON, PURGES, Store, assignment, contact, decision, opportunity, state
from .test_audit import letter, taken
from .test_plans import public_functions, wish
from .test_standby_refusals import counted

#: Of SQL Server: "The incoming request has too many parameters. The server supports a maximum of 2100 parameters."
#: All is ten times smaller here, the chunks included: thousands of rows of everything take a minute.
SCALE = 10
MOST_PARAMETERS = 2100 // SCALE
#: More than fit into one statement.
MANY = MOST_PARAMETERS + 10
DAY = timedelta(days=1)


@pytest.fixture
def largest(store: Store) -> Iterator[dict[str, int]]:
    """How many parameters each statement took at most."""
    seen: dict[str, int] = {}

    def see(_connection, _cursor, statement, parameters, _context, executemany) -> None:  # type: ignore[no-untyped-def]
        # SQLAlchemy may make one statement of many rows, where a driver has no quick way to send them.
        rows = parameters if executemany and isinstance(parameters[0], (tuple, list, dict)) else [parameters]
        seen[statement] = max(len(row) for row in rows)

    sa.event.listen(store.engine, "before_cursor_execute", see)
    yield seen
    sa.event.remove(store.engine, "before_cursor_execute", see)


def functions_that_take_many() -> set[str]:
    """``module.function`` of everything in the store that takes as many of something as the caller likes."""
    # These are called by others, or take one value for each column or filter.
    bounded = {"upsert", "records", "listing"}
    found = set()
    for name in public_functions():
        module, function = name.split(".")
        signature = inspect.signature(getattr(import_module(f"bridge.store.{module}"), function))
        kinds = {str(each.annotation).partition("[")[0] for each in signature.parameters.values()}
        if kinds & {"Collection", "Iterable", "Mapping", "Sequence", "Filter"} and module not in bounded:
            found.add(name)
    return found


def test_no_statement_takes_more_parameters_than_sql_server_does(
    store: Store, largest: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsert, "CHUNK", upsert.CHUNK // SCALE)
    monkeypatch.setattr(store.engine.dialect, "insertmanyvalues_max_parameters", MOST_PARAMETERS)
    numbers = range(1, MANY + 1)
    people = [contact(0, f"MC{n}", ultimo_estado="x", canal_entrada=f"c{n}") for n in numbers]
    moves = [opportunity(1, f"MC{n}", commercial_advisor_id=n) for n in numbers]
    assignments = [assignment(2, f"MC{n}", campaign_id=n, ultimo_estado="x") for n in numbers]
    events = [move.id for move in moves]
    failures = {event_id: Failure("refused", "no") for event_id in events}
    letters = [letter(move, message_id=f"m{n}") for n, move in enumerate(moves)]
    letters += [letter(message_id=f"u{n}") for n in numbers]
    wanted = Filter(statuses=(), ids=numbers, event_ids=events)
    called = set()

    def call(function, *arguments, **named):  # type: ignore[no-untyped-def]
        called.add(f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
        return store.run(function, *arguments, **named)

    call(contacts.apply_contacts, people)
    ids = call(contacts.ensure_contacts, [f"MC{n}" for n in numbers], NOON)
    call(contacts.ensure_channels, [f"c{n}" for n in numbers], NOON)
    call(contacts.complete_from_opportunities, moves, NOON)
    call(last_write_wins.lock, tables.contacts, ids.values())
    said = [last_write_wins.said_by(event, ids[event.manychat_id], {"last_state": "y"}) for event in people]
    call(last_write_wins.merge, tables.contacts, contacts.FIELDS, said, NOON)
    call(contacts.append_states, [(ids[event.manychat_id], "x", "contact", event) for event in people])
    call(campaigns.apply_campaign_events, assignments)
    call(campaigns.ensure_campaigns, numbers, NOON)
    call(campaigns.ensure_advisors, numbers, "medical", NOON)
    call(audit.begin_new, [taken(move) for move in moves[:5]])
    call(audit.begin, [taken(move) for move in moves])
    call(audit.begin_new, [taken(person) for person in people])
    call(audit.attempt_states, events)
    call(audit.done, events)
    call(opportunities.record, moves)
    call(opportunities.fail, [(move, failures[move.id]) for move in moves])
    call(audit.release_attempt, events)
    call(audit.fail, failures, dead=True)
    call(audit.unfinished, NOON, [f"t{n}" for n in range(4)])  # types are four
    call(dead_letters.put, letters)
    call(notices.mark_sent, {row.id: Notice("n", "r") for row in call(notices.missing, [f"u{n}" for n in numbers])})
    call(dead_letters.given_up, events)
    assert len(call(dead_letters.search, wanted)) == sum(call(dead_letters.counts, wanted).values()) == MANY
    call(dead_letters.discard_all, events)
    call(dead_letters.resolve, events)
    call(audit.finish, {event_id: Done("stored") for event_id in events})
    call(opportunities.finish, {move.id: (move, Done("created", 1, None, "A")) for move in moves})
    call(odoo_settings.take_over, {f"s{n}": n for n in numbers})
    call_with_states(call, numbers)
    call(audit.mark_reported, list(call(audit.rows, events).values()))
    call(audit.report_again, events)
    call(api_keys.set_last_used, dict.fromkeys(numbers, NOON))
    call(api_keys.revoke, numbers)
    call(api_keys.take_over, [OdooKey("o", "p", f"{n:064}", None, None) for n in numbers])
    call(api_keys.take_over, [])
    call(dead_letters.statuses, numbers, events)
    call(notices.mark_gone, {n: Notice(f"n{n}", "r") for n in numbers})
    call(pauses.pause, events)
    call(pauses.resume, events)
    monkeypatch.setattr(standby_refusals, "BATCH", MANY)
    call(standby_refusals.add, counted(MANY))
    for n in numbers:
        store.run(standby_refusals.add, counted(1, key_id=n, code="not_json"))
    call(standby_refusals.mark_reported, store.run(standby_refusals.unreported, NOON))
    call(writer.contact_ids, [f"MC{n}" for n in numbers])
    adopted = {
        tables.channels: [{"name": f"a{n}", "name_key": f"a{n}"} for n in numbers],
        tables.contacts: [{"manychat_id": f"A{n}", "email": "x", "channel": f"a{n}"} for n in numbers],
        tables.campaign_contacts: [
            {"manychat_id": f"A{n}", "campaign_id": n, "medical_advisor_id": n} for n in numbers
        ],
    }
    for table, rows in adopted.items():
        for dry_run in (True, False, False):
            call(writer.write, table, rows, NOON, dry_run=dry_run)
    call(audit.finished_since, NOON, [f"t{n}" for n in range(4)], 0, 32)  # outcomes are a few
    call(campaigns.newest_assignments, [f"A{n}" for n in numbers])
    moved = [opportunity(3, f"M{n}", commercial_advisor_id=n) for n in numbers]
    people = [move.manychat_id for move in moved]
    watched = migration_journal.Watched(people, [move.id for move in moved], people, numbers, numbers)
    call(migration_journal.record, "b", watched, lambda connection: opportunities.record(connection, moved, NOON))
    assert call(migration_journal.undo, "b", 0, 10 * MANY, people[:1]).rows["contacts"] == MANY - 1

    decisions = [decision(5, manychat_id=f"MC{n}") for n in numbers]
    call(opportunity_states.apply_decisions, decisions)
    states = {f"MC{n}": each for n in numbers if (each := read_state(state(6, 2)))}
    call(opportunity_states.write, states.items(), NOON)
    call(opportunity_states.ensure_opportunities, ids, "success", NOON)
    call(opportunity_states.ensure_known, states.items(), NOON)
    call(opportunity_states.append_moves, [])  # apply_decisions calls it with all
    call(opportunity_differences.differences, states)
    call(opportunity_differences.adopt, states, NOON)
    call(opportunity_differences.mark_deleted, store.run(opportunity_differences.known_after, 0, MANY), NOON)
    call(odoo_settings.take_over, {f"s{n}": n for n in numbers})
    call(manychat_writes.take_over, {**{f"s{n}": n for n in numbers}, "write_back": {"enabled": True}})
    moment = datetime.now(timezone.utc) + timedelta(minutes=1)
    call(manychat_wishes.want, [wish(f"MC{n}", moment) for n in numbers])
    claim = call(manychat_writes.claim, "MC1", moment, "lease")
    call(manychat_echoes.expect, "MC1", claim.state, claim.as_of)
    call(manychat_writes.begin, claim, dict.fromkeys(f"field:{n}" for n in numbers))
    call(manychat_writes.release, claim, {})
    call(manychat_writes.mark_queued, call(manychat_writes.unqueued, MANY))
    call(manychat_writes.mark_reported, call(manychat_writes.unqueued, MANY))
    call(manychat_echoes.recognise, moves)
    call(manychat_known.look_up, [f"MC{n}" for n in numbers])
    call(manychat_known.write_again, [f"MC{n}" for n in numbers])

    forgotten = functions_that_take_many() - called
    assert not forgotten, f"call these with {MANY} of what they take, too: {sorted(forgotten)}"
    assert {statement: count for statement, count in largest.items() if count > MOST_PARAMETERS} == {}


def call_with_states(call: Callable[..., Any], numbers: range) -> None:
    """Call what takes the states of opportunities: of half the people something is known."""
    decisions = [decision(9, manychat_id=f"MC{n}") for n in numbers]
    states = {f"D{n}": found for n in numbers if (found := read_state(state(9)))}
    call(opportunity_states.apply_decisions, decisions)
    call(opportunity_states.ensure_known, states.items(), NOON)
    ids = call(contacts.ensure_contacts, list(states), NOON)
    call(opportunity_states.ensure_opportunities, ids, "success", NOON)
    call(opportunity_states.write, states.items(), NOON)
    moves = [opportunity_states.Move(who, 7, "A", "B", NOON, NOON, f"move{who}", "person", 9, "open") for who in states]
    call(opportunity_states.append_moves, moves)
    later = {who: found for who in states if (found := read_state(state(10, 2)))}
    assert len(call(opportunity_differences.differences, later)) == MANY
    call(opportunity_differences.adopt, later, NOON)
    call(opportunity_differences.mark_deleted, call(opportunity_differences.known_after, 0, 10 * MANY), NOON)


def test_letters_named_by_many_ids_are_each_found_once_in_order_and_page_by_page(store: Store) -> None:
    events = [contact(n, f"MC{n}") for n in range(retention.CHUNK + 50)]
    store.run(dead_letters.put, [letter(event, message_id=event.id, code=f"c{event.id[0] > '7'}") for event in events])
    ids = [row.id for row in store.rows("dead_letters")]
    # The first of them by both its ids, and some of no letter.
    wanted = Filter(ids=ids[: len(ids) // 2], event_ids=[event.id for event in events[:1] + events[100:]] + ["none"])

    assert [row.id for row in store.run(dead_letters.search, wanted)] == ids
    assert sum(store.run(dead_letters.counts, wanted).values()) == len(ids)
    assert [row.id for row in store.run(dead_letters.search, wanted, limit=505, after=ids[9])] == ids[10:515]
    assert store.run(dead_letters.search, Filter(event_ids=["none"])) == []
    assert store.run(dead_letters.counts, Filter(event_ids=["none"])) == {}


@pytest.mark.parametrize("purge", PURGES, ids=lambda purge: purge.__name__)
def test_a_purge_twice_as_large_is_twice_the_work(
    store: Store, purge: Callable[..., retention.Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite counts its own steps")
    monkeypatch.setattr(retention, "CHUNK", 10)
    less, more = (steps(store, partial(fill, store, count), purge, count) for count in (200, 400))
    # If each part passed over those before it once more, it would be almost four times.
    assert more < 2.5 * less


def fill(store: Store, count: int) -> None:
    """``count`` rows of everything that can be purged, and as many that cannot be yet; ended a batch at a time."""
    events = [contact(n, f"MC{n}") for n in range(4 * count)]
    settled, discarded, open_ = events[: 2 * count], events[2 * count : 3 * count], events[3 * count :]
    store.run(audit.begin, [taken(event) for event in events])
    store.run(dead_letters.put, [letter(event, message_id=event.id) for event in events])
    for start in range(0, len(settled), 20):
        ended = NOON + timedelta(seconds=start) + (2 * DAY if start >= count else timedelta())
        store.run(audit.finish, {event.id: Done("stored") for event in settled[start : start + 20]}, ended)
    store.run(audit.fail, {event.id: Failure("refused", "no") for event in open_}, dead=True, now=NOON)
    store.run(dead_letters.discard_all, [event.id for event in discarded], NOON)
    for n in range(2 * count):
        then = NOON + timedelta(seconds=n) + (2 * DAY if n >= count else timedelta())
        store.run(note_call, f"{n}", then)
    for key_id, then in ((1, NOON), (2, NOON + 2 * DAY)):
        store.run(standby_refusals.add, counted(count, key_id=key_id, code="invalid", began=then))


def note_call(connection: sa.Connection, number: str, then: datetime) -> None:
    """A flow and a stage that went to ManyChat."""
    connection.execute(
        tables.manychat_flows.insert(),
        {"event_id": number, "manychat_id": "MC1", "flow_ns": "f", "started_at": then},
    )
    connection.execute(
        tables.manychat_echoes.insert(),
        {"manychat_id": "MC1", "stage": "A", "as_of": then, "by_chat": False, "written_at": then},
    )


def steps(store: Store, prepare: Callable[[], None], purge: Callable[..., retention.Part], count: int) -> int:
    """How many steps SQLite's machine takes for the whole purge, in tens."""
    for table in ("dead_letters", "audit", "standby_refusals", "manychat_flows", "manychat_echoes"):
        store.run(lambda connection: connection.execute(sa.text(f"DELETE FROM {table}")))  # noqa: B023
    prepare()
    taken_steps = 0

    def step() -> None:
        nonlocal taken_steps
        taken_steps += 1

    part, done = retention.START, 0
    with store.engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        driver.set_progress_handler(step, 10)
        try:
            while (part := purge(connection, NOON + DAY, part)).count:
                done += part.count
        finally:
            driver.set_progress_handler(None, 0)
        connection.rollback()
    assert done == count
    return taken_steps
