"""What happens to a batch of events, one module per queue.

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
from ...odoo import Odoo
from ...queue import Queue
from ...results import Outcome
from ...store import opportunities
from ..dead_lettering import OnFailure
from . import campaign, contact, opportunity


@dataclass(frozen=True)
class Handler:
    """What the bridge does with the events of one queue.

    :ivar handle: applies a batch
    :ivar on_failure: records failed events in the handler's own tables
    :ivar breakers: of the dependencies that must be up before messages are received
    """

    queue: Queue
    handle: Callable[[Sequence[Event]], dict[str, Outcome]]
    on_failure: OnFailure
    breakers: Sequence[CircuitBreaker]


def make_handlers(
    engine: sa.Engine, queues: Mapping[str, Queue], sql: CircuitBreaker, queue: CircuitBreaker, odoo: Odoo | None
) -> list[Handler]:
    """One handler for each of ``queues``.

    :param queues: by the names that the command line gives them
    :param odoo: may be missing if the queue of opportunities is
    """
    handlers = [
        Handler(
            queues[name],
            partial({"contact": contact.handle, "campaign": campaign.handle}[name], engine),
            lambda connection, failures: None,
            [sql, queue],
        )
        for name in queues
        if name != "opportunity"
    ]
    if "opportunity" in queues:
        assert odoo is not None
        handlers.append(
            Handler(
                queues["opportunity"],
                partial(opportunity.handle, engine, odoo),
                opportunities.fail,
                [sql, queue, CircuitBreaker("Odoo", odoo.probe)],
            )
        )
    return handlers
