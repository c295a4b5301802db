"""The back-fill: make SQL's opportunities what Odoo's are, also where no decision has said so.

Odoo is asked page by page for all opportunities that follow a conversation; then SQL's own are looked up there, which
finds those that Odoo has deleted. The history gets users' moves from before Odoo recorded decisions. It is safe beside
running bridges: a later state is never replaced. The position is kept in SQL, so a run that was interrupted goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from ..contract.opportunity_state import OpportunityState
from ..odoo import Odoo
from ..odoo_answers import PastMove
from ..store import odoo_settings, opportunity_differences, opportunity_states
from ..store.engine import in_transaction

#: Opportunities in one call to Odoo, and in one transaction of SQL.
PAGE = 500
#: Calls for those that another transaction is changing, and the seconds before the second one; then they double.
BUSY_CALLS, BUSY_PAUSE = 7, 0.1
#: Name in ``odoo_settings`` of the position of a run that is not finished.
POSITION = "bridge.reconcile_from_odoo"
_IN_ODOO, _IN_SQL = "odoo", "sql"


@dataclass(frozen=True)
class Difference:
    """An opportunity that SQL had otherwise than Odoo.

    :ivar columns: in which; ``status`` if Odoo has deleted it, ``no row`` if SQL did not know the person
    :ivar found: ``differs``, ``deleted`` (in Odoo), or ``busy``: nothing is known, run it again
    """

    manychat_id: str
    found: str
    columns: list[str]


@dataclass
class FromOdoo:
    """One run, or what is left of an interrupted one.

    :ivar dry_run: only look, from the beginning
    :ivar checked: opportunities looked at so far
    :ivar past_moves: moves from before Odoo recorded decisions that were added to SQL's history so far
    """

    engine: sa.Engine
    odoo: Odoo
    dry_run: bool = False
    checked: int = field(default=0, init=False)
    past_moves: int = field(default=0, init=False)

    def pages(self) -> Iterator[list[Difference]]:
        """What differed, page by page. Each page is written before the next one is asked for.

        :raises bridge.errors.Outage: what is done stays done; the next run goes on from there
        :raises bridge.errors.OdooRefused:
        """
        position = None if self.dry_run else in_transaction(self.engine, odoo_settings.get, POSITION)
        step, after = (position["step"], position["after"]) if position else (_IN_ODOO, 0)
        while step == _IN_ODOO:
            answer = self.odoo.get_states(after=after, limit=PAGE)
            states, busy = self._ask_again(answer.states, answer.busy)
            step, after = (_IN_ODOO, answer.after) if answer.after else (_IN_SQL, 0)
            found = self._write(states, {"step": step, "after": after})
            self.checked += len(states)
            yield [Difference(who, "differs", names) for who, names in sorted(found.items())] + _busy(busy)
        while known := in_transaction(self.engine, opportunity_differences.known_after, after, PAGE):
            after = known[-1].id
            yield self._find_deleted(known, {"step": _IN_SQL, "after": after})
        if not self.dry_run:
            in_transaction(self.engine, odoo_settings.take_over, {POSITION: None})

    def _ask_again(
        self, states: dict[str, OpportunityState], busy: Sequence[str]
    ) -> tuple[dict[str, OpportunityState], Sequence[str]]:
        """The states with those that were busy, and who is busy still."""
        for call in range(BUSY_CALLS):
            if not busy:
                break
            time.sleep(BUSY_PAUSE * 2**call)
            answer = self.odoo.get_states(manychat_ids=busy)
            states, busy = states | answer.states, answer.busy
        return states, busy

    def _write(self, states: dict[str, OpportunityState], position: dict[str, Any]) -> dict[str, list[str]]:
        if self.dry_run:
            return in_transaction(self.engine, opportunity_differences.differences, states)

        now = datetime.now(timezone.utc)
        past = self.odoo.get_stage_history(sorted(states)) if states else []
        moves = [_move(each, now) for each in past]

        def work(connection: sa.Connection) -> tuple[dict[str, list[str]], int]:
            odoo_settings.take_over(connection, {POSITION: position})
            found = opportunity_differences.adopt(connection, states, now)
            return found, opportunity_states.append_moves(connection, moves)

        found, added = in_transaction(self.engine, work)
        self.past_moves += added
        return found

    def _find_deleted(
        self, known: Sequence[opportunity_differences.Known], position: dict[str, Any]
    ) -> list[Difference]:
        answer = self.odoo.get_states(manychat_ids=[each.manychat_id for each in known])
        gone = [each for each in known if each.manychat_id in answer.unknown]

        def work(connection: sa.Connection) -> None:
            odoo_settings.take_over(connection, {POSITION: position})
            opportunity_differences.mark_deleted(connection, gone, datetime.now(timezone.utc))

        if not self.dry_run:
            in_transaction(self.engine, work)
        self.checked += len(gone)
        return [Difference(each.manychat_id, "deleted", ["status"]) for each in gone]


def _move(past: PastMove, now: datetime) -> opportunity_states.Move:
    return opportunity_states.Move(
        past.manychat_id,
        past.lead_id,
        past.stage_from,
        past.stage_to,
        past.moment,
        now,
        past.id,
        past.moved_by.value,
        past.user_id,
        past.status and past.status.value,
    )


def _busy(manychat_ids: Sequence[str]) -> list[Difference]:
    return [Difference(manychat_id, "busy", []) for manychat_id in manychat_ids]
