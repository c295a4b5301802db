"""``python -m bridge erase``: remove a person from SQL and from Odoo's event log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
import typer

from .. import connect
from ..contract.payloads import QUEUES
from ..errors import Outage
from ..odoo import Odoo
from ..queue import Queue
from ..store import erasure
from ..store.engine import in_transaction
from .console import MISUSED, DryRun, Yes, count_of, fail, load_settings, open_store, out


@dataclass(frozen=True)
class Erased:
    """What was removed (or would be), and what is left for an Odoo user to decide.

    :ivar sql: number of rows by kind
    :ivar events: payloads emptied in Odoo's event log; ``None`` in a dry run
    :ivar rejections: refused requests deleted in Odoo
    :ivar lead_ids: the person's opportunities in Odoo, which stay
    :ivar unreadable: dead letters that are not events, so that they name no person
    :ivar scrubbed: whether SQLite's file holds nothing any more of rows that are gone
    :ivar waiting: messages on the queues, of any person; ``None`` if the queue cannot be reached
    """

    sql: dict[str, int]
    events: int | None
    rejections: int | None
    lead_ids: Sequence[int]
    unreadable: int
    waiting: int | None
    scrubbed: bool = True


def erase(
    manychat_id: Annotated[str, typer.Option("--manychat-id", help="ManyChat id of the person to erase.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove a person from SQL and from Odoo's event log, and list what is left for an Odoo user to decide."""
    manychat_id = manychat_id.strip()
    if not manychat_id:
        fail("Give the ManyChat id of the person: --manychat-id.", MISUSED)
    settings = load_settings()
    engine = open_store(settings)
    odoo = connect.open_odoo(settings)
    has_queues = bool(settings.queue_connection_string or settings.queue_account_url)
    queues = [connect.open_queue(settings, name) for name in QUEUES.values()] if has_queues else []
    if not dry_run and not yes:
        typer.confirm("Remove this person for good?", abort=True)
    _print(erase_person(engine, odoo, queues, manychat_id, dry_run=dry_run), dry_run=dry_run)


def _print(erased: Erased, *, dry_run: bool) -> None:
    out.print("Would be removed:" if dry_run else "Removed:")
    for kind, number in erased.sql.items():
        out.print(f"  SQL: {kind} {number}")
    if erased.events is None:
        out.print("  Odoo: the payloads in its event log, and refused requests (a dry run does not ask Odoo)")
    else:
        out.print(f"  Odoo: event payloads {erased.events}, refused requests {erased.rejections}")
    out.print("Left:")
    leads = ", ".join(str(lead_id) for lead_id in erased.lead_ids) or "none" if not dry_run else "not asked"
    out.print(f"  Odoo: the opportunity itself, for an Odoo user to decide (crm.lead {leads})", soft_wrap=True)
    out.print("  SQL: audit rows without payload or name, which guard against applying an event twice", soft_wrap=True)
    if erased.unreadable:
        letters = count_of(erased.unreadable, "dead letter")
        out.print(f"  SQL: {letters} that are not events and name no person: see `dlq show`", soft_wrap=True)
    if not erased.scrubbed:
        out.print("  SQL: old copies in the database file, which other programs used. Erase again.", soft_wrap=True)
    if erased.waiting != 0:
        waiting = count_of(erased.waiting, "message") if erased.waiting else "unknown how many messages"
        out.print(
            f"  Queues: {waiting}, which may be about this person and would bring the data back. Erase again when "
            "the queues are empty.",
            soft_wrap=True,
        )


class _Rollback(Exception):
    """Ends the transaction of a dry run."""


def erase_person(engine: sa.Engine, odoo: Odoo, queues: Sequence[Queue], manychat_id: str, *, dry_run: bool) -> Erased:
    """Remove the person. A second call is harmless, and removes what has come since then.

    Odoo comes first: if it fails nothing is removed, and the command can simply be repeated.

    :raises bridge.errors.Outage: Odoo or SQL is down
    :raises bridge.errors.OdooRefused:
    """
    answer = {} if dry_run else odoo.erase(manychat_id)
    sql: dict[str, int] = {}

    def work(connection: sa.Connection) -> None:
        sql.update(erasure.erase(connection, manychat_id))
        if dry_run:
            raise _Rollback

    with suppress(_Rollback):
        in_transaction(engine, work)
    return Erased(
        sql=sql,
        events=None if dry_run else int(answer.get("events", 0)),
        rejections=None if dry_run else int(answer.get("rejections", 0)),
        lead_ids=[int(lead_id) for lead_id in answer.get("lead_ids", [])],
        unreadable=in_transaction(engine, erasure.unreadable_letters),
        waiting=_waiting(queues),
        scrubbed=dry_run or erasure.scrub(engine),
    )


def _waiting(queues: Sequence[Queue]) -> int | None:
    try:
        return sum(queue.depth() for queue in queues)
    except Outage:
        return None
