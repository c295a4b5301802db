"""Every question that the store asks is answered by an index: the databases' own plans are read.

The statements are caught while every function of :mod:`bridge.store` works on tables that are not empty. A new function
that is not called here fails a test; so does a statement that reads a growing table from end to end.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import sqlalchemy as sa

import bridge.store
from bridge.contract.keys import OdooKey
from bridge.contract.opportunity_state import Actor, read_state
from bridge.importer import writer
from bridge.results import Done, Failure
from bridge.store import (
    api_keys,
    audit,
    campaigns,
    contacts,
    dead_letters,
    erasure,
    history,
    listing,
    manychat_echoes,
    manychat_flows,
    manychat_known,
    manychat_slots,
    manychat_wishes,
    manychat_writes,
    migration_journal,
    notices,
    odoo_settings,
    opportunities,
    opportunity_differences,
    opportunity_states,
    pauses,
    people,
    records,
    retention,
    snapshot,
    standby_refusals,
)
from bridge.store import schema as tables
from bridge.store.column_types import Moment
from bridge.store.dead_letters import Filter
from bridge.store.notices import Notice

from .conftest import NOON, PURGES, Store, assignment, contact, decision, opportunity, state, update
from .legacy import adopted_rows
from .test_audit import letter, taken
from .test_standby_refusals import counted

#: Tables that stay small, whatever happens: a few dozen rows entered by hand.
SMALL = {
    "pauses",
    "manychat_slots",
    "odoo_settings",
    "api_keys",
    "channels",
    "advisors",
    "campaigns",
    "alembic_version",
}
#: Functions that may read a growing table in the order of an index, since they stop at the end of a page.
PAGED = {"listing.page", "manychat_known.page"}
#: People in the tables: enough that no database prefers reading everything.
PEOPLE = 400
BATCH = 200


#: Indices over some of the rows only, which may be read as a whole: that is what they are for.
FILTERED = {
    index.name
    for table in tables.metadata.tables.values()
    for index in table.indexes
    if any(value is not None for name, value in index.dialect_kwargs.items() if name.endswith("_where"))
}


def public_functions() -> set[str]:
    """``module.function`` of everything in the package that works on a connection."""
    found = set()
    for module in pkgutil.iter_modules(bridge.store.__path__):
        if module.name in (
            "engine",
            "migrate",
            "migrations",
            "source",
            "kept_keys",
            "ddl_rights",
        ):  # they change tables
            continue
        for name, function in inspect.getmembers(import_module(f"bridge.store.{module.name}"), inspect.isfunction):
            is_own = function.__module__ == f"bridge.store.{module.name}" and not name.startswith("_")
            if is_own and "connection" in inspect.signature(function).parameters:
                found.add(f"{module.name}.{name}")
    return found


class Witness:
    """Sees which functions of the store run, and with which statements."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.called: set[str] = set()
        self.statements: dict[tuple[str, str], Any] = {}

    def __enter__(self) -> Witness:
        sa.event.listen(self.store.engine, "before_cursor_execute", self._statement)
        sys.setprofile(self._call)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.setprofile(None)
        sa.event.remove(self.store.engine, "before_cursor_execute", self._statement)

    def _call(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and (name := store_function(frame)):
            self.called.add(name)

    def _statement(self, _connection, _cursor, statement, parameters, _context, executemany) -> None:  # type: ignore[no-untyped-def]
        frame: FrameType | None = sys._getframe()
        names = []
        while frame:
            if name := store_function(frame):
                names.append(name)
            frame = frame.f_back
        # The outermost that is not the transaction itself: the function that was called.
        callers = [name for name in names if not name.startswith("engine.")]
        if callers and statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
            self.statements.setdefault((callers[-1], statement), parameters[0] if executemany else parameters)


def store_function(frame: FrameType) -> str | None:
    path = Path(frame.f_code.co_filename)
    return f"{path.stem}.{frame.f_code.co_name}" if path.parent.name == "store" and "bridge" in path.parts else None


@pytest.fixture
def full(store: Store) -> Iterator[Store]:
    """Some tens of thousands of rows."""
    if store.engine.dialect.name == "mssql":
        pytest.skip("SQL Server shows no plan for a statement with parameters; the indices are the same")
    everybody = [f"P{number}" for number in range(PEOPLE)]
    store.run(standby_refusals.add, counted(PEOPLE))
    events = [
        contact(number / 100, name, nombre_lead="Ana", ultimo_estado="x") for number, name in enumerate(everybody)
    ]
    moves = [opportunity(number / 100, name) for number, name in enumerate(everybody)]
    for start in range(0, PEOPLE, BATCH):
        # Each batch has its time: of rows that all changed at once, no index tells which come first.
        now, batch = NOON + timedelta(seconds=start), slice(start, start + BATCH)
        store.run(contacts.apply_contacts, events[batch], now)
        store.run(opportunities.record, moves[batch], now)
        store.run(campaigns.apply_campaign_events, [assignment(1, name) for name in everybody[batch][::4]], now)
    store.run(audit.begin, [taken(event) for event in [*events, *moves]], NOON)
    # Few are unfinished, as in a real table. With many of them, the planner may as well read all.
    store.run(audit.finish, {event.id: Done("stored") for event in [*events, *moves[:-50]]}, NOON)
    # After it, or there would be letters to resolve.
    store.run(dead_letters.put, [letter(event, message_id=f"m{event.manychat_id}") for event in moves], NOON)
    for start in range(0, PEOPLE, BATCH):
        done = {each.id: (each, Done("created", 1, None, "A")) for each in moves[start : start + BATCH]}
        store.run(opportunities.finish, done, NOON + timedelta(seconds=start))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if store.engine.dialect.name in ("sqlite", "postgresql"):
            connection.execute(sa.text("ANALYZE"))
    yield store
    if store.engine.dialect.name == "sqlite":
        with store.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS sqlite_stat1"))


def exercise(store: Store) -> None:
    """Call every function of the store. A new function needs a call here."""
    person = contact(9000, "P1", ultimo_estado="a", canal_entrada="b", nombre_lead="Eva")
    move = opportunity(9001, "P1", channel="b", commercial_advisor_id=3, first_name="Eva")
    new = contact(9000, "P-new", ultimo_estado="a")
    events = [person, move, new]
    for _ in range(2):
        store.run(audit.begin_new, [taken(event) for event in events])
        store.run(audit.begin, [taken(event) for event in events])
        store.run(contacts.apply_contacts, [person, new])
        store.run(
            campaigns.apply_campaign_events,
            [update(1, "P1", last_state="x"), assignment(2, "P1", comercial_id=1, medico_id=2)],
        )
        store.run(
            opportunity_states.apply_decisions, [decision(9002, manychat_id="P1"), decision(1, manychat_id="P-d")]
        )
        store.run(opportunities.record, [move])
        store.run(opportunities.fail, [(move, Failure("refused", "no"))])
        store.run(audit.release_attempt, [person.id])
        store.run(audit.fail, {person.id: Failure("refused", "no")}, dead=True)
        store.run(audit.done, [person.id])
        store.run(dead_letters.put, [letter(person, message_id="m8"), letter(message_id="m9")])
    store.run(dead_letters.given_up, [person.id])
    for gone_before in (NOON, NOON, NOON + timedelta(days=1)):
        store.run(dead_letters.put_undeliverable, "q", gone_before, NOON)
    store.run(dead_letters.resolve_undeliverable, "q", NOON)
    store.run(dead_letters.undeliverable)
    store.run(notices.mark_sent, {row.id: Notice("n", "r") for row in store.run(notices.missing, ["m8", "m9"])})
    for wanted in (
        Filter(),
        Filter(manychat_id="P1"),
        Filter(since=NOON, until=NOON + timedelta(hours=1)),
        Filter(statuses=(), ids=[1, 2], event_ids=[person.id]),
        Filter(code="refused", queue="q"),
    ):
        store.run(dead_letters.search, wanted, limit=50)
        store.run(dead_letters.search, wanted, limit=50, after=17)
        store.run(dead_letters.counts, wanted)
    [first, *_] = store.run(dead_letters.search, Filter(), limit=1)
    store.run(dead_letters.mark_replayed, first, move)
    store.run(dead_letters.unanswered_replays, NOON)
    store.run(dead_letters.reopen, first)
    store.run(dead_letters.discard, first)
    store.run(dead_letters.discard_all, [person.id])
    store.run(audit.discard, person.id)
    store.run(audit.claim, move.id, NOON)
    store.run(audit.unfinished, NOON - timedelta(days=1), ["contact"])
    store.run(audit.rows, [person.id])
    store.run(audit.accept, contact(9002, "P-accepted"), NOON)
    store.run(audit.untried, person.type.queue, NOON + timedelta(days=1), 10)
    store.run(audit.newest_begun, person.type.queue, NOON, NOON + timedelta(days=1))
    store.run(audit.finished_since, NOON + timedelta(days=1), ["stored"], 0, 32)
    store.run(audit.wrong_clocks, NOON + timedelta(days=1))
    store.run(audit.mark_reported, store.run(audit.unreported, 50))
    store.run(audit.report_again, [person.id])
    store.run(opportunities.unsynced, NOON - timedelta(days=1))
    for value in (1, 2, 2):
        store.run(odoo_settings.take_over, {"a": value})
    store.run(odoo_settings.get, "a")
    for who in ("P1", "P-none"):
        store.run(people.find, who)
    store.run(pauses.pause, ["a"])
    store.run(pauses.paused)
    store.run(pauses.resume, ["a"])
    for _ in range(2):
        store.run(standby_refusals.add, counted(3, key_id=1, code="not_json") | counted(3))
    store.run(standby_refusals.mark_reported, store.run(standby_refusals.unreported, NOON + timedelta(seconds=2)))
    store.run(standby_refusals.lately, NOON + timedelta(seconds=2))
    store.run(snapshot.take, NOON + timedelta(days=1))
    store.run(audit.finish, {person.id: Done("stored"), move.id: Done("created", 1, None, "A")})
    known = read_state(state(9003))
    store.run(opportunities.finish, {move.id: (move, Done("created", 1, None, "A", known))})
    exercise_back_fill(store)
    exercise_write_back(store)
    exercise_api(store)
    for event_id in (move.id, "none"):
        store.run(history.details, event_id, None)
    store.run(history.events_of, "P1")
    store.run(history.events_with_prefix, "ab")
    store.run(history.events_of_trace, "ab" * 16)
    store.run(history.dead_lettered_with_prefix, "ab")
    store.run(retention.due, NOON - timedelta(days=1))
    for purge in PURGES:
        store.run(purge, NOON + timedelta(days=2))
    store.run(notices.mark_gone, store.run(notices.outlived))
    letters = [row.id for row in store.rows("dead_letters")]
    store.run(dead_letters.statuses, letters[:1], ["none"])
    exercise_adoption(store)
    store.run(erasure.erase, "P1")
    store.run(erasure.unreadable_letters)


def exercise_write_back(store: Store) -> None:
    """A decision on its way to ManyChat, a refusal, a stop, and the echo."""
    for enabled in (False, True):
        store.run(manychat_writes.take_over, {"write_back": {"enabled": enabled}})
    moment = datetime.now(timezone.utc) + timedelta(minutes=1)
    [first, second] = (wish(name, moment) for name in ("P1", "P-new"))
    for _ in range(2):
        store.run(manychat_wishes.want, [first, second])
    store.run(manychat_writes.mark_queued, store.run(manychat_writes.unqueued, 10))
    for finished in (False, True):
        claim = store.run(manychat_writes.claim, "P1", moment, "lease")
        assert isinstance(claim, manychat_writes.Claim)
        store.run(manychat_writes.begin, claim, {"field:1": None})
        store.run(manychat_echoes.expect, "P1", claim.state, claim.as_of)
        if finished:
            store.run(manychat_writes.finish, claim, {"field:1": "A"}, ("refused", "no"))
        else:
            store.run(manychat_writes.release, claim, {"field:1": None}, in_vain=True)
    store.run(manychat_echoes.recognise, [opportunity(9005, "P1")])
    store.run(manychat_echoes.purge)
    store.run(manychat_writes.mark_reported, store.run(manychat_writes.unreported, 10))
    store.run(manychat_writes.queue_again, timedelta(0), 0)
    store.run(manychat_writes.write_again, "P1")
    store.run(manychat_writes.summary)
    for since in (None, NOON):
        store.run(manychat_known.page, 17, 10, since)
        store.run(manychat_known.count, 17, since)
    store.run(manychat_known.look_up, ["P1", "P-none"])
    store.run(manychat_known.write_again, ["P1", "P-none"])
    for _ in range(2):
        store.run(manychat_flows.note, "e1", "P1", "flow")
    store.run(manychat_flows.settle, "e1", manychat_flows.STARTED)
    store.run(manychat_flows.withdraw, "e1")
    store.run(people.find, "P1")
    store.run(manychat_slots.take, 8)
    store.run(manychat_slots.pause, None, "too many")
    store.run(manychat_slots.paused)
    store.run(manychat_slots.succeeded)
    store.run(manychat_slots.resume)


def wish(manychat_id: str, moment: datetime) -> manychat_wishes.Wish:
    found = read_state({**state(0), "as_of": moment.isoformat(), "manychat_stage": "A"})
    assert found
    return manychat_wishes.Wish(manychat_id, found, Actor.PERSON, f"e-{manychat_id}", moved=True)


def exercise_back_fill(store: Store) -> None:
    """What Odoo says of all opportunities: some are known, some differ, some are gone."""
    states = {name: found for name in ("P1", "P2", "P-none") if (found := read_state(state(9004, 2)))}
    store.run(opportunity_differences.differences, states)
    for _ in range(2):
        store.run(opportunity_differences.adopt, states, NOON)
    known = store.run(opportunity_differences.known_after, 17, 2)
    store.run(opportunity_differences.mark_deleted, known, NOON)


def exercise_adoption(store: Store) -> None:
    """Rows that another system had, new and known."""
    store.run(writer.contact_ids, ["P1", "P-none"])
    for table, rows in adopted_rows().items():
        for dry_run in (True, False, False):
            store.run(writer.write, table, rows, NOON, dry_run=dry_run)
        store.run(writer.compare, table, rows, NOON)
    exercise_migration(store)


def exercise_migration(store: Store) -> None:
    """What a migration wrote, and undoing it."""
    move = opportunity(9003, "P-moved", channel="b", commercial_advisor_id=3)
    watched = migration_journal.Watched(["P-moved", "P1"], [move.id], ["b"], [85], [3])
    for change in (
        lambda connection: opportunities.record(connection, [move], NOON),
        lambda connection: opportunities.finish(connection, {move.id: (move, Done("created", 1, None, "A"))}, NOON),
    ):
        store.run(migration_journal.record, "batch", watched, change)
    store.run(campaigns.newest_assignments, ["P1", "P-none"])
    store.run(migration_journal.count, "batch")
    for dry_run in (True, False):
        store.run(migration_journal.undo, "batch", 0, 100, ["P1"], dry_run=dry_run)
        store.run(migration_journal.undo, "batch", 17, 100, ["P1"], dry_run=dry_run)


def exercise_api(store: Store) -> None:
    """What only the API calls: records by id, keys, and every list by each of its filters and sorts."""
    made = store.run(records.create, tables.contacts, {"manychat_id": "P-api", "last_state": "x"})
    store.run(records.update, tables.contacts, made.id, {"first_name": "Eva"})
    store.run(records.get, tables.contacts, made.id)
    store.run(records.delete, tables.contacts, made.id)
    store.run(api_keys.add, name="n", prefix="p", digest="d", scope="read")
    keys = [row.id for row in store.run(api_keys.all_keys)]
    store.run(api_keys.valid_keys)
    store.run(api_keys.take_over, [OdooKey(name="o", prefix="p", digest="e", expires_at=None, zone=None)])
    store.run(api_keys.set_last_used, dict.fromkeys(keys, NOON))
    store.run(api_keys.revoke, keys)
    for each in vars(listing).values():
        if not isinstance(each, listing.Listing):
            continue
        for sort, column in each.sorts.items():
            last = NOON if isinstance(column.type, Moment) else 17
            store.run(listing.page, each, {}, sort, descending=True, limit=20)
            store.run(listing.page, each, {}, sort, after=(last, 17), limit=20)
        for name in each.filters:
            moment = name.endswith(("since", "until"))
            value = NOON if moment else 5 if name.endswith("id") and name not in ("manychat_id", "event_id") else "5"
            store.run(listing.page, each, {name: value}, next(iter(each.sorts)), limit=20)


def scans(connection: sa.Connection, statement: str, parameters: Any, *, is_paged: bool) -> list[str]:
    """The tables that the database would read from end to end; if ``is_paged``, only where it must sort them first."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        if is_paged and not any("TEMP B-TREE" in detail for *_, detail in rows):
            return []
        details = [detail.split() for *_, detail in rows if "SUBQUERY" not in detail]
        # "CONSTANT ROW": it reads no table.
        tables_read = [words for words in details if words[0] == "SCAN" and words[1] != "CONSTANT"]
        return [words[1] for words in tables_read if words[-1] not in FILTERED]
    # These tables are so small that reading all of one is quick, also to join it with the rows of a batch.
    for way in ("seqscan", "hashjoin", "mergejoin"):
        connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    plan = plan if isinstance(plan, str) else json.dumps(plan)
    # An incremental sort only puts those in order that the index has as equals.
    if is_paged and '"Node Type": "Sort"' not in plan:
        return []
    return list(_postgresql_scans(json.loads(plan)[0]["Plan"]))


def _postgresql_scans(node: dict[str, Any]) -> Iterator[str]:
    # An index without a condition on it is read from end to end as well.
    is_all = "Index" in node["Node Type"] and "Index Cond" not in node and node.get("Index Name") not in FILTERED
    if node["Node Type"] == "Seq Scan" or is_all:
        yield node.get("Relation Name", node.get("Index Name", "?"))
    for child in node.get("Plans", []):
        yield from _postgresql_scans(child)


def test_every_statement_of_every_function_finds_its_rows_by_an_index(full: Store) -> None:
    with Witness(full) as witness:
        exercise(full)
    missing = public_functions() - witness.called
    assert not missing, f"call these in exercise(), so that their plans are read: {sorted(missing)}"

    found = []
    with full.engine.connect() as connection:
        for (function, statement), parameters in witness.statements.items():
            bad = set(scans(connection, statement, parameters, is_paged=function in PAGED)) - SMALL
            if bad:
                found.append(f"{function} reads all of {', '.join(sorted(bad))}:\n    {statement}")
    assert not found, "\n".join(found)


def test_the_allow_list_names_functions_that_exist() -> None:
    assert public_functions() >= PAGED


def test_every_foreign_key_of_a_growing_table_has_an_index_so_that_deleting_what_it_points_to_reads_little() -> None:
    for table in tables.metadata.tables.values():
        # A filtered index does not count: "contact_id = ?" alone does not imply its filter.
        leading = {next(iter(index.columns)).name for index in table.indexes if index.name not in FILTERED}
        lacking = {column.name for column in table.columns if column.foreign_keys and column.name not in leading}
        assert table.name in SMALL or not lacking, f"{table.name}: {lacking}"
