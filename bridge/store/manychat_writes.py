"""What each person should see in ManyChat, and what was written there: the truth of which the queue is the call bell.

A row has the newest state of one person's opportunity. It is written in the transaction that writes the state, so
neither a kill nor an outage loses it. One bridge at a time writes to a person: it holds the row's lease, or an older
state could arrive at ManyChat after a newer one.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa

from ..contract import traceparent
from ..contract.fields import format_datetime, to_datetime
from ..contract.opportunity_state import Actor
from ..write_back import SETTING, Rules, Values, rules_of
from . import database_clock, odoo_settings
from .schema import audit, manychat_writes
from .upsert import to_json

_W = manychat_writes.c
#: Name, among the settings of Odoo, of the moment when write-back was switched on last.
SINCE = "write_back_since"
#: What the chat brings about is written after the chat has rested for so long. A bot passes several stages in seconds:
#: written at once, an older stage would overwrite the newer one that the bot has set since.
CHAT_REST = timedelta(seconds=10)
#: Seconds for which a bridge may write to one person. Where calls take so long that it may end, the rest waits.
LEASE = 60


@dataclass(frozen=True)
class Claim:
    """A person to whom this bridge may write now.

    :ivar state: as :func:`bridge.write_back.shown` made it
    :ivar by: who brought the opportunity into it: value of :class:`bridge.contract.opportunity_state.Actor`
    :ivar sent: what ManyChat has; ``None`` of what it may have
    :ivar was_refused: ManyChat refused what was sent before
    :ivar attempts: in vain, to write this state
    :ivar traceparent: of the event that brought the state; empty if its id is none of an event's
    """

    manychat_id: str
    lease: str
    state: Mapping[str, Any]
    as_of: datetime
    by: str
    event_id: str
    sent: Values
    was_refused: bool
    attempts: int
    flow_event_id: str | None
    flow_wanted_at: datetime | None
    traceparent: str

    @property
    def trace_id(self) -> str:
        return traceparent.trace_id(self.traceparent)


_IS_UNSENT = _W.sent_as_of.is_(None)


class Idle(enum.Enum):
    """Why there is nothing to write to a person."""

    #: A newer state follows by a message of its own.
    OVERTAKEN = enum.auto()
    #: ManyChat has it.
    SENT = enum.auto()
    #: Another bridge writes to this person.
    BUSY = enum.auto()


def rules(connection: sa.Connection) -> Rules:
    """What administrators set in Odoo."""
    return rules_of(odoo_settings.get(connection, SETTING))


def take_over(connection: sa.Connection, settings: Mapping[str, Any]) -> list[str]:
    """Store settings of Odoo. What people decided before write-back was switched on is not written.

    :return: names of those that changed
    """
    was_on = rules(connection).enabled
    changed = odoo_settings.take_over(connection, settings)
    if SETTING in changed and not was_on:
        begin_anew(connection)
    return changed


def begin_anew(connection: sa.Connection) -> None:
    """Write only what is decided from now on, if write-back is on, and trust nothing that was noted of ManyChat.

    It was off until now, or SQL was restored from a backup: ManyChat may have something else since, and flows may have
    started of which the backup does not know.
    """
    if not rules(connection).enabled:
        return
    now = database_clock.now(connection)
    odoo_settings.take_over(connection, {SINCE: format_datetime(now)})
    done = {"sent_as_of": _W.wanted_as_of, "queued_at": now, "flow_event_id": None, "flow_wanted_at": None}
    connection.execute(manychat_writes.update().where(_IS_UNSENT).values(done))


def switched_on_at(connection: sa.Connection) -> datetime:
    """When write-back was switched on last; the earliest moment there is if that is not known."""
    since = to_datetime(odoo_settings.get(connection, SINCE))
    return since if isinstance(since, datetime) else datetime.min.replace(tzinfo=timezone.utc)


def is_from_before(row: Mapping[str, Any], since: datetime) -> bool:
    """Whether nothing was written to the person since write-back was switched on: the bot may have written before."""
    written_at = row.get("result_at")
    return bool(row["created_at"] < since and (written_at is None or written_at < since))


def unqueued(connection: sa.Connection, limit: int) -> Sequence[Any]:
    """States that go on the queue now: ``manychat_id``, ``wanted_as_of``, ``event_id``, ``wanted_by`` of each.

    A user's decision goes at once, the chat's own move after :data:`CHAT_REST`.
    """
    columns = (_W.manychat_id, _W.wanted_as_of, _W.event_id, _W.wanted_by, _W.flow_event_id, _W.forget)
    rested_since = database_clock.now(connection) - CHAT_REST
    goes = sa.or_(_W.wanted_by != Actor.CHAT.value, _W.flow_event_id.is_not(None), _W.updated_at <= rested_since)
    statement = sa.select(*columns).where(_W.queued_at.is_(None), goes)
    return connection.execute(statement.order_by(_W.id).limit(limit)).all()


def mark_queued(connection: sa.Connection, rows: Iterable[Any]) -> None:
    """Note that these states are on the queue, unless more is to be written meanwhile: then each comes again."""
    now = database_clock.now(connection)
    for row in rows:
        flow = _W.flow_event_id.is_(None) if row.flow_event_id is None else _W.flow_event_id == row.flow_event_id
        same = (_W.manychat_id == row.manychat_id, _W.wanted_as_of == row.wanted_as_of, _W.forget == row.forget, flow)
        connection.execute(manychat_writes.update().where(*same).values(queued_at=now))


def queue_again(connection: sa.Connection, older_than: timedelta, depth: int) -> int:
    """Have states put on the queue again if it has fewer messages than there are states: some got lost.

    :param depth: messages on the queue
    :return: how many
    """
    before = database_clock.now(connection) - older_than
    queued = sa.select(sa.func.count()).select_from(manychat_writes).where(_W.queued_at < before, _IS_UNSENT)
    if (connection.scalar(queued) or 0) <= depth:
        return 0
    statement = manychat_writes.update().where(_W.queued_at < before, _IS_UNSENT)
    return connection.execute(statement.values(queued_at=None)).rowcount


def claim(connection: sa.Connection, manychat_id: str, as_of: datetime, lease: str) -> Claim | Idle:
    """Take a person, to write their newest state.

    :param as_of: of the state that the message speaks of
    :param lease: chosen by the caller, unique
    """
    known = manychat_writes.outerjoin(audit, audit.c.event_id == _W.event_id)
    statement = sa.select(manychat_writes, audit.c.traceparent).select_from(known)
    row = connection.execute(statement.where(_W.manychat_id == manychat_id)).first()
    if row is None:
        return Idle.SENT
    if as_of < row.wanted_as_of:
        return Idle.OVERTAKEN
    if row.sent_as_of is not None:
        return Idle.SENT
    now = database_clock.now(connection)
    free = sa.or_(_W.leased_until.is_(None), _W.leased_until < now)
    unchanged = (_W.wanted_as_of == row.wanted_as_of, _W.forget == row.forget)
    take = manychat_writes.update().where(_W.manychat_id == manychat_id, free, *unchanged)
    values = {"lease": lease, "leased_until": now + timedelta(seconds=LEASE), "forget": False}
    sent: Values = json.loads(row.sent) if row.sent else {}
    since = switched_on_at(connection)
    if row.forget or is_from_before(dict(row._mapping), since):
        # The bot wrote, too, or may have while write-back was off.
        # That a tag was given is not forgotten, or it would never be taken away.
        sent = {key: None for key, value in sent.items() if key.startswith("tag:") and value is not False}
        # In the same breath: if this bridge is killed now, the next one must not trust it either.
        values["sent"] = to_json(sent)
    if not connection.execute(take.values(values)).rowcount:
        return Idle.BUSY
    return Claim(
        manychat_id, lease, json.loads(row.wanted), row.wanted_as_of, row.wanted_by, row.event_id, sent,
        row.refused_code is not None, row.attempts, row.flow_event_id, row.flow_wanted_at,
        traceparent.parse(row.traceparent or traceparent.of_event(row.event_id)),
    )  # fmt: skip


def begin(connection: sa.Connection, claim: Claim, sent: Values) -> bool:
    """Note, before the calls, what ManyChat may have from now on: a call without an answer may have changed it.

    :param sent: ``None`` of each such value
    :return: ``False`` if the lease has ended
    """
    mine = (_W.manychat_id == claim.manychat_id, _W.lease == claim.lease)
    return bool(connection.execute(manychat_writes.update().where(*mine).values(sent=to_json(sent))).rowcount)


def release(connection: sa.Connection, claim: Claim, sent: Values, *, in_vain: bool = False) -> None:
    """Give a person back that was not finished: what ManyChat took so far stays noted.

    :param in_vain: an attempt failed, perhaps for a reason that only this person has
    """
    mine = (_W.manychat_id == claim.manychat_id, _W.lease == claim.lease)
    values: dict[str, Any] = {"lease": None, "leased_until": None, "sent": to_json(sent)}
    if in_vain:
        # A newer state has attempts of its own.
        values["attempts"] = sa.case((_W.wanted_as_of == claim.as_of, claim.attempts + 1), else_=_W.attempts)
    if not connection.execute(manychat_writes.update().where(*mine).values(values)).rowcount:
        write_again(connection, claim.manychat_id)


def finish(connection: sa.Connection, claim: Claim, sent: Values, refused: tuple[str, str] | None) -> bool:
    """Note what ManyChat has now, and what it refused.

    :param refused: code and ManyChat's words
    :return: ``False`` if the lease had ended: another bridge may have written since, in whatever order. Then the
        newest state is written again.
    """
    now = database_clock.now(connection)
    flow = claim.flow_event_id
    has_no_other_flow = sa.or_(_W.flow_event_id.is_(None), _W.flow_event_id == (flow or ""))
    # Unless something was written meanwhile that this bridge knows nothing of.
    is_newest = sa.and_(_W.wanted_as_of == claim.as_of, _W.forget == sa.false(), has_no_other_flow)
    values: dict[str, Any] = {
        "sent": to_json(sent),
        "sent_as_of": sa.case((is_newest, _W.wanted_as_of), else_=sa.null()),
        "lease": None,
        "leased_until": None,
        # Started or refused, it has had its turn, unless a later decision asks for another one.
        "flow_event_id": sa.case((_W.flow_event_id == (flow or ""), sa.null()), else_=_W.flow_event_id),
        "refused_code": refused[0][:64] if refused else None,
        "refused": refused[1] if refused else None,
        "result_at": now,
        "updated_at": now,
    }
    if refused or claim.was_refused:
        values["to_report"] = True
    mine = (_W.manychat_id == claim.manychat_id, _W.lease == claim.lease)
    if connection.execute(manychat_writes.update().where(*mine).values(values)).rowcount:
        return True
    write_again(connection, claim.manychat_id)
    return False


def write_again(connection: sa.Connection, manychat_id: str) -> None:
    """Have a person's newest state written again, whatever was written before."""
    again = {"forget": True, "queued_at": None, "sent_as_of": None}
    connection.execute(manychat_writes.update().where(_W.manychat_id == manychat_id).values(again))


