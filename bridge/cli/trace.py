"""``python -m bridge trace``: the history of one event, from the webhook to the opportunity.

It comes from Odoo's event log, from the audit in SQL and from the queue. A system that is down is named, and the others
are still read. Personal data is not shown: neither the payload nor the text of an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
import typer
from rich.table import Table
from rich.text import Text

from ..connect import open_engine, open_odoo, open_queue
from ..contract import traceparent
from ..contract.errors import ContractError
from ..contract.event import decode
from ..contract.fields import format_datetime
from ..contract.payloads import EventType
from ..errors import ConfigurationError, OdooRefused, Outage, QueueMissing
from ..monitoring.probes import PATHS
from ..queue import Queue
from ..settings import Settings
from ..store import history as store_history
from ..store.engine import in_transaction
from ..store.rows import AuditSummary
from . import trace_timeline, trace_write_back
from .console import FAILED, MISUSED, JsonObject, fail, load_settings, out, print_json, visible
from .event_ids import SHORTEST, WHOLE

P = ParamSpec("P")
T = TypeVar("T")

#: Hexadecimal digits of a trace's id.
TRACE_DIGITS = 32
#: Messages of each queue that are searched: the queue does not show more without receiving them.
PEEKED = 32


class _Systems:
    """Reads from each system, and remembers which is down.

    :ivar unreachable: why, by name of the system
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self.unreachable: dict[str, str] = {}

    def sql(self, work: Callable[Concatenate[sa.Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T | None:
        return self._ask("SQL", lambda: in_transaction(open_engine(self._settings), work, *arguments, **named))

    def odoo(self, **wanted: str) -> list[dict[str, Any]]:
        return self._ask("Odoo", lambda: open_odoo(self._settings).get_history(**wanted)) or []

    def waiting(self) -> dict[str, dict[str, Any]]:
        """The messages that a bridge could receive now, by event id."""
        return self._ask("queue", self._peek_all) or {}

    def _peek_all(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name in PATHS:
            found |= _peek(open_queue(self._settings, name))
        return found

    def _ask(self, name: str, question: Callable[[], T]) -> T | None:
        if name in self.unreachable:
            return None
        try:
            return question()
        except (Outage, ConfigurationError) as problem:
            self.unreachable[name] = str(problem)
        except OdooRefused as refused:
            self.unreachable[name] = f"it refuses ({refused.name})"
        return None


def _peek(queue: Queue) -> dict[str, dict[str, Any]]:
    try:
        messages = queue.peek(PEEKED)
    except QueueMissing:
        return {}
    finally:
        queue.close()
    found = {}
    for message in messages:
        try:
            event = decode(message.content, queue=queue.name, inserted_at=message.inserted_at)
        except ContractError:
            continue
        found[event.id] = {
            "queue": queue.name,
            "trace_id": event.trace_id,
            "manychat_id": event.manychat_id,
            "type": event.type.value,
            "enqueued_at": format_datetime(message.inserted_at),
            "dequeue_count": message.dequeue_count,
        }
    return found


def trace(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="An event's id, or its beginning; the id of a trace; or a ManyChat id, to list its events.",
        ),
    ],
    as_json: JsonObject = False,
) -> None:
    """Print the history of an event, from the webhook to the opportunity. Changes nothing.

    Exits with 1 if the event is unknown, or if several ids have this beginning (they are listed).
    """
    wanted = wanted.strip()
    if not wanted:
        fail("Give an event's id, its beginning, or a ManyChat id.", MISUSED)
    systems = _Systems(load_settings())
    person = {} if len(wanted) == WHOLE else _events_of(systems, wanted)
    beginning = wanted.lower()
    is_beginning = re.fullmatch(rf"[0-9a-f]{{{SHORTEST},{WHOLE}}}", beginning)
    ids = _ids_like(systems, beginning) if is_beginning and not person else []
    if len(ids) == 1:
        history = _history(systems, ids[0])
        if as_json:
            print_json(history, indent=2)
        else:
            _print_history(history)
        return
    listed = person or _brief(systems, ids)
    if as_json:
        print_json({"events": list(listed.values()), "unreachable": systems.unreachable}, indent=2)
    elif listed:
        _print_list(listed)
    for name, why in systems.unreachable.items():
        typer.echo(f"{name} could not be read: {visible(why)}", err=True)
    if not listed:
        searched = ", ".join(name for name in ("Odoo", "SQL", "queue") if name not in systems.unreachable) or "none"
        fail(
            f"Unknown: {visible(wanted)} is neither an event's id (or {SHORTEST} or more digits of its beginning) nor "
            f"a ManyChat id. Searched: {searched}. Events settled long ago may have been purged.",
            FAILED,
        )
    if not person:
        if not as_json:
            typer.echo(f"{len(listed)} events have ids with this beginning: give more of the id.", err=True)
        sys.exit(FAILED)


# --- finding ---------------------------------------------------------------------------------------------------------


def _ids_like(systems: _Systems, beginning: str) -> list[str]:
    """Ids with this beginning, or of the trace with this id, from all systems."""
    ids = {row.event_id for row in systems.sql(store_history.events_with_prefix, beginning) or []}
    ids |= set(systems.sql(store_history.dead_lettered_with_prefix, beginning) or [])
    if len(beginning) == TRACE_DIGITS:
        ids |= set(systems.sql(store_history.events_of_trace, beginning) or [])
    ids |= {row["event_id"] for row in systems.odoo(event_id=beginning)}
    for event_id, message in systems.waiting().items():
        if event_id.startswith(beginning) or message["trace_id"] == beginning:
            ids.add(event_id)
    return sorted(ids)


def _events_of(systems: _Systems, manychat_id: str) -> dict[str, dict[str, Any]]:
    """A person's events, newest first, by id."""
    found: dict[str, dict[str, Any]] = {}
    for event_id, message in systems.waiting().items():
        if message["manychat_id"] == manychat_id:
            found[event_id] = _line(event_id, type=message["type"], outcome="on the queue", manychat_id=manychat_id)
    for row in systems.odoo(manychat_id=manychat_id):
        found[row["event_id"]] = _line_of_odoo(row)
    for event in systems.sql(store_history.events_of, manychat_id) or []:
        found[event.event_id] = _line_of_audit(event)
    return dict(sorted(found.items(), key=lambda item: item[1]["occurred_at"] or "~", reverse=True))


def _brief(systems: _Systems, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = [row for event_id in ids for row in systems.sql(store_history.events_with_prefix, event_id) or []]
    return {event_id: _line(event_id) for event_id in ids} | {row.event_id: _line_of_audit(row) for row in rows}


def _line_of_odoo(row: Mapping[str, Any]) -> dict[str, Any]:
    return _line(
        row["event_id"],
        type=row["type"],
        manychat_id=row["manychat_id"] or None,
        occurred_at=row["occurred_at"] or None,
        outcome=row["outcome"] or row["state"],
    )


def _line_of_audit(row: AuditSummary) -> dict[str, Any]:
    outcome = row.outcome or "unfinished"
    return _line(
        row.event_id,
        type=row.type,
        manychat_id=row.manychat_id,
        occurred_at=format_datetime(row.occurred_at),
        outcome=f"{outcome} ({row.error_code})" if row.error_code else outcome,
        stage=row.stage_after,
    )


def _line(event_id: str, **known: Any) -> dict[str, Any]:
    unknown = dict.fromkeys(("type", "manychat_id", "occurred_at", "outcome", "stage"))
    return {"event_id": event_id, **unknown, **known}


# --- one event -------------------------------------------------------------------------------------------------------


def _history(systems: _Systems, event_id: str) -> dict[str, Any]:
    """Everything that the systems know of one event, as JSON."""
    odoo = next(iter(systems.odoo(event_id=event_id)), None)
    rows = systems.sql(store_history.events_with_prefix, event_id) or []
    audit = _json(rows[0]) if rows else None
    waiting = systems.waiting().get(event_id)
    who = next((part["manychat_id"] for part in (audit, odoo, waiting) if part and part["manychat_id"]), None)
    kept = systems.sql(store_history.details, event_id, who)
    letter = _json(kept.dead_letter) if kept and kept.dead_letter else None
    opportunity = _json(kept.opportunity) if kept and kept.opportunity else None
    history = {
        "event_id": event_id,
        "trace_id": next(
            (part["trace_id"] for part in (odoo, waiting) if part and part.get("trace_id")),
            traceparent.trace_id((audit and audit["traceparent"]) or traceparent.of_event(event_id)),
        ),
        "manychat_id": who or (letter and letter["manychat_id"]),
        "type": next((part["type"] for part in (audit, odoo, waiting, letter) if part), None),
        "odoo": odoo,
        "queue": waiting,
        "audit": audit,
        "dead_letter": letter,
        "opportunity": opportunity,
        "stage_history": [_json(move) for move in kept.moves] if kept else [],
        **trace_write_back.rows(kept),
        "unreachable": systems.unreachable,
    }
    history["conclusion"] = trace_timeline.conclusion(history)
    history["timeline"] = trace_timeline.timeline(history)
    return history


def _json(row: Any) -> dict[str, Any]:
    return {
        name: format_datetime(value) if isinstance(value, datetime) else value for name, value in row._asdict().items()
    }


# --- printing --------------------------------------------------------------------------------------------------------


def _print_list(listed: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("event", "happened (UTC)", "type", "outcome", "stage"):
        table.add_column(heading, no_wrap=heading != "stage")
    for line in listed.values():
        at = (line["occurred_at"] or "")[:19].replace("T", " ")
        cells = (line["event_id"][:12], at, line["type"] or "", line["outcome"] or "", line["stage"] or "")
        table.add_row(*(visible(cell) for cell in cells))
    out.print(table)


def _print_history(history: Mapping[str, Any]) -> None:
    def say(text: str) -> None:
        out.print(visible(text), highlight=False)

    out.print(Text(history["event_id"], style="bold"), soft_wrap=True, highlight=False)
    occurred = (history["audit"] or history["odoo"] or {}).get("occurred_at")
    say(
        f"{history['type'] or 'event'} of ManyChat id {history['manychat_id'] or '(erased)'}"
        + (f", happened {trace_timeline.utc(occurred)[:19].replace('T', ' ')} UTC" if occurred else "")
        + (" (the bot's clock is wrong)" if (history["audit"] or {}).get("clock_is_wrong") else "")
    )
    say(f"Trace {history['trace_id']}")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for step in history["timeline"]:
        table.add_row(step["at"][:23].replace("T", " "), visible(step["where"]), visible(step["what"]))
    out.print("")
    out.print(table)
    out.print("")
    _print_opportunity(history, say)
    say(history["conclusion"])
    for name, why in history["unreachable"].items():
        typer.echo(f"{name} could not be read: {visible(why)}", err=True)


def _print_opportunity(history: Mapping[str, Any], say: Callable[[str], None]) -> None:
    odoo, opportunity = history["odoo"] or {}, history["opportunity"] or {}
    if odoo.get("lead_id"):
        lost = "" if odoo.get("lead_active") else " (lost or archived)"
        say(f"Opportunity {odoo['lead_id']} in Odoo: “{odoo.get('lead_stage') or '?'}”{lost}.")
    if opportunity:
        stands = f"in “{opportunity['stage'] or '?'}”" + (f", {status}" if (status := opportunity["status"]) else "")
        newest = "this event is its newest" if opportunity["event_id"] == history["event_id"] else "newer events exist"
        more = "" if history["type"] == EventType.DECISION.value else f"; {newest}"
        say(f"SQL: {opportunity['odoo_sync_status']}, {stands}{more}.")
    if history["stage_history"] and history["type"] in (EventType.OPPORTUNITY.value, EventType.DECISION.value):
        say("Its stages:")
        for move in history["stage_history"]:
            mark = "→" if move["event_id"] == history["event_id"] else " "
            at = move["event_at"][:19].replace("T", " ")
            before, after = move["stage_from"] or "(none)", move["stage_to"] or f"({move['status'] or 'none'})"
            say(f" {mark} {at}  {before} → {after} by {move['moved_by']}")
