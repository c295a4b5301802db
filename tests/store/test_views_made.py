"""The views for analysts as migrations make them, as the dictionary describes them, and as the dashboard reads them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlglot

from bridge.errors import ConfigurationError
from bridge.store import descriptions, migrate, schema

from .conftest import Store
from .funnel import Funnel, V, at
from .test_tsql import check


@pytest.fixture
def funnel(store: Store) -> Funnel:
    return Funnel(store)


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


def test_the_views_of_before_gave_the_same_figures(funnel: Funnel) -> None:
    chance = random.Random(19)
    channels = [funnel.insert("channels", name_key=name, name=name) for name in ("web", "Web 2")]
    for lead in range(1, 13):
        hours = sorted(chance.sample(range(24 * 60), 5))
        path = [(chance.choice(["Nuevo", "Cita", "Venta", None]), each) for each in hours]
        known: dict[str, Any] = {
            "first_answered_at": chance.choice([None, at(hours[0] + 2.5)]),
            "odoo_as_of": at(hours[4]),
        }
        known |= {"salesperson": chance.choice([None, "Eva"]), "contact": {"channel_id": chance.choice(channels)}}
        if lead % 4 == 0:
            known |= {"status": "deleted"}
        elif path[-1][0]:
            known |= {"status": chance.choice(["open", "won"])}
        else:
            known |= {"closed_at": at(hours[4])}
        first = funnel.lived(lead, ("Nuevo", hours[0] - 1), *path, **known)
        if lead % 3 == 0:  # a move of the time before moves had the id of their opportunity, and a second person
            funnel.move(first, "Cita", hours[2] + 0.5, status="open")
            funnel.person(lead, f"MC{lead}b", merged_into=lead, stage="Cita", odoo_as_of=at(hours[4] + 1))

    def figures() -> dict[str, list[tuple[Any, ...]]]:
        # Before 0020 there was no dimension_id.
        names = {view: [each.name for each in V[view].columns if each.name != "dimension_id"] for view in V}
        return {view: funnel.rows(view, *names[view]) for view in V}

    now = figures()
    assert all(now[name] for name in V if name != "v_event_latency")
    try:
        for revision in ("0019", "0018"):
            migrate.downgrade(funnel.store.engine, revision)
            assert figures() == now
    finally:
        migrate.upgrade(funnel.store.engine)


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


def test_every_table_and_column_has_a_description() -> None:
    undescribed = [str(column) for table in schema.metadata.tables.values() for column in table.columns]
    undescribed = [name for name in undescribed if not descriptions.of_column(*name.split("."))]
    assert undescribed == [], "say in bridge/store/descriptions.py what they mean"
    described = {(table, name) for table, (_, _, columns) in descriptions.TABLES.items() for name in columns}
    there = {(table.name, column.name) for table in schema.metadata.tables.values() for column in table.columns}
    assert described | descriptions.PERSONAL <= there
    assert all(": " in (descriptions.of_column(*each) or "") for each in there)
    assert [str(column) for view in V.values() for column in view.columns if not column.doc] == []


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
