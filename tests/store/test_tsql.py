"""All SQL, as SQL Server would get it: compiled by SQLAlchemy, parsed by sqlglot. No server needed.

The statements are caught while the store does its work on the test database, so none can be forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
import sqlalchemy as sa
import sqlglot
from alembic import command
from sqlalchemy.dialects import mssql
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc

from bridge.contract.opportunity_state import read_state
from bridge.importer import catalog, writer
from bridge.results import Done, Failure
from bridge.store import (
    api_keys,
    audit,
    campaigns,
    contacts,
    dead_letters,
    erasure,
    migrate,
    migration_journal,
    notices,
    odoo_settings,
    opportunities,
    opportunity_differences,
    opportunity_states,
    pauses,
    records,
    refusal,
    retention,
    schema,
    standby_refusals,
)
from bridge.store.batch_update import BatchUpdate
from bridge.store.column_types import Moment
from bridge.store.dead_letters import Filter
from bridge.store.listing import LISTINGS
from bridge.store.notices import Notice
from bridge.store.views import views

from .conftest import NOON, PURGES, Store, assignment, contact, decision, opportunity, state, update
from .legacy import adopted_rows
from .test_audit import letter, taken
from .test_plans import exercise_write_back
from .test_standby_refusals import counted

# With the marks for parameters that the driver gets; by itself it would name them.
DIALECT = MSDialect_pyodbc(paramstyle="qmark")


@pytest.fixture
def statements(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that the store executes, compiled for SQL Server."""
    caught: list[str] = []
    execute = BatchUpdate.execute

    def catch_many(update, connection, rows, **same):  # type: ignore[no-untyped-def]
        compiled = update.of_many(DIALECT).compile(dialect=DIALECT)
        # pyodbc would ask the server for the types of all.
        nulls = {name for name, value in compiled.params.items() if value is None}
        assert nulls == {"new_rows", *same}, str(compiled)  # these get a value when it is executed
        caught.append(str(compiled))
        execute(update, connection, rows, **same)

    monkeypatch.setattr(BatchUpdate, "execute", catch_many)

    def catch(_connection, element, multiparams, params, _options):  # type: ignore[no-untyped-def]
        is_of_many = "new_rows" in params  # as this server gets it
        if isinstance(element, sa.sql.ClauseElement) and not is_of_many:
            rows = multiparams or [params]
            keys = list(rows[0]) if rows and rows[0] else None
            compiled = element.compile(dialect=DIALECT, column_keys=keys, compile_kwargs={"render_postcompile": True})
            caught.append(str(compiled))
            if multiparams:
                check_types_of_parameters(str(compiled))

    sa.event.listen(store.engine, "before_execute", catch)
    yield caught
    sa.event.remove(store.engine, "before_execute", catch)


