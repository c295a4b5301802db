"""How often the standby API refused requests, for people to see: who sent them, where to, and the answer.

A row counts the requests of one day. It has nothing of what they said: anybody can send them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime, time, timezone

import sqlalchemy as sa
from sqlalchemy import bindparam, func

from .rows import StandbyRefusalRow
from .schema import api_keys, standby_refusals
from .upsert import ensure, find

#: Codes of requests without a valid key. All other codes are those of answers to a valid key.
WITHOUT_KEY = ("missing_key", "wrong_key", "key_in_address")
#: Rows of one day about requests without a valid key. What comes beyond them is counted without its address and the
#: beginning of its key: attackers have many. The rows of valid keys are as many as keys, paths and codes allow.
MOST_PER_DAY = 500
#: Most rows in one report to Odoo.
BATCH = 200

_R = standby_refusals.c
_ADD = (
    standby_refusals.update()
    .where(_R.id == bindparam("row_id"))
    .values(
        requests=_R.requests + bindparam("more", type_=_R.requests.type),
        last_at=bindparam("new_last_at", type_=_R.last_at.type),
    )
)
_REPORTED = (
    standby_refusals.update()
    .where(_R.digest == bindparam("row_digest"), _R.reported_requests < bindparam("known"))
    .values(reported_requests=bindparam("known", type_=_R.reported_requests.type))
)


@dataclass(frozen=True)
class Refusal:
    """What one row counts.

    :ivar key_id: of the valid key; ``None`` without one
    :ivar address: of the client; "" with a valid key
    :ivar prefix: the beginning of the wrong key; "" with a valid key, or if the request had no key of our form
    """

    day: date
    path: str
    code: str
    key_id: int | None = None
    address: str = ""
    prefix: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(astuple(self), default=str).encode()).hexdigest()

    @property
    def rest(self) -> Refusal:
        """The same without what an attacker could vary."""
        return replace(self, address="", prefix="")


@dataclass(frozen=True)
class Tally:
    """How many requests, and when."""

    requests: int
    first_at: datetime
    last_at: datetime

    def __add__(self, other: Tally) -> Tally:
        first_at, last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        return Tally(self.requests + other.requests, first_at, last_at)


def add(connection: sa.Connection, counts: Mapping[Refusal, Tally]) -> None:
    """Add ``counts`` to the rows of their days."""
    tallies = {refusal.digest: (refusal, tally) for refusal, tally in _within_bounds(connection, counts).items()}
    keys = {
        row[0]: (row[1], row[2])
        for row in find(
            connection,
            sa.select(api_keys.c.id, api_keys.c.name, api_keys.c.prefix),
            api_keys.c.id,
            {refusal.key_id for refusal in counts if refusal.key_id is not None},
        )
    }
    ids = ensure(
        connection,
        _R.digest,
        {digest: _new_row(digest, refusal, tally, keys) for digest, (refusal, tally) in tallies.items()},
    )
    rows = [
        {"row_id": ids[digest], "more": tally.requests, "new_last_at": tally.last_at}
        for digest, (_, tally) in sorted(tallies.items())
    ]
    if rows:
        connection.execute(_ADD, rows)


def _new_row(digest: str, refusal: Refusal, tally: Tally, keys: Mapping[int, tuple[str, str]]) -> dict[str, object]:
    name, prefix = keys.get(refusal.key_id or 0, ("", refusal.prefix))
    return {
        "digest": digest,
        "key_name": name,
        "key_prefix": prefix,
        "address": refusal.address[:64],
        "path": refusal.path,
        "code": refusal.code,
        "requests": 0,
        "reported_requests": 0,
        "first_at": tally.first_at,
        "last_at": tally.last_at,
    }


def _within_bounds(connection: sa.Connection, counts: Mapping[Refusal, Tally]) -> dict[Refusal, Tally]:
    """``counts``, those beyond :data:`MOST_PER_DAY` together."""
    bounded = {refusal.digest: refusal for refusal in counts if refusal.code in WITHOUT_KEY}
    known = {row[0] for row in find(connection, sa.select(_R.digest), _R.digest, bounded)}
    room = {day: MOST_PER_DAY - _count(connection, day) for day in sorted({each.day for each in bounded.values()})}
    within: dict[Refusal, Tally] = {}
    for refusal, tally in counts.items():
        what = refusal
        if refusal.digest in bounded and refusal.digest not in known:
            what = refusal if room[refusal.day] > 0 else refusal.rest
            room[refusal.day] -= 1
        within[what] = within[what] + tally if what in within else tally
    return within


def _count(connection: sa.Connection, day: date) -> int:
    """Rows about requests without a valid key since that day began."""
    began = datetime.combine(day, time(), timezone.utc)
    statement = sa.select(func.count()).where(_R.last_at >= began, _R.code.in_(WITHOUT_KEY))
    return int(connection.execute(statement).scalar_one())


def lately(connection: sa.Connection, since: datetime) -> list[StandbyRefusalRow]:
    """The rows with requests since then, those with the most requests first."""
    statement = sa.select(standby_refusals).where(_R.last_at >= since).order_by(_R.requests.desc(), _R.id)
    return [StandbyRefusalRow._make(row) for row in connection.execute(statement)]


def unreported(connection: sa.Connection, since: datetime) -> list[StandbyRefusalRow]:
    """Rows with requests since then that Odoo does not know, the oldest first; :data:`BATCH` at most."""
    statement = sa.select(standby_refusals).where(_R.last_at >= since, _R.requests > _R.reported_requests)
    rows = connection.execute(statement.order_by(_R.last_at, _R.id).limit(BATCH))
    return [StandbyRefusalRow._make(row) for row in rows]


def mark_reported(connection: sa.Connection, rows: Collection[StandbyRefusalRow]) -> None:
    """Note that Odoo knows these counts. What was counted since then is reported later."""
    known = [{"row_digest": row.digest, "known": row.requests} for row in sorted(rows, key=lambda row: row.digest)]
    if known:
        connection.execute(_REPORTED, known)
