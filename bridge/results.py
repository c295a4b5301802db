"""What became of one event, as a handler returns it, and what each error code means to an operator."""

from __future__ import annotations

from dataclasses import dataclass

from .contract.opportunity_state import OpportunityState
from .contract.outcomes import ErrorCode


@dataclass(frozen=True)
class Done:
    """The event is applied, or has otherwise come to its end, and its audit row says so.

    :ivar status: one of :class:`bridge.contract.outcomes.EventOutcome`: ``stored``, Odoo's answer, or ``discarded``
    :ivar state: the opportunity as Odoo has it; ``None`` from an older addon, and if it is gone
    """

    status: str
    lead_id: int | None = None
    stage_before: str | None = None
    stage_after: str | None = None
    state: OpportunityState | None = None


@dataclass(frozen=True)
class Failure:
    """The event failed for a reason of its own.

    :ivar code: one of :class:`bridge.contract.outcomes.ErrorCode`, or another one that Odoo gave
    :ivar message: for people; may hold personal data, so it belongs in SQL and never in a log line
    :ivar permanent: whether trying again is pointless
    """

    code: str
    message: str
    permanent: bool = False


@dataclass(frozen=True)
class Conflict:
    """A concurrent transaction held the opportunity. Retried soon; not counted as an attempt."""


Outcome = Done | Failure | Conflict

#: What each code of a dead letter means and what to do about it, without anybody's data.
DESCRIPTIONS: dict[str, str] = {
    ErrorCode.NOT_JSON: "Not a JSON object. Fix the program that put it on the queue.",
    ErrorCode.INVALID: "It breaks a rule of the contract; `dlq show` names the field.",
    ErrorCode.WRONG_QUEUE: "It was on the queue of another type. A replay puts it on its own.",
    ErrorCode.UNMAPPED_STAGE: "Map the stage in Odoo, under Stage Aliases. The event then continues by itself.",
    ErrorCode.REFUSED: "Odoo refused it; `dlq show` has Odoo's message. Fix the cause, then replay.",
    ErrorCode.SQL_REFUSED: "The database refused it; `dlq show` has its message. Fix the cause, then replay.",
    ErrorCode.FAILED: "An error in the bridge. Please report it, with what `dlq show` says.",
    ErrorCode.UNDELIVERABLE: "The queue cannot deliver a message, which stays there, hidden: see `dlq show`.",
    ErrorCode.CRASHED: "The process ended during each attempt: out of memory, or a bug. Replay it once and watch.",
}


def description(code: str) -> str:
    """What ``code`` means and what to do about it."""
    return DESCRIPTIONS.get(code, "`dlq show` has the details.")