def test_everything_the_store_executes_is_sql_that_sql_server_understands(store: Store, statements: list[str]) -> None:
    # Twice: what is new takes other statements than what is known.
    event, move = contact(ultimo_estado="a", canal_entrada="b"), opportunity(1, channel="b", commercial_advisor_id=3)
    for _ in range(2):
        store.run(audit.begin_new, [taken(event)])
        store.run(audit.begin, [taken(event), taken(move)])
        store.run(contacts.apply_contacts, [event])
        store.run(
            campaigns.apply_campaign_events, [update(1, last_state="x"), assignment(2, comercial_id=1, medico_id=2)]
        )
        store.run(opportunities.record, [move])
        # The second time there is a later one.
        store.run(opportunity_states.apply_decisions, [decision(len(statements))])
        store.run(odoo_settings.take_over, {"a": len(statements)})
        store.run(opportunities.fail, [(move, Failure("refused", "no"))])
        store.run(audit.release_attempt, [event.id])
        store.run(audit.fail, {event.id: Failure("refused", "no")}, dead=True)
        store.run(dead_letters.put, [letter(event), letter(message_id="m9")])
        store.run(dead_letters.given_up, [event.id])
        for row in store.run(notices.missing, ["m1", "m9"]):
            store.run(notices.mark_sent, {row.id: Notice("n", "r")})
        wanted = Filter(
            code="x", queue="y", ids=[1], event_ids=["e"], manychat_id="MC1", since=NOON, until=NOON + timedelta(days=1)
        )
        store.run(dead_letters.search, wanted, limit=5, after=1)
        store.run(dead_letters.counts, wanted)
        [first, *_] = store.rows("dead_letters")
        store.run(dead_letters.mark_replayed, first, event)
        store.run(dead_letters.discard, first)
        store.run(audit.discard, event.id)
        store.run(audit.claim, event.id, NOON)
        store.run(audit.unfinished, NOON, ["contact"])
        store.run(audit.rows, [event.id])
        store.run(audit.wrong_clocks, NOON)
        store.run(audit.mark_reported, store.run(audit.unreported, 5))
        store.run(audit.report_again, [event.id])
        store.run(dead_letters.discard_all, [event.id])
        store.run(opportunities.unsynced, NOON)
        store.run(pauses.pause, ["a", "b"])
        store.run(standby_refusals.add, counted(2) | counted(2, key_id=1, code="invalid"))
        store.run(standby_refusals.lately, NOON)
        store.run(standby_refusals.mark_reported, store.run(standby_refusals.unreported, NOON))
        store.run(pauses.paused)
        store.run(pauses.resume, ["a"])
        store.run(audit.begin, [taken(event)])
    store.run(audit.finish, {event.id: Done("stored"), move.id: Done("created", 1, None, "A")})
    store.run(opportunities.finish, {move.id: (move, Done("created", 1, None, "A"))})
    store.run(opportunities.finish, {move.id: (move, Done("created", 1, None, "A", read_state(state(10**6))))})

    back_fill(store)
    exercise_write_back(store)
    store.run(retention.due, NOON)
    for purge in PURGES:
        store.run(purge, NOON + timedelta(days=100_000))
    store.run(api_keys.add, name="a", prefix="b", digest="c", scope="read")
    store.run(api_keys.all_keys)
    store.run(api_keys.set_last_used, {key.id: NOON for key in store.run(api_keys.valid_keys)})
    store.run(api_keys.revoke, [1])
    for table, values in (
        (schema.channels, {"name": "c"}),
        (schema.advisors, {"name": "a"}),
        (schema.campaigns, {"name": "c", "id": 7}),
        (schema.contacts, {"manychat_id": "MC9", "last_state": "a"}),
    ):
        row = store.run(records.create, table, values)
        store.run(records.update, table, row.id, values)
        store.run(records.delete, table, row.id)
    for each in LISTINGS.values():
        for sort in each.sorts:
            for after in (None, (NOON, 1)):
                for name in each.filters:
                    value = NOON if name.endswith(("_since", "_until")) else "1"
                    statements.append(
                        compiled(each.statement({name: value}, sort, descending=True, after=after, limit=3))
                    )
    for table, rows in adopted_rows().items():
        # The second time there is something to fill in.
        for more in ({}, {"name": "n", "last_name": "l", "last_state": "s"}):
            store.run(writer.write, table, [row | more for row in rows], NOON, dry_run=False)
        store.run(writer.compare, table, rows, NOON)
    watched = migration_journal.Watched([move.manychat_id], [move.id], ["b"], [85], [3])
    store.run(migration_journal.record, "b", watched, lambda connection: opportunities.record(connection, [move]))
    store.run(campaigns.newest_assignments, ["MC1"])
    store.run(migration_journal.count, "b")
    store.run(migration_journal.undo, "b", 0, 10)
    exercise_write_back(store)
    refusal.check_writing(store.engine)
    store.run(erasure.erase, "MC1")
    store.run(erasure.unreadable_letters)

    written = {match[2] for match in (re.match(r"(INSERT INTO|UPDATE) (\w+)", sql) for sql in statements) if match}
    assert written == schema.metadata.tables.keys()
    for sql in statements:
        check(sql)


def back_fill(store: Store) -> None:
    for stage_id in (1, 2):
        states = {name: read_state(state(10**6 + stage_id, stage_id)) for name in ("MC1", "MC-new")}
        store.run(opportunity_differences.adopt, states, NOON)
    known = store.run(opportunity_differences.known_after, 0, 9)
    store.run(opportunity_differences.mark_deleted, known, NOON)


def compiled(statement: sa.Select) -> str:
    return str(statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))


def test_the_tables_are_made_with_sql_that_sql_server_understands() -> None:
    _, *batches = migrate.sql("mssql").split("\nGO\n")
    assert sum("CREATE TABLE" in batch for batch in batches) == len(schema.metadata.tables) + 1
    for batch in batches:
        if "alembic_version" not in batch:
            check(batch)


