"""``purge`` beside bridges, other purges and on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa

from bridge.cli import purge
from bridge.contract.event import Event
from bridge.results import Done
from bridge.store import audit, migrate, retention, schema
from bridge.store.audit import ReceivedEvent
from bridge.store.engine import create_engine, in_transaction

from .conftest import contact

NOW = datetime.now(timezone.utc)
#: More than three steps.
COUNT = 3 * retention.CHUNK + 1


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    """Of a SQLite file with ``COUNT`` events that are settled, and one that is not."""
    engine = create_engine(f"sqlite:///{tmp_path / 'miasalud.db'}")
    migrate.upgrade(engine)
    events = [contact(f"MC{number}") for number in range(COUNT + 1)]
    in_transaction(engine, audit.begin, [received(event) for event in events])
    done = {event.id: Done("stored") for event in events[:COUNT]}
    in_transaction(engine, audit.finish, done, NOW - timedelta(hours=1))
    return engine


def received(event: Event) -> ReceivedEvent:
    return ReceivedEvent(event, event.type.queue, None)


def emptied(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        statement = sa.select(sa.func.count()).where(schema.audit.c.payload == "{}")
        return connection.execute(statement).scalar_one()


def test_bridges_can_write_after_each_step(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = create_engine(str(engine.url), {"connect_args": {"timeout": 0}})
    done = []

    def write(_seconds: float) -> None:
        in_transaction(at_once, audit.begin, [received(contact(f"new {len(done)}"))])
        done.append(emptied(engine))

    monkeypatch.setattr(purge.time, "sleep", write)
    purge.remove_settled(engine, NOW + timedelta(days=1), rows=False, progress=lambda _count: None)
    assert done == [retention.CHUNK, 2 * retention.CHUNK, 3 * retention.CHUNK, COUNT]


def test_two_purges_at_once_do_the_work_of_one(engine: sa.Engine) -> None:
    def run() -> None:
        purge.remove_settled(engine, NOW + timedelta(days=1), rows=True, progress=lambda _count: None)

    both = [Thread(target=run) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    with engine.connect() as connection:
        assert connection.execute(sa.select(schema.audit.c.outcome)).scalars().all() == [None]


def test_a_purge_does_not_read_again_what_earlier_ones_emptied(engine: sa.Engine) -> None:
    before = NOW + timedelta(days=1)
    purge.remove_settled(engine, before, rows=False, progress=lambda _count: None)
    assert in_transaction(engine, retention.due, before)["audit payloads"] == 0
    assert emptied(engine) == COUNT


@pytest.mark.parametrize("answer", ["n", "y"])
def test_it_asks_on_a_terminal(engine: sa.Engine, tmp_path: Path, environment: dict[str, str], answer: str) -> None:
    terminal, stdin = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    database = {"BRIDGE_DATABASE_URL": str(engine.url)}
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "purge", "--older-than", "1s"],
        stdin=stdin,
        capture_output=True,
        text=True,
        env={**environment, **database},
        cwd=tmp_path,
        check=False,
    )
    os.close(terminal)
    os.close(stdin)
    assert f"audit payloads {COUNT}" in done.stderr  # the question
    assert (done.returncode, emptied(engine)) == {"n": (1, 0), "y": (0, COUNT)}[answer]
