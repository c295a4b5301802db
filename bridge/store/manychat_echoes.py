"""Stages that we wrote to ManyChat and that come back as events: a bot may send each change of its fields.

An echo says nothing new. As an event of its own date it would be newer than what a person decided since, and undo it.
A customer may say the same stage as well. What may be either is marked so, and Odoo decides: it knows, under the
opportunity's lock, whether a user has moved it since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from ..contract.event import Event
from ..contract.payloads import Opportunity
from ..contract.text import normalized
from . import database_clock
from .schema import audit, manychat_echoes
from .upsert import find

_E = manychat_echoes.c
_AUDIT_IDS = sa.select(audit.c.event_id, audit.c.id)
#: An event that comes later is what a customer did.
ECHO_WITHIN = timedelta(minutes=15)
#: The same for a stage that the chat itself entered: it may leave it and come back soon.
CHAT_ECHO_WITHIN = timedelta(minutes=1)
#: An echo comes within a second or two. Within this time no customer leaves a stage and comes back to it.
SOON = timedelta(seconds=10)
#: The clocks of SQL and of the webhook may differ so much, and those of synchronised servers so much.
SKEW, SYNCHRONISED = timedelta(minutes=5), timedelta(seconds=5)
#: An event that comes again is recognised for this long.
KEPT = timedelta(days=7)


def expect(
    connection: sa.Connection,
    manychat_id: str,
    state: Mapping[str, Any],
    as_of: datetime,
    *,
    by_chat: bool = False,
    changes: bool = False,
) -> None:
    """Note, right before the call, that a stage is written.

    Writing the same state again expects no second echo, unless it replaces what the bot has written since. Each call
    has a row of its own: the echo of a call whose answer got lost may still wait while the stage is written again.

    :param by_chat: the chat itself brought the opportunity into the stage
    :param changes: ManyChat has certainly another value at present
    """
    newest = connection.scalar(sa.select(sa.func.max(audit.c.id)))
    written = {"written_at": database_clock.now(connection), "after_audit_id": newest}
    same = sa.select(_E.id, _E.event_id).where(_E.manychat_id == manychat_id, _E.as_of == as_of)
    # Sorted here: to sort there, PostgreSQL may read the whole table by its key.
    came_back = [row.event_id for row in sorted(connection.execute(same), key=attrgetter("id"))]
    # What came back already was the echo of the calls before.
    event_id = None if changes or None in came_back or not came_back else came_back[-1]
    stage = str(state["stage"] or state["stage_id"])
    row = {"manychat_id": manychat_id, "stage": stage, "stage_id": state["stage_id"], "as_of": as_of}
    connection.execute(manychat_echoes.insert(), {**row, "by_chat": by_chat, "event_id": event_id, **written})


def recognise(connection: sa.Connection, events: Sequence[Event]) -> list[Event]:
    """The same events, those marked that repeat what we wrote: ``echo_of``, or ``may_echo`` where it is not certain.

    An event is always marked the same way: what was here before the stage was written is no echo of it, however often
    it is tried, and what was once recognised stays so.

    Also while write-back is off: what was written just before comes back as well.
    """
    people = {event.manychat_id for event in events}
    rows = sorted(find(connection, sa.select(manychat_echoes), _E.manychat_id, people), key=attrgetter("id"))
    ids = {event.id for event in events} if rows else set()
    known = {row.event_id: row.id for row in find(connection, _AUDIT_IDS, audit.c.event_id, ids)}
    echoes = {row.event_id: row.as_of for row in rows}
    written = [row for row in rows if row.event_id is None]
    marked = {}
    for event in sorted(events, key=lambda each: (each.received_at, each.id)):
        as_of = echoes.get(event.id)
        repeated = [row for row in rows if _repeats(event, row, known.get(event.id))] if as_of is None else []
        for row in repeated:
            if row in written and _is_probable(event, row, rows) and _take(connection, row, event.id):
                as_of = row.as_of
                written = [other for other in written if not _is_same(other, row)]
                break
        marked[event.id] = replace(event, echo_of=as_of, may_echo=as_of is None and bool(repeated))
    return [marked[event.id] for event in events]


def purge(connection: sa.Connection) -> None:
    """Delete what no event can be an echo of any more."""
    connection.execute(manychat_echoes.delete().where(_E.written_at < database_clock.now(connection) - KEPT))


def _repeats(event: Event, row: sa.Row[Any], audit_id: int | None) -> bool:
    """
    :param audit_id: of the event
    """
    if audit_id is not None and audit_id <= (row.after_audit_id or 0):
        # It was here before, and another bridge may have tried it already.
        return False
    if event.manychat_id != row.manychat_id or not isinstance(event.payload, Opportunity):
        return False
    if event.source == "cli":  # no push of ManyChat
        return False
    # By the sender's own date, too: an event of before has a date that keeps it in its place, and is no echo.
    latest = row.written_at + (CHAT_ECHO_WITHIN if row.by_chat else ECHO_WITHIN)
    if not all(row.written_at - SKEW <= moment <= latest for moment in (event.received_at, event.occurred_at)):
        return False
    state = event.payload.state
    # The number wins where both come, as in the stage map.
    if state.stage_id is not None:
        return bool(state.stage_id == row.stage_id)
    return state.stage is not None and _alike(state.stage) == _alike(row.stage)


def _is_probable(event: Event, row: sa.Row[Any], rows: Iterable[sa.Row[Any]]) -> bool:
    """Whether an event that repeats what was written is its echo rather than a customer's."""
    if event.received_at < row.written_at - SYNCHRONISED:
        # It waited for Odoo, while the same stage was written.
        return False
    if not row.by_chat or event.received_at <= row.written_at + SOON:
        return True
    # Has the chat, which entered the stage, left it since? Then the customer has come back.
    return not any(
        (other.manychat_id, other.stage_id != row.stage_id or other.stage != row.stage) == (row.manychat_id, True)
        and row.written_at < other.written_at < event.received_at
        for other in rows
    )


def _alike(label: str) -> str:
    """The form in which Odoo compares labels."""
    return " ".join(normalized(label).split()).casefold()


def _is_same(one: sa.Row[Any], other: sa.Row[Any]) -> bool:
    """Whether two calls wrote the same state: one echo is expected of both."""
    return bool((one.manychat_id, one.as_of) == (other.manychat_id, other.as_of))


def _take(connection: sa.Connection, row: sa.Row[Any], event_id: str) -> bool:
    # The same event may be in the hands of two bridges.
    is_mine = sa.or_(_E.event_id.is_(None), _E.event_id == event_id)
    mine = manychat_echoes.update().where(_E.manychat_id == row.manychat_id, _E.as_of == row.as_of, is_mine)
    return bool(connection.execute(mine.values(event_id=event_id)).rowcount)
