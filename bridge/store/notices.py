"""The notices of dead letters on the dead-letter queue: which are to be sent, and which to be taken away.

The letter is the truth, and its notice only says that there is one. So a notice ends with the letter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

import sqlalchemy as sa
from sqlalchemy import bindparam

from .dead_letters import OPEN
from .rows import DeadLetterRow
from .schema import dead_letters
from .upsert import find

_D = dead_letters.c
_SENT = (
    dead_letters.update()
    .where(_D.id == bindparam("row_id"))
    .values(
        notified_at=bindparam("now", type_=_D.notified_at.type),
        notice_id=bindparam("new_notice_id", type_=_D.notice_id.type),
        notice_receipt=bindparam("new_notice_receipt", type_=_D.notice_receipt.type),
    )
)
_GONE = (
    dead_letters.update()
    .where(_D.id == bindparam("row_id"), _D.notice_id == bindparam("old_notice_id"))
    .values(notice_id=None, notice_receipt=None)
)
#: Most notices that one call names.
LIMIT = 100


@dataclass(frozen=True)
class Notice:
    """A message on the dead-letter queue.

    :ivar receipt: with which it can be deleted, as long as no program has received it
    """

    id: str
    receipt: str


def missing(connection: sa.Connection, message_ids: Collection[str]) -> list[DeadLetterRow]:
    """The open letters of these messages without a notice on the dead-letter queue."""
    statement = sa.select(dead_letters).where(_D.notified_at.is_(None), _D.status == OPEN)
    return [DeadLetterRow._make(row) for row in find(connection, statement, _D.message_id, message_ids)]


def mark_sent(connection: sa.Connection, sent: Mapping[int, Notice], now: datetime | None = None) -> None:
    """Note that the notices of these letters are on the dead-letter queue.

    :param sent: by the id of the letter
    """
    now = now or datetime.now(timezone.utc)
    rows = [
        {"row_id": letter_id, "now": now, "new_notice_id": notice.id, "new_notice_receipt": notice.receipt}
        for letter_id, notice in sorted(sent.items())
    ]
    if rows:
        connection.execute(_SENT, rows)


def outlived(connection: sa.Connection) -> dict[int, Notice]:
    """Notices of letters that are not open any more, by the id of the letter."""
    statement = sa.select(_D.id, _D.notice_id, _D.notice_receipt).where(_D.notice_id.is_not(None), _D.status != OPEN)
    rows = connection.execute(statement.order_by(_D.id).limit(LIMIT))
    return {row[0]: Notice(row[1], row[2]) for row in rows}


def mark_gone(connection: sa.Connection, gone: Mapping[int, Notice]) -> None:
    """Note that these notices are not on the dead-letter queue any more.

    :param gone: as :func:`outlived` returned them; a letter that has another notice since then keeps it
    """
    rows = [{"row_id": letter_id, "old_notice_id": notice.id} for letter_id, notice in sorted(gone.items())]
    if rows:
        connection.execute(_GONE, rows)
