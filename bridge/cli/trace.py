"""``python -m bridge trace``: one event's whole story, from the webhook to the opportunity, as each system tells it.

Odoo's event log, SQL's audit and the queue are asked; whichever is away is named, and the others still tell. Nothing of
what the person said is shown: neither the payload nor an error's own words.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
import typer
from rich.markup import escape
from rich.table import Table

from ..connect import open_engine, open_odoo, open_queue
from ..contract.errors import ContractError
from ..contract.event import decode
from ..contract.fields import format_datetime
from ..errors import ConfigurationError, OdooRefused, Outage, QueueMissing
from ..monitoring.probes import PATHS
from ..queue import Queue
from ..results import description
from ..settings import Settings
from ..store import story
from ..store.audit import DEAD_LETTERED
from ..store.engine import in_transaction
from .console import FAILED, MISUSED, fail, load_settings, out, visible

T = TypeVar("T")

#: Messages of each queue that are looked at: the queue shows no more without taking them.
PEEKED = 32
#: How much of an id somebody must give.
SHORTEST = 6
#: Hexadecimal digits of a whole id.
WHOLE = 64


class _Asking:
    """Asks each system, and remembers which is away."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self.silent: dict[str, str] = {}

    def sql(self, work: Callable[[sa.Connection], T]) -> T | None:
        return self._ask("SQL", lambda: in_transaction(open_engine(self._settings), work))

    def odoo(self, **wanted: str) -> list[dict[str, Any]]:
        return self._ask("Odoo", lambda: open_odoo(self._settings).story(**wanted)) or []

    def waiting(self) -> dict[str, dict[str, Any]]:
        """What could be taken off a queue right now, by event id."""
        return self._ask("queue", self._peek_all) or {}

    def _peek_all(self) -> dict[str, dict[str, Any]]:
        return {event_id: told for name in PATHS for event_id, told in _peek(open_queue(self._settings, name)).items()}

    def _ask(self, name: str, question: Callable[[], T]) -> T | None:
        if name in self.silent:
            return None
        try:
            return question()
        except (Outage, ConfigurationError) as problem:
            self.silent[name] = str(problem)
        except OdooRefused as refused:
            self.silent[name] = f"it refuses ({refused.name})"
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
            "manychat_id": event.manychat_id,
            "type": event.type.value,
            "enqueued_at": format_datetime(message.inserted_at),
            "dequeue_count": message.dequeue_count,
        }
    return found