#: Functions of SQL Server 2016 and later, and of Azure SQL, that views use.
FUNCTIONS = {"CAST", "COALESCE", "COUNT", "DATEDIFF_BIG", "DATEFROMPARTS", "LAG", "LEAD", "MAX", "MIN", "MONTH"}
FUNCTIONS |= {"NULLIF", "ROW_NUMBER", "SUM", "YEAR"}
#: What other databases have, and SQL Server has not.
ELSEWHERE = r"::|\bLIMIT\b|\bFILTER\b|\bTRUE\b|\bFALSE\b|\bILIKE\b|\bDISTINCT ON\b|\bNULLS (FIRST|LAST)\b|\|\|"


def test_the_views_have_only_what_sql_server_has() -> None:
    """Each is alone in its batch (error 111), orders rows in windows only (error 1033), takes no BIT as a condition."""
    batches = [batch for batch in migrate.sql("mssql").split("\nGO\n") if "CREATE VIEW" in batch]
    assert {batch.partition(" AS\n")[0].split()[-1] for batch in batches} == {*views.tables}
    for batch in batches:
        assert batch.count("CREATE VIEW") == 1
        assert batch.strip().startswith("CREATE VIEW")
        assert {*re.findall(r"\b([A-Z_]+)\(", batch)} <= FUNCTIONS, batch
        assert not re.search(ELSEWHERE, batch), batch
        [tree] = [each for each in sqlglot.parse(batch, read="tsql") if each is not None]
        for order in tree.find_all(sqlglot.exp.Order):
            assert isinstance(order.parent, sqlglot.exp.Window), batch
        for case in tree.find_all(sqlglot.exp.Case):
            # "CASE x WHEN 1" compares; "CASE WHEN x" needs a comparison, for a BIT is none.
            assert case.this or not any(isinstance(when.this, sqlglot.exp.Column) for when in case.args["ifs"]), batch


def test_no_index_has_a_longer_key_than_sql_server_takes() -> None:
    """A text counts two bytes for each character: 900 bytes in a primary key, else 1,700 (SQL Server 2016)."""
    for table in schema.metadata.tables.values():
        keys = [(index.name, index.columns, 1700) for index in table.indexes]
        keys += [(each.name, each.columns, 1700) for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
        for name, columns, most in [*keys, (f"pk of {table.name}", table.primary_key.columns, 900)]:
            assert sum(_bytes(column) for column in columns) <= most, name


def _bytes(column: sa.Column) -> int:
    kind = column.type.dialect_impl(DIALECT)
    if not isinstance(kind, sa.String):
        return 8
    assert kind.length, f"{column}: NVARCHAR(MAX) is no key"
    return 2 * kind.length


def test_a_downgrade_drops_the_default_of_a_column_before_the_column() -> None:
    """SQL Server refuses to drop a column that has one (error 5074)."""
    config = migrate._config()
    config.attributes |= {"dialect": "mssql", "schema": None}
    config.output_buffer = StringIO()
    command.downgrade(config, "head:base", sql=True)
    down = config.output_buffer.getvalue()
    added = re.findall(r"ALTER TABLE (\w+) ADD (\w+) [^;]*?DEFAULT", migrate.sql("mssql"))
    assert ("opportunity_stages", "moved_by") in added
    for table, column in added:
        before, drop, _ = down.partition(f"ALTER TABLE {table} DROP COLUMN {column}")
        assert drop, (table, column)
        assert f"= '{column}'" in before.rpartition(f"OBJECT_ID('{table}')")[2], (table, column)


def test_the_catalogue_is_read_with_sql_that_sql_server_understands() -> None:
    for sql in (catalog._COLUMNS, catalog._KEYS, catalog._REFERENCES):
        check(sql)


def test_a_dba_can_run_it_with_sqlcmd_also_from_one_revision_to_another() -> None:
    preamble, *_ = migrate.sql("mssql").split("\nGO\n")
    # Without it filtered indexes fail (error 1934): sqlcmd starts with it off.
    assert "SET QUOTED_IDENTIFIER ON" in preamble
    assert "SET XACT_ABORT ON" in preamble

    part = migrate.sql("mssql", "0001:0002")
    assert "CREATE TABLE pauses" in part
    assert "CREATE TABLE contacts" not in part
    with pytest.raises(ValueError, match="nonsense"):
        migrate.sql("mssql", "nonsense")


def check(sql: str) -> None:
    upper = sql.upper()
    assert not re.search(r"\bMERGE\b", upper)
    assert "NTEXT" not in upper
    # A statement with OUTPUT fails on a table with any trigger (error 334).
    assert not re.search(r"\bOUTPUT\b", upper), sql
    assert not re.search(r"(?<!N)VARCHAR", upper)
    assert not re.search(r"\bDATETIME\b", upper)
    # A truth value is a BIT: compared by "=", while IS takes NULL only.
    assert not re.search(r"\bIS (?!NULL|NOT NULL)", upper), sql
    # sqlglot does not know ODBC's parameter marker.
    parsed = [each for each in sqlglot.parse(sql.replace("?", "@p"), read="tsql") if each is not None]
    assert not any(isinstance(each, sqlglot.exp.Command) for each in parsed), sql


def check_types_of_parameters(sql: str) -> None:
    """Whether SQL Server can tell the type of each parameter from where it stands.

    With ``fast_executemany`` pyodbc asks it (``sp_describe_undeclared_parameters``), which looks at the expression
    around a parameter that is compared, assigned, inserted or cast. That may hold no second parameter. If it cannot
    tell one it tells none, and pyodbc sends all of them as VARCHAR(255): names lose their emoji.
    """
    [tree] = sqlglot.parse(sql.replace("?", "@p"), read="tsql")
    assert tree is not None
    places = (sqlglot.exp.Binary, sqlglot.exp.Cast, sqlglot.exp.Tuple, sqlglot.exp.In)
    for parameter in tree.find_all(sqlglot.exp.Parameter):
        place = parameter
        while place.parent and not (isinstance(place.parent, places) and not _is_arithmetic(place.parent)):
            place = place.parent
        assert place.parent, f"a parameter that nothing tells the type of: {sql}"
        assert not isinstance(place.parent, (sqlglot.exp.Is, sqlglot.exp.And, sqlglot.exp.Or)), sql
        assert len(list(place.find_all(sqlglot.exp.Parameter))) == 1, f"two parameters in one expression: {sql}"


def _is_arithmetic(node: sqlglot.exp.Expression) -> bool:
    return isinstance(node, (sqlglot.exp.Add, sqlglot.exp.Sub, sqlglot.exp.Mul, sqlglot.exp.Div))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = 1 WHERE b IS NULL AND ? IS NOT NULL",
        "UPDATE t SET a = CASE WHEN b IS NULL THEN a + ? ELSE ? END",
        "UPDATE t SET a = coalesce(?, ?)",
    ],
)
def test_parameters_whose_types_sql_server_cannot_tell_are_found(sql: str) -> None:
    with pytest.raises(AssertionError):
        check_types_of_parameters(sql)


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_no_insert_asks_sql_server_for_output(table: sa.Table) -> None:
    generated = table.c.id.autoincrement is not False and not isinstance(table.c.id.type, sa.Unicode)
    given = [column.name for column in table.columns if column.name != "id" or not generated]
    for insert, names in ((table.insert(), given), (table.insert().values(dict.fromkeys(given)), None)):
        sql = str(insert.compile(dialect=DIALECT, column_keys=names))
        assert sql.startswith("INSERT INTO")
        check(sql)


