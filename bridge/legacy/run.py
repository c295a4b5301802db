"""The migration itself: copy the old rows, then apply one event for each person. It can be killed and run again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ..contract.errors import ContractError
from ..contract.event import Event
from ..contract.fields import channel_key
from ..errors import OdooRefused, Outage, StoreRefused
from ..importer import writer
from ..importer.doubles import SourceRow
from ..importer.tally import Tally
from ..results import Done, Failure
from ..store import audit, migration_journal, opportunities
from ..store.campaigns import newest_assignments
from ..store.engine import read
from ..store.migration_journal import Watched
from ..store.refusal import write_events
from ..store.schema import channels
from ..worker.handlers import opportunity
from .events import make_event
from .odoo import MigrationOdoo
from .plan import Plan
from .source import Legacy
from .states import begun_at

T = TypeVar("T")

#: People in one call to Odoo, and in one transaction.
BATCH = 50
#: Seconds before the first try after an outage, and before the last ones.
FIRST_WAIT, LAST_WAIT = 1.0, 30.0


@dataclass
class Report:
    """What a run did.

    :ivar outcomes: how many events had each outcome; ``done before``: in an earlier run
    :ivar failures: reason of each event that failed, by ManyChat id
    """

    tallies: list[Tally] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)


class Migration:
    """One run of the migration.

    :param undated: date of states without one; ``None``: people with such a state get no opportunity
    :param rate: people a second, at most
    :param is_busy: whether live events wait, so that the migration has to
    :param waiting: called with a sentence while the migration waits
    """

    def __init__(
        self,
        engine: sa.Engine,
        odoo: MigrationOdoo,
        legacy: Legacy,
        plan: Plan,
        *,
        now: datetime,
        undated: datetime | None = None,
        rate: float = 0,
        is_busy: Callable[[], str] = lambda: "",
        waiting: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], object] = time.sleep,
    ):
        self._engine = engine
        self._odoo = odoo
        self._legacy = legacy
        self._plan = plan
        self._batch: str = plan.overview["batch"]
        self._now = now
        started = plan.overview["started_at"]
        self._began = datetime.fromisoformat(started) if started else now
        self._undated = undated
        self._rate = rate
        self._is_busy = is_busy
        self._waiting = waiting
        self._sleep = sleep
        self.report = Report()

    def copy(self) -> None:
        """Copy contacts, states and campaigns as ``db adopt`` does, with a journal.

        :raises bridge.importer.checks.Refused: the database refuses a batch
        """
        self._legacy.adoption.write = self._write
        self.report.tallies = self._through(lambda: list(self._legacy.adoption.run(dry_run=False)))

    def apply(self) -> Iterator[int]:
        """Apply the events of all people.

        :return: the number of people since the last one, again and again
        """
        for rows in self._legacy.rows("contacts"):
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                began = time.monotonic()
                self._yield_to_live_events()
                self._through(lambda some=some: self._apply(some))  # type: ignore[misc]
                yield len(some)
                if self._rate:
                    self._sleep(max(0.0, len(some) / self._rate - (time.monotonic() - began)))

    def _write(
        self, connection: sa.Connection, table: sa.Table, rows: Sequence[writer.Row], now: datetime, *, dry_run: bool
    ) -> writer.Counts:
        def change(connection: sa.Connection) -> writer.Counts:
            return writer.write(connection, table, rows, now, dry_run=dry_run)

        return migration_journal.record(connection, self._batch, _watched(table, rows), change)

    def _apply(self, rows: Sequence[SourceRow]) -> None:
        events = self._events(rows)
        known = read(self._engine, audit.attempt_states, [event.id for event in events])
        todo = [event for event in events if not (event.id in known and known[event.id].is_done)]
        self.report.outcomes["done before"] += len(events) - len(todo)
        if todo:
            self._apply_isolating(todo)

    def _apply_isolating(self, events: Sequence[Event]) -> None:
        """Apply ``events``, so that one at fault takes no neighbour along. Odoo knows those that it applied before."""
        try:
            outcomes = opportunity.apply(self._odoo, events)
            done = {event.id: (event, each) for event in events if isinstance(each := outcomes[event.id], Done)}
            # After Odoo, which knows by the event's id what it did before: a kill in between leaves nothing half done.
            write_events(self._engine, self._record, done)
        except (OdooRefused, DBAPIError) as error:
            if len(events) == 1:
                refused = "Odoo" if isinstance(error, OdooRefused) else "The database"
                self.report.failures[events[0].manychat_id] = f"{refused} did not accept it: its log says why."
                return
            middle = len(events) // 2
            self._apply_isolating(events[:middle])
            self._apply_isolating(events[middle:])
            return
        for event in events:
            outcome = outcomes[event.id]
            if isinstance(outcome, Done):
                self.report.outcomes[outcome.status] += 1
            else:
                reason = outcome.message if isinstance(outcome, Failure) else "Others work on it all the time."
                self.report.failures[event.manychat_id] = reason

    def _record(self, connection: sa.Connection, done: Mapping[str, tuple[Event, Done]]) -> None:
        events = [event for event, _ in done.values()]
        if not events:
            return
        payloads: list[Any] = [event.payload for event in events]
        named = chain.from_iterable((each.commercial_advisor_id, each.medical_advisor_id) for each in payloads)
        watched = Watched(
            manychat_ids={event.manychat_id for event in events},
            event_ids=done.keys(),
            channel_keys={channel_key(each.channel) for each in payloads if each.channel},
            advisor_ids={number for number in named if number},
        )

        def change(connection: sa.Connection) -> None:
            received = [audit.ReceivedEvent(event, event.type.queue, None) for event in events]
            audit.begin(connection, received)
            opportunities.record(connection, events)
            opportunity.finish(connection, done)

        migration_journal.record(connection, self._batch, watched, change)

    def _events(self, rows: Sequence[SourceRow]) -> list[Event]:
        """The events of those people who have a mapped state."""
        people = [row.values["manychat_id"] for row in rows]
        assignments = read(self._engine, newest_assignments, people)
        events = []
        for row in rows:
            manychat_id = row.values["manychat_id"]
            candidate = self._plan.states.newest(manychat_id, self._plan.rows)
            if candidate is None:
                self.report.outcomes["no state"] += 1
                continue
            at = candidate.at or begun_at(row, self._now, self._undated)
            if at is None:
                self.report.outcomes["no date"] += 1
                continue
            try:
                assignment = assignments.get(manychat_id, {})
                events.append(make_event(row.values, assignment, candidate.stage, at, self._began))
            except ContractError as error:
                self.report.failures[manychat_id] = error.message
        return events

    def _yield_to_live_events(self) -> None:
        while reason := self._through(self._is_busy):
            self._waiting(reason)
            self._sleep(FIRST_WAIT)

    def _through(self, work: Callable[[], T]) -> T:
        """``work()``, again after each outage, until it works."""
        wait = FIRST_WAIT
        while True:
            try:
                return work()
            except StoreRefused:
                raise  # waiting does not mend it
            except Outage as outage:
                self._waiting(f"{outage.dependency} cannot be used: {outage}")
                self._sleep(wait)
                wait = min(2 * wait, LAST_WAIT)


def _watched(table: sa.Table, rows: Sequence[writer.Row]) -> Watched:
    """What writing ``rows`` may insert or change."""
    numbers = [row[name] for row in rows for name in ("commercial_advisor_id", "medical_advisor_id") if row.get(name)]
    own = [row["id"] for row in rows if row.get("id")]
    keys = {channel_key(row["channel"]) for row in rows if row.get("channel")}
    if table is channels:
        keys |= {row["name_key"] for row in rows}
    return Watched(
        manychat_ids={row["manychat_id"] for row in rows if row.get("manychat_id")},
        event_ids={row["event_id"] for row in rows if table.name == "contact_states"},
        channel_keys=keys,
        campaign_ids={row["campaign_id"] for row in rows if row.get("campaign_id")}
        | (set(own) if table.name == "campaigns" else set()),
        advisor_ids=set(numbers) | (set(own) if table.name == "advisors" else set()),
    )
