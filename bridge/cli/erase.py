"""``python -m bridge erase``: remove a person from SQL and from Odoo's event log, and say what is left."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa

from ..errors import Outage
from ..odoo import Odoo
from ..queue import Queue
from ..store import erasure
from ..store.engine import in_transaction


@dataclass(frozen=True)
class Erased:
    """What was removed (or would be), and what is left for somebody to decide.

    :ivar sql: rows by kind
    :ivar events: payloads emptied in Odoo's event log; ``None`` if Odoo was not asked
    :ivar rejections: refused requests deleted in Odoo
    :ivar lead_ids: the person's opportunities in Odoo, which stay
    :ivar unreadable: dead letters that are no events, and name nobody
    :ivar waiting: messages on the queues, of whomever; ``None`` if the queue cannot be reached
    """

    sql: dict[str, int]
    events: int | None
    rejections: int | None
    lead_ids: Sequence[int]
    unreadable: int
    waiting: int | None


class _Undo(Exception):
    """Rolls a rehearsal back."""


def erase(engine: sa.Engine, odoo: Odoo, queues: Sequence[Queue], manychat_id: str, *, dry_run: bool) -> Erased:
    """Remove the person. Doing it again is harmless, and removes what has come since.

    Odoo first: if it fails nothing is removed, and the command can simply be repeated.

    :raises bridge.errors.Outage: Odoo or SQL is away
    :raises bridge.errors.OdooRefused:
    """
    answer = {} if dry_run else odoo.erase(manychat_id)
    sql: dict[str, int] = {}

    def work(connection: sa.Connection) -> None:
        sql.update(erasure.erase(connection, manychat_id))
        if dry_run:
            raise _Undo

    with suppress(_Undo):
        in_transaction(engine, work)
    return Erased(
        sql=sql,
        events=None if dry_run else int(answer.get("events", 0)),
        rejections=None if dry_run else int(answer.get("rejections", 0)),
        lead_ids=[int(lead_id) for lead_id in answer.get("lead_ids", [])],
        unreadable=in_transaction(engine, erasure.unreadable_letters),
        waiting=_waiting(queues),
    )


def _waiting(queues: Sequence[Queue]) -> int | None:
    try:
        return sum(queue.depth() for queue in queues)
    except Outage:
        return None
