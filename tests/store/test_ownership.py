"""Whose tables a database has, and who may create ours in it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.connect import require_schema
from bridge.errors import ConfigurationError
from bridge.monitoring.probes import check_sql
from bridge.store import migrate
from bridge.store.engine import create_engine
from bridge.worker.process import probe_sql

from .conftest import drop_views

SCHEMA = "Theirs"
VERSION = "CREATE TABLE {0}alembic_version (version_num VARCHAR(32) NOT NULL)"
#: What another program may have made, and what names it in the refusal.
THEIRS: dict[str, tuple[list[str], str]] = {
    "a revision of its own": (
        ["CREATE TABLE {0}invoices (id INTEGER)", VERSION, "INSERT INTO {0}alembic_version VALUES ('a1b2c3d4')"],
        "a1b2c3d4",
    ),
    "a number that we have too": (
        ["CREATE TABLE {0}contacts (id INTEGER)", VERSION, "INSERT INTO {0}alembic_version VALUES ('0003')"],
        "0003, and the tables audit",
    ),
    "our newest number": ([VERSION, f"INSERT INTO {{0}}alembic_version VALUES ('{migrate.head()}')"], "are missing"),
    "a number that we may have one day": ([VERSION, "INSERT INTO {0}alembic_version VALUES ('9000')"], "9000"),
    "two revisions": ([VERSION, "INSERT INTO {0}alembic_version VALUES ('a1'), ('b2')"], "a1, b2"),
    "a revision with control characters": (
        [VERSION, "INSERT INTO {0}alembic_version VALUES ('\x1b[2J0001')"],
        r"\[2J0001",
    ),
    "a table with our name": (["CREATE TABLE {0}contacts (id INTEGER)"], "contacts"),
    "an empty version and a table with our name": ([VERSION, "CREATE TABLE {0}contacts (id INTEGER)"], "contacts"),
}
#: Each way that asks for the tables.
WAYS: dict[str, Callable[[sa.Engine], object]] = {
    "db upgrade": migrate.upgrade,
    "db current": migrate.current,
    "db downgrade": lambda engine: migrate.downgrade(engine, "base"),
    "run": require_schema,
    "check": check_sql,
}


@pytest.fixture
def theirs(engine: sa.Engine, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database without our tables: a file, or a schema of its own on a server."""
    if engine.dialect.name == "sqlite":
        own = create_engine(f"sqlite:///{tmp_path / 'theirs.db'}")
    else:
        own = create_engine(engine.url.render_as_string(hide_password=False), options(), SCHEMA)
        with own.begin() as connection:
            drop(connection)
            connection.execute(sa.schema.CreateSchema(SCHEMA))
    yield own
    if engine.dialect.name != "sqlite":
        with own.begin() as connection:
            drop(connection)
    own.dispose()


def options() -> dict[str, Any]:
    return dict(json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}"))


def drop(connection: sa.Connection) -> None:
    if not sa.inspect(connection).has_schema(SCHEMA):
        return
    drop_views(connection, SCHEMA)
    found = sa.MetaData()
    found.reflect(connection, schema=SCHEMA)
    found.drop_all(connection)
    for sequence in sa.inspect(connection).get_sequence_names(schema=SCHEMA):
        connection.execute(sa.schema.DropSequence(sa.Sequence(sequence, schema=SCHEMA)))
    connection.execute(sa.schema.DropSchema(SCHEMA))


def content(engine: sa.Engine) -> dict[str, list[Any]]:
    """All tables with their columns and rows."""
    found = sa.MetaData()
    with engine.begin() as connection:
        found.reflect(connection, schema=migrate.schema_of(engine))
        return {
            name: [*map(str, table.columns), *connection.execute(table.select())]
            for name, table in found.tables.items()
        }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", THEIRS)
def test_another_programs_tables_are_neither_used_nor_touched(theirs: sa.Engine, kind: str, way: str) -> None:
    statements, words = THEIRS[kind]
    place = "" if theirs.dialect.name == "sqlite" else f"{theirs.dialect.identifier_preparer.quote(SCHEMA)}."
    with theirs.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement.format(place)))
    before = content(theirs)

    with pytest.raises(ConfigurationError, match=words) as caught:
        WAYS[way](theirs)

    said = str(caught.value)
    assert "BRIDGE_DATABASE_URL" in said
    assert "of this product" not in said
    assert said.isprintable()
    assert ("BRIDGE_DATABASE_SCHEMA" in said) == (theirs.dialect.name != "sqlite")
    assert content(theirs) == before


