"""Isolation of a bad event: a batch that fails is halved until the bad event stands alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import DBAPIError

from .. import spans
from ..contract.event import Event
from ..contract.outcomes import ErrorCode
from ..contract.sentences import sentence
from ..errors import OdooRefused, Outage
from ..log import kind
from ..results import Done, Failure, Outcome

log = structlog.get_logger()


def bisect_batch(
    events: Sequence[Event], handle: Callable[[Sequence[Event]], dict[str, Outcome]]
) -> dict[str, Outcome]:
    """Handle events together; if that fails, handle each half by itself.

    It is harmless to repeat events that succeeded before: ``handle`` is idempotent.

    :return: outcomes by event id; an event that fails even alone is a :class:`Failure`
    :raises Outage: a dependency is down; halves that were done before stay done
    """
    try:
        with spans.in_hand(events):
            outcomes = handle(events)
            for event_id, outcome in outcomes.items():
                _note(event_id, outcome)
            return outcomes
    except Outage:
        raise
    except Exception as error:
        if len(events) == 1:
            [event] = events
            about = {"event_id": event.id, "trace_id": event.trace_id, "manychat_id": event.manychat_id}
            log.warning("event_failed", **about, exc_info=True)
            failure = failure_of(error)
            _note(event.id, failure)
            return {event.id: failure}
        log.warning("batch_bisected", count=len(events), error=kind(error))
    middle = len(events) // 2
    return {**bisect_batch(events[:middle], handle), **bisect_batch(events[middle:], handle)}


def _note(event_id: str, outcome: Outcome) -> None:
    if isinstance(outcome, Done):
        spans.say(event_id, outcome=outcome.status)
    elif isinstance(outcome, Failure):
        spans.say(event_id, failed=True, code=outcome.code)
    else:
        spans.say(event_id, outcome="conflict")


def failure_of(error: Exception) -> Failure:
    """What ``error`` says of the event that raised it."""
    if isinstance(error, OdooRefused):
        code = ErrorCode.REFUSED
        message = sentence("Odoo refused it: %(what)s (%(kind)s)", what=error.message, kind=error.name)
    elif isinstance(error, DBAPIError):
        code, message = ErrorCode.SQL_REFUSED, sentence("The database refused it: %(what)s", what=error.orig)
    else:
        code, message = ErrorCode.FAILED, f"{kind(error)}: {error}"
    # PostgreSQL stores no NUL in a text.
    return Failure(code.value, message.replace("\0", ""))