def unreported(connection: sa.Connection, limit: int) -> Sequence[Any]:
    """Answers of ManyChat that Odoo does not know."""
    columns = (_W.manychat_id, _W.event_id, _W.refused_code, _W.refused, _W.result_at)
    return connection.execute(sa.select(*columns).where(_W.to_report == sa.true()).limit(limit)).all()


def mark_reported(connection: sa.Connection, rows: Iterable[Any]) -> None:
    """Note that Odoo knows these answers, unless newer ones came meanwhile."""
    for row in rows:
        same = (_W.manychat_id == row.manychat_id, _W.result_at == row.result_at)
        connection.execute(manychat_writes.update().where(*same).values(to_report=False))


@dataclass(frozen=True)
class Summary:
    """What operators see of write-back.

    :ivar waiting: people whose state is not written yet
    :ivar waits_since: since when the first of them waits
    :ivar refused: people of whom ManyChat refused the newest state
    """

    enabled: bool
    waiting: int = 0
    waits_since: datetime | None = None
    refused: int = 0


def summary(connection: sa.Connection) -> Summary:
    """How many people wait, and how many were refused, while write-back is on."""
    if not rules(connection).enabled:
        return Summary(enabled=False)
    columns = sa.select(sa.func.count(), sa.func.min(_W.updated_at)).select_from(manychat_writes).where(_IS_UNSENT)
    waiting, since = connection.execute(columns).one()
    refused = sa.select(sa.func.count()).select_from(manychat_writes).where(_W.refused_code.is_not(None))
    return Summary(True, waiting, since, connection.scalar(refused) or 0)
