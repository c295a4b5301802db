"""The views for analysts give the figures that a person computes by hand, on every database."""

from __future__ import annotations

import json
import re
import secrets
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlglot
from sqlalchemy.exc import DBAPIError

from bridge.errors import ConfigurationError
from bridge.store import descriptions, migrate, reader_role, schema
from bridge.store.engine import create_engine
from bridge.store.views import views

from .conftest import Store
from .test_tsql import check

NOON = datetime(2025, 6, 10, 12, tzinfo=timezone.utc)
JUNE, JULY = date(2025, 6, 1), date(2025, 7, 1)
V = views.tables


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


class Funnel:
    """Rows as the bridge writes them, and what the views make of them."""

    def __init__(self, store: Store):
        self.store = store
        self.moves = 0

    def insert(self, table: str, **values: Any) -> int:
        target = schema.metadata.tables[table]
        stamps = {name: NOON for name in ("created_at", "updated_at") if name in target.columns}
        with self.store.engine.begin() as connection:
            return int(connection.execute(target.insert().values(**stamps | values)).inserted_primary_key[0])  # type: ignore[index]

    def person(self, lead: int | None, name: str = "", contact: dict[str, Any] | None = None, **state: Any) -> int:
        name = name or f"MC{lead}"
        contact_id = self.insert("contacts", manychat_id=name, **contact or {})
        values = {"odoo_sync_status": "success", "attempts": 1, "lead_id": lead, "status": "open", **state}
        return self.insert("opportunities", manychat_id=name, contact_id=contact_id, **values)

    def move(self, opportunity: int, stage: str | None, hours: float, lead: int | None = None, **more: Any) -> None:
        self.moves += 1
        values = {"event_at": at(hours), "applied_at": at(hours), "event_id": f"e{self.moves}", **more}
        self.insert("opportunity_stages", opportunity_id=opportunity, lead_id=lead, stage_to=stage, **values)

    def lived(self, lead: int, *path: tuple[str | None, float], **state: Any) -> int:
        """An opportunity that went from stage to stage at these hours; ``None`` is a loss."""
        last = path[-1][0]
        known = {"stage": last or [stage for stage, _ in path if stage][-1], "status": "open" if last else "lost"}
        opportunity = self.person(lead, **known | state)
        for stage, hours in path:
            self.move(opportunity, stage, hours, lead, status="open" if stage else "lost")
        return opportunity

    def rows(self, view: str, *names: str, **where: Any) -> list[tuple[Any, ...]]:
        columns = V[view].columns
        statement = sa.select(*(columns[name] for name in names)).where(
            *(columns[name] == value if value is not None else columns[name].is_(None) for name, value in where.items())
        )
        with self.store.engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(statement)]
        return sorted(found, key=lambda row: tuple((value is None, str(value)) for value in row))


@pytest.fixture
def funnel(store: Store) -> Funnel:
    return Funnel(store)


PERIOD = ("lead_id", "stage", "entered_at", "left_at", "hours", "ended_by")


def test_every_view_has_the_columns_that_are_described_and_reads_empty_tables(funnel: Funnel) -> None:
    inspector = sa.inspect(funnel.store.engine)
    assert set(inspector.get_view_names()) >= set(V)
    for name, view in V.items():
        assert funnel.rows(name, *view.columns.keys()) == []
        with funnel.store.engine.connect() as connection:
            found = connection.execute(sa.text(f"SELECT * FROM {name}")).keys()
        assert list(found) == view.columns.keys()


def test_a_stay_ends_when_the_next_begins_also_in_the_next_month(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), ("Cita", 24 * 25))

    assert funnel.rows("v_stage_periods", *PERIOD, "month") == [
        (1, "Cita", at(600), None, None, None, JULY),
        (1, "Nuevo", at(0), at(600), 600.0, "moved", JUNE),
    ]
    assert funnel.rows("v_funnel", "stage", "month", "entered", "in_stage", "left_stage", "moved_on", "lost") == [
        ("Cita", JULY, 1, 1, 0, 0, 0),
        ("Nuevo", JUNE, 1, 0, 1, 1, 0),
    ]


