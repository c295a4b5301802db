from __future__ import annotations

import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from bridge.connect import require_schema
from bridge.errors import BadDatabaseOptions, BadDatabaseUrl, ConfigurationError, StoreUnavailable
from bridge.importer.catalog import Catalog
from bridge.importer.source import _type_name
from bridge.store import migrate, rows, schema
from bridge.store.contacts import apply_contacts, ensure_contacts
from bridge.store.engine import create_engine, in_transaction

from .conftest import NOON, Store, contact


def test_the_migrations_make_exactly_the_tables_of_the_schema(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    assert migrate.current(store.engine) == migrate.head()
    with store.engine.connect() as connection:
        if connection.dialect.name == "mssql":
            # Alembic asks more of a T-SQL server than some can answer.
            assert as_made(connection) == as_meant(connection.dialect)
        else:
            assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def as_made(connection: sa.Connection) -> dict[str, Any]:
    found = Catalog(connection)
    dialect, theirs = connection.dialect, connection.dialect.default_schema_name
    return {
        table: (
            {each["name"]: (_type_name(each["type"], dialect), each["nullable"]) for each in columns},
            found.get_pk_constraint(table, theirs)["constrained_columns"],
            {key["constrained_columns"][0]: key["referred_table"] for key in found.get_foreign_keys(table, theirs)},
        )
        for table in schema.metadata.tables
        if (columns := found.get_columns(table, theirs))
    }


def as_meant(dialect: sa.Dialect) -> dict[str, Any]:
    return {
        table.name: (
            {column.name: (_type_name(column.type, dialect), column.nullable) for column in table.columns},
            [column.name for column in table.primary_key],
            {column.name: key.column.table.name for column in table.columns for key in column.foreign_keys},
        )
        for table in schema.metadata.tables.values()
    }


@pytest.mark.parametrize(
    ("row", "table"),
    [
        (rows.AuditRow, schema.audit),
        (rows.DeadLetterRow, schema.dead_letters),
        (rows.OpportunityRow, schema.opportunities),
        (rows.StageMoveRow, schema.opportunity_stages),
        (rows.ApiKeyRow, schema.api_keys),
        (rows.StandbyRefusalRow, schema.standby_refusals),
    ],
)
def test_a_typed_row_has_the_columns_of_its_table_in_their_order(row: Any, table: sa.Table) -> None:
    assert row._fields == tuple(table.columns.keys())


def test_what_trace_prints_of_events_and_dead_letters_has_no_personal_data() -> None:
    personal = {"payload", "error", "body", "message", "last_error"}
    for row in (rows.AuditSummary, rows.DeadLetterSummary, rows.OpportunitySummary):
        assert not personal & set(row._fields)


def test_upgrading_twice_changes_nothing(store: Store) -> None:
    store.run(ensure_contacts, ["MC1"], NOON)
    migrate.upgrade(store.engine)

    assert len(store.rows("contacts")) == 1


def test_a_bridge_does_not_start_on_tables_of_another_version_but_makes_those_of_the_embedded_database(
    store: Store,
) -> None:
    migrate.downgrade(store.engine, "base")
    try:
        if store.engine.dialect.name == "sqlite":
            require_schema(store.engine)
            assert migrate.current(store.engine) == migrate.head()
        else:
            with pytest.raises(ConfigurationError, match="python -m bridge db upgrade"):
                require_schema(store.engine)
    finally:
        migrate.upgrade(store.engine)


def test_a_row_that_another_transaction_inserts_meanwhile_is_found_on_the_second_run(store: Store) -> None:
    looked, inserted = threading.Event(), threading.Event()
    runs = []

    def insert_late(connection: sa.Connection) -> dict[str, int]:
        runs.append(1)
        known = connection.execute(sa.select(schema.contacts.c.id)).all()
        looked.set()
        # On SQLite the other one cannot get in between, and waits for us instead.
        inserted.wait(1 if connection.dialect.name == "sqlite" else 60)
        if not known:
            row = {"manychat_id": "MC1", "created_at": NOON, "updated_at": NOON}
            connection.execute(schema.contacts.insert(), [row])
        return ensure_contacts(connection, ["MC1"], NOON)

    def other() -> None:
        looked.wait(10)
        store.run(ensure_contacts, ["MC1"], NOON)
        inserted.set()

    thread = threading.Thread(target=other)
    thread.start()
    ids = in_transaction(store.engine, insert_late)
    thread.join()

    assert list(ids) == ["MC1"]
    assert len(store.rows("contacts")) == 1
    assert len(runs) == (1 if store.engine.dialect.name == "sqlite" else 2)


def test_of_two_that_wait_for_each_other_one_begins_anew(store: Store) -> None:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one in at a time")
    c = schema.contacts.c
    ids = store.run(ensure_contacts, ["MC1", "MC2"], NOON)
    both_have_one = threading.Barrier(2)
    runs: list[str] = []

    def write(first: str, second: str) -> None:
        def work(connection: sa.Connection) -> None:
            runs.append(first)
            connection.execute(schema.contacts.update().where(c.id == ids[first]).values(phone=first))
            if runs.count(first) == 1:
                both_have_one.wait(60)
            connection.execute(schema.contacts.update().where(c.id == ids[second]).values(phone=first))

        in_transaction(store.engine, work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ["MC1", "MC2"], ["MC2", "MC1"]))

    # The server may choose the same one again: it begins anew before the other one has the row.
    assert len(runs) >= 3
    assert {row.phone for row in store.rows("contacts")} == {runs[-1]}


