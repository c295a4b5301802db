"""What Odoo's users decided, as Odoo's own records have it, and whether SQL has the same: who moved what, in order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from .system import System

#: As Odoo's tables have it, past everything that is under test.
_OPPORTUNITIES = """
    SELECT identity.manychat_id, lead.id AS lead_id, lead.stage_id, stage.name ->> 'en_US' AS stage,
           CASE WHEN NOT lead.active THEN 'lost' WHEN stage.is_won THEN 'won' ELSE 'open' END AS status,
           CASE WHEN NOT lead.active THEN reason.name ->> 'en_US' END AS lost_reason,
           lead.user_id AS salesperson_id, partner.name AS salesperson, lead.team_id,
           COALESCE(lead.expected_revenue, 0)::float AS expected_revenue,
           CASE WHEN identity.id <> first_value(identity.id) OVER (
                         PARTITION BY lead.id ORDER BY identity.sequence, identity.id)
                THEN lead.id END AS merged_into,
           map.manychat_stage_id, map.name AS manychat_stage
      FROM manychat_identity identity
      JOIN crm_lead lead ON lead.id = identity.lead_id
      JOIN crm_stage stage ON stage.id = lead.stage_id
 LEFT JOIN manychat_stage_map map ON map.stage_id = stage.id AND map.active
 LEFT JOIN crm_lost_reason reason ON reason.id = lead.lost_reason_id
 LEFT JOIN res_users users ON users.id = lead.user_id
 LEFT JOIN res_partner partner ON partner.id = users.partner_id
"""
#: What the chatter tells of users' moves; a user's act is one transaction, and may tell of its stage once.
_MOVES = """
    SELECT message.res_id AS lead_id, old.name ->> 'en_US' AS before, new.name ->> 'en_US' AS after, value.create_uid
      FROM mail_tracking_value value
      JOIN mail_message message ON message.id = value.mail_message_id AND message.model = 'crm.lead'
      JOIN ir_model_fields field ON field.id = value.field_id AND field.name = 'stage_id'
 LEFT JOIN crm_stage old ON old.id = value.old_value_integer
 LEFT JOIN crm_stage new ON new.id = value.new_value_integer
     WHERE value.create_uid = ANY(%s)
     ORDER BY value.id