def trace(
    wanted: Annotated[
        str, typer.Argument(metavar="ID", help="An event's id, or how it begins; or a ManyChat id, to list its events.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print an event's whole story, from the webhook to the opportunity. Looks only.

    Exits with 1 if the event is unknown, or if several begin like that (they are listed).
    """
    wanted = wanted.strip()
    if not wanted:
        fail("Say which: an event's id, how it begins, or a ManyChat id.", MISUSED)
    asking = _Asking(load_settings())
    person = {} if len(wanted) == WHOLE else _events_of(asking, wanted)
    beginning = wanted.lower()
    ids = [] if person or not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},{WHOLE}}}", beginning) else _like(asking, beginning)
    if len(ids) == 1:
        told = _story(asking, ids[0])
        if as_json:
            typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        else:
            _print_story(told)
        return
    listed = person or _brief(asking, ids)
    if as_json:
        typer.echo(json.dumps({"events": list(listed.values()), "silent": asking.silent}, indent=2, ensure_ascii=False))
    elif listed:
        _print_list(listed)
    for name, why in asking.silent.items():
        typer.echo(f"{name} was not asked: {visible(why)}", err=True)
    if not listed:
        systems = ", ".join(name for name in ("Odoo", "SQL", "queue") if name not in asking.silent) or "nobody"
        fail(
            f"Unknown: {visible(wanted)} is neither an event's id (or {SHORTEST} or more digits of its beginning) nor "
            f"a ManyChat id. Asked: {systems}. Events settled for long may have been purged.",
            FAILED,
        )
    if not person:
        if not as_json:
            typer.echo(f"{len(listed)} events begin like that: give more of the id.", err=True)
        sys.exit(FAILED)


# --- finding ---------------------------------------------------------------------------------------------------------


def _like(asking: _Asking, beginning: str) -> list[str]:
    """Ids of the events that begin like that, whoever knows of them."""
    ids = {row.event_id for row in asking.sql(lambda connection: story.events_like(connection, beginning)) or []}
    ids |= set(asking.sql(lambda connection: story.letters_like(connection, beginning)) or [])
    ids |= {row["event_id"] for row in asking.odoo(event_id=beginning)}
    ids |= {event_id for event_id in asking.waiting() if event_id.startswith(beginning)}
    return sorted(ids)


def _events_of(asking: _Asking, manychat_id: str) -> dict[str, dict[str, Any]]:
    """A person's events, newest first, by id."""
    found: dict[str, dict[str, Any]] = {}
    for event_id, told in asking.waiting().items():
        if told["manychat_id"] == manychat_id:
            found[event_id] = _line(event_id, type=told["type"], outcome="on the queue", manychat_id=manychat_id)
    for row in asking.odoo(manychat_id=manychat_id):
        found[row["event_id"]] = _line_of_odoo(row)
    for row in asking.sql(lambda connection: story.events_of(connection, manychat_id)) or []:
        found[row.event_id] = _line_of_audit(row)
    return dict(sorted(found.items(), key=lambda item: item[1]["occurred_at"] or "~", reverse=True))


def _brief(asking: _Asking, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = asking.sql(lambda connection: [row for each in ids for row in story.events_like(connection, each)]) or []
    return {event_id: _line(event_id) for event_id in ids} | {row.event_id: _line_of_audit(row) for row in rows}


def _line_of_odoo(row: Mapping[str, Any]) -> dict[str, Any]:
    return _line(
        row["event_id"],
        type=row["type"],
        manychat_id=row["manychat_id"] or None,
        occurred_at=row["occurred_at"] or None,
        outcome=row["outcome"] or row["state"],
    )


def _line_of_audit(row: Any) -> dict[str, Any]:
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


# --- one story -------------------------------------------------------------------------------------------------------


def _story(asking: _Asking, event_id: str) -> dict[str, Any]:
    """Everything that is known of one event, as JSON."""
    odoo = next(iter(asking.odoo(event_id=event_id)), None)
    rows: list[Any] = asking.sql(lambda connection: story.events_like(connection, event_id)) or []
    audit = _json(rows[0]) if rows else None
    waiting = asking.waiting().get(event_id)
    who = next((told["manychat_id"] for told in (audit, odoo, waiting) if told and told["manychat_id"]), None)
    kept = asking.sql(lambda connection: story.kept(connection, event_id, who))
    letter = _json(kept.dead_letter) if kept and kept.dead_letter else None
    opportunity = _json(kept.opportunity) if kept and kept.opportunity else None
    told = {
        "event_id": event_id,
        "manychat_id": who or (letter and letter["manychat_id"]),
        "type": next((part["type"] for part in (audit, odoo, waiting, letter) if part), None),
        "odoo": odoo,
        "queue": waiting,
        "audit": audit,
        "dead_letter": letter,
        "opportunity": opportunity,
        "moves": [_json(move) for move in kept.moves] if kept else [],
        "silent": asking.silent,
    }
    told["conclusion"] = _conclusion(told)
    told["way"] = _way(told)
    return told


def _json(row: Any) -> dict[str, Any]:
    return {
        name: format_datetime(value) if isinstance(value, datetime) else value for name, value in row._mapping.items()
    }


def _way(told: Mapping[str, Any]) -> list[dict[str, str]]:
    """What happened, in order: ``at``, ``where``, ``what``."""
    odoo, audit, letter = (told[name] or {} for name in ("odoo", "audit", "dead_letter"))
    waiting = told["queue"] or {}
    source = audit.get("source") or odoo.get("source") or "?"
    steps = [
        (audit.get("received_at") or odoo.get("received_at"), _RECEIVERS.get(source, source), "received the event"),
        (audit.get("enqueued_at") or waiting.get("enqueued_at"), "queue", _put_on(told)),
        (audit.get("started_at"), "bridge", "took it for the first time"),
        (
            audit.get("tried_at") if audit.get("tried_at") != audit.get("started_at") else None,
            "bridge",
            f"tried it again (attempt {audit.get('attempts')})",
        ),
        (odoo.get("applied_at"), "Odoo", _did(odoo)),
        (audit.get("finished_at"), "SQL", f"noted the outcome: {audit.get('outcome')}"),
        (letter.get("last_tried_at"), "SQL", f"kept it as dead letter {letter.get('id')}: {letter.get('code')}"),
        *((letter.get(f"{name}_at"), "SQL", f"its dead letter was {name}") for name in _LETTER_ENDS),
    ]
    way = [{"at": _utc(at), "where": where, "what": what} for at, where, what in steps if at]
    # Stable: the queue tells whole seconds, so what happens within one keeps the order above.
    return sorted(way, key=lambda step: step["at"][:19])


_RECEIVERS = {"odoo": "webhook", "api": "standby webhook", "queue": "queue", "cli": "command line"}
_LETTER_ENDS = ("replayed", "resolved", "discarded")


def _utc(moment: str) -> str:
    return format_datetime(datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(timezone.utc))


def _put_on(told: Mapping[str, Any]) -> str:
    name = (told["queue"] or told["audit"] or {}).get("queue", "its queue")
    return f"has it: {name} (whole seconds)"


def _did(odoo: Mapping[str, Any]) -> str:
    before, after = odoo.get("stage_before"), odoo.get("stage_after")
    outcome = odoo.get("outcome") or "done"
    if after and before and before != after:
        outcome += f": {before} → {after}"
    elif after:
        outcome += f": {after}"
    return f"{outcome}, opportunity {odoo['lead_id']}" if odoo.get("lead_id") else outcome


def _conclusion(told: Mapping[str, Any]) -> str:
    """Where it stands, in a sentence."""
    audit, odoo, letter = (told[name] or {} for name in ("audit", "odoo", "dead_letter"))
    if audit.get("outcome") == DEAD_LETTERED or letter.get("status") == "open":
        code = letter.get("code") or audit.get("error_code") or "?"
        return f"Given up: {code}. {description(code)}"
    if audit.get("outcome"):
        return f"Done: {audit['outcome']}."
    if told["queue"]:
        tried = f", taken {told['queue']['dequeue_count']} times so far" if told["queue"]["dequeue_count"] else ""
        return f"It waits on {told['queue']['queue']}{tried}. Is a bridge alive, and nothing paused? See `status`."
    if audit:
        why = f" ({audit['error_code']})" if audit.get("error_code") else ""
        return f"Unfinished after {audit['attempts']} attempts{why}: a bridge is at it, or will try again."
    if odoo.get("state") == "pending":
        return "It waits in Odoo for the queue: Odoo's log says why, it goes on by itself."
    if odoo.get("state") == "queued":
        return "Odoo has put it on the queue; SQL does not know it yet. Is a bridge alive? See `status`."
    return f"Odoo says: {odoo.get('outcome') or odoo.get('state') or 'nothing'}."


# --- printing --------------------------------------------------------------------------------------------------------


def _print_list(listed: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("event", "happened (UTC)", "type", "outcome", "stage"):
        table.add_column(heading, no_wrap=heading != "stage")
    for line in listed.values():
        at = (line["occurred_at"] or "")[:19].replace("T", " ")
        cells = (line["event_id"][:12], at, line["type"] or "", line["outcome"] or "", line["stage"] or "")
        table.add_row(*(escape(visible(cell)) for cell in cells))
    out.print(table)


def _print_story(told: Mapping[str, Any]) -> None:
    def say(text: str) -> None:
        out.print(escape(visible(text)), highlight=False)

    out.print(f"[bold]{told['event_id']}[/]", soft_wrap=True, highlight=False)
    occurred = (told["audit"] or told["odoo"] or {}).get("occurred_at")
    say(
        f"{told['type'] or 'event'} of ManyChat id {told['manychat_id'] or '(erased)'}"
        + (f", happened {_utc(occurred)[:19].replace('T', ' ')} UTC" if occurred else "")
        + (" (its sender's clock is wrong)" if (told["audit"] or {}).get("clock_is_wrong") else "")
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for step in told["way"]:
        table.add_row(step["at"][:23].replace("T", " "), escape(visible(step["where"])), escape(visible(step["what"])))
    out.print("")
    out.print(table)
    out.print("")
    _print_opportunity(told, say)
    say(told["conclusion"])
    for name, why in told["silent"].items():
        typer.echo(f"{name} was not asked: {visible(why)}", err=True)


def _print_opportunity(told: Mapping[str, Any], say: Callable[[str], None]) -> None:
    odoo, opportunity = told["odoo"] or {}, told["opportunity"] or {}
    if odoo.get("lead_id"):
        lost = "" if odoo.get("lead_active") else " (lost or archived)"
        say(f"Opportunity {odoo['lead_id']} is in “{odoo.get('lead_stage') or '?'}”{lost}, says Odoo.")
    if opportunity:
        newest = "this event is its newest" if opportunity["event_id"] == told["event_id"] else "newer events exist"
        say(f"SQL: {opportunity['odoo_sync_status']}, in “{opportunity['stage'] or '?'}”; {newest}.")
    if told["moves"] and told["type"] == "opportunity":
        say("Its stages:")
        for move in told["moves"]:
            mark = "→" if move["event_id"] == told["event_id"] else " "
            at = move["event_at"][:19].replace("T", " ")
            say(f" {mark} {at}  {move['stage_from'] or '(new)'} → {move['stage_to']}")
