"""`make scale`: the same events by 1, 2 and 4 bridges: events a second, and whether each event counted once.

A real Odoo, Azurite, and PostgreSQL in Azure SQL's place. Two rows of figures:

- *near*: Odoo on this machine. What limits it are the machine's processors, which Odoo, PostgreSQL, Azurite and the
  bridges share, so more bridges help little on a small machine.
- *far*: each call that applies events takes a second longer, as if Odoo were far away or busy. A bridge waits most of
  the time then, and more bridges wait at the same time.

Compare rows of one run only. All the messages are on the queue before the first bridge may receive one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from bridge.contract.event import Event, accept
from bridge.contract.outcomes import APPLIED
from bridge.contract.payloads import OPPORTUNITY_QUEUE, EventType
from bridge.queue import Queue
from bridge.store import migrate, pauses, schema
from bridge.store.engine import create_engine, in_transaction
from deploy.local import odoo
from deploy.local.stack import Stack
from deploy.local.supervision import own_environment

from .proxy import PASS, Passing, Proxy

BRIDGES = (1, 2, 4)
#: Events of one person, which have an order.
EACH = 4
#: The open stages of the user's table.
STAGES = range(16, 24)
#: Seconds that a far Odoo takes longer, and the events that it gets in one call meanwhile.
FAR_SECONDS, FAR_BATCH = 1.0, 8
#: Seconds in which a run must end.
PATIENCE = 600


@dataclass(frozen=True)
class Result:
    """Of one run. ``wrong`` says what did not count once, or ended in another stage than its newest event's."""

    variant: str
    bridges: int
    events: int
    seconds: float
    wrong: list[str]

    @property
    def rate(self) -> float:
        return self.events / self.seconds


class Scale(Stack):
    """The system, without bridges of its own."""

    def __init__(self) -> None:
        super().__init__("scale", odoo.chosen(), durable=True)
        self.store = f"{self.database}_store"

    @property
    def database_url(self) -> str:
        return self.odoo.cluster.sqlalchemy_url(self.store)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[sa.Engine]:
        self.odoo.cluster.start()
        self.remove()
        self.odoo.cluster.drop(self.store)
        self.odoo.cluster.create(self.store)
        engine = create_engine(self.database_url)
        migrate.upgrade(engine)
        try:
            self.start()
            self.programs.stop_program("bridge")
            yield engine
        finally:
            engine.dispose()
            self.remove()
            self.odoo.cluster.drop(self.store)


def make_events(run: str, count: int, chooser: random.Random) -> list[Event]:
    """Events of new people, in any order."""
    now = datetime.now(timezone.utc)
    began = now - timedelta(hours=1)
    events = [
        accept(
            EventType.OPPORTUNITY,
            {
                "manychat_id": f"SCALE-{run}-{number // EACH}",
                "first_name": "Prueba",
                "state": {
                    "stage_id": chooser.choice(STAGES),
                    "date": (began + timedelta(seconds=number)).isoformat(),
                },
            },
            received_at=now,
            source="odoo",
        )
        for number in range(count)
    ]
    return chooser.sample(events, len(events))


@contextlib.contextmanager
def bridges(system: Scale, count: int, folder: Path, **settings: str) -> Iterator[None]:
    """That many, ready to receive; stopped in order at the end."""
    environment = {**own_environment(), **system.bridge_environment(), "BRIDGE_LOG_FORMAT": "json", **settings}
    logs = [folder / f"bridge-{number}.log" for number in range(count)]
    processes = []
    for log in logs:
        with log.open("w") as output:
            command = [sys.executable, "-m", "bridge", "run", "--queue", "opportunity"]
            processes.append(subprocess.Popen(command, cwd=system.folder, env=environment, stderr=output))
    try:
        wait_until(lambda: all("queue_paused" in log.read_text() for log in logs), "the bridges see the pause")
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(PATIENCE)


