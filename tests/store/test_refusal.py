"""Whose fault a refused statement is, on whatever database the tests run; and what writing nothing finds out."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from bridge.errors import StoreRefused, StoreUnavailable
from bridge.store import campaigns, contacts, migrate, opportunities, schema
from bridge.store.engine import create_engine, in_transaction, read
from bridge.store.refusal import TABLES, check_writing, write_events

from .conftest import Store, assignment, contact, opportunity

#: A trigger that fails for one person, with an error that no class of Python's tells from an outage; and one that fails
#: for every statement.
TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN {where} BEGIN SELECT abs(-9223372036854775808); END",
        "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN INSERT INTO gone VALUES (1); END",
    ),
    "postgresql": (
        "CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN ({where}) EXECUTE FUNCTION refuse()",
        "CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    ),
}
ONE, ALL = 0, 1


@contextmanager
def trigger(store: Store, which: int, table: str, where: str = "1 = 1", state: str = "42501") -> Iterator[None]:
    """A trigger on ``table`` that refuses some inserts.

    :param state: that PostgreSQL gives; the default is that of a missing right
    """
    dialect = store.engine.dialect.name
    if dialect not in TRIGGERS:
        pytest.skip("its triggers are written otherwise")
    function = f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'not with us' USING ERRCODE = '{state}'; END $$
    """
    with store.engine.begin() as connection:
        if dialect == "postgresql":
            connection.execute(sa.text(function))
        connection.execute(sa.text(TRIGGERS[dialect][which].format(table=table, where=where)))
    try:
        yield
    finally:
        with store.engine.begin() as connection:
            if dialect == "postgresql":
                connection.execute(sa.text("DROP FUNCTION refuse CASCADE"))
            else:
                connection.execute(sa.text("DROP TRIGGER refuse"))
        # SQLite's other connections would know the trigger until they next read a table.
        store.engine.dispose()


@pytest.mark.parametrize(
    ("table", "where", "apply", "make"),
    [
        ("contacts", "NEW.manychat_id = 'BAD'", contacts.apply_contacts, contact),
        ("campaign_contacts", "NEW.campaign_id = 666", campaigns.apply_campaign_events, assignment),
        ("opportunities", "NEW.manychat_id = 'BAD'", opportunities.record, opportunity),
    ],
)
def test_what_is_refused_for_one_person_is_the_events_fault(
    store: Store, table: str, where: str, apply: Any, make: Any
) -> None:
    bad = make(1, "BAD", campaign_id=666) if make is assignment else make(1, "BAD")
    with trigger(store, ONE, table, where):
        with pytest.raises(DBAPIError):
            write_events(store.engine, apply, [bad])
        write_events(store.engine, apply, [make(1, "GOOD")])

    assert len(store.rows(table)) == 1


def test_an_error_that_a_trigger_raises_by_itself_is_the_events_fault_too(store: Store) -> None:
    with trigger(store, ONE, "contacts", "NEW.manychat_id = 'BAD'", state="P0001"), pytest.raises(DBAPIError):
        write_events(store.engine, contacts.apply_contacts, [contact(1, "BAD")])


@pytest.mark.parametrize("table", sorted(table.name for table in TABLES))
def test_what_is_refused_for_everybody_is_an_outage(store: Store, table: str) -> None:
    with trigger(store, ALL, table):
        with pytest.raises(StoreUnavailable):
            check_writing(store.engine)
        with pytest.raises(StoreUnavailable):
            write_events(store.engine, lambda connection: connection.execute(sa.text("SELECT gone FROM gone")))
    check_writing(store.engine)


