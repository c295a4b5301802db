"""What the tables know of one event, or of a person's events, for `trace`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .schema import audit, dead_letters, opportunities, opportunity_stages

#: Events, and moves, told of at once; somebody reads them on a terminal.
MOST = 50

# Not the payload, and not an error's text: they quote people.
_UNTOLD = {"id", "payload", "error", "body", "message", "message_id"}
_COLUMNS = [column for column in audit.c if column.name not in _UNTOLD]
_LETTER = [column for column in dead_letters.c if column.name not in _UNTOLD - {"id"}]


@dataclass(frozen=True)
class Kept:
    """
    :ivar opportunity: the person's, as it is now
    :ivar moves: the opportunity's newest, oldest of them first
    """

    dead_letter: Any | None
    opportunity: Any | None
    moves: list[Any]


def events_like(connection: sa.Connection, beginning: str) -> list[Any]:
    """Audit rows of the events whose id begins like that, newest first.

    :param beginning: hexadecimal
    """
    # A range: an index serves it whatever the collation, and "g" comes after all hexadecimal digits.
    like = sa.and_(audit.c.event_id >= beginning, audit.c.event_id < beginning + "g")
    return list(connection.execute(sa.select(*_COLUMNS).where(like).order_by(audit.c.event_id).limit(MOST)))


def events_of(connection: sa.Connection, manychat_id: str) -> list[Any]:
    """Audit rows of a person's newest events, newest first."""
    mine = sa.select(*_COLUMNS).where(audit.c.manychat_id == manychat_id)
    return list(connection.execute(mine.order_by(audit.c.occurred_at.desc()).limit(MOST)))


def letters_like(connection: sa.Connection, beginning: str) -> list[str]:
    """Ids, so beginning, of events that left a dead letter: their audit row may be purged."""
    column = dead_letters.c.event_id
    like = sa.and_(column >= beginning, column < beginning + "g")
    return [row[0] for row in connection.execute(sa.select(column).where(like).order_by(column).limit(MOST))]


def kept(connection: sa.Connection, event_id: str, manychat_id: str | None) -> Kept:
    """What there is besides the audit row."""
    letter = connection.execute(sa.select(*_LETTER).where(dead_letters.c.event_id == event_id)).first()
    # Nobody's id is "", and of "= NULL" SQLAlchemy makes "IS NULL", for which the whole table is read.
    manychat_id = manychat_id or (letter.manychat_id if letter else None) or ""
    names = ["id", "lead_id", "stage", "odoo_sync_status", "odoo_synced_at", "attempts", "event_id", "updated_at"]
    opportunity = connection.execute(
        sa.select(*(opportunities.c[name] for name in names)).where(opportunities.c.manychat_id == manychat_id)
    ).first()
    moves: list[Any] = []
    if opportunity:
        mine = sa.select(opportunity_stages).where(opportunity_stages.c.opportunity_id == opportunity.id)
        moves = list(connection.execute(mine.order_by(opportunity_stages.c.event_at.desc()).limit(MOST)))[::-1]
    return Kept(letter, opportunity, moves)