def test_a_lost_and_restored_opportunity_has_two_stays_and_counts_once(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), (None, 2), ("Nuevo", 10), ("Venta", 11), status="won")

    assert funnel.rows("v_stage_periods", *PERIOD, "previous_stage") == [
        (1, "Nuevo", at(0), at(2), 2.0, "lost", None),
        (1, "Nuevo", at(10), at(11), 1.0, "moved", "Nuevo"),
        (1, "Venta", at(11), None, None, None, "Nuevo"),
    ]
    counted = funnel.rows("v_funnel", "stage", "entered", "in_stage", "left_stage", "moved_on", "lost", "won")
    assert counted == [("Nuevo", 1, 0, 1, 1, 1, 1), ("Venta", 1, 1, 0, 0, 0, 1)]
    assert funnel.rows("v_lost_reasons", "lost") == []


def test_a_lost_opportunity_is_in_no_stage_and_has_its_reason(funnel: Funnel) -> None:
    for lead, revenue in ((1, 100), (2, 50)):
        funnel.lived(
            lead,
            ("Nuevo", 0),
            (None, 24 * 30),
            closed_at=at(720),
            lost_reason="Precio",
            currency="EUR",
            expected_revenue=revenue,
        )

    assert funnel.rows("v_funnel", "stage", "entered", "in_stage", "lost") == [("Nuevo", 2, 0, 2)]
    assert funnel.rows("v_lost_reasons", "month", "lost_reason", "stage", "lost", "expected_revenue", "currency") == [
        (JULY, "Precio", "Nuevo", 2, 150, "EUR")
    ]
    assert funnel.rows("v_conversion", "month", "opportunities", "still_open", "won", "lost", "lost_percent") == [
        (JUNE, 2, 0, 0, 2, 100.0)
    ]


def test_without_moves_an_opportunity_is_in_its_stage_since_an_unknown_time(funnel: Funnel) -> None:
    funnel.person(1, stage="Cita", odoo_as_of=at(5))

    assert funnel.rows("v_stage_periods", *PERIOD, "is_estimated") == [(1, "Cita", at(5), None, None, None, 1)]
    assert funnel.rows("v_funnel", "stage", "entered", "in_stage") == [("Cita", 1, 1)]
    assert funnel.rows("v_time_in_stage", "stage") == []
    assert funnel.rows("v_first_response", "opportunities") == []


def test_a_move_that_sql_missed_ends_the_stay_and_gives_no_time(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), ("Cita", 3), stage="Venta", decided_at=at(1))

    assert funnel.rows("v_stage_periods", *PERIOD, "is_estimated") == [
        (1, "Cita", at(3), at(3), None, "moved", 0),
        (1, "Nuevo", at(0), at(3), 3.0, "moved", 0),
        (1, "Venta", at(3), None, None, None, 1),
    ]


def test_an_opportunity_that_is_not_in_odoo_counts_nowhere(funnel: Funnel) -> None:
    funnel.person(None, "waiting", stage=None, status=None)
    deleted = funnel.lived(1, ("Nuevo", 0))
    with funnel.store.engine.begin() as connection:
        connection.execute(
            schema.opportunities.update().where(schema.opportunities.c.id == deleted).values(status="deleted")
        )
    again = funnel.person(3, "again", stage="Nuevo")
    funnel.move(again, "Nuevo", 1, lead=2)  # it was deleted, and the person's next event made another
    funnel.move(again, None, 2, lead=2, status="deleted")
    funnel.move(again, "Nuevo", 3, lead=3)

    assert funnel.rows("v_opportunities", "lead_id", "began_at") == [(3, at(3))]
    assert funnel.rows("v_funnel", "stage", "entered", "lost") == [("Nuevo", 1, 0)]


def test_merged_people_count_as_the_one_opportunity_that_they_have(funnel: Funnel) -> None:
    first = funnel.person(1, "X", stage="Nuevo", odoo_as_of=at(2))
    second = funnel.person(1, "Y", stage="Venta", merged_into=1, odoo_as_of=at(9), status="won")
    funnel.move(first, "Nuevo", 0, lead=1)
    funnel.move(second, "Nuevo", 1, lead=2)  # before the merge
    funnel.move(second, "Cita", 4, lead=1, moved_by="person")
    funnel.move(first, "Cita", 4, lead=1, moved_by="person")  # the same decision, for the other person
    funnel.move(second, "Venta", 6, lead=1)

    assert funnel.rows("v_opportunities", "lead_id", "people", "status", "opportunity_id") == [(1, 2, "won", first)]
    assert funnel.rows("v_stage_periods", "stage", "hours", "moved_by") == [
        ("Cita", 2.0, "person"),
        ("Nuevo", 4.0, "chat"),
        ("Venta", None, "chat"),
    ]
    assert funnel.rows("v_conversion", "opportunities", "won", "won_percent") == [(1, 1, 100.0)]