def test_the_datas_own_fault_is_raised_as_such_and_without_the_data(store: Store) -> None:
    row = {"contact_id": 4711, "state": "Fiebre", "category": "contact", "created_at": NOON}
    with pytest.raises(IntegrityError) as caught:
        store.run(lambda connection: connection.execute(schema.contact_states.insert(), [row]))
    assert "Fiebre" not in str(caught.value)


def test_a_missing_table_is_the_databases_fault(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        store.run(lambda connection: connection.execute(sa.text("SELECT * FROM no_such_table")))


def test_a_server_that_does_not_answer_is_an_outage() -> None:
    engine = create_engine("postgresql+psycopg://user@127.0.0.1:9/nothing")
    with pytest.raises(StoreUnavailable):
        in_transaction(engine, lambda connection: connection.execute(sa.select(1)))


def test_what_went_wrong_is_raised_even_if_rolling_back_fails_too(store: Store) -> None:
    def work(connection: sa.Connection) -> None:
        ensure_contacts(connection, ["MC1"], NOON)
        assert connection.connection.driver_connection is not None
        connection.connection.driver_connection.close()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_transaction(store.engine, work)
    assert store.rows("contacts") == []


def test_a_statement_with_nulls_among_its_parameters_undoes_nothing_that_was_written_before(store: Store) -> None:
    c = schema.contacts.c
    name = sa.bindparam("name", type_=c.first_name.type)
    statement = (
        schema.contacts.update()
        .where(c.id == sa.bindparam("row_id"))
        .values(first_name=sa.func.coalesce(name, c.phone))
    )

    def work(connection: sa.Connection) -> None:
        ids = ensure_contacts(connection, ["MC1", "MC2"], NOON)
        connection.execute(statement, {"row_id": ids["MC1"], "name": None})
        connection.execute(statement, [{"row_id": ids["MC1"], "name": None}, {"row_id": ids["MC2"], "name": "Añá 😀"}])

    store.run(work)

    assert {row.manychat_id: row.first_name for row in store.rows("contacts")} == {"MC1": None, "MC2": "Añá 😀"}


@pytest.mark.parametrize("url", ["nonsense", "oracle+nothing://x/y", "sqlite+nothing://"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(BadDatabaseUrl):
        create_engine(url)


def test_an_id_is_chosen_by_the_database_if_no_sender_does(store: Store) -> None:
    values = {"created_at": NOON, "updated_at": NOON}
    with store.engine.begin() as connection:
        connection.execute(schema.campaigns.insert(), [{"id": 500_085, "name": "Chosen", **values}])
        connection.execute(schema.campaigns.insert().values(name="Made", **values))

    ids = {row.name: row.id for row in store.rows("campaigns")}
    assert ids["Chosen"] == 500_085
    assert ids["Made"] not in (None, 500_085)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_at_every_isolation_level_eight_connections_write_the_same_people_without_an_error(
    store: Store, level: str
) -> None:
    # What holds here with and without snapshots holds on SQL Server with read committed snapshot on or off.
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one isolation level")
    options = json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}")
    url = store.engine.url.render_as_string(hide_password=False)
    engine = create_engine(url, {**options, "isolation_level": level})
    try:
        engine.connect().close()
    except DBAPIError:
        pytest.skip("this server has no such level")

    def write(writer: int) -> None:
        for minute in range(5):
            events = [contact(minute * 8 + writer, f"MC{number}", nombre_lead=str(writer)) for number in range(10)]
            in_transaction(engine, apply_contacts, events)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    engine.dispose()

    assert {row.first_name for row in store.rows("contacts")} == {"7"}
    assert len(store.rows("contacts")) == 10


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"])
def test_eight_that_write_one_row_under_snapshots_get_through_one_after_the_other(store: Store, level: str) -> None:
    # The first to commit wins, and all others run again: with eight writers, many times.
    if store.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one in at a time")
    options = json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}")
    url = store.engine.url.render_as_string(hide_password=False)
    try:
        engine = create_engine(url, {**options, "pool_size": 8, "isolation_level": level})
        engine.connect().close()
    except (DBAPIError, ArgumentError, BadDatabaseOptions):
        pytest.skip("this server has no such level")
    store.run(apply_contacts, [contact()])

    def write(writer: int) -> None:
        for turn in range(12):
            in_transaction(engine, apply_contacts, [contact(turn * 8 + writer, nombre_lead=f"{turn} {writer}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    engine.dispose()

    assert [row.first_name for row in store.rows("contacts")] == ["11 7"]


@pytest.mark.parametrize(
    "theirs",
    [
        ["CREATE TABLE contacts (clave INTEGER, nombre VARCHAR(20))", "INSERT INTO contacts VALUES (7, 'suyo')"],
        [
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
            "INSERT INTO alembic_version VALUES ('a1b2c3')",
        ],
    ],
)
def test_tables_of_another_program_with_our_names_are_neither_used_nor_touched(
    tmp_path: Path, theirs: list[str]
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'theirs.db'}")
    with engine.begin() as connection:
        for statement in theirs:
            connection.execute(sa.text(statement))
    with engine.connect() as connection:
        before = connection.execute(sa.text("SELECT sql FROM sqlite_master")).all()
    with pytest.raises(ConfigurationError, match="Nothing was changed"):
        migrate.upgrade(engine)

    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT sql FROM sqlite_master")).all() == before
    engine.dispose()


def test_a_new_sqlite_file_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "miasalud.db"
    before = os.umask(0o022)
    try:
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE people (name TEXT)")
            files = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    finally:
        os.umask(before)
    engine.dispose()
    assert files == dict.fromkeys(("miasalud.db", "miasalud.db-wal", "miasalud.db-shm"), 0o600)


def test_an_existing_sqlite_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "miasalud.db"
    path.touch(mode=0o640)
    path.chmod(0o640)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE people (name TEXT)")
    engine.dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
