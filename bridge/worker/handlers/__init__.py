"""What happens to a batch of events: one module per queue, and the table of them.

``handle(…, events)`` applies a batch and returns the outcome of each event by its id. It may be called again with the
same events, together or in parts, and must then change nothing. It raises :class:`bridge.errors.Outage` if a dependency
is down, and any other exception if one of the events is at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from ...circuit_breaker import CircuitBreaker
from ...contract.event import Event
from ...contract.payloads import CAMPAIGN_QUEUE, CONTACT_QUEUE, DECISION_QUEUE, OPPORTUNITY_QUEUE, QUEUES
from ...errors import ConfigurationError
from ...odoo import Odoo
from ...queue import Queue, require_rights
from ...results import Outcome
from ...store import opportunities
from ..dead_lettering import OnFailure
from . import campaign, contact, decision, opportunity

#: What a bridge does with the queues of events, in Azure's words: renew leases, and receive and delete messages.
RIGHTS = ("update", "process")


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class QueueHandler:
    """The work on one queue.

    :ivar handle: ``handle(engine, events)``, or ``handle(engine, odoo, events)`` if it needs Odoo
    :ivar on_failure: records failed events in the handler's own tables
    :ivar is_urgent: a customer in a chat waits for its effect
    """

    handle: Callable[..., dict[str, Outcome]]
    needs_odoo: bool = False
    is_urgent: bool = False
    on_failure: OnFailure = _nothing


HANDLERS = {
    CONTACT_QUEUE: QueueHandler(contact.handle),
    CAMPAIGN_QUEUE: QueueHandler(campaign.handle),
    OPPORTUNITY_QUEUE: QueueHandler(opportunity.handle, needs_odoo=True, is_urgent=True, on_failure=opportunities.fail),
    DECISION_QUEUE: QueueHandler(decision.handle),
}
# A bridge must not start and leave a queue alone for ever.
if without := QUEUES.keys() - {name for name, queue in QUEUES.items() if queue in HANDLERS}:
    raise ConfigurationError(f"These queues have no handler: {', '.join(sorted(without))}")


@dataclass(frozen=True)
class Handler:
    """A :class:`QueueHandler` with everything that it needs.

    :ivar handle: applies a batch
    :ivar on_failure: records failed events in the handler's own tables
    :ivar breakers: of the dependencies that must be up before messages are received
    :ivar is_urgent: a customer in a chat waits for its effect
    """

    queue: Queue
    handle: Callable[[Sequence[Event]], dict[str, Outcome]]
    on_failure: OnFailure
    breakers: Sequence[CircuitBreaker]
    is_urgent: bool


def needs_odoo(name: str) -> bool:
    """Whether the events of a queue need Odoo.

    :param name: key of :data:`bridge.contract.payloads.QUEUES`
    """
    return HANDLERS[QUEUES[name]].needs_odoo


def make_handlers(
    engine: sa.Engine, queues: Mapping[str, Queue], sql: CircuitBreaker, queue: CircuitBreaker, odoo: Odoo | None
) -> list[Handler]:
    """One handler for each of ``queues``.

    :param queues: by keys of :data:`bridge.contract.payloads.QUEUES`
    :param queue: the breaker of the whole account
    :param odoo: may be missing if no handler of these queues needs it
    """
    handlers = []
    for name, events_queue in queues.items():
        registered = HANDLERS[QUEUES[name]]
        # One queue that is missing, or lacks a right, must not hold up the others.
        breakers = [sql, queue, CircuitBreaker(events_queue.name, partial(require_rights, events_queue, *RIGHTS))]
        if registered.needs_odoo:
            assert odoo is not None
            handle = partial(registered.handle, engine, odoo)
            breakers.append(CircuitBreaker("Odoo", odoo.probe))
        else:
            handle = partial(registered.handle, engine)
        handlers.append(Handler(events_queue, handle, registered.on_failure, breakers, registered.is_urgent))
    return handlers
