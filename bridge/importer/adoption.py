"""Going through all rows of theirs: first only looking, then writing what is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from ..store import engine as database
from ..store.contacts import channel_key
from ..store.sql_errors import describe
from . import source, writer
from .checks import Part, Refused
from .mapping import Field
from .rows import Misfit, convert, reference

#: Rows in one transaction.
BATCH = 500
#: Keys that are shown of rows with the same fault.
SHOWN = 5
#: Of states in the history that come from elsewhere, where the mapping names no category.
CATEGORY = "adopted"
_EVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass
class Some:
    """How many rows, and the first few of their keys."""

    count: int = 0
    keys: list[Any] = field(default_factory=list)

    def add(self, key: Any) -> None:
        self.count += 1
        if len(self.keys) < SHOWN:
            self.keys.append(key)


@dataclass
class Tally:
    """What became of a table's rows, or would.

    :ivar skipped: rows left out, by reason
    :ivar changed: rows of which something was shortened or left empty, by reason
    """

    name: str
    source: str
    found: int = 0
    new: int = 0
    filled: int = 0
    same: int = 0
    skipped: dict[str, Some] = field(default_factory=dict)
    changed: dict[str, Some] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """A row of theirs, read."""

    key: Any
    updated: datetime | None
    values: dict[str, Any]


class _Skip(Exception):
    """A row that is left out; the text says why."""


class Adoption:
    """One go through the mapped tables. Run again it finds everything there and writes nothing.

    :param parts, zone: as :func:`bridge.importer.checks.resolve` gives them
    :param progress: called with the number of rows that were read since
    """

    def __init__(
        self, origin: sa.Engine, target: sa.Engine, parts: list[Part], zone: tzinfo, progress: Callable[[int], None]
    ):
        self.origin = origin
        self.target = target
        self.parts = parts
        self.zone = zone
        self.progress = progress
        self._now = datetime.now(timezone.utc)
        #: ManyChat ids by their keys of contacts; names by their keys of channels.
        self._people: dict[Any, str] = {}
        self._channels: dict[Any, str] = {}
        #: ManyChat ids by themselves in small letters: what is meant where capitals do not matter.
        self._spellings: dict[str, str] = {}
        self._is_case_blind = any(part.options.capitals == "same" for part in parts)
        #: Keys of rows that stand back behind another for the same, by table.
        self._losers: dict[str, set[Any]] = {}

    def rows(self) -> int:
        """How many will be read altogether."""
        return 2 * sum(part.table.rows for part in self.parts)

    def survey(self) -> None:
        """Look at every row before any is written.

        :raises Refused: there is something that a person must decide
        """
        reasons: list[str] = []
        for part in self.parts:
            reasons += self._survey(part)
        if reasons:
            raise Refused(reasons)

    def run(self, *, dry_run: bool) -> Iterator[Tally]:
        """Write what is missing, or only count it; :meth:`survey` comes first.

        :raises Refused: the database does not take a batch; those before it stay written
        """
        for part in self.parts:
            tally = Tally(part.name, part.table.full_name)
            for page in self._pages(part):
                self._write(part, page, tally, dry_run=dry_run)
            yield tally

    # --- Looking -----------------------------------------------------------------------------------------------------

    def _survey(self, part: Part) -> Iterator[str]:
        misfits: dict[str, Some] = {}
        winners: dict[Any, _Read] = {}
        ties: dict[Any, int] = {}
        spellings: dict[str, set[str]] = {}
        members: dict[Any, list[Any]] = {}
        for page in self._pages(part):
            for row in page:
                try:
                    read = self._read(part, row, misfits)
                except _Skip:
                    continue
                if part.name == "contact_states":
                    continue
                identity = self._identity(part, read.values)
                if part.name == "contacts":
                    spellings.setdefault(identity.casefold(), set()).add(read.values["manychat_id"])
                if part.name in ("contacts", "channels"):
                    members.setdefault(identity, []).append(reference(read.key))
                # Of the values only the name: there may be millions of rows.
                label = {ours: value for ours, value in read.values.items() if ours in ("manychat_id", "name")}
                self._rival(part, identity, replace(read, values=label), winners, ties)
        for identity, keys in members.items():
            name = winners[identity].values
            if part.name == "contacts":
                self._people.update(dict.fromkeys(keys, name["manychat_id"]))
                self._spellings[name["manychat_id"].casefold()] = name["manychat_id"]
            else:
                self._channels.update(dict.fromkeys(keys, name["name"]))
        tied = {winners[identity].key: number for identity, number in ties.items()}
        alike = sum(len(ids) > 1 for ids in spellings.values())
        yield from _objections(part, misfits, tied, alike)

    def _rival(self, part: Part, identity: Any, read: _Read, winners: dict[Any, _Read], ties: dict[Any, int]) -> None:
        """Note which of two rows for the same wins; rows come in the order of their keys."""
        other = winners.setdefault(identity, read)
        if other is read:
            return
        if read.updated != other.updated:
            # One without a date is older than any that has one.
            is_newer = (read.updated or _EVER) > (other.updated or _EVER)
            if is_newer:
                ties.pop(identity, None)
        else:
            is_newer = part.options.duplicates == "last"
            if part.options.duplicates is None and part.name != "channels":
                ties[identity] = ties.get(identity, 0) + 1
        loser = other if is_newer else read
        self._losers.setdefault(part.name, set()).add(loser.key)
        if is_newer:
            winners[identity] = read

    def _identity(self, part: Part, values: dict[str, Any]) -> Any:
        if part.name == "contacts":
            name: str = values["manychat_id"]
            return name.casefold() if part.options.capitals == "same" else name
        if part.name == "channels":
            return channel_key(values["name"])
        if part.name == "campaign_contacts":
            return (values["manychat_id"], values.get("campaign_id"))
        return values["id"]

    # --- Reading -----------------------------------------------------------------------------------------------------

    def _pages(self, part: Part) -> Iterator[Any]:
        columns = [column.name for column in part.columns.values()] + ([part.updated.name] if part.updated else [])
        for page in source.pages(self.origin, part.table, part.key, columns, BATCH):
            yield page
            self.progress(len(page))

    def _read(self, part: Part, row: Any, misfits: dict[str, Some]) -> _Read:
        """:raises _Skip: the row is left out"""
        key, *given = row
        values: dict[str, Any] = {}
        for (ours, column), value in zip(part.fields(), given, strict=False):
            # SWITCHOFFSET and CAST have taken the offset off.
            zone = timezone.utc if column.kind == "moment" else self.zone
            values[ours.name] = self._value(part, ours, value, zone, key, misfits)
        updated: datetime | None = None
        if part.updated:
            moment = Field("updated", "moment", "")
            zone = timezone.utc if part.updated.kind == "moment" else self.zone
            updated = self._value(part, moment, given[-1], zone, key, misfits)
        return _Read(key, updated, self._derived(part, key, updated, values, misfits))

    def _value(self, part: Part, ours: Field, value: Any, zone: tzinfo, key: Any, misfits: dict[str, Some]) -> Any:
        try:
            return convert(ours, value, zone)
        except Misfit as misfit:
            # A person by half an id would be somebody else.
            if ours.name == "manychat_id":
                raise _Skip(misfit.reason) from None
            misfits.setdefault(misfit.reason, Some()).add(key)
            if part.options.misfits == "skip" or (ours.required and misfit.instead is None):
                raise _Skip(misfit.reason) from None
            return misfit.instead

    def _derived(
        self, part: Part, key: Any, updated: datetime | None, values: dict[str, Any], misfits: dict[str, Some]
    ) -> dict[str, Any]:
        """What follows from the values: references, whose the row is, how new it is.

        :raises _Skip: it is nobody's
        """
        for ours, _column in part.fields():
            if ours.required and values[ours.name] is None:
                raise _Skip(f"{ours.name} is empty")
        self._refer(part, key, values, misfits)
        digest = hashlib.sha256(f"{part.table.full_name}\0{reference(key)}".encode()).hexdigest()
        mark = f"adopted-{digest[:48]}"
        if part.name == "channels":
            values["name_key"] = channel_key(values["name"])
        if part.name == "contact_states":
            values["category"] = values.get("category") or CATEGORY
            values["event_id"] = mark
        if part.name == "campaign_contacts" and values.get("campaign_id"):
            dates = [values.get(name) for name in ("commercial_assignment_date", "medical_assignment_date")]
            newest = max((date for date in dates if date), default=values.get("created_at"))
            values["assigned_at"] = values.get("assigned_at") or newest
        if "event_at" in part.target.c and updated:
            # Events from before then only fill what is empty. A clock that was ahead must not shut out those to come.
            at = min(updated, self._now)
            values |= {"event_at": at, "event_received_at": at, "event_id": mark}
        return values

    def _refer(self, part: Part, key: Any, values: dict[str, Any], misfits: dict[str, Some]) -> None:
        """Put names and ManyChat ids in place of their keys.

        :raises _Skip: it is nobody's
        """
        if "channel_id" in values:
            channel = values.pop("channel_id")
            values["channel"] = self._channels.get(channel)
            if channel is not None and values["channel"] is None:
                misfits.setdefault("channel_id is of no channel that is there", Some()).add(key)
        if "contact_id" in values:
            contact = values.pop("contact_id")
            values["manychat_id"] = self._people.get(contact)
            if values["manychat_id"] is None:
                raise _Skip("contact_id is empty" if contact is None else "its contact is not there, or left out")
        if "manychat_id" in part.options.columns and values["manychat_id"] is None:
            raise _Skip("manychat_id is empty")
        if self._is_case_blind and part.name != "contacts" and "manychat_id" in values:
            values["manychat_id"] = self._spellings.get(values["manychat_id"].casefold(), values["manychat_id"])

    # --- Writing -----------------------------------------------------------------------------------------------------

    def _write(self, part: Part, page: Any, tally: Tally, *, dry_run: bool) -> None:
        rows: list[_Read] = []
        tally.found += len(page)
        for row in page:
            try:
                misfits: dict[str, Some] = {}
                read = self._read(part, row, misfits)
                if read.key in self._losers.get(part.name, ()):
                    raise _Skip("another row is for the same, and wins")
                rows.append(read)
                for reason in misfits:
                    tally.changed.setdefault(reason, Some()).add(read.key)
            except _Skip as skip:
                tally.skipped.setdefault(str(skip), Some()).add(row[0])

        if part.name in ("contact_states", "campaign_contacts") and "manychat_id" in part.columns:
            rows = self._of_known_people(rows, tally)
        if not rows:
            return

        run = database.read if dry_run else database.in_transaction
        try:
            values = [row.values for row in rows]
            counts = run(self.target, writer.put, part.target, values, self._now, dry_run=dry_run)
        except (DataError, IntegrityError) as error:
            said = (
                f"[{part.name}] the database does not take a batch ({describe(error)}), {part.key} {rows[0].key} to "
                f"{rows[-1].key}. What came before it is written. Mend it and run again."
            )
            raise Refused([said]) from None
        tally.new += counts.new
        tally.filled += counts.filled
        tally.same += counts.same

    def _of_known_people(self, rows: list[_Read], tally: Tally) -> list[_Read]:
        named = {read.values["manychat_id"] for read in rows}
        mapped = set(self._people.values())
        there = mapped | database.read(self.target, writer.known, named - mapped).keys()
        for read in rows:
            if read.values["manychat_id"] not in there:
                tally.skipped.setdefault("its contact is not there, or left out", Some()).add(read.key)
        return [read for read in rows if read.values["manychat_id"] in there]


def _objections(part: Part, misfits: dict[str, Some], ties: dict[Any, int], alike: int) -> Iterator[str]:
    """What a person must decide before any row of ``part`` is written.

    :param ties: for the key of each row that is one of several for the same, none of them newer: how many others
    :param alike: ManyChat ids that are there in several spellings
    """
    if part.options.misfits is None:
        for reason, some in misfits.items():
            yield (
                f'[{part.name}] {_of(some, part)}: {reason}. Mend it there, or say misfits = "cut" (shorten texts, '
                'leave out what cannot be read) or misfits = "skip" (leave out the row).'
            )
    if ties:
        by = f"{part.updated.name} is the same or empty" if part.updated else "no `updated` column is mapped"
        yield (
            f"[{part.name}] {sum(ties.values())} rows of {part.table.full_name} are for the same as another, and "
            f"nothing tells which is newer: {by} ({part.key} {', '.join(map(str, list(ties)[:SHOWN]))} …). "
            f'Say duplicates = "first" or "last" (by {part.key}).'
        )
    if alike and part.options.capitals is None:
        yield (
            f"[{part.name}] {alike} ManyChat ids are there in several spellings that differ only in capitals. "
            'Say capitals = "same" (one person) or "different".'
        )


def _of(some: Some, part: Part) -> str:
    keys = ", ".join(str(key) for key in some.keys)
    return f"{some.count} rows of {part.table.full_name} ({part.key} {keys}{' …' if some.count > SHOWN else ''})"
