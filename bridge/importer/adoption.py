"""The import itself: survey all rows of the user's tables, then write what is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from ..contract.fields import channel_key
from ..store.engine import in_transaction, read
from ..store.sql_errors import describe
from . import source, writer
from .checks import Part, Refused
from .doubles import EVER, SourceRow, join, newest_last
from .fields import Field
from .rows import Misfit, convert, reference, role
from .tally import SHOWN, RowSample, Tally

#: As :func:`.writer.write`.
Writer = Callable[..., writer.Counts]
#: Rows in one transaction.
BATCH = 500
#: Category of imported states, if the mapping names no column for it.
CATEGORY = "adopted"


class _Skip(Exception):
    """The row is left out. The text says why."""


class Adoption:
    """One import of all mapped tables. A second run finds all rows present and writes nothing.

    :param parts, zone: as :func:`bridge.importer.checks.resolve` gives them
    :param progress: called with the number of rows read since the last call
    """

    def __init__(
        self, origin: sa.Engine, target: sa.Engine, parts: list[Part], zone: tzinfo, progress: Callable[[int], None]
    ):
        #: What writes a page; a migration replaces it by one that keeps a journal.
        self.write: Writer = writer.write
        self.origin = origin
        self.target = target
        self.parts = parts
        self.zone = zone
        self.progress = progress
        self._now = datetime.now(timezone.utc)
        #: ManyChat ids by the user's keys of contacts; names by the user's keys of channels.
        self._contacts: dict[Any, str] = {}
        self._channels: dict[Any, str] = {}
        #: The spelling to use of each ManyChat id, by the id in small letters, if capitals do not matter.
        self._spellings: dict[str, str] = {}
        self._is_case_blind = any(part.options.capitals == "same" for part in parts)
        #: How many rows there are for one person or thing, if there are several, by table and identity.
        self._doubles: dict[str, dict[Any, int]] = {}
        #: States that a dry run has counted as new.
        self._counted: set[int] = set()

    def rows(self) -> int:
        """The number of rows to read: each is read twice."""
        return 2 * sum(part.table.rows for part in self.parts)

    def survey(self) -> None:
        """Read every row before any is written.

        :raises Refused: the operator must decide something
        """
        reasons: list[str] = []
        for part in self.parts:
            reasons += self._survey(part)
        if reasons:
            raise Refused(reasons)

    def run(self, *, dry_run: bool) -> Iterator[Tally]:
        """Write what is missing, or only count it. Call :meth:`survey` before.

        :raises Refused: the database refuses a batch; the batches before it stay written
        """
        for part in self.parts:
            tally = Tally(part.name, part.table.full_name)
            for rows in self.joined(part, tally):
                self._write(part, rows, tally, dry_run=dry_run)
            yield tally

    def joined(self, part: Part, tally: Tally | None = None) -> Iterator[list[SourceRow]]:
        """The rows for one table as they would be written, page by page. Call :meth:`survey` before.

        :param tally: takes what is left out and changed
        """
        tally = tally or Tally(part.name, part.table.full_name)
        open_doubles: dict[Any, list[SourceRow]] = {}
        for rows in self.each(part, tally):
            yield self._joined(part, rows, open_doubles, tally)
        # A row of theirs was deleted meanwhile.
        yield [self._join(part, rows, tally) for rows in open_doubles.values()]

    def each(self, part: Part, tally: Tally) -> Iterator[list[SourceRow]]:
        """All rows for one table, page by page, with several for one person or thing. Call :meth:`survey` before."""
        for page in self._pages(part):
            yield self._rows(part, page, tally)

    def spelling(self, manychat_id: str) -> str:
        """The spelling to use of a ManyChat id."""
        return self._spellings.get(manychat_id.casefold(), manychat_id) if self._is_case_blind else manychat_id

    # --- Survey ------------------------------------------------------------------------------------------------------

    def _survey(self, part: Part) -> Iterator[str]:
        misfits: dict[str, RowSample] = {}
        winners: dict[Any, SourceRow] = {}
        ties: dict[Any, int] = {}
        spellings: dict[str, set[str]] = {}
        members: dict[Any, list[Any]] = {}
        for page in self._pages(part):
            for raw in page:
                try:
                    row = self._read(part, raw, misfits)
                except _Skip:
                    continue
                if part.name == "contact_states":
                    continue
                identity = self._identity(part, row.values)
                if part.name == "contacts":
                    spellings.setdefault(identity.casefold(), set()).add(row.values["manychat_id"])
                if part.name in ("contacts", "channels"):
                    members.setdefault(identity, []).append(reference(row.key))
                # Only the names are kept: there may be millions of rows.
                label = {ours: value for ours, value in row.values.items() if ours in ("manychat_id", "name")}
                self._rival(part, identity, replace(row, values=label), winners, ties)
        for identity, keys in members.items():
            name = winners[identity].values
            if part.name == "contacts":
                self._contacts.update(dict.fromkeys(keys, name["manychat_id"]))
                self._spellings[name["manychat_id"].casefold()] = name["manychat_id"]
            else:
                self._channels.update(dict.fromkeys(keys, name["name"]))
        tied = {winners[identity].key: number for identity, number in ties.items()}
        alike = sum(len(ids) > 1 for ids in spellings.values())
        yield from _objections(part, misfits, tied, alike)

    def _rival(
        self, part: Part, identity: Any, row: SourceRow, winners: dict[Any, SourceRow], ties: dict[Any, int]
    ) -> None:
        """Note which of two rows for the same person or thing wins. Rows come in the order of their keys."""
        other = winners.setdefault(identity, row)
        if other is row:
            return
        if row.updated != other.updated:
            # A row without a date is older than any row with one.
            is_newer = (row.updated or EVER) > (other.updated or EVER)
            if is_newer:
                ties.pop(identity, None)
        else:
            is_newer = part.options.duplicates == "last"
            if part.options.duplicates is None and part.name != "channels":
                ties[identity] = ties.get(identity, 0) + 1
        doubles = self._doubles.setdefault(part.name, {})
        doubles[identity] = doubles.get(identity, 1) + 1
        if is_newer:
            winners[identity] = row

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

    def _read(self, part: Part, row: Any, misfits: dict[str, RowSample]) -> SourceRow:
        """:raises _Skip: the row is left out"""
        key, *given = row
        values: dict[str, Any] = {}
        for (ours, column), value in zip(part.fields(), given, strict=False):
            # SWITCHOFFSET and CAST have removed the offset.
            zone = timezone.utc if column.kind == "moment" else self.zone
            values[ours.name] = self._value(part, ours, value, zone, key, misfits)
        updated: datetime | None = None
        if part.updated:
            moment = Field("updated", "moment", "")
            zone = timezone.utc if part.updated.kind == "moment" else self.zone
            updated = self._value(part, moment, given[-1], zone, key, misfits)
        return SourceRow(key, updated, self._derived(part, key, updated, values, misfits))

    def _value(self, part: Part, ours: Field, value: Any, zone: tzinfo, key: Any, misfits: dict[str, RowSample]) -> Any:
        try:
            converted = convert(ours, value, zone)
            return role(converted, part.options.roles) if ours.name == "role" and converted else converted
        except Misfit as misfit:
            # A shortened id would be the id of another person.
            if ours.name == "manychat_id":
                raise _Skip(misfit.reason) from None
            misfits.setdefault(misfit.reason, RowSample(misfit.asks)).add(key)
            skips = misfit.asks and part.options.misfits == "skip"
            if skips or (ours.required and misfit.instead is None):
                raise _Skip(misfit.reason) from None
            return misfit.instead

    def _derived(
        self, part: Part, key: Any, updated: datetime | None, values: dict[str, Any], misfits: dict[str, RowSample]
    ) -> dict[str, Any]:
        """``values`` with what follows from them: references, and how new the row is.

        :raises _Skip: a required field is empty, or the row refers to no contact
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
            # Earlier events only fill in empty fields. A clock that was ahead must not shut out later events.
            at = min(updated, self._now)
            values |= {"event_at": at, "event_received_at": at, "event_id": mark}
        return values

    def _refer(self, part: Part, key: Any, values: dict[str, Any], misfits: dict[str, RowSample]) -> None:
        """Replace the user's keys by names and ManyChat ids.

        :raises _Skip: the row refers to no contact
        """
        if "channel_id" in values:
            channel = values.pop("channel_id")
            values["channel"] = self._channels.get(channel)
            if channel is not None and values["channel"] is None:
                misfits.setdefault("channel_id refers to no channel", RowSample()).add(key)
        if "contact_id" in values:
            contact = values.pop("contact_id")
            values["manychat_id"] = self._contacts.get(contact)
            if values["manychat_id"] is None:
                raise _Skip("contact_id is empty" if contact is None else "its contact does not exist, or is left out")
        if "manychat_id" in part.options.columns and values["manychat_id"] is None:
            raise _Skip("manychat_id is empty")
        if self._is_case_blind and part.name != "contacts" and "manychat_id" in values:
            values["manychat_id"] = self.spelling(values["manychat_id"])

    # --- Writing -----------------------------------------------------------------------------------------------------

    def _rows(self, part: Part, page: Any, tally: Tally) -> list[SourceRow]:
        rows: list[SourceRow] = []
        tally.found += len(page)
        for raw in page:
            try:
                misfits: dict[str, RowSample] = {}
                row = self._read(part, raw, misfits)
                rows.append(row)
                for reason in misfits:
                    tally.changed.setdefault(reason, RowSample()).add(row.key)
            except _Skip as skip:
                tally.skipped.setdefault(str(skip), RowSample()).add(raw[0])
        return rows

    def _joined(
        self, part: Part, rows: list[SourceRow], waiting: dict[Any, list[SourceRow]], tally: Tally
    ) -> list[SourceRow]:
        """``rows``, with one row for each person or thing.

        :param waiting: rows whose doubles come in a later page
        """
        doubles = self._doubles.get(part.name)
        if not doubles:
            return rows
        done: list[SourceRow] = []
        for row in rows:
            identity = self._identity(part, row.values)
            if identity not in doubles:
                done.append(row)
                continue
            waiting.setdefault(identity, []).append(row)
            if len(waiting[identity]) == doubles[identity]:
                done.append(self._join(part, waiting.pop(identity), tally))
        return done

    def _join(self, part: Part, rows: list[SourceRow], tally: Tally) -> SourceRow:
        joined = join(newest_last(rows, last_wins=part.options.duplicates == "last"))
        for row in rows:
            if row.key != joined.key:
                reason = "another row for the same person or thing wins, and takes what it lacks from it"
                tally.skipped.setdefault(reason, RowSample()).add(row.key)
        return joined

    def _write(self, part: Part, rows: list[SourceRow], tally: Tally, *, dry_run: bool) -> None:
        if part.name in ("contact_states", "campaign_contacts") and "manychat_id" in part.columns:
            rows = self._of_known_contacts(rows, tally)
        if part.name == "contact_states" and dry_run:
            rows = self._once(rows, tally)
        if not rows:
            return

        run = read if dry_run else in_transaction
        try:
            values = [row.values for row in rows]
            counts = run(self.target, self.write, part.target, values, self._now, dry_run=dry_run)
        except (DataError, IntegrityError) as error:
            reason = (
                f"[{part.name}] the database refuses a batch ({describe(error)}), {part.key} {rows[0].key} to "
                f"{rows[-1].key}. The batches before it are written. Correct the rows and run again."
            )
            raise Refused([reason]) from None
        tally.new += counts.new
        tally.filled += counts.filled
        tally.same += counts.same

    def _once(self, rows: list[SourceRow], tally: Tally) -> list[SourceRow]:
        """The rows without states that this dry run has counted: nothing is written in which they could be found."""
        once: list[SourceRow] = []
        for row in rows:
            mark = hash(writer.state_key(row.values["manychat_id"], row.values))
            if mark in self._counted:
                tally.same += 1
            else:
                self._counted.add(mark)
                once.append(row)
        return once

    def _of_known_contacts(self, rows: list[SourceRow], tally: Tally) -> list[SourceRow]:
        named = {row.values["manychat_id"] for row in rows}
        mapped = set(self._contacts.values())
        existing = mapped | read(self.target, writer.contact_ids, named - mapped).keys()
        for row in rows:
            if row.values["manychat_id"] not in existing:
                tally.skipped.setdefault("its contact does not exist, or is left out", RowSample()).add(row.key)
        return [row for row in rows if row.values["manychat_id"] in existing]


