"""What people should see in ManyChat from now on: each state that comes to SQL, noted in its own transaction.

:mod:`.manychat_writes` has what becomes of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..contract.opportunity_state import Actor, OpportunityState
from ..write_back import shown
from . import database_clock
from .manychat_writes import is_from_before, rules, switched_on_at
from .schema import manychat_writes
from .upsert import chunks, find, to_json

_W = manychat_writes.c
#: It is put on the queue once more.
_AGAIN = {"queued_at": None}


@dataclass(frozen=True)
class Wish:
    """A state that came to SQL.

    :ivar moved: it is a decision that brought the opportunity into its stage
    :ivar said: the chat named a stage by this event, so ManyChat shows that stage from before the event on
    :ivar overruled: the stage that it named is not that of the state
    """

    manychat_id: str
    state: OpportunityState
    by: Actor
    event_id: str
    moved: bool = False
    said: bool = False
    overruled: bool = False


def want(connection: sa.Connection, wishes: Collection[Wish], *, whenever: bool = False) -> None:
    """Note what ManyChat should show, of states since write-back was switched on. Nothing happens while it is off.

    Call it in the transaction that writes the states.

    :param whenever: also of states from before that, because an operator wants so
    """
    if not wishes or not rules(connection).enabled:
        return
    since = switched_on_at(connection)
    wishes = [wish for wish in wishes if whenever or wish.state.as_of >= since]
    now = database_clock.now(connection)
    people = {wish.manychat_id for wish in wishes}
    for some in chunks(people):
        # Takes the locks, so that what is read next is still so when it is written.
        connection.execute(manychat_writes.update().where(_W.manychat_id.in_(some)).values(lease=_W.lease))
    found = find(connection, sa.select(manychat_writes), _W.manychat_id, people)
    rows: dict[str, dict[str, Any]] = {row.manychat_id: dict(row._mapping) for row in found}
    for wish in sorted(wishes, key=lambda each: (each.manychat_id, each.state.as_of)):
        before = rows.get(wish.manychat_id)
        if before is None:
            values = {"manychat_id": wish.manychat_id, "created_at": now, "updated_at": now}
            values |= {"forget": False, "to_report": False, "attempts": 0, **_changes(wish, {}, since)}
            connection.execute(manychat_writes.insert().values(values))
        else:
            is_late = wish.state.as_of <= before["wanted_as_of"]
            changes = _later(wish, before) if is_late else _changes(wish, before, since)
            if not changes:
                continue
            values = {**changes, "updated_at": now}
            connection.execute(manychat_writes.update().where(_W.manychat_id == wish.manychat_id).values(values))
        rows[wish.manychat_id] = {**(before or {}), **values}


def _changes(wish: Wish, before: Mapping[str, Any], since: datetime) -> dict[str, Any]:
    """What a newer state changes in the row; nothing if ManyChat shows the same of it.

    :param since: when write-back was switched on last
    """
    state = to_json(shown(wish.state))
    starts_flow = wish.moved and wish.by is not Actor.CHAT
    forgets = _forgets(wish, before) or bool(before and (before["forget"] or is_from_before(before, since)))
    if before and before["wanted"] == state and not starts_flow and not forgets:
        # Nothing to write, and yet an older state that comes after this one must not count as newer.
        return {"wanted_as_of": wish.state.as_of, **({"sent_as_of": wish.state.as_of} if _is_sent(before) else _AGAIN)}
    changes: dict[str, Any] = {
        "wanted": state,
        "wanted_as_of": wish.state.as_of,
        "wanted_by": wish.by.value,
        "event_id": wish.event_id,
        "queued_at": None,
        "sent_as_of": None,
        "attempts": 0,
    }
    stage_before = json.loads(before["wanted"])["odoo_stage_id"] if before else None
    if starts_flow:
        changes |= {"flow_event_id": wish.event_id, "flow_wanted_at": wish.state.as_of}
    elif not before or stage_before != wish.state.stage_id:
        changes |= {"flow_event_id": None, "flow_wanted_at": None}
    return changes | ({"forget": True} if forgets else {})


def _later(wish: Wish, before: Mapping[str, Any]) -> dict[str, Any]:
    """What an older state changes that comes after a newer one: the flow of a stage that did not change since.

    And what ManyChat shows, if the chat named another stage: ManyChat may have got the newer one before that.
    """
    if _forgets(wish, before):
        return {"forget": True, "sent_as_of": None, **_AGAIN}
    same_stage = json.loads(before["wanted"])["odoo_stage_id"] == wish.state.stage_id
    known = before["flow_wanted_at"]
    is_news = wish.event_id != before["flow_event_id"] and (known is None or known < wish.state.as_of)
    if not (wish.moved and wish.by is not Actor.CHAT and same_stage and is_news):
        return {}
    return {"flow_event_id": wish.event_id, "flow_wanted_at": wish.state.as_of, "sent_as_of": None, **_AGAIN}


def _forgets(wish: Wish, before: Mapping[str, Any]) -> bool:
    """Whether ManyChat shows another stage than was written there last: the chat has named one since."""
    if not before or not wish.said:
        return False
    is_other = bool(json.loads(before["wanted"])["odoo_stage_id"] != wish.state.stage_id)
    return wish.overruled or is_other or not _is_sent(before)


def _is_sent(row: Mapping[str, Any]) -> bool:
    return row["sent_as_of"] is not None and row["sent_as_of"] >= row["wanted_as_of"]
