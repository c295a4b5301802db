"""The comparison with ManyChat: find the pushes that ManyChat sent into nothing, and what was not written there.

ManyChat neither repeats a push nor lists its people. So each person whom SQL knows is asked for, by ``getInfo``, at the
pace that all bridges keep together. :mod:`.verdict` says what a difference means.

A repair goes the normal way. A lost push is put on its queue as an event, dated at the last moment at which ManyChat is
known to have shown something else: the earliest at which it can have happened. So it undoes no decision of a user that
may be newer, whether SQL has heard of that decision or not. Its id follows from what it says: put twice, it is one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa

from ...contract.event import Event, accept
from ...contract.fields import format_datetime, to_datetime
from ...contract.payloads import EventType
from ...errors import ManyChatMisconfigured, ManyChatRefused, ManyChatStopped, ManyChatUnavailable
from ...queue import Queue
from ...stage_map import Stage, StageMap
from ...store import manychat_known, manychat_writes, odoo_settings
from ...store.engine import in_transaction, read
from ...store.manychat_known import Known
from ...store.people import STAGE_TEXTS
from .pace import PacedManyChat, Stopping
from .verdict import Found, Verdict, judge

#: People asked for between two notes of the position.
PAGE = 100
#: Calls under way at once: ManyChat's answers may take longer than the pause between two calls.
THREADS = 6
#: Attempts for one person, and the seconds before the second one; then they double. After that it is an outage.
ATTEMPTS, PAUSE = 4, 1.0
#: Name in ``odoo_settings`` of the position of a run that is not finished, and how long the next run goes on from it.
POSITION = "bridge.reconcile_with_manychat"
KEPT = timedelta(hours=24)
#: What is looked at again after a while: the push may have been on its way.
_LOST = (Found.PUSH_LOST, Found.DISPUTED, Found.NO_OPPORTUNITY)


@dataclass(frozen=True)
class Difference:
    """A person of whom ManyChat shows something else than the opportunity's stage.

    :ivar found: value of :class:`.verdict.Found`
    :ivar manychat: what the field shows
    :ivar opportunity: ManyChat's label of the opportunity's stage; else its name in Odoo
    :ivar since: until when SQL knows what ManyChat showed (ISO 8601)
    :ivar repair: ``event`` (put on the queue), ``written`` (the bridges write it), or empty
    """

    manychat_id: str
    found: str
    manychat: str
    opportunity: str
    since: str
    repair: str


@dataclass(frozen=True)
class Options:
    """What an operator chose.

    :ivar field_id: of the custom field with the stage
    :ivar repair: put things right
    :ivar create: create the opportunities of people who have none, too
    :ivar older_than: what is younger counts as being on its way
    :ivar since: only people of whom SQL has something new since then
    :ivar limit: people asked for in this run
    """

    field_id: int
    repair: bool = False
    create: bool = False
    older_than: timedelta = timedelta(minutes=1)
    since: datetime | None = None
    limit: int | None = None


@dataclass
class _Page:
    """People whose differences are looked at again when their time has come."""

    after: int
    asked: int
    differences: list[Difference]
    again: list[str]
    due: float


@dataclass
class WithManyChat:
    """One run, or what is left of an interrupted one.

    :ivar queue: of opportunity events; a report needs none
    :ivar from_start: forget where an interrupted run was
    :ivar counts: people by what was found, those of the interrupted run among them
    :ivar asked: people asked for in this run
    :ivar total: people to ask for in this run
    """

    engine: sa.Engine
    manychat: PacedManyChat
    queue: Queue | None
    options: Options
    stop: threading.Event
    from_start: bool = False
    counts: dict[str, int] = field(default_factory=dict, init=False)
    asked: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    is_finished: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._after = 0
        self._begun = datetime.now(timezone.utc)
        if not self.from_start and (position := read(self.engine, odoo_settings.get, POSITION)):
            begun = to_datetime(position["begun"])
            if position["options"] == self._mark() and isinstance(begun, datetime) and self._begun - begun < KEPT:
                self._after, self._begun, self.counts = position["after"], begun, position["counts"]
        left = read(self.engine, manychat_known.count, self._after, self.options.since)
        self.total = left if self.options.limit is None else min(left, self.options.limit)

    @property
    def is_continued(self) -> bool:
        """Whether it goes on where an interrupted run was."""
        return self._after > 0

    def pages(self, on_asked: Callable[[int], object] = lambda _: None) -> Generator[list[Difference]]:
        """What differs, page by page, each repaired and noted before it comes.

        :param on_asked: is called with the number of people asked for so far
        :raises bridge.errors.Outage: what came is done; the next run goes on from there
        """
        stages = StageMap.read(read(self.engine, odoo_settings.get, STAGE_TEXTS) or {})
        held: deque[_Page] = deque()
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                while people := self._next(held):
                    held.append(self._ask(pool, stages, people, on_asked))
                    while held and (not held[0].again or held[0].due <= time.monotonic()):
                        yield self._settle(pool, stages, held.popleft())
                while held:
                    self._wait(held[0])
                    yield self._settle(pool, stages, held.popleft())
            except BaseException:
                # The calls that wait for their turn are not made.
                self.stop.set()
                raise
        if not read(self.engine, manychat_known.count, self._after, self.options.since):
            in_transaction(self.engine, odoo_settings.take_over, {POSITION: None})
            self.is_finished = True

    def _next(self, held: Sequence[_Page]) -> Sequence[Any]:
        limit = min(PAGE, self.total - self.asked)
        after = held[-1].after if held else self._after
        return read(self.engine, manychat_known.page, after, limit, self.options.since) if limit > 0 else ()

    def _ask(
        self, pool: ThreadPoolExecutor, stages: StageMap, people: Sequence[Any], on_asked: Callable[[int], object]
    ) -> _Page:
        manychat_ids = [row.manychat_id for row in people]
        found = self._compare(pool, stages, manychat_ids, on_asked)
        waits = bool(self.options.older_than)
        again = [each.manychat_id for each, _ in found if waits and each.found in _LOST]
        sure = [(each, event) for each, event in found if each.manychat_id not in again]
        due = time.monotonic() + self.options.older_than.total_seconds()
        return _Page(people[-1].id, len(people), self._repair(sure), again, due)

    def _wait(self, page: _Page) -> None:
        if page.again and self.stop.wait(max(0.0, page.due - time.monotonic())):
            raise Stopping("the command was stopped", unsent=True)

    def _settle(self, pool: ThreadPoolExecutor, stages: StageMap, page: _Page) -> list[Difference]:
        """Look again where a push may have been on its way, and note the position."""
        found = self._compare(pool, stages, page.again, None) if page.again else []
        differences = page.differences + self._repair(found)
        for each in differences:
            self.counts[each.found] = self.counts.get(each.found, 0) + 1
        same = page.asked - len(differences)
        self.counts[Found.SAME] = self.counts.get(Found.SAME, 0) + same
        self._after = page.after
        position = {
            "after": self._after,
            "begun": format_datetime(self._begun),
            "counts": self.counts,
            "options": self._mark(),
        }
        in_transaction(self.engine, odoo_settings.take_over, {POSITION: position})
        return differences

    def _mark(self) -> dict[str, Any]:
        """What a run must have in common with the one that it continues."""
        chosen, since = self.options, self.options.since
        return {
            "field": chosen.field_id,
            "repair": chosen.repair,
            "create": chosen.create,
            "since": format_datetime(since) if since else None,
        }

    # --- one comparison ----------------------------------------------------------------------------------------------

    def _compare(
        self,
        pool: ThreadPoolExecutor,
        stages: StageMap,
        manychat_ids: Sequence[str],
        on_asked: Callable[[int], object] | None,
    ) -> list[tuple[Difference, Event | None]]:
        """Who differs, and the event that a repair would put on the queue."""
        # By our own clock, as the moments in SQL are: less than a minute apart they count as being on their way.
        before = datetime.now(timezone.utc) - self.options.older_than
        answers: dict[str, Any] = {}
        for manychat_id, answer in zip(manychat_ids, pool.map(self._person, manychat_ids), strict=True):
            answers[manychat_id] = answer
            if on_asked is not None:
                self.asked += 1
                on_asked(self.asked)
        # After the answers: what SQL learned meanwhile counts as being on its way.
        known = read(self.engine, manychat_known.look_up, manychat_ids)
        writes = self.writes()
        found = []
        for manychat_id in manychat_ids:
            if manychat_id not in known:  # erased meanwhile
                continue
            one, answer = known[manychat_id], answers[manychat_id]
            if isinstance(answer, ManyChatRefused):
                is_unknown = answer.code == "unknown_person"
                verdict = Verdict(Found.UNKNOWN_PERSON if is_unknown else Found.REFUSED)
                value = None
            else:
                value = _value(answer, self.options.field_id)
                verdict = judge(one, value, stages, self._field_key, before, writes=writes)
            if verdict.found is not Found.SAME:
                event = _event(one, verdict, stages.meant(value), answer) if verdict.found in _LOST else None
                found.append((_difference(one, verdict, value, stages), event))
        return found

    @property
    def _field_key(self) -> str:
        return f"field:{self.options.field_id}"

    def writes(self) -> bool:
        """Whether the bridges write the stage into this field."""
        rules = read(self.engine, manychat_writes.rules)
        return rules.enabled and bool(rules.of_stage({self._field_key: None}))

    def _person(self, manychat_id: str) -> Any:
        """What ManyChat has of a person, or its refusal."""
        for attempt in range(ATTEMPTS):
            is_last = attempt == ATTEMPTS - 1
            try:
                return self.manychat.call(self.manychat.client.get_person, manychat_id)
            except (ManyChatStopped, ManyChatMisconfigured, Stopping):
                raise
            except ManyChatUnavailable:
                if is_last:
                    raise
            except ManyChatRefused as refusal:
                if refusal.code != "passing" or is_last:
                    return refusal
            self.stop.wait(PAUSE * 2**attempt)
        raise AssertionError

    # --- repair ------------------------------------------------------------------------------------------------------

    def _repair(self, found: Sequence[tuple[Difference, Event | None]]) -> list[Difference]:
        if not self.options.repair:
            return [each for each, _ in found]
        behind = [each.manychat_id for each, _ in found if each.found == Found.NOT_WRITTEN]
        writes = bool(behind) and self.writes()
        if writes:
            in_transaction(self.engine, manychat_known.write_again, behind)
        repaired = []
        for each, event in found:
            done = ""
            if each.found == Found.NOT_WRITTEN and writes:
                done = "written"
            elif event is not None and (each.found != Found.NO_OPPORTUNITY or self.options.create):
                assert self.queue is not None
                self.queue.send_or_create(event.encode())
                done = "event"
            repaired.append(replace(each, repair=done))
        return repaired


def _value(person: dict[str, Any], field_id: int) -> Any:
    """What a custom field shows of a person; ``None`` if ManyChat lists none of that id."""
    fields = person.get("custom_fields")
    for each in fields if isinstance(fields, list) else ():
        if isinstance(each, dict) and str(each.get("id")) == str(field_id):
            return each.get("value")
    return None


def _event(known: Known, verdict: Verdict, stage: Stage | None, person: dict[str, Any]) -> Event:
    """The push that got lost, as far as it can be known."""
    assert stage is not None
    said: dict[str, Any] = {"stage": stage.text} if stage.number is None else {"stage_id": stage.number}
    state = {**said, "date": format_datetime(_earliest(known, verdict))}
    payload: dict[str, Any] = {"manychat_id": known.manychat_id, "state": state}
    if verdict.found is Found.NO_OPPORTUNITY:
        # For a salesperson to call.
        phone = person.get("whatsapp_phone") or person.get("phone")
        payload |= {"first_name": person.get("name"), "phone": phone}
    return accept(EventType.OPPORTUNITY, payload, received_at=datetime.now(timezone.utc), source="cli")


def _earliest(known: Known, verdict: Verdict) -> datetime:
    """The earliest moment at which ManyChat can have got what it shows."""
    moment = verdict.last_at or known.heard_at
    assert moment is not None
    return moment


def _difference(known: Known, verdict: Verdict, value: Any, stages: StageMap) -> Difference:
    return Difference(
        known.manychat_id,
        verdict.found.value,
        "" if value is None else str(value)[:256],
        stages.shown.get(known.stage_id or 0) or known.stage or "",
        format_datetime(verdict.last_at) if verdict.last_at else "",
        "",
    )