def test_a_person_with_two_conversations_is_lost_once_and_waits_once(funnel: Funnel) -> None:
    lost: dict[str, Any] = {"status": "lost", "stage": "Nuevo", "first_answered_at": at(2), "closed_at": at(3)}
    lost |= {"odoo_as_of": at(3), "expected_revenue": 80, "currency": "EUR"}  # and no reason
    people = [funnel.person(1, name, merged_into=merged, **lost) for name, merged in (("X", None), ("Y", 1))]
    funnel.move(people[0], "Nuevo", 0, lead=1)
    for each in people:  # both have the decision
        funnel.move(each, None, 3, lead=1, status="lost", moved_by="person")

    assert funnel.rows("v_lost_reasons", "lost_reason", "stage", "lost", "expected_revenue") == [(None, "Nuevo", 1, 80)]
    assert funnel.rows("v_funnel", "stage", "entered", "in_stage", "lost") == [("Nuevo", 1, 0, 1)]
    assert funnel.rows("v_conversion", "opportunities", "lost", "lost_percent") == [(1, 1, 100.0)]
    for view, count, hours in (("v_time_in_stage", "periods", 3.0), ("v_first_response", "opportunities", 2.0)):
        for month in (JUNE, None):
            found = funnel.rows(view, count, "median_hours", "p90_hours", dimension="all", month=month)
            assert found == [(1, hours, hours)]


def test_a_person_taken_from_an_opportunity_does_not_delete_it(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), odoo_as_of=at(0))
    funnel.person(1, "Y", stage="Nuevo", status="deleted", odoo_as_of=at(5))

    assert funnel.rows("v_opportunities", "lead_id", "people", "status") == [(1, 1, "open")]


def test_a_date_ahead_of_its_application_does_not_put_a_move_after_a_persons(funnel: Funnel) -> None:
    opportunity = funnel.person(1, stage="Cita")
    funnel.move(opportunity, "Nuevo", 0, lead=1, event_at=at(8))
    funnel.move(opportunity, "Cita", 1, lead=1, moved_by="person")

    assert funnel.rows("v_stage_periods", "stage", "entered_at", "left_at") == [
        ("Cita", at(1), None),
        ("Nuevo", at(0), at(1)),
    ]


def test_moves_that_came_in_another_order_are_in_that_of_their_events(funnel: Funnel) -> None:
    opportunity = funnel.person(1, stage="C")
    for stage, hours in (("C", 2), ("A", 0), ("B", 1)):
        funnel.move(opportunity, stage, hours, lead=1, applied_at=at(5))

    assert [row[0] for row in funnel.rows("v_stage_periods", "stage", "next_stage")] == ["A", "B", "C"]
    assert funnel.rows("v_stage_periods", "stage", "next_stage") == [("A", "B"), ("B", "C"), ("C", None)]


@pytest.mark.parametrize(
    ("hours", "median", "p90"),
    [
        ([7], 7.0, 7.0),
        ([1, 4], 2.5, 4.0),
        ([5, 5, 5, 1], 5.0, 5.0),  # ties
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5.5, 9.0),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 6.0, 10.0),
    ],
)
def test_median_and_ninth_decile_of_the_time_in_a_stage(
    funnel: Funnel, hours: list[int], median: float, p90: float
) -> None:
    for lead, each in enumerate(hours, 1):
        funnel.lived(lead, ("Nuevo", 0), ("Cita", each))

    for month in (JUNE, None):
        assert funnel.rows(
            "v_time_in_stage", "stage", "periods", "median_hours", "p90_hours", dimension="all", month=month
        ) == [("Nuevo", len(hours), median, p90)]


