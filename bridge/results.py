"""What became of one event, as the handlers tell the consumer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """The event is applied, or has otherwise come to its end, and its audit row says so.

    :ivar status: ``stored`` (SQL only) or Odoo's word: ``created``, ``moved``, ``updated``, ``unchanged``, ``stale``,
        ``discarded`` (by a person there)
    """

    status: str
    lead_id: int | None = None
    stage_before: str | None = None
    stage_after: str | None = None


@dataclass(frozen=True)
class Failure:
    """The event failed for a reason of its own.

    :ivar code: for machines, such as ``unmapped_stage``
    :ivar message: for people; may hold personal data, so it belongs in SQL and never in a log line
    :ivar permanent: whether trying again is pointless
    """

    code: str
    message: str
    permanent: bool = False


@dataclass(frozen=True)
class Postponed:
    """Nobody's fault: others worked on the same opportunity all the while. Comes again soon, and does not count."""


Outcome = Done | Failure | Postponed
