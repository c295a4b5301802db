"""What ManyChat must show of each person once everything has settled: the opportunity as it is in Odoo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa

from .decided import Decisions, opportunities
from .manychat import FLOWS, TARGETS
from .system import System

_FIELDS = {name: TARGETS[f"{name}_field_id"] for name in ("stage", "stage_id", "salesperson", "status")}
_TAGS = {"won": TARGETS["won_tag_id"], "lost": TARGETS["lost_tag_id"]}


def differing(system: System, decisions: Decisions, people: Collection[str], unsaid: Collection[str]) -> Iterator[str]:
    """Fields and tags that ManyChat has otherwise than Odoo.

    :param people: who have passed a bridge
    :param unsaid: of whom ManyChat knows a stage that was never told
    """
    shown, tagged, unknown = system.manychat.people, system.manychat.tagged, system.manychat.unknown
    in_odoo = opportunities(system)
    for manychat_id in sorted({*people} - {*unsaid} - unknown):
        row, fields = in_odoo.get(manychat_id), shown.get(manychat_id, {})
        if row is None:
            if manychat_id in decisions.deleted and fields.get(_FIELDS["status"]) != "deleted":
                yield f"{manychat_id}: deleted in Odoo, {fields.get(_FIELDS['status'])} in ManyChat"
            continue
        wanted: dict[str, Any] = {"status": row.status, "salesperson": row.salesperson or ""}
        if row.manychat_stage_id:  # a stage that the stage map does not have is not written
            wanted |= {"stage": row.manychat_stage, "stage_id": row.manychat_stage_id}
        for name, value in wanted.items():
            if (found := fields.get(_FIELDS[name])) != value:
                yield f"{manychat_id}: {name} is {found!r} in ManyChat, {value!r} in Odoo"
        for status, tag in _TAGS.items():
            if (tag in tagged.get(manychat_id, ())) != (row.status == status):
                yield f"{manychat_id}: {row.status} in Odoo, and the tags in ManyChat are {tagged.get(manychat_id)}"


def flows_twice(system: System, engine: sa.Engine, decisions: Decisions) -> Iterator[str]:
    """Flows that ManyChat started more than once for a decision, or for none."""
    with engine.connect() as connection:
        noted = list(connection.execute(sa.text("SELECT event_id, manychat_id, flow_ns FROM manychat_flows")))
    moves = {row.event_id: row for row in decisions.of("stage", "won")}
    for row in noted:
        move = moves.get(row.event_id)
        number = move and move.payload["state"].get("manychat_stage_id")
        if move is None or move.manychat_id != row.manychat_id or FLOWS.get(number) != row.flow_ns:
            yield f"{row.manychat_id}: {row.flow_ns} was started for {row.event_id}, which is no move to its stage"
    most = Counter((row.manychat_id, row.flow_ns) for row in noted)
    for key, count in Counter(system.manychat.started).items():
        if count > most[key]:
            yield f"{key[0]}: {key[1]} was started {count} times for {most[key]} moves"