def test_the_id_of_a_new_row_is_the_one_of_this_statement_and_not_of_a_triggers(store: Store) -> None:
    """On every server; on SQL Server it is SCOPE_IDENTITY(), which the rows that a trigger inserts do not change."""
    dialect = store.engine.dialect.name
    if dialect == "mssql":
        trigger = "CREATE TRIGGER note ON channels AFTER INSERT AS INSERT INTO pauses (queue, paused_at) "
        trigger += "SELECT name_key, created_at FROM inserted"
    elif dialect == "sqlite":
        trigger = "CREATE TRIGGER note AFTER INSERT ON channels BEGIN "
        trigger += "INSERT INTO pauses (queue, paused_at) VALUES (NEW.name_key, NEW.created_at); END"
    else:
        pytest.skip("its trigger needs a function, and its ids come from sequences")
    with store.engine.begin() as connection:
        connection.execute(schema.pauses.insert(), [{"queue": f"q{n}", "paused_at": NOON} for n in range(7)])
        connection.execute(sa.text(trigger))
    try:
        row = store.run(records.create, schema.channels, {"name": "Facebook"}, NOON)
    finally:
        with store.engine.begin() as connection:
            connection.execute(sa.text("DROP TRIGGER note"))
    assert (row.id, row.name) == (store.rows("channels")[0].id, "Facebook")


def test_ids_of_people_are_case_sensitive_also_on_sql_server() -> None:
    # SQL Server's default collation would take "abc" and "ABC" for one.
    for column in (schema.contacts.c.manychat_id, schema.audit.c.event_id, schema.channels.c.name_key):
        assert "BIN2" in column.type.compile(dialect=DIALECT)


def test_moments_are_datetime2_with_microseconds() -> None:
    assert Moment().compile(dialect=mssql.dialect()) == "DATETIME2(6)"
