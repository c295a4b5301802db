"""One bad event never fails its neighbours: a batch that fails is halved until the bad one stands alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import DBAPIError

from ..contract.event import Event
from ..errors import OdooRefused, Outage
from ..log import kind
from ..results import Failure, Outcome

log = structlog.get_logger()


def isolate(events: Sequence[Event], handle: Callable[[Sequence[Event]], dict[str, Outcome]]) -> dict[str, Outcome]:
    """Handle ``events`` together; if that fails, in halves.

    Repeating events that went well before is harmless: ``handle`` is idempotent.

    :return: outcomes by event id; an event that fails even alone is a :class:`Failure`
    :raises Outage: nobody's fault; halves that were done before stay done
    """
    try:
        return handle(events)
    except Outage:
        raise
    except Exception as error:
        if len(events) == 1:
            log.warning("event_failed", event_id=events[0].id, manychat_id=events[0].manychat_id, exc_info=True)
            return {events[0].id: _failure(error)}
        log.warning("batch_halved", count=len(events), error=kind(error))
    middle = len(events) // 2
    return {**isolate(events[:middle], handle), **isolate(events[middle:], handle)}


def _failure(error: Exception) -> Failure:
    if isinstance(error, OdooRefused):
        code, message = "refused", f"Odoo refused it: {error.message} ({error.name})"
    elif isinstance(error, DBAPIError):
        code, message = "sql_refused", f"The database refused it: {error.orig}"
    else:
        code, message = "failed", f"{kind(error)}: {error}"
    # PostgreSQL takes no NUL, and a reason that cannot be stored would be no use.
    return Failure(code, message.replace("\0", ""))
