"""Messages that were given up: a row here, and a notice on the dead-letter queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from ..contract.event import Event
from ..contract.outcomes import ErrorCode, EventOutcome
from .batch_update import BatchUpdate
from .rows import DeadLetterRow
from .schema import audit, dead_letters
from .upsert import chunks, find

OPEN, REPLAYED, RESOLVED, DISCARDED = "open", "replayed", "resolved", "discarded"

_UNDELIVERABLE = (
    "The queue cannot deliver a message, and so its text is unknown. It probably holds a control character, which XML "
    "cannot carry. It stays on the queue, hidden, and comes back when its lease ends. All others are delivered. "
    "Fix the program that put it there. Only to clear the queue deletes it: stop what puts messages on the queue, wait "
    "until only this one is left, clear the queue. This dead letter then closes by itself."
)

_D = dead_letters.c
#: The columns that a message given up anew writes.
_ANEW = ("message_id", "queue", "body", "enqueued_at", "code", "message", "attempts")


def _reopen(new: Any) -> sa.Update:
    return (
        dead_letters.update()
        .where(_D.event_id == new.event_id)
        .values(
            {
                **{name: getattr(new, name) for name in _ANEW},
                "last_tried_at": bindparam("now", type_=_D.last_tried_at.type),
                "status": OPEN,
                **dict.fromkeys(("notified_at", "replayed_at", "resolved_at", "discarded_at"), sa.null()),
            }
        )
    )


_REOPEN = BatchUpdate(_reopen, **{name: _D[name].type for name in ("event_id", *_ANEW)})


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up.

    :ivar event_id: ``None``, like ``type`` and ``manychat_id``, if the message could not be read as an event
    :ivar message_id: the queue's id of the message
    :ivar body: the message exactly as the queue delivered it
    :ivar message: the reason in words
    """

    event_id: str | None
    message_id: str
    queue: str
    type: str | None
    manychat_id: str | None
    body: str
    enqueued_at: datetime | None
    code: str
    message: str
    attempts: int
    first_tried_at: datetime


def put(
    connection: sa.Connection,
    letters: Sequence[DeadLetter],
    now: datetime | None = None,
    *,
    sent_again: Collection[str] = (),
) -> set[str]:
    """Store ``letters``. An existing letter of an event is opened again; an existing unreadable one stays as it is.

    :param sent_again: events that an Odoo user sent again: such a message is a copy of none
    :return: events whose open letter stays as it is, because the message that failed now is a copy that was on the
        queue before that letter was stored
    """
    now = now or datetime.now(timezone.utc)
    events = {letter.event_id: letter for letter in letters if letter.event_id is not None}
    known = given_up(connection, events.keys() - set(sent_again))
    copies = {event_id for event_id, letter in known.items() if letter.covers(events[event_id])}
    events = {event_id: letter for event_id, letter in events.items() if event_id not in copies}
    existing = {row[0] for row in find(connection, sa.select(_D.event_id), _D.event_id, events)}
    if existing:
        rows = [{"event_id": event_id, **_anew(events[event_id])} for event_id in sorted(existing)]
        _REOPEN.execute(connection, rows, now=now)
    unreadable = {letter.message_id: letter for letter in letters if letter.event_id is None}
    statement = sa.select(_D.message_id).where(_D.event_id.is_(None))
    existing_unreadable = {row[0] for row in find(connection, statement, _D.message_id, unreadable)}
    new = [letter for event_id, letter in events.items() if event_id not in existing]
    new += [letter for message_id, letter in unreadable.items() if message_id not in existing_unreadable]
    if new:
        connection.execute(
            dead_letters.insert(), [{**letter.__dict__, "last_tried_at": now, "status": OPEN} for letter in new]
        )
    return copies


def _anew(letter: DeadLetter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in _ANEW}


