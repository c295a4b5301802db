"""The back-fill: make SQL's opportunities what Odoo's are, also where no decision has said so.

Odoo is asked page by page for all opportunities that follow a conversation; then SQL's own are looked up there, which
finds those that Odoo has deleted. The history gets users' moves from before Odoo recorded decisions. It is safe beside
running bridges: a later state is never replaced. The position is kept in SQL, so a run that was interrupted goes on,
unless that was long ago: a backup of SQL, or a forgotten run, must not keep a part from being compared.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import sqlalchemy as sa

from ..contract.fields import format_datetime, to_datetime
from ..contract.opportunity_state import OpportunityState
from ..errors import ConfigurationError
from ..odoo import Odoo
from ..odoo_answers import PastMove, StatesAnswer
from ..store import odoo_settings, opportunity_differences, opportunity_states
from ..store.engine import in_transaction, read

#: Opportunities in one call to Odoo, and in one transaction of SQL.
PAGE = 500
#: Calls for those that another transaction is changing, and the seconds before the second one; then they double.
BUSY_CALLS, BUSY_PAUSE = 7, 0.1
#: Name in ``odoo_settings`` of the position of a run that is not finished, and how long the next run goes on from it.
POSITION, KEPT = "bridge.reconcile_from_odoo", timedelta(hours=24)
_IN_ODOO, _IN_SQL = "odoo", "sql"


@dataclass(frozen=True)
class Difference:
    """An opportunity that SQL had otherwise than Odoo.

    :ivar columns: in which; ``status`` if Odoo has deleted it, ``no row`` if SQL did not know the person
    :ivar found: ``differs``, ``deleted`` (in Odoo), ``busy``: nothing is known, run it again; or ``unreadable``: this
        bridge is older than the addon
    """

    manychat_id: str
    found: str
    columns: list[str]


@dataclass
class FromOdoo:
    """One run, or what is left of an interrupted one.

    :ivar dry_run: only look, from the beginning
    :ivar from_start: forget where an interrupted run was
    :ivar checked: opportunities looked at, those of the interrupted run among them
    :ivar past_moves: moves from before Odoo recorded decisions that were added to SQL's history, likewise
    :ivar counts: opportunities by what was found, likewise
    :ivar looked_up: of SQL's own, how many were looked up in Odoo by this run
    """

    engine: sa.Engine
    odoo: Odoo
    dry_run: bool = False
    from_start: bool = False
    checked: int = field(default=0, init=False)
    past_moves: int = field(default=0, init=False)
    counts: Counter[str] = field(default_factory=Counter, init=False)
    looked_up: int = field(default=0, init=False)
    is_finished: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._step, self._after, self._begun = _IN_ODOO, 0, datetime.now(timezone.utc)
        if self.dry_run or self.from_start:
            return
        position = read(self.engine, odoo_settings.get, POSITION) or {}
        begun = to_datetime(position.get("begun"))
        # Of a position without all of this nothing is known: an earlier release left it.
        if position.get("of") == self._mark() and isinstance(begun, datetime) and self._begun - begun < KEPT:
            self._step, self._after, self._begun = position["step"], position["after"], begun
            self.checked, self.past_moves = position["checked"], position["past_moves"]
            self.counts = Counter(position["counts"])

    @property
    def is_continued(self) -> bool:
        """Whether it goes on where an interrupted run was."""
        return (self._step, self._after) != (_IN_ODOO, 0)

    def pages(self) -> Iterator[list[Difference]]:
        """What differed, page by page. Each page is written before the next one is asked for.

        :raises bridge.errors.Outage: what is done stays done; the next run goes on from there
        :raises bridge.errors.OdooRefused:
        :raises bridge.errors.ConfigurationError: Odoo has none of the opportunities that SQL has
        """
        while self._step == _IN_ODOO:
            yield self._compare()
        while known := in_transaction(self.engine, opportunity_differences.known_after, self._after, PAGE):
            yield self._find_deleted(known)
        if not self.dry_run:
            in_transaction(self.engine, odoo_settings.take_over, {POSITION: None})
        self.is_finished = True

    def _compare(self) -> list[Difference]:
        """Compare, and write, the next page of Odoo's opportunities."""
        answer = self.odoo.get_states(after=self._after, limit=PAGE)
        if not (answer.states or answer.busy or answer.unreadable or self._after):
            self._require_none()
        states, busy, unreadable = self._ask_again(answer)
        if self.dry_run:
            found = in_transaction(self.engine, opportunity_differences.differences, states)
        else:
            found = self._write(states)
        self._step, self._after = (_IN_ODOO, answer.after) if answer.after else (_IN_SQL, 0)
        self.checked += len(states)
        self.counts.update(differs=len(found), busy=len(busy), unreadable=len(unreadable))
        self._note()
        return [
            *(Difference(manychat_id, "differs", names) for manychat_id, names in sorted(found.items())),
            *(Difference(manychat_id, "busy", []) for manychat_id in busy),
            *(Difference(manychat_id, "unreadable", []) for manychat_id in unreadable),
        ]

    def _require_none(self) -> None:
        """Odoo has no opportunity at all: it is probably not the one that SQL's are in.

        :raises bridge.errors.ConfigurationError: SQL has some
        """
        if in_transaction(self.engine, opportunity_differences.known_after, 0, 1):
            raise ConfigurationError(
                f"The database {self.odoo.database} of Odoo has no opportunity of any conversation, and SQL has some. "
                "Is BRIDGE_ODOO_DATABASE the right one? Nothing was changed."
            )

    def _ask_again(self, answer: StatesAnswer) -> tuple[dict[str, OpportunityState], list[str], list[str]]:
        """The states with those that were busy; who is busy still, and whose state cannot be read."""
        states, busy, unreadable = answer.states, answer.busy, answer.unreadable
        for call in range(BUSY_CALLS):
            if not busy:
                break
            time.sleep(BUSY_PAUSE * 2**call)
            answer = self.odoo.get_states(manychat_ids=busy)
            states, busy, unreadable = states | answer.states, answer.busy, unreadable + answer.unreadable
        return states, busy, unreadable

    def _write(self, states: dict[str, OpportunityState]) -> dict[str, list[str]]:
        now = datetime.now(timezone.utc)
        past = self.odoo.get_stage_history(sorted(states)) if states else []
        moves = [_move(each, now) for each in past]

        def work(connection: sa.Connection) -> tuple[dict[str, list[str]], int]:
            found = opportunity_differences.adopt(connection, states, now)
            return found, opportunity_states.append_moves(connection, moves)

        found, added = in_transaction(self.engine, work)
        self.past_moves += added
        return found

    def _find_deleted(self, known: Sequence[opportunity_differences.Known]) -> list[Difference]:
        """Look up the next page of SQL's opportunities, and note which of them are gone."""
        answer = self.odoo.get_states(manychat_ids=[each.manychat_id for each in known])
        gone = [each for each in known if each.manychat_id in answer.unknown]
        if not self.dry_run:
            in_transaction(self.engine, opportunity_differences.mark_deleted, gone, datetime.now(timezone.utc))
        self._after = known[-1].id
        self.looked_up += len(known)
        self.checked += len(gone)
        self.counts.update(deleted=len(gone))
        self._note()
        return [Difference(each.manychat_id, "deleted", ["status"]) for each in gone]

    def _note(self) -> None:
        """Note the position. A run that is killed just before it looks at a page twice."""
        if not self.dry_run:
            position = {
                "step": self._step,
                "after": self._after,
                "begun": format_datetime(self._begun),
                "checked": self.checked,
                "past_moves": self.past_moves,
                "counts": self.counts,
                "of": self._mark(),
            }
            in_transaction(self.engine, odoo_settings.take_over, {POSITION: position})

    def _mark(self) -> dict[str, str]:
        """What a run must have in common with the one that it continues."""
        return {"url": self.odoo.url, "database": self.odoo.database}


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
