"""Sends ManyChat's example events through a running stack and looks, at every hop, whether they arrived.

Nothing is taken on trust: the queue's hop is read from Odoo's database, SQL's from the store, the pipeline's from Odoo.
"""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
import sqlalchemy
from rich.live import Live
from rich.table import Table

from .os_packages import Missing
from .say import console, say
from .stack import Stack

_EVENTS = Path(__file__).with_name("demo_events.json")
# A hop takes milliseconds; this is for a machine that is busy with something else.
_PATIENCE = 30.0
_LOOK_EVERY = 0.005

Seen = TypeVar("Seen")


@dataclass
class Way:
    """One event and how far it came. Times are milliseconds since the webhook was called."""

    event: dict[str, Any]
    event_id: str = ""
    accepted: float | None = None
    queued: float | None = None
    stored: float | None = None
    applied: float | None = None
    sql_row: int | None = None
    lead: int | None = None
    stage_before: str = ""
    stage_after: str = ""

    @property
    def is_opportunity(self) -> bool:
        return "stage" in self.event


def run(stack: Stack) -> None:
    """Sends the events one after the other, showing each one's way as it goes.

    Raises:
        Missing: when an event did not get where it should, saying how far it came.
    """
    ways = [Way(event) for event in _events(stack)]
    store = sqlalchemy.create_engine(stack.database_url)
    started = time.monotonic()
    with Live(_table(ways), console=console, refresh_per_second=12) as live:
        for way in ways:
            _follow(stack, store, way, lambda: live.update(_table(ways)))
    store.dispose()
    seconds = time.monotonic() - started
    say(f"\n[green]✓[/] {len(ways)} events went all the way in {seconds:.1f} s. SQL is {stack.folder / 'miasalud.db'}")
    say(f"\n  Odoo {stack.odoo.source.version}   {stack.odoo_url}/odoo/crm")
    say(f"  Login     admin   Password  {stack.admin_password}")
    say(f"  Webhooks  {stack.odoo_url}/api/v1/manychat/…   X-API-KEY: {stack.webhook_key}")
    say("\n  Everything stays up until `make down`; `make up` starts it again.")


def _events(stack: Stack) -> list[dict[str, Any]]:
    """The user's examples; from the second demo on under another ManyChat id, or they would be known already."""
    number = stack.count("demos")
    events = copy.deepcopy(json.loads(_EVENTS.read_text()))
    for event in events if number > 1 else []:
        event["payload"]["manychat_id"] += f"-{number}"
    return events


def _follow(stack: Stack, store: sqlalchemy.Engine, way: Way, show: Callable[[], None]) -> None:
    event = way.event
    manychat_id = event["payload"]["manychat_id"]
    if way.is_opportunity:
        way.lead, way.stage_before = _lead(stack, manychat_id)
    started = time.monotonic()

    def elapsed() -> float:
        show()
        return (time.monotonic() - started) * 1000

    def wait(hop: str, look: Callable[[], Seen | None]) -> Seen:
        deadline = time.monotonic() + _PATIENCE
        while (seen := look()) is None:
            if time.monotonic() > deadline:
                logs = stack.programs.log_tail("bridge", 15)
                raise Missing(
                    f"{logs}\n“{event['title']}” did not get {hop} within {_PATIENCE:.0f} s (event {way.event_id})."
                )
            time.sleep(_LOOK_EVERY)
        return seen

    headers = {"X-API-KEY": stack.webhook_key}
    answer = requests.request(
        event["method"], stack.odoo_url + event["path"], json=event["payload"], headers=headers, timeout=10
    )
    if answer.status_code != 202:
        raise Missing(f"The webhook answered {answer.status_code} to “{event['title']}”: {answer.text[:500]}")
    way.event_id = answer.json()["event_id"]
    way.accepted = elapsed()

    with stack.odoo.cluster.connect(stack.database, autocommit=True) as odoo:
        query = "SELECT 1 FROM manychat_event WHERE event_id = %s AND state IN ('queued', 'done')"
        wait("onto its queue", lambda: odoo.execute(query, [way.event_id]).fetchone())
        way.queued = elapsed()

    audit = sqlalchemy.text("SELECT id, outcome FROM audit WHERE event_id = :event_id")
    with store.connect().execution_options(isolation_level="AUTOCOMMIT") as sql:
        row = wait("into SQL", lambda: sql.execute(audit, {"event_id": way.event_id}).fetchone())
        way.sql_row, way.stored = row.id, elapsed()

    if way.is_opportunity:
        way.lead, way.stage_after = wait("into its stage", lambda: _lead_in(stack, manychat_id, event["stage"]))
        way.applied = elapsed()
    with store.connect().execution_options(isolation_level="AUTOCOMMIT") as sql:
        wait("to an outcome in SQL", lambda: _outcome(sql.execute(audit, {"event_id": way.event_id}).one()))
    show()


def _outcome(row: sqlalchemy.Row) -> str | None:
    return row.outcome


def _lead(stack: Stack, manychat_id: str) -> tuple[int | None, str]:
    leads = stack.rpc("crm.lead", "search_read", [["x_manychat_id", "=", manychat_id]], fields=["stage_id"])
    if len(leads) > 1:
        raise Missing(f"{len(leads)} opportunities for ManyChat id {manychat_id}; there must be one.")
    return (leads[0]["id"], leads[0]["stage_id"][1]) if leads else (None, "")


def _lead_in(stack: Stack, manychat_id: str, stage: str) -> tuple[int, str] | None:
    lead, name = _lead(stack, manychat_id)
    return (lead, name) if lead and name == stage else None


def _table(ways: list[Way]) -> Table:
    table = Table(
        title="From ManyChat to the pipeline (milliseconds since the webhook was called)", title_justify="left"
    )
    for heading in ("Event", "Event id", "ManyChat id"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Accepted", "Queued", "In SQL", "In Odoo", "SQL row", "Lead"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Stage before → after")
    for way in ways:
        stages = f"{way.stage_before or '(new)'} → {way.stage_after}" if way.stage_after else ""
        table.add_row(
            way.event["title"], way.event_id[:12], way.event["payload"]["manychat_id"],
            *(_milliseconds(time) for time in (way.accepted, way.queued, way.stored)),
            _milliseconds(way.applied) if way.is_opportunity else "–",
            str(way.sql_row or ""), str(way.lead or ""), stages,
        )  # fmt: skip
    return table


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
