"""Whatever a person's events say, and in whatever order they arrive, SQL and Odoo end with the same fields.

The bridge's own handler, on SQLite, and real Odoo. The expected values are a model of a few lines.
"""

import itertools
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.contract.event import Event, accept
from bridge.contract.payloads import EventType
from bridge.odoo import Odoo
from bridge.store import migrate
from bridge.store.engine import create_engine
from bridge.worker.handlers import opportunity

from .agreement import disagreements
from .system import System

BEGAN = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "first_name": st.sampled_from(["Ana", "Eva"]),
    "last_name": st.sampled_from(["Prueba", "Ficticia"]),
    "phone": st.sampled_from(["+520000000001", "+520000000002"]),
    "channel": st.sampled_from(["Facebook", "Instagram"]),
    "entry_date": st.sampled_from(["2025-12-30T08:00:00.250Z", "2025-12-31T09:00:00Z"]),
    "medical_advisor_id": st.sampled_from([101, 102]),
    "commercial_advisor_id": st.sampled_from([700, 701]),
    "summary": st.sampled_from(["Fiebre", "Tos"]),
}
#: Three or four events: minute, stage, and any of the fields. Minutes may be equal.
SAID = st.lists(
    st.tuples(st.integers(1, 4), st.integers(16, 20), st.fixed_dictionaries({}, optional=FIELDS)),
    min_size=3,
    max_size=4,
)
_runs = itertools.count()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'agreement.db'}")
    migrate.upgrade(engine)
    yield engine
    engine.dispose()


def make(person: str, minute: int, stage: int, fields: dict[str, Any]) -> Event:
    moment = BEGAN + timedelta(minutes=minute)
    state = {"stage_id": stage, "date": moment.isoformat(), "summary": fields.get("summary")}
    payload = {**fields, "manychat_id": person, "state": state}
    return accept(EventType.OPPORTUNITY, payload, received_at=moment, source="cli")


def test_sql_and_odoo_end_with_the_same_fields_in_every_order(system: System, engine: sa.Engine) -> None:
    odoo = Odoo(system.odoo_url, system.database, "manychat_bridge", system.bridge_key)

    @settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(SAID)
    def check(said: list[tuple[int, int, dict[str, Any]]]) -> None:
        number = f"{time.time_ns()}-{next(_runs)}"
        orders = {f"MC-AGREE-{number}-{n}": order for n, order in enumerate(itertools.permutations(range(len(said))))}
        events = {person: [make(person, *each) for each in said] for person in orders}
        for turn in range(len(said)):
            outcomes = opportunity.handle(
                engine, odoo, [events[person][order[turn]] for person, order in orders.items()]
            )
            assert not [each for each in outcomes.values() if not hasattr(each, "lead_id")]
        assert list(disagreements(system, engine, orders.keys())) == []
        # And what both hold is right: both could forget the same.
        with engine.connect() as connection:
            stored = connection.execute(sa.text("SELECT manychat_id, summary, medical_advisor_id FROM opportunities"))
            rows = {row.manychat_id: (row.summary, row.medical_advisor_id) for row in stored}
        for person, order in orders.items():
            newest = sorted(events[person], key=lambda event: event.order, reverse=True)
            summaries = [event.payload.state.summary for event in newest]  # type: ignore[attr-defined]
            advisors = [event.payload.medical_advisor_id for event in newest]  # type: ignore[attr-defined]
            expected = tuple(next((each for each in said if each), None) for said in (summaries, advisors))
            assert rows[person] == expected, (person, order)

    check()
    # They have passed no bridge of the system: what the next test finds of it is not to have lost them.
    # Not by Odoo's own method: their deletion would be a decision.
    system.database_rows("""
        WITH people AS (DELETE FROM manychat_identity WHERE manychat_id LIKE 'MC-AGREE-%%' RETURNING lead_id)
        DELETE FROM crm_lead WHERE id IN (SELECT lead_id FROM people) RETURNING id
    """)
    system.database_rows("DELETE FROM manychat_event WHERE manychat_id LIKE 'MC-AGREE-%%' RETURNING id")
