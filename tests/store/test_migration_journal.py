"""The journal of a migration: undoing brings back exactly what it inserted and changed, and leaves what was used."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bridge.contract.event import Event
from bridge.contract.payloads import Opportunity
from bridge.importer import writer
from bridge.results import Done
from bridge.store import audit, contacts, erasure, migration_journal, opportunities
from bridge.store.migration_journal import Undone, Watched

from .conftest import NOON, Store, contact, opportunity
from .legacy import adopted_rows
from .test_audit import taken

TABLES = (
    *("channels", "advisors", "campaigns", "contacts", "contact_states", "campaign_contacts"),
    *("opportunities", "opportunity_stages", "audit"),
)


def everything(store: Store) -> dict[str, list[dict[str, Any]]]:
    # A lock is an update that changes nothing, so the rows come in the order of their ids.
    return {
        name: sorted((dict(row._mapping) for row in store.rows(name)), key=lambda row: row["id"]) for name in TABLES
    }


def migrate(store: Store, *events: Event) -> None:
    payloads = [event.payload for event in events if isinstance(event.payload, Opportunity)]
    watched = Watched(
        manychat_ids=[event.manychat_id for event in events],
        event_ids=[event.id for event in events],
        channel_keys=[payload.channel.casefold() for payload in payloads if payload.channel],
        advisor_ids=[payload.commercial_advisor_id for payload in payloads if payload.commercial_advisor_id],
    )

    def change(connection: Any) -> None:
        audit.begin(connection, [taken(event) for event in events], NOON)
        opportunities.record(connection, events, NOON)
        done = {event.id: (event, Done("created", 7, None, "A")) for event in events}
        opportunities.finish(connection, done, NOON)
        audit.finish(connection, {event.id: outcome for event, outcome in done.values()}, NOON)

    store.run(migration_journal.record, "b", watched, change)


def undo(store: Store, keep: Collection[str] = (), *, page: int = 3, dry_run: bool = False) -> Undone:
    whole, before_id = Undone(), 0
    while True:
        part = store.run(migration_journal.undo, "b", before_id, page, keep, NOON, dry_run=dry_run)
        for table, number in part.rows.items():
            whole.rows[table] += number
        for table, number in part.kept.items():
            whole.kept[table] += number
        if not (before_id := part.next):
            return whole


def test_undoing_brings_back_what_was_there(store: Store) -> None:
    store.run(contacts.apply_contacts, [contact(0, "P1", nombre_lead="Ana", canal_entrada="Facebook")], NOON)
    live = opportunity(1, "P1", summary="Hola")
    store.run(opportunities.record, [live], NOON)
    before = everything(store)
    first = opportunity(2, "P1", channel="Instagram", commercial_advisor_id=3, summary="Precio", phone="+521")
    migrate(store, first, opportunity(2, "P2", channel="Instagram", commercial_advisor_id=3))
    migrate(store, opportunity(3, "P1", summary="Cita"))
    assert everything(store) != before
    dry = undo(store, dry_run=True)
    done = undo(store)
    assert everything(store) == before
    assert not any(done.kept.values())
    assert dry.rows["opportunities"] >= 1
    assert not any(undo(store).rows.values())


def test_undoing_brings_back_what_was_imported(store: Store) -> None:
    store.run(contacts.apply_contacts, [contact(0, "P1", nombre_lead="Ana")], NOON)
    before = everything(store)
    watched = Watched(
        manychat_ids=["P1", "P-adopted"],
        event_ids=["adopted-x"],
        channel_keys=["x", "y", "z"],
        campaign_ids=[85, 7001],
        advisor_ids=[7001, 7002],
    )
    for table, rows in adopted_rows().items():

        def change(connection: Any, table: Any = table, rows: Any = rows) -> None:
            writer.write(connection, table, rows, NOON, dry_run=False)

        store.run(migration_journal.record, "b", watched, change)
    assert len(everything(store)["campaign_contacts"]) == 2
    undo(store)
    assert everything(store) == before


def test_what_was_used_since_stays_with_what_it_refers_to(store: Store) -> None:
    migrate(store, opportunity(2, "P1", channel="Instagram"), opportunity(2, "P2", channel="Instagram"))
    store.run(contacts.apply_contacts, [contact(9, "P1", nombre_lead="Eva")], NOON)
    done = undo(store)
    rows = everything(store)
    assert [row["manychat_id"] for row in rows["contacts"]] == ["P1"]
    assert len(rows["channels"]) == 1
    assert rows["opportunities"] == []
    assert (done.kept["contacts"], done.kept["channels"]) == (1, 1)


def test_what_stays_in_odoo_stays_in_sql(store: Store) -> None:
    migrate(store, opportunity(2, "P1"), opportunity(2, "P2"))
    undo(store, keep=["P1"])
    rows = everything(store)
    for table in ("opportunities", "audit", "contacts"):
        assert [row["manychat_id"] for row in rows[table]] == ["P1"]
    assert len(rows["opportunity_stages"]) == 1


def test_the_journal_holds_no_values_of_rows_that_were_new_and_forgets_an_erased_person(store: Store) -> None:
    migrate(store, opportunity(2, "P1", phone="+5215500000001", first_name="Secreta"))
    journal = [dict(row._mapping) for row in store.rows("migration_rows")]
    assert journal
    assert "Secreta" not in str(journal)
    assert "0001" not in str(journal)
    store.run(erasure.erase, "P1")
    assert [row for row in store.rows("migration_rows") if row.manychat_id == "P1"] == []