def measure(system: Scale, engine: sa.Engine, variant: str, count: int, events: list[Event], proxy: Proxy) -> Result:
    far = variant == "far"
    settings = {"BRIDGE_BATCH_SIZE": str(FAR_BATCH), "BRIDGE_ODOO_URL": f"http://127.0.0.1:{proxy.port}"} if far else {}
    queue = Queue(system.connection_string, OPPORTUNITY_QUEUE)
    ids = [event.id for event in events]
    audit = schema.audit.c
    mine = audit.event_id.in_(ids)
    in_transaction(engine, pauses.pause, [OPPORTUNITY_QUEUE])
    with bridges(system, count, system.folder / "log", **settings):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(queue.send, [event.encode() for event in events]))
        in_transaction(engine, pauses.resume, [OPPORTUNITY_QUEUE])

        def finished() -> bool:
            with engine.connect() as connection:
                done = sa.select(sa.func.count()).where(mine, audit.outcome.is_not(None))
                return connection.execute(done).scalar_one() == len(events)

        wait_until(finished, f"{len(events)} events end")
    with engine.connect() as connection:
        span = connection.execute(sa.select(sa.func.min(audit.started_at), sa.func.max(audit.finished_at)).where(mine))
        first, last = span.one()
        outcomes = connection.execute(sa.select(audit.event_id, audit.outcome).where(mine)).all()
    queue.close()
    return Result(variant, count, len(events), (last - first).total_seconds(), examine(system, events, outcomes))


def examine(system: Scale, events: list[Event], outcomes: Any) -> list[str]:
    """What is not as it must be."""
    wrong = [f"{row.event_id[:8]}: {row.outcome}" for row in outcomes if row.outcome not in APPLIED]
    known = system.rpc("manychat.event", "search_count", [["event_id", "in", [event.id for event in events]]])
    if known != len(events):
        wrong.append(f"Odoo has {known} of {len(events)} events")
    people = {event.manychat_id for event in events}
    fields = ["x_manychat_id", "stage_id"]
    leads = system.rpc("crm.lead", "search_read", [["x_manychat_id", "in", sorted(people)]], fields=fields)
    if len(leads) != len(people):
        wrong.append(f"{len(leads)} opportunities of {len(people)} people")
    stages = {
        str(row["manychat_stage_id"]): row["stage_id"][0]
        for row in system.rpc("manychat.stage.map", "search_read", [], fields=["manychat_stage_id", "stage_id"])
    }
    newest = {event.manychat_id: event for event in sorted(events, key=lambda event: event.order)}
    for lead in leads:
        wanted = newest[lead["x_manychat_id"]].payload.state.stage_id  # type: ignore[attr-defined]
        if lead["stage_id"][0] != stages[str(wanted)]:
            wrong.append(f"{lead['x_manychat_id']} is in another stage than that of the newest event")
    return wrong


def wait_until(look: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {PATIENCE} s: {what}")
        time.sleep(0.2)


def table(results: list[Result]) -> Table:
    shown = Table(title="Bridges on one queue", title_justify="left")
    for heading in ("Odoo", "bridges", "events", "seconds", "events/s", "× one", "wrong"):
        shown.add_column(heading, justify="left" if heading == "Odoo" else "right")
    for each in results:
        one = next(other for other in results if other.variant == each.variant)
        figures = (f"{each.seconds:.1f}", f"{each.rate:.0f}", f"{each.rate / one.rate:.2f}", str(len(each.wrong)))
        shown.add_row(
            each.variant, str(each.bridges), str(each.events), *figures, end_section=each.bridges == BRIDGES[-1]
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure 1, 2 and 4 bridges on one queue.")
    parser.add_argument("--events", type=int, default=320, help="of each run")
    events = parser.parse_args().events
    system = Scale()
    results = []
    chooser = random.Random(os.environ.get("FAULT_SEED"))
    proxy = Proxy(lambda: urlsplit(system.odoo_url).port or 0)

    def delay(passing: Passing) -> str:
        if passing.answer is None and b"manychat_apply" in passing.request:
            time.sleep(FAR_SECONDS)
        return PASS

    with system.fresh() as engine, proxy.under(delay):
        # The first events make Odoo load what the others find loaded.
        measure(system, engine, "warm-up", 1, make_events("warm-up", 32, chooser), proxy)
        for variant in ("near", "far"):
            for count in BRIDGES:
                result = measure(
                    system, engine, variant, count, make_events(f"{variant}-{count}", events, chooser), proxy
                )
                print(json.dumps({"variant": variant, "bridges": count, "rate": round(result.rate, 1)}), flush=True)
                results.append(result)
    proxy.close()
    console = Console()
    console.print(table(results))
    for each in results:
        for problem in each.wrong:
            console.print(f"{each.variant}, {each.bridges} bridges: {problem}", style="bold red")
    sys.exit(1 if any(each.wrong for each in results) else 0)


if __name__ == "__main__":
    main()