def test_a_bridge_at_work_does_not_end_when_a_restore_takes_its_tables_for_a_while(theirs: sa.Engine) -> None:
    """It decides at its start only. Until then each statement fails, and the bridge waits."""
    migrate.upgrade(theirs)
    tables = content(theirs)
    found = sa.MetaData()
    with theirs.begin() as connection:
        drop_views(connection, migrate.schema_of(theirs))
        found.reflect(connection, schema=migrate.schema_of(theirs))
        found.drop_all(connection, [table for table in found.sorted_tables if table.name != "alembic_version"])
    probe_sql(theirs)
    assert len(content(theirs)) < len(tables)


def test_an_empty_database_and_one_whose_tables_were_taken_back_are_free(theirs: sa.Engine) -> None:
    assert migrate.current(theirs) is None
    migrate.upgrade(theirs)
    migrate.downgrade(theirs, "base")
    assert migrate.current(theirs) is None
    migrate.upgrade(theirs)
    assert migrate.current(theirs) == migrate.head()


class Guest:
    """A user of PostgreSQL without any right, and the administrator who gives it some."""

    def __init__(self, engine: sa.Engine):
        self.engine = engine
        self.name = "guest of the tests"
        password = secrets.token_hex(16)
        with engine.begin() as connection:
            self.drop(connection)
            connection.execute(sa.text(f"CREATE ROLE \"{self.name}\" LOGIN PASSWORD '{password}'"))
        self.url = engine.url.set(username=self.name, password=password)

    def open(self, schema: str | None) -> sa.Engine:
        return create_engine(self.url.render_as_string(hide_password=False), options(), schema)

    def drop(self, connection: sa.Connection) -> None:
        if connection.scalar(sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": self.name}):
            connection.execute(sa.text(f'REVOKE {self.engine.url.username} FROM "{self.name}"'))
            connection.execute(sa.text(f'GRANT "{self.name}" TO CURRENT_USER'))
            connection.execute(sa.text(f'DROP OWNED BY "{self.name}" CASCADE'))
            connection.execute(sa.text(f'DROP ROLE "{self.name}"'))


@pytest.fixture
def guest(engine: sa.Engine) -> Iterator[Guest]:
    if engine.dialect.name != "postgresql" or "babelfish" in str(engine.url):
        pytest.skip("only PostgreSQL's users are made here")
    guest = Guest(engine)
    yield guest
    with engine.begin() as connection:
        guest.drop(connection)


def statement_in(error: Exception) -> str:
    """What an administrator is asked to run."""
    return str(error).partition("administrator of the database runs: ")[2].partition(";")[0]


@pytest.mark.parametrize("case", ["tables", "schema", "owner"])
def test_who_may_not_create_tables_reads_the_right_that_is_missing(theirs: sa.Engine, guest: Guest, case: str) -> None:
    """`check`, `run` and `db upgrade` name the same statement, and with it the upgrade succeeds."""
    mine = guest.open("Not there yet" if case == "schema" else SCHEMA)
    if case == "owner":
        migrate.upgrade(theirs)
        migrate.downgrade(theirs, "0009")
        with guest.engine.begin() as connection:
            connection.execute(sa.text(f'GRANT USAGE, CREATE ON SCHEMA "{SCHEMA}" TO "{guest.name}"'))
            connection.execute(sa.text(f'GRANT ALL ON ALL TABLES IN SCHEMA "{SCHEMA}" TO "{guest.name}"'))
    if case == "tables":
        with guest.engine.begin() as connection:
            connection.execute(sa.text(f'GRANT USAGE ON SCHEMA "{SCHEMA}" TO "{guest.name}"'))

    wanted = set()
    for way in ("check", "run", "db upgrade"):
        with pytest.raises(ConfigurationError, match="python -m bridge db sql") as caught:
            WAYS[way](mine)
        assert guest.name in str(caught.value)
        wanted.add(statement_in(caught.value))
    (statement,) = wanted
    assert statement.startswith("GRANT ")

    with guest.engine.begin() as connection:
        connection.execute(sa.text(statement))
    with pytest.raises(ConfigurationError, match=r"Run: python -m bridge db upgrade$"):
        WAYS["check"](mine)
    migrate.upgrade(mine)
    assert migrate.current(mine) == migrate.head()
    mine.dispose()


def test_a_version_table_that_may_not_be_read_is_another_programs(theirs: sa.Engine, guest: Guest) -> None:
    with guest.engine.begin() as connection:
        connection.execute(sa.text(VERSION.format(f'"{SCHEMA}".')))
        connection.execute(sa.text(f'GRANT USAGE, CREATE ON SCHEMA "{SCHEMA}" TO "{guest.name}"'))
    mine = guest.open(SCHEMA)
    for way in WAYS.values():
        with pytest.raises(ConfigurationError, match="may not read"):
            way(mine)
    mine.dispose()