@dataclass(frozen=True)
class GivenUp:
    """The open letter of an event.

    :ivar message_id: of the message with which the event was given up
    :ivar at: when that was
    """

    message_id: str
    at: datetime

    def follows(self, inserted_at: datetime) -> bool:
        """Whether a message was put on the queue before this, for certain.

        :param inserted_at: when it was; the queue knows whole seconds only
        """
        return inserted_at + timedelta(seconds=1) <= self.at

    def may_follow(self, inserted_at: datetime) -> bool:
        """Whether a message may have been put on the queue before this: in an earlier second, or in the same one."""
        return inserted_at <= self.at

    def covers(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is about a copy of this letter's message, and not about a later attempt."""
        is_other = letter.message_id != self.message_id
        return is_other and letter.enqueued_at is not None and self.may_follow(letter.enqueued_at)


def given_up(connection: sa.Connection, event_ids: Collection[str]) -> dict[str, GivenUp]:
    """The open letters of these events, by event id."""
    statement = sa.select(_D.event_id, _D.message_id, _D.last_tried_at).where(_D.status == OPEN)
    return {row[0]: GivenUp(row[1], row[2]) for row in find(connection, statement, _D.event_id, event_ids)}


def undeliverable_id(queue: str) -> str:
    """The message id of the letter for the undeliverable messages of ``queue``, whose own ids are unknown."""
    return f"undeliverable/{queue}"


def put_undeliverable(
    connection: sa.Connection, queue: str, gone_before: datetime, now: datetime | None = None
) -> None:
    """Note that the queue could not deliver a message.

    :param gone_before: a letter that was last noted before then is about an earlier message
    """
    now = now or datetime.now(timezone.utc)
    is_letter = sa.and_(_D.event_id.is_(None), _D.message_id == undeliverable_id(queue))
    row = connection.execute(sa.select(_D.status, _D.last_tried_at).where(is_letter)).first()
    begin = {"attempts": 1, "first_tried_at": now, "last_tried_at": now, "status": OPEN}
    if row is None:
        letter = {"message_id": undeliverable_id(queue), "queue": queue, "body": ""}
        reason = {"code": ErrorCode.UNDELIVERABLE.value, "message": _UNDELIVERABLE}
        connection.execute(dead_letters.insert(), [{**letter, **reason, **begin}])
    elif row.status == RESOLVED or row.last_tried_at < gone_before:
        times: dict[str, Any] = dict.fromkeys(("notified_at", "resolved_at", "discarded_at"))
        connection.execute(dead_letters.update().where(is_letter).values({**begin, **times}))
    else:
        connection.execute(dead_letters.update().where(is_letter).values(attempts=_D.attempts + 1, last_tried_at=now))


def resolve_undeliverable(
    connection: sa.Connection, queue: str, gone_before: datetime, now: datetime | None = None
) -> None:
    """Close the letter of ``queue`` if no bridge has noted such a message since ``gone_before``."""
    connection.execute(
        dead_letters.update()
        .where(_D.event_id.is_(None), _D.message_id == undeliverable_id(queue), _D.status == OPEN)
        .where(_D.last_tried_at < gone_before)
        .values(status=RESOLVED, resolved_at=now or datetime.now(timezone.utc))
    )


def undeliverable(connection: sa.Connection) -> dict[str, datetime]:
    """Since when each queue holds messages that it cannot deliver, by queue."""
    statement = sa.select(_D.queue, _D.first_tried_at).where(
        _D.code == ErrorCode.UNDELIVERABLE.value, _D.event_id.is_(None), _D.status == OPEN
    )
    return {row[0]: row[1] for row in connection.execute(statement)}


def resolve(connection: sa.Connection, event_ids: Collection[str], now: datetime | None = None) -> None:
    """Note that these events were applied after all."""
    statement = sa.select(_D.id).where(_D.status != RESOLVED)
    values = {"status": RESOLVED, "resolved_at": now or datetime.now(timezone.utc)}
    _close(connection, find(connection, statement, _D.event_id, event_ids), values)


@dataclass(frozen=True)
class Filter:
    """A choice of letters. A criterion left out restricts nothing.

    :ivar since: last tried then or later
    :ivar until: last tried before then
    """

    statuses: Collection[str] = (OPEN,)
    code: str | None = None
    queue: str | None = None
    manychat_id: str | None = None
    ids: Collection[int] = ()
    event_ids: Collection[str] = ()
    since: datetime | None = None
    until: datetime | None = None

    def parts(self, connection: sa.Connection, after: int = 0) -> Iterator[list[sa.ColumnElement[bool]]]:
        """Conditions of one or more statements that together find each letter once, in the order of ids.

        There are several only if more ids are given than one statement can have.

        :param after: only letters whose id is greater
        """
        if not self.ids and not self.event_ids:
            yield [_D.id > after, *self._conditions()]
            return
        by_event = find(connection, sa.select(_D.id), _D.event_id, self.event_ids)
        ids = {*self.ids, *(row[0] for row in by_event)}
        for some in chunks([letter_id for letter_id in ids if letter_id > after]):
            yield [_D.id.in_(some), *self._conditions()]

    def _conditions(self) -> list[sa.ColumnElement[bool]]:
        conditions: list[sa.ColumnElement[bool]] = []
        if self.statuses:
            conditions.append(_D.status.in_(sorted(self.statuses)))
        if self.code:
            conditions.append(_D.code == self.code)
        if self.queue:
            conditions.append(_D.queue == self.queue)
        if self.manychat_id:
            conditions.append(_D.manychat_id == self.manychat_id)
        if self.since:
            conditions.append(_D.last_tried_at >= self.since)
        if self.until:
            conditions.append(_D.last_tried_at < self.until)
        return conditions


def statuses(connection: sa.Connection, ids: Collection[int], event_ids: Collection[str]) -> list[tuple[int, str, str]]:
    """Id, event id (empty without an event) and status of the letters with these ids, or of these events."""
    columns = sa.select(_D.id, _D.event_id, _D.status)
    rows = [*find(connection, columns, _D.id, ids), *find(connection, columns, _D.event_id, event_ids)]
    return [(row[0], row[1] or "", row[2]) for row in rows]


def discard_all(connection: sa.Connection, event_ids: Collection[str], now: datetime | None = None) -> None:
    """Discard the letters of events that an Odoo user discarded, also those that are back on a queue."""
    statement = sa.select(_D.id).where(_D.status.in_([OPEN, REPLAYED]))
    values = {"status": DISCARDED, "discarded_at": now or datetime.now(timezone.utc)}
    _close(connection, find(connection, statement, _D.event_id, event_ids), values)


def _close(connection: sa.Connection, letters: Iterable[Any], values: Mapping[str, Any]) -> None:
    for some in chunks([row.id for row in letters]):
        connection.execute(dead_letters.update().where(_D.id.in_(some)).values(values))


def search(
    connection: sa.Connection, wanted: Filter, *, limit: int | None = None, after: int = 0
) -> list[DeadLetterRow]:
    """The chosen letters, oldest first.

    :param after: only those whose id is greater, for reading page by page
    """
    letters: list[DeadLetterRow] = []
    for conditions in wanted.parts(connection, after):
        statement = sa.select(dead_letters).where(*conditions).order_by(_D.id)
        statement = statement.limit(limit - len(letters)) if limit else statement
        letters += map(DeadLetterRow._make, connection.execute(statement))
        if len(letters) == limit:
            break
    return letters


def counts(connection: sa.Connection, wanted: Filter) -> dict[str, int]:
    """The number of chosen letters, by code."""
    found: Counter[str] = Counter()
    for conditions in wanted.parts(connection):
        statement = sa.select(_D.code, sa.func.count()).where(*conditions).group_by(_D.code)
        found.update({row[0]: row[1] for row in connection.execute(statement)})
    return dict(found)


def mark_replayed(connection: sa.Connection, letter: DeadLetterRow, event: Event, now: datetime | None = None) -> None:
    """Note that the letter is back on a queue.

    :param letter: the row as it was read. A letter that was given up again meanwhile, with another message, stays open
    :param event: the event in the letter
    """
    values: dict[str, Any] = {"status": REPLAYED, "replayed_at": now or datetime.now(timezone.utc)}
    if letter.event_id is None and not list(find(connection, sa.select(_D.id), _D.event_id, [event.id])):
        # An earlier version of the bridge could not read the letter. From now on it belongs to this event.
        values.update(event_id=event.id, type=event.type.value, manychat_id=event.manychat_id)
    connection.execute(
        dead_letters.update()
        .where(_D.id == letter.id, _D.status == OPEN, _D.message_id == letter.message_id)
        .values(values)
    )


def unanswered_replays(connection: sa.Connection, cutoff: datetime) -> list[DeadLetterRow]:
    """Letters that went back to a queue before ``cutoff``, and whose event no bridge has tried since."""
    given_up = audit.c.outcome == EventOutcome.DEAD_LETTERED.value
    tried = sa.exists().where(
        audit.c.event_id == _D.event_id,
        sa.or_(audit.c.outcome.is_(None), ~given_up, audit.c.tried_at >= _D.replayed_at),
    )
    statement = sa.select(dead_letters).where(_D.status == REPLAYED, _D.replayed_at < cutoff, ~tried)
    return [DeadLetterRow._make(row) for row in connection.execute(statement.order_by(_D.id))]


def reopen(connection: sa.Connection, letter: DeadLetterRow) -> None:
    """Note that the queue has lost the message with which the letter was replayed."""
    connection.execute(
        dead_letters.update()
        .where(_D.id == letter.id, _D.status == REPLAYED, _D.replayed_at == letter.replayed_at)
        .values(status=OPEN, replayed_at=None)
    )


def discard(connection: sa.Connection, letter: DeadLetterRow, now: datetime | None = None) -> bool:
    """Discard the letter. The row stays.

    :param letter: the row as it was read
    :return: ``False`` if the letter is no longer open, or was given up again meanwhile
    """
    result = connection.execute(
        dead_letters.update()
        .where(_D.id == letter.id, _D.status == OPEN, _D.message_id == letter.message_id)
        .values(status=DISCARDED, discarded_at=now or datetime.now(timezone.utc))
    )
    return result.rowcount == 1