@pytest.mark.parametrize("sequence", ["contacts_id_seq", "advisor_id"])
def test_a_right_to_number_rows_that_is_missing_is_an_outage_and_no_events_fault(store: Store, sequence: str) -> None:
    if store.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has a right of its own for it")
    with store.engine.begin() as connection:
        connection.execute(sa.text(f"REVOKE ALL ON SEQUENCE {sequence} FROM CURRENT_USER"))
    try:
        with pytest.raises(StoreUnavailable, match="on the sequence of"):
            check_writing(store.engine)
        if sequence == "contacts_id_seq":
            with pytest.raises(StoreUnavailable, match="on the sequence of"):
                write_events(store.engine, contacts.apply_contacts, [contact(1, "MC1")])
    finally:
        with store.engine.begin() as connection:
            connection.execute(sa.text(f"GRANT ALL ON SEQUENCE {sequence} TO CURRENT_USER"))
    write_events(store.engine, contacts.apply_contacts, [contact(1, "MC1")])


def test_writing_is_checked_in_a_schema_of_our_own_too(other_schema: sa.Engine) -> None:
    migrate.upgrade(other_schema)
    check_writing(other_schema)


def rename(engine: sa.Engine, table: str, name: str) -> None:
    statement = f"ALTER TABLE {table} RENAME TO {name}"
    if engine.dialect.name == "mssql":
        statement = f"EXEC sp_rename '{table}', '{name}', 'OBJECT'"
    with engine.begin() as connection:
        connection.execute(sa.text(statement))


def test_a_table_that_is_missing_is_an_outage(store: Store) -> None:
    rename(store.engine, "opportunity_stages", "gone")
    try:
        with pytest.raises(StoreUnavailable):
            write_events(store.engine, lambda connection: connection.execute(sa.select(schema.opportunity_stages)))
    finally:
        rename(store.engine, "gone", "opportunity_stages")


def test_elsewhere_a_refused_statement_counts_as_an_outage(store: Store) -> None:
    with pytest.raises(StoreRefused):
        in_transaction(store.engine, lambda connection: connection.execute(sa.text("SELECT gone FROM gone")))


def test_writing_as_a_check_leaves_nothing_behind_and_bridges_may_do_it_at_once(store: Store) -> None:
    before = {table: store.rows(table) for table in schema.metadata.tables if table != "write_checks"}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check_writing, [store.engine] * 16))

    assert {table: store.rows(table) for table in before} == before
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(schema.write_checks)).all() == []


def test_every_table_that_events_are_written_to_is_checked() -> None:
    others = {"api_keys", "manychat_flows", "manychat_slots", "migration_rows", "odoo_settings", "pauses"}
    others |= {"standby_refusals", "write_checks"}
    assert {table.name for table in TABLES} == schema.metadata.tables.keys() - others


# --- SQLite's file ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file() -> Iterator[Path]:
    """A database file in a folder that other users of the machine may look into."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        engine = create_engine(f"sqlite:///{path}")
        migrate.upgrade(engine)
        engine.dispose()
        yield path


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """The file may only be read. Root may write everything, so the test becomes another user."""
    for each in path.parent.iterdir():
        each.chmod(0o444)
    path.parent.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.parent.chmod(0o755)
        for each in path.parent.iterdir():
            each.chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_a_file_that_was_opened_while_it_was_read_only_is_written_once_it_can_be(file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")
    with read_only(file):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"read-only|cannot be opened"):
                check_writing(engine)
            with pytest.raises(StoreUnavailable, match=r"read-only|cannot be opened"):
                write_events(engine, contacts.apply_contacts, [contact()])
    write_events(engine, contacts.apply_contacts, [contact()])

    assert read(engine, lambda connection: connection.execute(sa.select(schema.contacts)).all())
    engine.dispose()


def test_a_file_that_becomes_read_only_under_an_open_connection_is_an_outage_and_recovers(file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")
    read(engine, lambda connection: connection.execute(sa.select(schema.contacts)).all())
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="read-only"):
        check_writing(engine)

    check_writing(engine)
    engine.dispose()


def test_a_full_disk_is_an_outage_that_the_check_finds(file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")

    def fill(connection: Any, _record: Any) -> None:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(engine, "connect", fill)
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        check_writing(engine)
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        write_events(engine, contacts.apply_contacts, [contact(n, f"MC{n}", nombre_lead="x" * 250) for n in range(200)])
    sa.event.remove(engine, "connect", fill)
    engine.dispose()

    check_writing(engine)
    engine.dispose()
