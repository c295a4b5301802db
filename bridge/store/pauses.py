"""Paused queues: no bridge takes messages from them until an operator resumes them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone

import sqlalchemy as sa

from .schema import pauses
from .upsert import chunks, find


def paused(connection: sa.Connection) -> dict[str, datetime]:
    """The time when each paused queue was paused, by its name."""
    return {row[0]: row[1] for row in connection.execute(sa.select(pauses.c.queue, pauses.c.paused_at))}


def pause(connection: sa.Connection, queues: Collection[str], now: datetime | None = None) -> None:
    """Pause ``queues``. A queue that is paused already keeps its time."""
    now = now or datetime.now(timezone.utc)
    existing = {row[0] for row in find(connection, sa.select(pauses.c.queue), pauses.c.queue, queues)}
    new = [{"queue": name, "paused_at": now} for name in sorted(set(queues) - existing)]
    if new:
        connection.execute(pauses.insert(), new)


def resume(connection: sa.Connection, queues: Collection[str]) -> None:
    """Resume ``queues``: bridges take messages from them again."""
    for some in chunks(queues):
        connection.execute(pauses.delete().where(pauses.c.queue.in_(some)))
