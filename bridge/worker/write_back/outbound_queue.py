"""The queue of people to whom something must be written in ManyChat, and what keeps it filled."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from ...contract.errors import ContractError
from ...contract.fields import format_datetime, to_datetime
from ...contract.strict_json import parse_json
from ...errors import QueueMissing
from ...queue import Queue
from ...store import manychat_echoes, manychat_writes
from ...store.engine import in_transaction, read

log = structlog.get_logger()

#: Seconds between two looks for states that are not on the queue.
INTERVAL = 0.5
#: Seconds between two looks for messages that got lost, and for what may be deleted.
UPKEEP_INTERVAL = 300.0
#: A message that is older, of a state that is not written, got lost if the queue has fewer messages than such states.
LOST_AFTER = timedelta(minutes=10)
#: States put on the queue in one go.
BATCH = 200


@dataclass(frozen=True)
class Call:
    """A message: this person's state of that moment should be written."""

    manychat_id: str
    as_of: datetime

    @classmethod
    def decode(cls, content: str) -> Call | None:
        """The message in ``content``; ``None`` if it is none."""
        try:
            message = parse_json(base64.b64decode(content, validate=True))
            as_of = to_datetime(message.get("as_of"))
        except (ValueError, ContractError):
            return None
        manychat_id = message.get("manychat_id")
        if message.get("v") != 1 or not isinstance(manychat_id, str) or not isinstance(as_of, datetime):
            return None
        return cls(manychat_id, as_of)


def encode(row: Any) -> str:
    """The message for a row of :func:`bridge.store.manychat_writes.unqueued`."""
    message: Mapping[str, Any] = {
        "v": 1,
        "manychat_id": row.manychat_id,
        "as_of": format_datetime(row.wanted_as_of),
        "event_id": row.event_id,
        "by": row.wanted_by,
    }
    return base64.b64encode(json.dumps(message).encode()).decode("ascii")


def fill(engine: sa.Engine, queue: Queue) -> int:
    """Put on the queue what is committed and not there yet. Nothing while write-back is off.

    A kill between the put and the note puts a message twice. The second one finds its state written.

    :return: how many
    :raises bridge.errors.Outage: SQL or the queue is down
    """
    count = 0
    while rows := read(engine, _unqueued):
        for row in rows:
            queue.send_or_create(encode(row))
        in_transaction(engine, manychat_writes.mark_queued, rows)
        count += len(rows)
    return count


def _unqueued(connection: sa.Connection) -> Any:
    return manychat_writes.unqueued(connection, BATCH) if manychat_writes.rules(connection).enabled else ()


def keep_up(engine: sa.Engine, queue: Queue) -> None:
    """Put lost messages on the queue again, and delete what is not needed any more.

    :raises bridge.errors.Outage: SQL or the queue is down
    """
    if not read(engine, manychat_writes.rules).enabled:
        return
    in_transaction(engine, manychat_echoes.purge)
    try:
        depth = queue.depth()
    except QueueMissing:
        depth = 0
    if count := in_transaction(engine, manychat_writes.queue_again, LOST_AFTER, depth):
        log.warning("manychat_writes_queued_again", count=count)
