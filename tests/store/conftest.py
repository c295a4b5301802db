"""The store's tests run on any database: SQLite by default, or what TEST_DATABASE_URL names.

TEST_DATABASE_OPTIONS gives options of ``create_engine`` as JSON. The tests make their tables in that database and drop
them at the end, so it must be one for tests. Babelfish can stand in for SQL Server (see ``babelfish.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.event import Event, accept
from bridge.contract.payloads import EventType
from bridge.store import migrate, retention, schema
from bridge.store.engine import create_engine, in_transaction
from bridge.store.views import views

from . import babelfish

babelfish.attach()

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a server, leave out what asks no database: it says the same everywhere, and has said it beside SQLite."""
    if not os.environ.get("TEST_DATABASE_URL"):
        return
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    without = [item for item in ours if "engine" not in item.fixturenames]  # type: ignore[attr-defined]
    items[:] = [item for item in items if item not in without]
    config.hook.pytest_deselected(items=without)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    url = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
    options = {"pool_size": 10, **json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}")}
    engine = create_engine(url, options)
    migrate.upgrade(engine)
    yield engine
    migrate.downgrade(engine, "base")
    engine.dispose()


@pytest.fixture
def other_schema(engine: sa.Engine) -> Iterator[sa.Engine]:
    """The same database with ``BRIDGE_DATABASE_SCHEMA=Bridge_2``; nothing is there yet."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no schemas")
    options = json.loads(os.environ.get("TEST_DATABASE_OPTIONS") or "{}")
    other = create_engine(engine.url.render_as_string(hide_password=False), options, "Bridge_2")
    yield other
    if migrate.current(other):
        migrate.downgrade(other, "base")
    with other.begin() as connection:
        sa.Table("alembic_version", sa.MetaData()).drop(connection)
        connection.execute(sa.schema.DropSchema("Bridge_2"))
    other.dispose()


def drop_views(connection: sa.Connection, place: str | None = None) -> None:
    """Drop all views of a schema: PostgreSQL drops no table that a view reads."""
    quote = connection.dialect.identifier_preparer.quote
    prefix = f"{quote(place)}." if place else ""
    there = set(sa.inspect(connection).get_view_names(place))
    for name in reversed(views.tables):
        if name in there:
            connection.execute(sa.text(f"DROP VIEW {prefix}{name}"))


class Store:
    """The database, emptied for each test."""

    def __init__(self, engine: sa.Engine):
        self.engine = engine

    def run(self, function: Any, *arguments: Any, **named: Any) -> Any:
        """``function(connection, …)`` in a transaction."""
        return in_transaction(self.engine, function, *arguments, **named)

    def rows(self, table: str, **where: Any) -> list[Any]:
        with self.engine.connect() as connection:
            statement = sa.select(schema.metadata.tables[table]).filter_by(**where)
            return list(connection.execute(statement.order_by(sa.text("id"))))


@pytest.fixture
def store(engine: sa.Engine) -> Store:
    with engine.begin() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            connection.execute(table.delete())
    return Store(engine)


NOON = datetime(2025, 6, 10, 12, tzinfo=timezone.utc)


def event(event_type: EventType, minute: float = 0, manychat_id: str = "MC1", **payload: Any) -> Event:
    """An event that was received ``minute`` minutes after noon, and happened then too."""
    moment = NOON + timedelta(minutes=minute)
    if event_type is EventType.OPPORTUNITY:
        payload = {**payload, "state": {"stage_id": 17, "date": moment.isoformat(), **payload.get("state", {})}}
    elif event_type is not EventType.CAMPAIGN_CONTACT:
        payload = {"datetime_actual": moment.isoformat(), **payload}
    return accept(event_type, {"manychat_id": manychat_id, **payload}, received_at=moment, source="odoo")


def contact(minute: float = 0, manychat_id: str = "MC1", **payload: Any) -> Event:
    return event(EventType.CONTACT, minute, manychat_id, **payload)


def assignment(minute: float = 0, manychat_id: str = "MC1", campaign_id: int = 85, **payload: Any) -> Event:
    return event(EventType.CAMPAIGN_ASSIGNMENT, minute, manychat_id, campaign_id=campaign_id, **payload)


def update(minute: float = 0, manychat_id: str = "MC1", **payload: Any) -> Event:
    return event(EventType.CAMPAIGN_CONTACT, minute, manychat_id, **payload)


def opportunity(minute: float = 0, manychat_id: str = "MC1", **payload: Any) -> Event:
    return event(EventType.OPPORTUNITY, minute, manychat_id, **payload)


#: Stages in Odoo, of :func:`state`.
STAGES = {1: "Nuevo", 2: "Cotización", 3: "Ganado"}


def state(minute: float, stage_id: int | None = 1, **fields: Any) -> dict[str, Any]:
    """An opportunity as Odoo had it ``minute`` minutes after noon."""
    return {
        "lead_id": 7,
        "as_of": (NOON + timedelta(minutes=minute)).isoformat(),
        "status": "open",
        "stage_id": stage_id,
        "stage": STAGES.get(stage_id or 0),
        "expected_revenue": 1200.5,
        "currency": "EUR",
        **fields,
    }


def decision(
    minute: float, stage_id: int | None = 2, manychat_id: str = "MC1", *, before: int | None = 1, **fields: Any
) -> Event:
    """A user moved the opportunity, unless ``fields`` say more."""
    more = {name: fields.pop(name) for name in ("decided", "by", "user_id") if name in fields}
    payload = {
        "manychat_id": manychat_id,
        "decided": ["stage"],
        "by": "person",
        "user_id": 9,
        "stage_before": STAGES.get(before or 0),
        **more,
        "state": state(minute, stage_id, **fields),
    }
    if payload["by"] == "person" and payload["decided"] != ["answered"]:
        payload["state"].setdefault("decided_at", payload["state"]["as_of"])
    moment = NOON + timedelta(minutes=minute)
    return accept(EventType.DECISION, payload, received_at=moment, source="odoo", idempotency_key=str(minute))


#: Everything that purges, a step at a time.
PURGES = (
    retention.empty_payloads,
    retention.delete_rows,
    retention.delete_resolved,
    retention.delete_discarded,
    retention.delete_refusals,
    retention.delete_flows,
    retention.delete_echoes,
)
