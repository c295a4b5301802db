"""What the systems know of one event, as ``trace`` says it: its steps in order, and where it is now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..contract.fields import format_datetime
from ..contract.payloads import EventType
from ..results import description
from ..store.audit import DEAD_LETTERED
from . import trace_write_back

_RECEIVERS = {"odoo": "webhook", "api": "standby webhook", "queue": "queue", "cli": "command line"}
_FIRST = "received it for the first time"
_LETTER_ENDS = ("replayed", "resolved", "discarded")


def timeline(history: Mapping[str, Any]) -> list[dict[str, str]]:
    """The steps in order: ``at``, ``where`` (the system), ``what`` happened."""
    odoo, audit, letter = (history[name] or {} for name in ("odoo", "audit", "dead_letter"))
    waiting = history["queue"] or {}
    source = audit.get("source") or odoo.get("source") or "?"
    received = (_RECEIVERS.get(source, source), "received the event")
    if history["type"] == EventType.DECISION.value:
        received = ("Odoo", "the opportunity was changed")
    steps = [
        (audit.get("received_at") or odoo.get("received_at"), *received),
        (audit.get("enqueued_at") or waiting.get("enqueued_at"), "queue", _put_on(history)),
        (
            audit.get("started_at"),
            *(("SQL", "noted that the standby accepted it") if _is_untried(audit) else ("bridge", _FIRST)),
        ),
        (
            audit.get("tried_at") if audit.get("tried_at") != audit.get("started_at") else None,
            "bridge",
            f"tried it again (attempt {audit.get('attempts')})",
        ),
        (odoo.get("applied_at"), "Odoo", _did(odoo)),
        (audit.get("finished_at"), "SQL", f"stored the outcome: {audit.get('outcome')}"),
        (letter.get("last_tried_at"), "SQL", f"stored dead letter {letter.get('id')}: {letter.get('code')}"),
        *((letter.get(f"{name}_at"), "SQL", f"its dead letter was {name}") for name in _LETTER_ENDS),
        *trace_write_back.steps(history),
    ]
    timeline = [{"at": utc(at), "where": where, "what": what} for at, where, what in steps if at]
    # Stable: the queue has whole seconds, so steps within one second keep the order above.
    return sorted(timeline, key=lambda step: step["at"][:19])


def conclusion(history: Mapping[str, Any]) -> str:
    """Where the event is now, in a sentence."""
    audit, odoo, letter = (history[name] or {} for name in ("audit", "odoo", "dead_letter"))
    if audit.get("outcome") == DEAD_LETTERED or letter.get("status") == "open":
        code = letter.get("code") or audit.get("error_code") or "?"
        return f"Given up: {code}. {description(code)}"
    if audit.get("outcome"):
        return f"Done: {audit['outcome']}."
    if waiting := history["queue"]:
        received = f", received {waiting['dequeue_count']} times so far" if waiting["dequeue_count"] else ""
        return f"It waits on {waiting['queue']}{received}. Is a bridge alive, and the queue not paused? See `status`."
    if _is_untried(audit):
        return "The standby accepted it, and no bridge has received it yet: `reconcile` applies it if it is lost."
    if audit:
        why = f" ({audit['error_code']})" if audit.get("error_code") else ""
        return f"Unfinished after {audit['attempts']} attempts{why}: a bridge works on it, or will try again."
    if odoo.get("state") == "pending":
        return "It waits in Odoo until the queue is up. Odoo's log has the reason."
    if odoo.get("state") == "queued":
        return "Odoo has put it on the queue; SQL does not have it yet. Is a bridge alive? See `status`."
    return f"Odoo: {odoo.get('outcome') or odoo.get('state') or 'nothing'}."


def utc(time: str) -> str:
    """A moment of any system, as ISO 8601 in UTC."""
    return format_datetime(datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(timezone.utc))


def _is_untried(audit: Mapping[str, Any]) -> bool:
    """Whether the standby accepted the event, and no bridge has received it yet."""
    return audit.get("attempts") == 0 and not audit.get("tried_at")


def _put_on(history: Mapping[str, Any]) -> str:
    name = (history["queue"] or history["audit"] or {}).get("queue", "its queue")
    return f"holds it: {name} (whole seconds)"


def _did(odoo: Mapping[str, Any]) -> str:
    before, after = odoo.get("stage_before"), odoo.get("stage_after")
    outcome = odoo.get("outcome") or "done"
    if after and before and before != after:
        outcome += f": {before} → {after}"
    elif after:
        outcome += f": {after}"
    return f"{outcome}, opportunity {odoo['lead_id']}" if odoo.get("lead_id") else outcome
