"""The words for what became of an event, shared by the bridge's tables, its reports to Odoo and the addon.

Each member is a string. Where a word leaves the process (RPC, a row), send its ``value``: XML-RPC takes no subclasses.
"""

from __future__ import annotations

from enum import Enum


class EventOutcome(str, Enum):
    """How an event ended."""

    #: Contacts and campaigns: written to SQL.
    STORED = "stored"
    #: Opportunities: what Odoo did.
    CREATED = "created"
    MOVED = "moved"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    #: Odoo knows something newer.
    STALE = "stale"
    #: The bridge gave it up. An operator or an Odoo user can send it again.
    DEAD_LETTERED = "dead_lettered"
    #: An operator or an Odoo user gave it up for good.
    DISCARDED = "discarded"
    #: Its person's data was erased.
    ERASED = "erased"

    __str__ = str.__str__


#: What Odoo answers for an event that it has applied.
APPLIED = (
    EventOutcome.CREATED,
    EventOutcome.MOVED,
    EventOutcome.UPDATED,
    EventOutcome.UNCHANGED,
    EventOutcome.STALE,
)


class ReportedState(str, Enum):
    """What the bridge reports to Odoo of an event."""

    DONE = "done"
    FAILED = "failed"
    DISCARDED = "discarded"
    ERASED = "erased"

    __str__ = str.__str__


class WriteBackState(str, Enum):
    """Whether a bridge can write to ManyChat, as its heartbeat tells Odoo."""

    READY = "ready"
    NO_TOKEN = "no_token"  # noqa: S105
    WRONG_TOKEN = "wrong_token"  # noqa: S105
    #: ManyChat takes no calls for a while, because there were too many.
    STOPPED = "stopped"
    UNREACHABLE = "unreachable"


class ErrorCode(str, Enum):
    """Why an event failed."""

    #: The message is not a JSON object.
    NOT_JSON = "not_json"
    #: A field breaks a rule of the contract.
    INVALID = "invalid"
    #: Its fields are those of another webhook. Only in an answer: such an event is not accepted.
    WRONG_ENDPOINT = "wrong_endpoint"
    #: It was on the queue of another type.
    WRONG_QUEUE = "wrong_queue"
    #: Its ManyChat stage is mapped to no stage in Odoo.
    UNMAPPED_STAGE = "unmapped_stage"
    #: Odoo raised an exception.
    REFUSED = "refused"
    #: The database raised an exception.
    SQL_REFUSED = "sql_refused"
    #: The bridge raised an exception.
    FAILED = "failed"
    #: The process ended during each attempt.
    CRASHED = "crashed"
    #: The queue takes no message like it, and only Odoo knows the event; or it cannot deliver a message that it holds.
    UNDELIVERABLE = "undeliverable"
    #: An Odoo user discarded it while it was on its way.
    DISCARDED = "discarded"
    #: Its person's data was erased. Only in Odoo.
    ERASED = "erased"

    __str__ = str.__str__