def test_a_median_is_that_of_each_channel(funnel: Funnel) -> None:
    web = funnel.insert("channels", name_key="web", name="Web")
    for lead, hours in ((1, 2), (2, 4), (3, 9)):
        funnel.lived(lead, ("Nuevo", 0), ("Cita", hours), contact={"channel_id": web} if lead < 3 else None)

    assert funnel.rows("v_time_in_stage", "dimension_value", "median_hours", dimension="channel", month=JUNE) == [
        ("Web", 3.0),
        (None, 9.0),
    ]


def test_time_to_the_first_response_leaves_out_who_waits(funnel: Funnel) -> None:
    for lead, answered in ((1, at(1)), (2, at(4)), (3, None)):
        funnel.lived(lead, ("Nuevo", 0), first_answered_at=answered)
    funnel.lived(4, ("Nuevo", 24 * 30))

    names = ("month", "opportunities", "answered", "median_hours", "p90_hours")
    assert funnel.rows("v_first_response", *names, dimension="all") == [
        (JUNE, 3, 2, 2.5, 4.0),
        (JULY, 1, 0, None, None),
        (None, 4, 2, 2.5, 4.0),
    ]


def test_the_funnel_is_divided_by_channel_newest_campaign_adviser_and_salesperson(funnel: Funnel) -> None:
    web = funnel.insert("channels", name_key="web", name="Web")
    for campaign in (85, 86):
        funnel.insert("campaigns", id=campaign, name=f"C{campaign}")
    funnel.insert("advisors", id=3, name="Ada")
    opportunity = funnel.lived(
        1, ("Nuevo", 0), contact={"channel_id": web}, commercial_advisor_id=3, salesperson_id=7, salesperson="Eva"
    )
    [row] = funnel.store.rows("opportunities", id=opportunity)
    assignments: list[tuple[int | None, float]] = [(86, 5), (85, 1), (None, 9)]
    for campaign_id, hours in assignments:
        funnel.insert("campaign_contacts", contact_id=row.contact_id, campaign_id=campaign_id, assigned_at=at(hours))

    names = ("channel", "campaign_id", "campaign", "commercial_advisor", "medical_advisor", "salesperson", "entered")
    assert funnel.rows("v_funnel", *names) == [("Web", 86, "C86", "Ada", None, "Eva", 1)]


def test_stages_are_told_apart_by_their_exact_characters(funnel: Funnel) -> None:
    names = ["Añadido", "añadido", "Anadido", "Cita 😀", "Cita 🎉"]
    for lead, name in enumerate(names, 1):
        funnel.lived(lead, (name, 0))

    assert {row[0]: row[1] for row in funnel.rows("v_funnel", "stage", "entered")} == dict.fromkeys(names, 1)


def test_months_and_days_are_those_of_utc(funnel: Funnel) -> None:
    local = datetime(2025, 6, 30, 21, 0, tzinfo=timezone(timedelta(hours=-5)))  # 1 July in UTC
    opportunity = funnel.person(1, stage="Nuevo")
    funnel.move(opportunity, "Nuevo", 0, lead=1, event_at=local, applied_at=local)

    assert funnel.rows("v_funnel", "month", "entered") == [(JULY, 1)]


def test_latency_counts_to_the_millisecond_and_leaves_out_what_users_sent_again(funnel: Funnel) -> None:
    def event(number: int, milliseconds: float | None, **more: Any) -> None:
        finished = None if milliseconds is None else NOON + timedelta(milliseconds=milliseconds)
        values: dict[str, Any] = {
            "type": "contact",
            "queue": "q",
            "source": "odoo",
            "manychat_id": "MC1",
            "payload": "{}",
        }
        values |= {"occurred_at": NOON, "clock_is_wrong": False, "received_at": NOON, "started_at": NOON}
        values |= {"attempts": 1, "attempt_in_progress": False, "finished_at": finished, "event_id": f"a{number}"}
        funnel.insert("audit", **values | {"outcome": "stored" if finished else None} | more)

    for number, milliseconds in enumerate((250.9, 750, 1500, -3000, None)):
        event(number, milliseconds)
    event(9, 9_000_000, retries=1, outcome="dead_lettered")

    names = ("day", "type", "source", "events", "unfinished", "dead_lettered")
    assert funnel.rows("v_event_latency", *names, "median_seconds", "p90_seconds", "max_seconds") == [
        (date(2025, 6, 10), "contact", "odoo", 6, 1, 1, 0.5, 1.5, 1.5)
    ]


