"""A schema of the bridge's own: ``BRIDGE_DATABASE_SCHEMA``."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from bridge.errors import BadDatabaseUrl
from bridge.store import audit, contacts, migrate, opportunities, records, schema
from bridge.store.engine import create_engine

from .conftest import Store, contact, opportunity
from .test_audit import taken


def test_the_bridge_works_in_a_schema_of_its_own_beside_tables_by_the_same_names(
    store: Store, other_schema: sa.Engine
) -> None:
    assert migrate.current(other_schema) is None
    migrate.upgrade(other_schema)
    assert migrate.current(other_schema) == migrate.head()

    event, move = contact(canal_entrada="Web", ultimo_estado="de allí"), opportunity(1, commercial_advisor_id=3)
    there = Store(other_schema)
    there.run(audit.begin, [taken(event), taken(move)])
    there.run(contacts.apply_contacts, [event])
    there.run(opportunities.record, [move])
    # An id chosen by the caller (SQL Server: IDENTITY_INSERT), and one from a sequence.
    there.run(records.create, schema.channels, {"id": 77, "name": "Teléfono"})
    there.run(records.create, schema.campaigns, {"name": "Invierno"})

    inspector = sa.inspect(other_schema)
    assert {*schema.metadata.tables, "alembic_version"} <= set(inspector.get_table_names("Bridge_2"))
    assert [row.last_state for row in there.rows("contacts")] == ["de allí"]
    assert [row.id for row in there.rows("channels")][-1] == 77
    assert not any(store.rows(table) for table in schema.metadata.tables)


def test_taking_the_tables_away_again_leaves_the_others(store: Store, other_schema: sa.Engine) -> None:
    store.run(contacts.apply_contacts, [contact()])
    migrate.upgrade(other_schema)
    migrate.downgrade(other_schema, "0003")
    assert (migrate.current(other_schema), migrate.current(store.engine)) == ("0003", migrate.head())
    migrate.downgrade(other_schema, "base")
    assert len(store.rows("contacts")) == 1
    with pytest.raises(DBAPIError):
        Store(other_schema).rows("contacts")


def test_a_dba_gets_the_schema_too() -> None:
    for dialect, makes_it in (
        ("mssql", "CREATE SCHEMA [manychat]"),
        ("postgresql", 'IF NOT EXISTS "man'),
    ):
        sql = migrate.sql(dialect, schema="manychat")
        assert makes_it in sql
        # Nothing goes anywhere else.
        for name in (*schema.metadata.tables, "alembic_version"):
            assert f"CREATE TABLE manychat.{name} " in sql
            for word in ("TABLE", "UPDATE", "INTO", "ON", "REFERENCES"):
                assert f" {word} {name} " not in sql


def test_sqlite_says_that_it_has_no_schemas() -> None:
    with pytest.raises(BadDatabaseUrl, match="a file of its own"):
        create_engine("sqlite://", schema="bridge")
