"""What happens to a batch of events: one module per queue, and the table of them.

``handle(…, events)`` applies a batch and returns the outcome of each event by its id. It may be called again with the
same events, together or in parts, and must then change nothing. It raises :class:`bridge.errors.Outage` when a
dependency is down, and anything else when one of the events is at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ...contract.event import Event
from ...contract.payloads import CAMPAIGN_QUEUE, CONTACT_QUEUE, OPPORTUNITY_QUEUE, QUEUES
from ...results import Failure, Outcome
from ...store import opportunities
from . import campaign, contact, opportunity


@dataclass(frozen=True)
class QueueHandler:
    """The work on one queue.

    :ivar handle: ``handle(engine, events)``, or ``handle(engine, odoo, events)`` if it needs Odoo
    :ivar record_failures: records failed events in the handler's own tables
    """

    handle: Callable[..., dict[str, Outcome]]
    needs_odoo: bool = False
    record_failures: Callable[[sa.Connection, Sequence[tuple[Event, Failure]]], None] = lambda connection, failures: (
        None
    )


HANDLERS = {
    CONTACT_QUEUE: QueueHandler(contact.handle),
    CAMPAIGN_QUEUE: QueueHandler(campaign.handle),
    OPPORTUNITY_QUEUE: QueueHandler(opportunity.handle, needs_odoo=True, record_failures=opportunities.fail),
}
# A bridge must not start and leave a queue alone for ever.
if without := QUEUES.keys() - {name for name, queue in QUEUES.items() if queue in HANDLERS}:
    raise RuntimeError(f"These queues have no handler: {', '.join(sorted(without))}")