def test_a_dba_gets_views_that_sql_server_understands() -> None:
    _, *batches = migrate.sql("mssql", schema="Bridge_2").split("\nGO\n")
    made = [batch for batch in batches if "CREATE VIEW" in batch]
    # CREATE VIEW is refused behind anything else.
    names = [batch.strip().removeprefix("CREATE VIEW [Bridge_2].").split(" AS\n")[0] for batch in made]
    assert {*names} == {*V}
    for batch in made:
        check(batch)
        [tree] = sqlglot.parse(batch, read="tsql")
        assert tree is not None
        inner = {cte.alias for cte in tree.find_all(sqlglot.exp.CTE)}
        read = [table for table in tree.find_all(sqlglot.exp.Table) if table.name not in inner]
        assert {table.db for table in read} == {"Bridge_2"}


def test_taking_the_views_away_and_making_them_anew_keeps_the_figures(funnel: Funnel) -> None:
    funnel.lived(1, ("Nuevo", 0), ("Cita", 3))
    before = funnel.rows("v_funnel", "stage", "entered")
    migrate.downgrade(funnel.store.engine, "0015")
    try:
        assert not set(sa.inspect(funnel.store.engine).get_view_names()) & set(V)
        assert not any(name in migrate.losses(funnel.store.engine, "0014") for name in V)
    finally:
        migrate.upgrade(funnel.store.engine)
    assert funnel.rows("v_funnel", "stage", "entered") == before


def test_somebody_elses_view_with_our_name_is_neither_used_nor_replaced(funnel: Funnel) -> None:
    engine = funnel.store.engine
    migrate.downgrade(engine, "0015")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE VIEW v_funnel AS SELECT id AS theirs FROM contacts"))
    try:
        with pytest.raises(ConfigurationError, match="v_funnel"):
            migrate.upgrade(engine)
        assert migrate.current(engine) == "0015"
        with engine.begin() as connection:
            assert list(connection.execute(sa.text("SELECT * FROM v_funnel")).keys()) == ["theirs"]
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("DROP VIEW v_funnel"))
        migrate.upgrade(engine)


@pytest.mark.parametrize("kind", ["mssql", "postgresql"])
def test_a_reader_reads_views_and_tables_without_personal_columns(kind: str) -> None:
    made = reader_role.script(kind, reader_role.READER, "Bridge_2")
    for name in (*V, *reader_role.TABLES):
        assert f"Bridge_2{']' if kind == 'mssql' else chr(34)}.{name} TO miasalud_reader;" in made
    for name in ("api_keys", "audit", "dead_letters", "odoo_settings"):
        assert name not in made
    for column in ("phone", "email", "summary", "first_name"):
        assert column not in made
    for word in ("INSERT", "UPDATE", "DELETE", "ALL"):
        assert f"GRANT {word}" not in made
    personal = reader_role.script(kind, reader_role.PERSONAL_READER, None)
    assert "GRANT SELECT ON contacts TO miasalud_personal_reader;" in personal
    if kind == "mssql":
        for batch in made.split("\nGO\n"):
            assert sqlglot.parse(batch, read="tsql")


def test_sqlite_has_no_roles() -> None:
    with pytest.raises(ValueError, match="copy of the file"):
        reader_role.script("sqlite", reader_role.READER, None)


def test_every_table_and_column_has_a_description() -> None:
    undescribed = [str(column) for table in schema.metadata.tables.values() for column in table.columns]
    undescribed = [name for name in undescribed if not descriptions.of_column(*name.split("."))]
    assert undescribed == [], "say in bridge/store/descriptions.py what they mean"
    described = {(table, name) for table, (_, _, columns) in descriptions.TABLES.items() for name in columns}
    there = {(table.name, column.name) for table in schema.metadata.tables.values() for column in table.columns}
    assert described | descriptions.PERSONAL <= there
    assert all(": " in (descriptions.of_column(*each) or "") for each in there)
    assert [str(column) for view in V.values() for column in view.columns if not column.doc] == []


