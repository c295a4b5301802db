"""What happened to one opportunity, line by line: what a run prints of each one that is in a wrong stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from .system import System

_CHATTER = """
    SELECT message.create_date AS moment, value.create_uid AS user_id,
           value.old_value_integer AS before, value.new_value_integer AS after
      FROM mail_tracking_value value
      JOIN mail_message message ON message.id = value.mail_message_id AND message.model = 'crm.lead'
      JOIN ir_model_fields field ON field.id = value.field_id AND field.name = 'stage_id'
     WHERE message.res_id = %s
"""


def tell(system: System, engine: sa.Engine, lead_id: int) -> Iterator[str]:
    """Events as Odoo received them, moves as its chatter has them, and what was written to ManyChat; oldest first."""
    events = system.database_rows("SELECT * FROM manychat_event WHERE lead_id = %s", lead_id)
    lines = [(event.received_at, _event(event)) for event in events]
    for row in system.database_rows(_CHATTER, lead_id):
        lines.append((row.moment, f"chatter: user {row.user_id} moved it from {row.before} to {row.after}"))
    people = sorted({event.manychat_id for event in events})
    with engine.connect() as connection:
        written = sa.text("SELECT * FROM manychat_echoes WHERE manychat_id IN :people").bindparams(
            sa.bindparam("people", value=people, expanding=True)
        )
        for row in connection.execute(written).all() if people else ():
            by = "chat" if row.by_chat else "user"
            told = f"written: {row.manychat_id} is in {row.stage_id}, by {by}, as of {row.as_of}, echo {row.event_id}"
            lines.append((row.written_at, told))
    yield f"opportunity {lead_id} is of {', '.join(people)}"
    for moment, line in sorted(lines, key=lambda each: each[0].replace(tzinfo=None)):
        yield f"  {moment:%H:%M:%S.%f} {line}"


def _event(event: Any) -> str:
    state, extra = event.payload.get("state") or {}, event.extra or {}
    what = f"{event.type} {event.payload.get('decided') or state.get('stage_id')}"
    if event.type == "decision":
        what += f" {state.get('status')} {state.get('stage_id')} at {event.occurred_at:%H:%M:%S.%f}"
    else:
        what += f" of {state.get('date') or 'now'}{', an echo' if extra.get('is_echo') else ''}"
    moved = f"{event.stage_before_id} → {event.stage_after_id}"
    applied = f"{event.applied_at:%H:%M:%S.%f}" if event.applied_at else "never"
    return f"{event.event_id[:8]} {event.source} {what}: {event.outcome}, {moved}, {applied}"
