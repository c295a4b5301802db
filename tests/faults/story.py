"""What happened to an opportunity, line by line: a run prints it of each one that a problem names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from bridge.store.schema import manychat_echoes, opportunities, opportunity_stages

from .system import System

_CHATTER = """
    SELECT message.create_date AS moment, value.create_uid AS user_id,
           value.old_value_integer AS before, value.new_value_integer AS after
      FROM mail_tracking_value value
      JOIN mail_message message ON message.id = value.mail_message_id AND message.model = 'crm.lead'
      JOIN ir_model_fields field ON field.id = value.field_id AND field.name = 'stage_id'
     WHERE message.res_id = %s
"""


_NAMED = re.compile(r"opportunity (?P<lead_id>\d+)|(?P<event_id>\b[0-9a-f]{64}\b)|(?P<manychat_id>\bMC-[^: ]+):")


def of_problems(system: System, engine: sa.Engine, problems: Iterable[str]) -> Iterator[str]:
    """The story of each person whom one of ``problems`` names: by the opportunity, an event or the ManyChat id."""
    people = set()
    for match in filter(None, map(_NAMED.search, problems)):
        kind = match.lastgroup or ""
        statement = f"SELECT DISTINCT manychat_id FROM manychat_event WHERE {kind}::text = %s"
        people |= {row.manychat_id for row in system.database_rows(statement, match[kind])}
    for manychat_id in sorted(people):
        yield from _tell(system, engine, manychat_id)


def _tell(system: System, engine: sa.Engine, manychat_id: str) -> Iterator[str]:
    """Events as Odoo received them, moves in its chatter and in SQL, and what was written to ManyChat; oldest first."""
    events = system.database_rows("SELECT * FROM manychat_event WHERE manychat_id = %s", manychat_id)
    lines = [(event.received_at, _event(event)) for event in events]
    for lead_id in {event.lead_id for event in events if event.lead_id}:
        lines += [
            (row.moment, f"chatter of {lead_id}: user {row.user_id} moved it from {row.before} to {row.after}")
            for row in system.database_rows(_CHATTER, lead_id)
        ]
    with engine.connect() as connection:
        written = sa.select(manychat_echoes).where(manychat_echoes.c.manychat_id == manychat_id)
        lines += [
            (row.written_at, f"written: {row.stage_id} as of {row.as_of}, by chat: {row.by_chat}, echo {row.event_id}")
            for row in connection.execute(written)
        ]
        moves = sa.select(opportunity_stages).join(opportunities).where(opportunities.c.manychat_id == manychat_id)
        lines += [
            (row.event_at, f"SQL: {row.stage_from} → {row.stage_to}, {row.status}, {row.moved_by}, {row.event_id[:8]}")
            for row in connection.execute(moves)
        ]
    yield f"{manychat_id}:"
    for moment, line in sorted((moment.replace(tzinfo=None), line) for moment, line in lines):
        yield f"  {moment:%H:%M:%S.%f} {line}"


def _event(event: Any) -> str:
    state, extra = event.payload.get("state") or {}, event.extra or {}
    said = {name: value for name, value in event.payload.items() if name not in ("state", "decided", "manychat_id")}
    what = f"{event.type} {event.payload.get('decided') or state.get('stage_id')}"
    if event.type == "decision":
        what += f" {state.get('status')} {state.get('stage_id')} at {event.occurred_at:%H:%M:%S.%f}"
    else:
        what += f" of {state.get('date') or 'now'}{', an echo' if extra.get('is_echo') else ''}"
    moved = f"{event.stage_before_id} → {event.stage_after_id}"
    applied = f"{event.applied_at:%H:%M:%S.%f}" if event.applied_at else "never"
    ends = f"{event.outcome}, {moved}, {applied}; {json.dumps(said, ensure_ascii=False)}"
    return f"{event.event_id[:8]} of {event.lead_id}, {event.source} {what}: {ends}"
