"""What ``reconcile`` found unfinished, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

REPAIRED, SKIPPED, FAILED, DRY_RUN = "repaired", "skipped", "failed", "dry_run"


@dataclass(frozen=True)
class Repair:
    """Something unfinished, and what became of it.

    :ivar found: ``unfinished`` for an event, ``lost`` if its queue has lost it before a bridge received it, the sync
        status for an opportunity
    :ivar result: one of the words above
    :ivar reason: in words, without personal data
    :ivar trace_id: of the event; empty: it follows from the event's id, as far as is known
    """

    event_id: str
    manychat_id: str
    found: str
    result: str
    reason: str
    trace_id: str = ""
