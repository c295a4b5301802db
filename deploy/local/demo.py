"""Sends ManyChat's example events through a running stack and looks, at every hop, whether they arrived.

Nothing is taken on trust: the queue's hop is read from Odoo's database, SQL's from the store, the pipeline's from Odoo.
"""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
import sqlalchemy
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .os_packages import Missing
from .say import console, say
from .stack import PYTHON, Stack

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
    finished: bool = False

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
    contacts = _contacts(stack)
    _introduce_adviser(stack)
    say("")
    for way in ways:
        # Refreshed by hand: drawing in the background would slow down what is being timed.
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for _ in _follow(stack, store, way):
                if console.is_terminal:
                    live.update(_line(way), refresh=True)
        console.print(_line(way), soft_wrap=True)
    store.dispose()
    if _contacts(stack) != contacts:
        raise Missing("Odoo's contacts (res.partner) have changed; this product must never touch them.")
    say("")
    console.print(_table(ways))
    say(f"[green]✓[/] {len(ways)} events went all the way; none of Odoo's {contacts} contacts was touched.\n")
    login = f"login admin, password {stack.admin_password}"
    say(f"  Odoo {stack.odoo.source.version}   {stack.odoo_url}/odoo/crm   {login}")
    say(f"  Webhooks    {stack.odoo_url}/api/v1/manychat/…   X-API-KEY: {stack.webhook_key}")
    say(f"  API         {stack.api_url}/docs   X-API-KEY: {stack.api_key}")
    say(f"  SQL         {stack.folder / 'miasalud.db'}")
    say(f"  Watch       cd {stack.folder} && {PYTHON} -m bridge status --watch")
    say(f"  One event   … -m bridge trace {ways[-1].event_id[:12]}     Prometheus: {stack.metrics_url}")
    say("\nEverything stays up until `make down`; `make up` starts it again.")


def _events(stack: Stack) -> list[dict[str, Any]]:
    """The user's examples; from the second demo on under another ManyChat id, or they would be known already."""
    number = stack.count("demos")
    events = copy.deepcopy(json.loads(_EVENTS.read_text()))
    for event in events if number > 1 else []:
        event["payload"]["manychat_id"] += f"-{number}"
    return events


def _introduce_adviser(stack: Stack) -> None:
    """Has Odoo's administrator be the chat's commercial adviser 700, so that the events are in “My Pipeline”."""
    adviser = {"external_id": 700, "role": "commercial"}
    domain = [[name, "=", value] for name, value in adviser.items()]
    if not stack.rpc("manychat.advisor", "search", domain):
        stack.rpc("manychat.advisor", "create", adviser | {"user_id": 2})


def _follow(stack: Stack, store: sqlalchemy.Engine, way: Way) -> Iterator[None]:
    """Sends one event and yields whenever `way` has something new to show."""
    event = way.event
    manychat_id = event["payload"]["manychat_id"]
    if way.is_opportunity:
        way.lead, way.stage_before = _lead(stack, manychat_id)
    started = time.monotonic()

    def elapsed() -> float:
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
    address = stack.odoo_url + event["path"]
    answer = requests.request(event["method"], address, json=event["payload"], headers=headers, timeout=10)
    way.accepted = elapsed()
    if answer.status_code != 200:
        raise Missing(f"The webhook answered {answer.status_code} to “{event['title']}”: {answer.text[:500]}")
    way.event_id = answer.json()["event_id"]
    yield

    with stack.odoo.cluster.connect(stack.database, autocommit=True) as odoo:
        query = "SELECT 1 FROM manychat_event WHERE event_id = %s AND state IN ('queued', 'done')"
        wait("onto its queue", lambda: odoo.execute(query, [way.event_id]).fetchone())
        way.queued = elapsed()
    yield

    audit = sqlalchemy.text("SELECT id, outcome FROM audit WHERE event_id = :event_id")
    with store.connect().execution_options(isolation_level="AUTOCOMMIT") as sql:
        row = wait("into SQL", lambda: sql.execute(audit, {"event_id": way.event_id}).fetchone())
        way.sql_row, way.stored = row.id, elapsed()
    yield

    if way.is_opportunity:
        way.lead, way.stage_after = wait("into its stage", lambda: _lead_in(stack, manychat_id, event["stage"]))
        way.applied = elapsed()
        yield
    with store.connect().execution_options(isolation_level="AUTOCOMMIT") as sql:
        outcome = wait("to an outcome in SQL", lambda: sql.execute(audit, {"event_id": way.event_id}).one().outcome)
    if outcome == "error":
        raise Missing(f"SQL says that “{event['title']}” failed (event {way.event_id}).")
    way.finished = True


def _lead(stack: Stack, manychat_id: str) -> tuple[int | None, str]:
    leads = stack.rpc("crm.lead", "search_read", [["x_manychat_id", "=", manychat_id]], fields=["stage_id"])
    if len(leads) > 1:
        raise Missing(f"{len(leads)} opportunities for ManyChat id {manychat_id}; there must be one.")
    return (leads[0]["id"], leads[0]["stage_id"][1]) if leads else (None, "")


def _lead_in(stack: Stack, manychat_id: str, stage: str) -> tuple[int, str] | None:
    lead, name = _lead(stack, manychat_id)
    return (lead, name) if lead and name == stage else None


def _contacts(stack: Stack) -> int:
    return stack.rpc("res.partner", "search_count", [], context={"active_test": False})


def _line(way: Way) -> Text:
    """How far one event has come."""
    hops = [("accepted", way.accepted), ("on its queue", way.queued), ("in SQL", way.stored)]
    if way.is_opportunity:
        hops.append((f"{'moved to' if way.stage_before else 'created in'} {way.stage_after or '…'}", way.applied))
    done = [f"{hop} [dim]{milliseconds:.0f} ms[/]" for hop, milliseconds in hops if milliseconds is not None]
    arrow = "[green]✓[/]" if way.finished else "[yellow]…[/]"
    return Text.from_markup(f"{arrow} [bold]{way.event['title']}[/]: {' → '.join(done)}")


def _table(ways: list[Way]) -> Table:
    table = Table(title="From ManyChat to the pipeline", title_justify="left")
    table.add_column("Event id", no_wrap=True)
    table.add_column("ManyChat id", no_wrap=True)
    for heading in ("SQL row", "Lead"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Stage before → after")
    table.add_column("ms", justify="right", no_wrap=True)
    for way in ways:
        stages = f"{way.stage_before or '(none)'} → {way.stage_after}" if way.is_opportunity else "[dim]SQL only[/]"
        lead = str(way.lead) if way.is_opportunity else ""
        last = way.applied if way.is_opportunity else way.stored
        manychat_id = way.event["payload"]["manychat_id"]
        table.add_row(way.event_id[:12], manychat_id, str(way.sql_row), lead, stages, f"{last:.0f}")
    return table