def _objections(part: Part, misfits: dict[str, RowSample], ties: dict[Any, int], alike: int) -> Iterator[str]:
    """The decisions that the operator must make before any row of ``part`` is written.

    :param ties: by the key of a row: the number of other rows for the same person or thing that are as new as it
    :param alike: the number of ManyChat ids with several spellings
    """
    if part.options.misfits is None:
        for reason, sample in misfits.items():
            if not sample.asks:
                continue
            yield (
                f'[{part.name}] {_rows_of(sample, part)}: {reason}. Correct the rows, or write misfits = "cut" (cut '
                'texts, leave out values that cannot be read) or misfits = "skip" (leave out the rows).'
            )
    if ties:
        why = f"{part.updated.name} is the same or empty" if part.updated else "no `updated` column is mapped"
        yield (
            f"[{part.name}] {sum(ties.values())} rows of {part.table.full_name} are duplicates of another row, and the "
            f"newest is unknown: {why} ({part.key} {', '.join(map(str, list(ties)[:SHOWN]))} …). "
            f'Write duplicates = "first" or "last" (by {part.key}).'
        )
    if alike and part.options.capitals is None:
        yield (
            f"[{part.name}] {alike} ManyChat ids have several spellings that differ only in capitals. "
            'Write capitals = "same" (one person) or "different".'
        )


def _rows_of(sample: RowSample, part: Part) -> str:
    keys = ", ".join(str(key) for key in sample.keys)
    return f"{sample.count} rows of {part.table.full_name} ({part.key} {keys}{' …' if sample.count > SHOWN else ''})"
