"""Bridges and tables of different releases: an upgrade replaces bridges one by one, and can be taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.connect import require_schema
from bridge.errors import ConfigurationError, UnfitTables
from bridge.store import migrate, schema
from bridge.store.contacts import ensure_contacts
from bridge.store.engine import create_engine, in_transaction
from bridge.store.odoo_settings import take_over
from bridge.store.opportunities import record
from bridge.store.opportunity_states import apply_decisions
from bridge.store.views import views
from bridge.worker.process import probe_sql

from .conftest import NOON, decision, drop_views, opportunity

#: A revision that only a later release can have.
LATER = "9000"
#: The revision of the release before this one. Its bridges work on the tables while they are upgraded.
RELEASE_BEFORE = "0010"
#: The last revision without what people decide in Odoo.
WITHOUT_DECISIONS = "0014"


@pytest.fixture
def own(engine: sa.Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """A database for one test, whose tables it may change: a file, or a schema of its own on a server."""
    if engine.dialect.name != "sqlite":
        options = json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}")
        own = create_engine(engine.url.render_as_string(hide_password=False), options, "Releases")
        _drop(own)
    else:
        own = create_engine(f"sqlite:///{tmp_path / 'own.db'}")
    migrate.upgrade(own)
    yield own
    if engine.dialect.name != "sqlite":
        _drop(own)
    own.dispose()


def _drop(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        found = sa.MetaData()
        if not sa.inspect(connection).has_schema("Releases"):
            return
        drop_views(connection, "Releases")
        found.reflect(connection, schema="Releases")
        found.drop_all(connection)
        for sequence in sa.inspect(connection).get_sequence_names(schema="Releases"):
            connection.execute(sa.schema.DropSequence(sa.Sequence(sequence, schema="Releases")))
        connection.execute(sa.schema.DropSchema("Releases"))


def stamp(engine: sa.Engine, revision: str) -> None:
    version = sa.table("alembic_version", sa.column("version_num"), schema=migrate.schema_of(engine))
    with engine.begin() as connection:
        connection.execute(version.update().values(version_num=revision))


def alter(engine: sa.Engine, table: str, change: str) -> None:
    """``ALTER TABLE table change``, in the schema of the engine."""
    quote = engine.dialect.identifier_preparer.quote
    place = f"{quote(name)}." if (name := migrate.schema_of(engine)) else ""
    with engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {place}{quote(table)} {change}"))


def upgrade_as_a_later_release_would(engine: sa.Engine) -> None:
    """Every table gets a column that may be empty, and one with a default."""
    word = "ADD" if engine.dialect.name == "mssql" else "ADD COLUMN"
    for table in schema.metadata.tables:
        alter(engine, table, f"{word} later_text VARCHAR(20)")
        alter(engine, table, f"{word} later_number INTEGER DEFAULT 7 NOT NULL")
    stamp(engine, LATER)


def test_a_bridge_works_on_the_tables_of_a_later_release(own: sa.Engine) -> None:
    upgrade_as_a_later_release_would(own)

    require_schema(own)
    probe_sql(own)
    in_transaction(own, ensure_contacts, ["MC1"], NOON)
    with own.connect() as connection:
        assert connection.scalars(sa.select(schema.contacts.c.manychat_id)).all() == ["MC1"]


def test_an_upgrade_by_the_release_before_leaves_later_tables_alone(own: sa.Engine) -> None:
    upgrade_as_a_later_release_would(own)

    migrate.upgrade(own)  # a release that is taken back runs it
    assert migrate.current(own) == LATER


def test_only_the_later_release_itself_can_downgrade_its_tables(own: sa.Engine) -> None:
    upgrade_as_a_later_release_would(own)

    with pytest.raises(UnfitTables, match=f"revision {LATER}, of a later release"):
        migrate.downgrade(own, RELEASE_BEFORE)
    assert migrate.current(own) == LATER


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DROP COLUMN warnings", "audit.warnings is missing"),
        ("ADD later_text VARCHAR(20) NOT NULL", "audit.later_text needs a value"),
    ],
)
def test_later_tables_that_a_bridge_cannot_use_are_refused_by_name(own: sa.Engine, change: str, problem: str) -> None:
    if own.dialect.name == "sqlite" and "NOT NULL" in change:
        # SQLite adds no such column to a table; a table can be made with one.
        change, problem = "RENAME COLUMN warnings TO notices", "audit.warnings is missing"
    alter(own, "audit", change)
    stamp(own, LATER)

    for refusing in (require_schema, migrate.upgrade):
        with pytest.raises(UnfitTables, match=problem):
            refusing(own)


def test_a_numbered_revision_of_another_program_is_refused(own: sa.Engine) -> None:
    stamp(own, LATER)
    with own.begin() as connection:
        drop_views(connection, migrate.schema_of(own))
        schema.metadata.drop_all(connection)

    with pytest.raises(ConfigurationError, match=r"the tables .*contacts.* are missing"):
        require_schema(own)


@pytest.mark.parametrize("revision", ["ae1027a6acf", "head", "99999"])
def test_a_revision_without_our_number_is_no_later_release(own: sa.Engine, revision: str) -> None:
    stamp(own, revision)

    with pytest.raises(ConfigurationError):
        require_schema(own)


def test_migrations_only_add_so_that_bridges_of_the_release_before_work_on(own: sa.Engine) -> None:
    """Otherwise a bridge of that release, or the standby API, stops in the middle of an upgrade."""
    migrate.downgrade(own, RELEASE_BEFORE)
    before = shape(own)
    before.pop("kept_api_keys")  # of the downgrade, which puts keys aside until the upgrade: that release never had it
    migrate.upgrade(own)
    after = shape(own)

    for table, columns in before.items():
        assert columns.items() <= after[table].items(), f"{table}: a column went or changed its type"
        for name in after[table].keys() - columns.keys():
            found = after[table][name]
            assert found["nullable"] or found["has_default"], f"{table}.{name}: the release before writes no value"


def test_migrations_make_no_old_column_unique(own: sa.Engine) -> None:
    migrate.downgrade(own, RELEASE_BEFORE)
    before, columns = unique(own), shape(own)
    migrate.upgrade(own)

    new = {(table, names) for table, names in unique(own) - before if set(names) <= columns.get(table, {}).keys()}
    assert not new, "the release before may write the same value twice"


def test_rows_from_before_decisions_survive_the_way_up_down_and_up_again(own: sa.Engine) -> None:
    in_transaction(own, record, [opportunity(1), opportunity(2, "MC2")])
    migrate.downgrade(own, WITHOUT_DECISIONS)
    _store_move(own)
    before = contents(own)

    migrate.upgrade(own)
    after = contents(own)
    for table, rows in before.items():
        for row, now in zip(rows, after[table], strict=True):
            assert row.items() <= now.items(), table
    [move] = after["opportunity_stages"]
    assert (move["moved_by"], move["user_id"], move["status"]) == ("chat", None, None)
    [period] = view(own, "v_stage_periods")
    assert (period["stage"], period["moved_by"], period["left_at"]) == ("Nuevo", "chat", None)

    in_transaction(own, apply_decisions, [decision(9), decision(9, manychat_id="MC3")], NOON)
    in_transaction(own, take_over, {"write_back": {"enabled": True}}, NOON)
    assert [row["stage"] for row in view(own, "v_opportunities")] == ["Cotización"]
    migrate.downgrade(own, WITHOUT_DECISIONS)
    kept = contents(own)
    assert kept.keys() == before.keys()
    assert sorted(row["manychat_id"] for row in kept["opportunities"]) == ["MC1", "MC2", "MC3"]
    assert [row["stage_to"] for row in kept["opportunity_stages"]] == ["Nuevo", "Cotización", "Cotización"]
    assert sa.inspect(own).get_view_names(migrate.schema_of(own)) == []

    migrate.upgrade(own)
    assert {row["moved_by"] for row in contents(own)["opportunity_stages"]} == {"chat"}  # it is not known any more
    in_transaction(own, apply_decisions, [decision(10, 3)], NOON)
    assert {row["manychat_id"]: row["stage"] for row in contents(own)["opportunities"]}["MC1"] == "Ganado"


def _store_move(engine: sa.Engine) -> None:
    """A move as the release before stored it: only the chat moved opportunities."""
    tables = reflected(engine)
    with engine.begin() as connection:
        moved = tables["opportunities"].c.manychat_id == "MC1"
        connection.execute(tables["opportunities"].update().where(moved).values(lead_id=7, stage="Nuevo"))
        then, mine = NOON.replace(tzinfo=None), connection.scalar(sa.select(tables["opportunities"].c.id).where(moved))
        row = {"opportunity_id": mine, "lead_id": 7, "stage_to": "Nuevo", "event_id": "e" * 64}
        connection.execute(tables["opportunity_stages"].insert(), {**row, "event_at": then, "applied_at": then})


def reflected(engine: sa.Engine) -> dict[str, sa.Table]:
    """The tables as they are now, by name."""
    found, place = sa.MetaData(), migrate.schema_of(engine)
    found.reflect(engine, schema=place)
    for table in found.tables.values():
        table.implicit_returning = False
    return {table.name: table for table in found.tables.values()}


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows, by table."""
    with engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
            for name, table in reflected(engine).items()
            if name not in ("alembic_version", "kept_api_keys")
        }


def view(engine: sa.Engine, name: str) -> list[dict[str, Any]]:
    """All rows of a view."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(views.tables[name])).mappings()]


def unique(engine: sa.Engine) -> set[tuple[str, tuple[str, ...]]]:
    inspector, place = sa.inspect(engine), migrate.schema_of(engine)
    return {
        (table, tuple(sorted(str(name) for name in index["column_names"])))
        for table in inspector.get_table_names(place)
        for index in inspector.get_indexes(table, place)
        if index["unique"]
    }


def shape(engine: sa.Engine) -> dict[str, dict[str, Any]]:
    inspector, place = sa.inspect(engine), migrate.schema_of(engine)
    return {
        table: {
            column["name"]: {
                "type": str(column["type"]),
                "nullable": column["nullable"],
                "has_default": column["default"] is not None,
            }
            for column in inspector.get_columns(table, place)
        }
        for table in inspector.get_table_names(place)
    }
