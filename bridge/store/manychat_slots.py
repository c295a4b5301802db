"""When the next call to ManyChat may be made: one row for all bridges, by the database's clock.

ManyChat's limits: writes 10 a second, and beyond that it may take no calls for 24 hours
(``https://help.manychat.com/hc/en-us/articles/14959510331420``, as of December 2025); sendFlow 25 a second there, and
20 in the API's own text (August 2026). So all calls together keep below the smallest of these numbers.

Each call takes a slot of its own, and slots lie apart by the same time: a token bucket that holds one token. A burst
that it let through would add to the calls of the second before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from . import database_clock
from .schema import manychat_slots

_C = manychat_slots.c
_ROW = 1
#: Pauses after answers that ManyChat takes too many calls, if it does not say for how long: the first, and the longest.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=24)
#: Slots that can be taken ahead of their time: more than all threads of all bridges wait for. If the next one is later,
#: the database's clock was ahead, and was put right.
MOST_AHEAD = 1000


@dataclass(frozen=True)
class Slot:
    """:ivar wait: seconds from now until the call may be made
    :ivar paused_until: no call may be made until then; there is no slot
    :ivar stops: pauses in a row, of which none was followed by a call that ManyChat took
    """

    wait: float
    paused_until: datetime | None = None
    stops: int = 0


@dataclass(frozen=True)
class Pause:
    """ManyChat takes no calls.

    :ivar reason: ManyChat's words
    """

    until: datetime
    reason: str


def take(connection: sa.Connection, per_second: float) -> Slot:
    """Take the next slot.

    :param per_second: calls of all bridges together
    """
    while True:
        row = _row(connection)
        now = database_clock.now(connection)
        if row.paused_until and now < row.paused_until:
            return Slot(0.0, row.paused_until)
        is_off = row.next_at > now + timedelta(seconds=MOST_AHEAD / per_second)
        slot = now if is_off else max(now, row.next_at)
        # The condition again: another bridge may have taken this slot since. Then this one takes the next.
        mine = manychat_slots.update().where(_C.id == _ROW, _C.next_at == row.next_at)
        if connection.execute(mine.values(next_at=slot + timedelta(seconds=1 / per_second))).rowcount:
            return Slot((slot - now).total_seconds(), stops=row.stops)


def pause(connection: sa.Connection, seconds: float | None, reason: str) -> datetime:
    """Let no bridge make a call for a while.

    :param seconds: for how long, as ManyChat says, a day at most; ``None``: it does not say, so twice as long as the
        time before
    :return: until when
    """
    row, now = _row(connection), database_clock.now(connection)
    said = None if seconds is None else min(timedelta(seconds=seconds), LONGEST_PAUSE)
    until: datetime
    if row.paused_until and now < row.paused_until:
        # Another thread had the same answer. A longer pause may follow, never a shorter one.
        until = row.paused_until if said is None else max(row.paused_until, now + said)
        stops = row.stops
    else:
        length = min(FIRST_PAUSE * 2 ** min(row.stops, 11), LONGEST_PAUSE) if said is None else said
        until, stops = now + length, row.stops + 1
    values = {"paused_until": until, "reason": reason[:256], "stops": stops}
    connection.execute(manychat_slots.update().where(_C.id == _ROW).values(values))
    return until


def succeeded(connection: sa.Connection) -> None:
    """Note that ManyChat takes calls: the next pause is a short one again."""
    connection.execute(manychat_slots.update().where(_C.id == _ROW, _C.stops > 0).values(stops=0))


def paused(connection: sa.Connection) -> Pause | None:
    """The pause that lasts at present."""
    row = connection.execute(sa.select(_C.paused_until, _C.reason).where(_C.id == _ROW)).first()
    if row is None or row.paused_until is None or row.paused_until <= database_clock.now(connection):
        return None
    return Pause(row.paused_until, row.reason or "")


def resume(connection: sa.Connection) -> None:
    """End the pause, because an operator knows that ManyChat takes calls again."""
    connection.execute(manychat_slots.update().where(_C.id == _ROW).values(paused_until=None, stops=0))


def _row(connection: sa.Connection) -> Any:
    statement = sa.select(_C.next_at, _C.paused_until, _C.stops).where(_C.id == _ROW)
    row = connection.execute(statement).first()
    if row is None:
        # Two at once: the second meets a duplicate key, and its transaction runs again.
        first = {"id": _ROW, "next_at": database_clock.now(connection), "stops": 0}
        connection.execute(manychat_slots.insert(), first)
        row = connection.execute(statement).one()
    return row
