"""Opportunities in SQL beside those in Odoo: what differs, and which are gone there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ..contract.opportunity_state import OpportunityState, Status
from .opportunity_states import STATE, columns_of, ensure_known, write
from .schema import opportunities
from .upsert import chunks, find

_O = opportunities.c
_COMPARED = tuple(name for name in STATE if name != "odoo_as_of")


@dataclass(frozen=True)
class Known:
    """An opportunity that SQL has, and Odoo may have deleted.

    :ivar id: of its row
    :ivar as_of: of the state that SQL has; ``None``: it has none
    """

    id: int
    manychat_id: str
    as_of: datetime | None


def differences(connection: sa.Connection, states: Mapping[str, OpportunityState]) -> dict[str, list[str]]:
    """The columns in which SQL is not as Odoo says, by ManyChat id; without persons who are the same in both.

    A row that has a later state than Odoo said counts as the same: a decision has reached it meanwhile. Of a person
    without a row all columns differ.

    :param states: by ManyChat id
    """
    columns = [_O.manychat_id, *(_O[name] for name in STATE)]
    rows = {row.manychat_id: row for row in find(connection, sa.select(*columns), _O.manychat_id, states)}
    found = {}
    for manychat_id, state in states.items():
        row = rows.get(manychat_id)
        if row is None:
            found[manychat_id] = ["no row"]
        elif row.odoo_as_of is None or row.odoo_as_of < state.as_of:
            wanted = columns_of(state)
            if names := [name for name in _COMPARED if _plain(getattr(row, name)) != wanted[name]]:
                found[manychat_id] = names
    return found


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def adopt(connection: sa.Connection, states: Mapping[str, OpportunityState], now: datetime) -> dict[str, list[str]]:
    """Write what differs: see :func:`differences`.

    :return: what differed
    """
    found = differences(connection, states)
    # Written also if all is the same but the row has no state: it is known now.
    columns = sa.select(_O.manychat_id).where(_O.odoo_as_of.is_(None))
    unknown = {row.manychat_id for row in find(connection, columns, _O.manychat_id, states)}
    wanted = [(manychat_id, states[manychat_id]) for manychat_id in sorted(found.keys() | unknown)]
    ensure_known(connection, wanted, now)
    write(connection, wanted, now)
    # Of those of which no later decision has come meanwhile: what is written now is locked until the end.
    now_as = sa.select(_O.manychat_id, _O.odoo_as_of)
    written = {row.manychat_id for row in find(connection, now_as, _O.manychat_id, found) if _is(row, states)}
    # An unknown user, or the chat, has moved it since the last move that is known.
    for some in chunks(each for each in written if {"stage", "stage_id"} <= {*found[each]}):
        connection.execute(
            opportunities.update().where(_O.manychat_id.in_(some), _O.stage_by.is_not(None)).values(stage_by=sa.null())
        )
    return found


def _is(row: Any, states: Mapping[str, OpportunityState]) -> bool:
    return bool(row.odoo_as_of == states[row.manychat_id].as_of)


def known_after(connection: sa.Connection, after: int, limit: int) -> list[Known]:
    """Opportunities of which SQL knows that they were in Odoo, and not that they were deleted, by id.

    :param after: id of the last one of the page before; 0 for the first page
    """
    is_there = sa.or_(_O.status.is_(None), _O.status != Status.DELETED.value)
    statement = sa.select(_O.id, _O.manychat_id, _O.odoo_as_of).where(_O.id > after, _O.lead_id.is_not(None), is_there)
    return [Known(*row) for row in connection.execute(statement.order_by(_O.id).limit(limit))]


def mark_deleted(connection: sa.Connection, gone: Sequence[Known], now: datetime) -> None:
    """Note that opportunities are deleted in Odoo, unless a state of them has come since they were read."""
    for each in sorted(gone, key=lambda known: known.id):
        is_as_it_was = _O.odoo_as_of.is_(None) if each.as_of is None else _O.odoo_as_of == each.as_of
        connection.execute(
            opportunities.update()
            .where(_O.id == each.id, is_as_it_was)
            .values(status=Status.DELETED.value, updated_at=now)
        )
