"""Queues from which no bridge shall take messages, until somebody says that they may again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone

import sqlalchemy as sa

from .schema import pauses
from .upsert import chunks, find


def paused(connection: sa.Connection) -> dict[str, datetime]:
    """Since when each paused queue is, by its name."""
    return {row[0]: row[1] for row in connection.execute(sa.select(pauses.c.queue, pauses.c.paused_at))}


def pause(connection: sa.Connection, queues: Collection[str], now: datetime | None = None) -> None:
    """Pause ``queues``; those that are already keep their time."""
    now = now or datetime.now(timezone.utc)
    there = {row[0] for row in find(connection, sa.select(pauses.c.queue), pauses.c.queue, queues)}
    new = [{"queue": name, "paused_at": now} for name in sorted(set(queues) - there)]
    if new:
        connection.execute(pauses.insert(), new)


def resume(connection: sa.Connection, queues: Collection[str]) -> None:
    """Let messages be taken from ``queues`` again."""
    for some in chunks(queues):
        connection.execute(pauses.delete().where(pauses.c.queue.in_(some)))
