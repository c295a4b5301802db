"""After a restore from a backup: give Odoo or SQL what it has lost, from the other one.

Both keep whole events: Odoo in its log, SQL in the audit. Applying an event again changes nothing where it is applied
already, and an older event never reverts a newer one. So each event since the backup is applied again, in the order in
which it was received.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..contract.errors import ContractError
from ..contract.event import Event, from_envelope
from ..contract.outcomes import APPLIED
from ..contract.payloads import OPPORTUNITY_QUEUE
from ..odoo import Odoo
from ..results import Done, Failure, Outcome
from ..store import audit, manychat_writes
from ..store.engine import in_transaction
from ..store.refusal import write_events
from .audited import event_of
from .bisect import bisect_batch
from .handlers import Handler
from .repair import FAILED, REPAIRED, Repair

#: Events applied together.
BATCH = 32
#: A backup holds what was committed when it began, and clocks differ.
MARGIN = timedelta(minutes=10)
#: An event may have waited so long between its receipt and its end.
LONGEST_WAIT = timedelta(days=1)


def reapply_in_odoo(engine: sa.Engine, handlers: Mapping[str, Handler], backup: datetime) -> Iterator[Repair]:
    """Apply the opportunity events again that were applied since the backup from which Odoo was restored.

    :param handlers: by the name of their queue
    :param backup: when that backup was made
    :raises bridge.errors.Outage: what is done by then stays done
    """
    handle = handlers[OPPORTUNITY_QUEUE].handle
    since, after_id = backup - MARGIN, 0
    while rows := in_transaction(engine, audit.finished_since, since, APPLIED, after_id, BATCH):
        assert rows[-1].finished_at is not None
        since, after_id = rows[-1].finished_at, rows[-1].id
        events = [event for row in rows if (event := event_of(row)) is not None]
        if events:
            yield from _repairs(events, bisect_batch(events, handle), "missing in Odoo")


def record_again_in_sql(
    engine: sa.Engine, handlers: Mapping[str, Handler], odoo: Odoo, backup: datetime
) -> Iterator[Repair]:
    """Record the events again that Odoo has finished since the backup from which SQL was restored.

    ManyChat has got what they decided, and started their flows, as far as the backup knows or not: neither is repeated.

    :param handlers: by the name of their queue; events of other queues are left alone
    :param backup: when that backup was made
    :raises bridge.errors.Outage: what is done by then stays done
    """
    in_transaction(engine, manychat_writes.begin_anew)
    after = ""
    while page := odoo.get_finished(backup - LONGEST_WAIT, after):
        after = str(page[-1]["id"])
        events = [event for envelope in page if (event := _readable(envelope)) is not None]
        known = in_transaction(engine, audit.attempt_states, [event.id for event in events])
        for queue, handler in handlers.items():
            missing = [
                event
                for event in events
                if event.type.queue == queue and not ((state := known.get(event.id)) and state.is_done)
            ]
            for start in range(0, len(missing), BATCH):
                yield from _record(engine, handler, missing[start : start + BATCH])


def _record(engine: sa.Engine, handler: Handler, events: Sequence[Event]) -> Iterator[Repair]:
    received = [audit.ReceivedEvent(event, handler.queue.name, None) for event in events]
    write_events(engine, audit.begin, received)
    outcomes = bisect_batch(events, handler.handle)
    # What failed is an event without an outcome: `reconcile` tries it again.
    if failed := [event.id for event in events if not isinstance(outcomes[event.id], Done)]:
        in_transaction(engine, audit.release_attempt, failed)
    yield from _repairs(events, outcomes, "missing in SQL")


def _repairs(events: Sequence[Event], outcomes: Mapping[str, Outcome], found: str) -> Iterator[Repair]:
    for event in events:
        outcome = outcomes[event.id]
        if isinstance(outcome, Done):
            result, reason = REPAIRED, outcome.status
        else:
            result, reason = FAILED, outcome.code if isinstance(outcome, Failure) else "again later"
        yield Repair(event.id, event.manychat_id, found, result, reason, event.trace_id)


def _readable(envelope: Mapping[str, object]) -> Event | None:
    try:
        return from_envelope(dict(envelope))
    except ContractError:
        return None  # of a version before this contract