class Logins:
    """A user of the server for the test, as a DBA makes one for an analyst."""

    def __init__(self, engine: sa.Engine):
        self._engine, self._is_mssql = engine, engine.dialect.name == "mssql"
        self.name, password = f"analyst_{secrets.token_hex(4)}", f"{secrets.token_hex(8)}Aa1"
        self.url = engine.url.set(username=self.name, password=password)
        self._login = f"{'LOGIN' if self._is_mssql else 'ROLE'} {self.name}"
        self.run(f"CREATE {self._login} WITH {'PASSWORD =' if self._is_mssql else 'LOGIN PASSWORD'} '{password}'")
        if self._is_mssql:
            self.run(f"CREATE USER {self.name} FOR LOGIN {self.name}")

    def run(self, *batches: str) -> None:
        for batch in batches:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(batch)

    def join(self, role: str) -> None:
        """Run the role's script twice, as after an upgrade, and let the user into the role."""
        script = reader_role.script(self._engine.dialect.name, role, None)
        batches = [batch for batch in script.split("\nGO\n") if batch.strip()] if self._is_mssql else [script]
        self.run(*batches, *batches)
        self.run(f"ALTER ROLE {role} ADD MEMBER {self.name}" if self._is_mssql else f"GRANT {role} TO {self.name}")

    def drop(self, role: str) -> None:
        if self._is_mssql:
            # The role stays: Babelfish drops none that has rights.
            self.run(f"DROP USER {self.name}", f"DROP {self._login}")
        else:
            self.run(f"GRANT {role} TO CURRENT_USER", f"DROP {self._login}", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_what_a_reader_may_do_is_exactly_that_and_stays_when_the_views_are_made_anew(funnel: Funnel) -> None:
    engine = funnel.store.engine
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no roles")
    funnel.lived(1, ("Nuevo", 0))
    user = Logins(engine)
    user.join(reader_role.READER)
    reader = create_engine(user.url.render_as_string(hide_password=False))

    def ask(statement: str) -> None:
        with reader.begin() as connection:
            result = connection.execute(sa.text(statement))
            if result.returns_rows:
                result.all()

    try:
        for _ in range(2):
            for view in V:
                ask(f"SELECT * FROM {view}")
            ask("SELECT manychat_id, last_state, updated_at FROM contacts")
            for forbidden in (
                *("SELECT phone FROM contacts", "SELECT * FROM api_keys", "SELECT * FROM audit"),
                *("UPDATE channels SET name = 'x'", "DELETE FROM opportunity_stages"),
                "INSERT INTO campaigns (id, name) VALUES (1, 'x')",
            ):
                with pytest.raises(DBAPIError, match=r"permission (was )?denied"):
                    ask(forbidden)
            migrate.downgrade(engine, "0015")
            migrate.upgrade(engine)
    finally:
        reader.dispose()
        user.drop(reader_role.READER)


def dashboard() -> list[tuple[str, str]]:
    """The panels of the analysts' dashboard: title and statement, with nothing of Grafana's left in it."""
    path = Path(__file__).parents[2] / "deploy" / "monitoring" / "grafana-analysts.json"
    targets = [(panel, target) for panel in json.loads(path.read_text())["panels"] for target in panel["targets"]]
    time = r"\1 BETWEEN '2025-01-01' AND '2025-12-31'"
    return [(panel["title"], re.sub(r"\$__timeFilter\((\w+)\)", time, target["rawSql"])) for panel, target in targets]


@pytest.mark.parametrize(("title", "statement"), dashboard(), ids=lambda each: each if "SELECT" not in each else "")
def test_the_dashboard_asks_what_every_database_answers(funnel: Funnel, title: str, statement: str) -> None:
    funnel.lived(1, ("Nuevo", 0), ("Cita", 3), first_answered_at=at(1))
    funnel.lived(2, ("Nuevo", 0), (None, 3), closed_at=at(3))
    check(statement)
    with funnel.store.engine.connect() as connection:
        rows = connection.exec_driver_sql(statement).all()
    assert bool(rows) == (title != "Event latency"), "no panel may be empty; there are no events"


def test_every_view_is_on_the_dashboard_or_read_by_one_that_is() -> None:
    shown = " ".join(statement for _, statement in dashboard())
    assert {name for name in V if name not in shown} == {"v_opportunities", "v_stage_periods"}