"""
_COLUMNS = (
    *("manychat_id", "lead_id", "stage_id", "stage", "status", "lost_reason", "salesperson_id", "salesperson"),
    *("team_id", "expected_revenue", "merged_into"),
)


def opportunities(system: System) -> dict[str, Any]:
    """The opportunity of each person in Odoo, by ManyChat id."""
    return {row.manychat_id: row for row in system.database_rows(_OPPORTUNITIES)}


class Decisions:
    """What users decided: the events that Odoo made of it.

    :ivar by_id: events of type ``decision``, by id
    :ivar deleted: ManyChat ids of deleted opportunities
    :ivar gone: these opportunities
    :ivar merged: opportunities that others were merged into
    """

    def __init__(self, events: Collection[Any]) -> None:
        self.by_id = {row.event_id: row for row in events if row.type == "decision"}
        self.deleted = {row.manychat_id for row in self.by_id.values() if "deleted" in row.payload["decided"]}
        self.gone = {row.payload["state"]["lead_id"] for row in self.of("deleted")}
        self.merged = {row.lead_id for row in self.by_id.values() if "merged" in row.payload["decided"]}

    def of(self, *kinds: str) -> list[Any]:
        """Those that decided one of ``kinds``."""
        return [row for row in self.by_id.values() if {*kinds} & {*row.payload["decided"]}]


def lost(decisions: Decisions, engine: sa.Engine, system: System) -> Iterator[str]:
    """Decisions that are not in SQL as they were made: a line for each."""
    for event_id, row in decisions.by_id.items():
        if row.outcome != "stored":
            yield f"decision {event_id}: {row.outcome}"
    told = {row.event_id: row for row in _sql(engine, "SELECT event_id, status FROM opportunity_stages")}
    for row in decisions.of("stage", "lost", "restored", "won", "deleted"):
        if _is_within_loss(row):
            continue
        if row.event_id not in told:
            yield f"decision {row.event_id} ({row.payload['decided']}): not in the stage history of SQL"
        elif told[row.event_id].status != row.payload["state"]["status"]:
            yield f"decision {row.event_id}: {told[row.event_id].status} in the stage history of SQL"
    for row in decisions.by_id.values():
        by_chat = row.payload["by"] == "chat" and row.lead_id in decisions.merged
        if not by_chat and row.payload.get("user_id") not in {*system.users.values(), 2}:
            yield f"decision {row.event_id}: by {row.payload.get('by')} {row.payload.get('user_id')}"


def out_of_order(decisions: Decisions, engine: sa.Engine, system: System) -> Iterator[str]:
    """People of whom SQL does not tell the same moves by users as Odoo's chatter, in the same order."""
    statement = """
        SELECT s.lead_id, s.stage_from, s.stage_to, s.user_id, s.event_id FROM opportunity_stages s
         WHERE s.moved_by = 'person' AND s.stage_to IS NOT NULL AND (s.stage_from IS NULL OR s.stage_from <> s.stage_to)
         ORDER BY s.event_at, s.id
    """
    in_sql, in_odoo, moved = defaultdict(list), defaultdict(list), {row.event_id for row in decisions.of("stage")}
    for row in _sql(engine, statement):
        if row.event_id in moved:
            in_sql[row.lead_id].append((row.stage_from, row.stage_to, row.user_id))
    within_loss = Counter(
        (row.lead_id, row.payload["state"]["stage"], row.payload.get("user_id"))
        for row in decisions.of("stage")
        if _is_within_loss(row)
    )
    for row in system.database_rows(_MOVES, [*system.users.values()]):
        if within_loss[row.lead_id, row.after, row.create_uid]:
            within_loss[row.lead_id, row.after, row.create_uid] -= 1
        else:
            in_odoo[row.lead_id].append((row.before, row.after, row.create_uid))
    # A merged opportunity takes over the chatter of the others, and tells its moves to SQL once for each person.
    there = {row.lead_id for row in opportunities(system).values()} - decisions.merged
    for lead in sorted(there):
        # A lost opportunity that is won at once leaves no stage in SQL. The chatter has the one before the loss.
        moves = zip_longest(in_sql[lead], in_odoo[lead], fillvalue=())
        if any(told not in (made, (None, *made[1:])) for told, made in moves):
            yield f"opportunity {lead}: moves by users are {in_sql[lead]} in SQL, {in_odoo[lead]} in Odoo"


def differing(decisions: Decisions, engine: sa.Engine, system: System) -> Iterator[str]:
    """Opportunities that SQL has otherwise than Odoo."""
    in_odoo = opportunities(system)
    in_sql = {row.manychat_id: row for row in _sql(engine, f"SELECT {', '.join(_COLUMNS)} FROM opportunities")}
    for manychat_id, row in in_odoo.items():
        found = in_sql.get(manychat_id)
        if found is None:
            yield f"SQL does not have {manychat_id}"
            continue
        there = {name: getattr(found, name) for name in _COLUMNS}
        there["expected_revenue"] = float(there["expected_revenue"] or 0)
        for name in _COLUMNS:
            if there[name] != getattr(row, name):
                yield f"{manychat_id}: {name} is {there[name]!r} in SQL, {getattr(row, name)!r} in Odoo"
    for manychat_id in decisions.deleted - in_odoo.keys():
        if (row := in_sql.get(manychat_id)) is not None and row.status != "deleted":
            yield f"{manychat_id}: deleted in Odoo, {row.status} in SQL"


def _is_within_loss(row: Any) -> bool:
    """Whether a lost opportunity got another stage, or was lost by two users at once, for one reason and for another.

    It is in no stage before and after that, so the stage history of SQL has no move.
    """
    is_again = "lost" in row.payload["decided"] and not row.payload.get("stage_before")
    return bool(row.payload["state"]["status"] == "lost" and (is_again or row.payload["decided"] == ["stage"]))


def counts(decisions: Decisions) -> Counter[str]:
    """How often each thing was decided."""
    return Counter(kind for row in decisions.by_id.values() for kind in row.payload["decided"])


def _sql(engine: sa.Engine, statement: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text(statement)))
