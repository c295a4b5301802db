"""The journal of a migration: which rows it inserted or changed, and how to undo exactly that.

The rows are read before and after a change, in the same transaction, so that whatever makes the change needs to know
nothing of it. The journal keeps old values only where the migration replaced any, and else a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from itertools import groupby
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Table, bindparam

from .column_types import Moment
from .schema import (
    advisors,
    audit,
    campaign_contacts,
    campaigns,
    channels,
    contact_states,
    contacts,
    metadata,
    migration_rows,
    opportunities,
    opportunity_stages,
)
from .upsert import find

T = TypeVar("T")

#: Tables whose rows say what became of an opportunity. They stay where the opportunity in Odoo stays.
OF_OPPORTUNITIES = (opportunities.name, opportunity_stages.name, audit.name)
_J = migration_rows.c
_MARK = (
    migration_rows.update()
    .where(_J.id == bindparam("journal_id"))
    .values(undone_at=bindparam("now", type_=_J.undone_at.type))
)


@dataclass(frozen=True)
class Watched:
    """The rows that a change may concern, by what they are found by."""

    manychat_ids: Collection[str] = ()
    event_ids: Collection[str] = ()
    channel_keys: Collection[str] = ()
    campaign_ids: Collection[int] = ()
    advisor_ids: Collection[int] = ()


@dataclass
class Undone:
    """What one call of :func:`undo` did.

    :ivar next: where the next call goes on; 0 at the end
    :ivar rows: how many rows were deleted or brought back, by table
    :ivar kept: how many were left as they are, because they were used since, by table
    """

    next: int = 0
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    kept: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def record(connection: sa.Connection, batch: str, watched: Watched, change: Callable[[sa.Connection], T]) -> T:
    """Make ``change``, and write into the journal which of the ``watched`` rows it inserted or changed."""
    before = _rows(connection, watched)
    result = change(connection)
    entries = [
        _entry(batch, table, row_id, before.get((table, row_id)), row, person)
        for (table, row_id), (row, person) in _rows(connection, watched).items()
        if before.get((table, row_id), (None, None))[0] != row
    ]
    if entries:
        connection.execute(migration_rows.insert(), entries)
    return result


def undo(
    connection: sa.Connection,
    batch: str,
    before_id: int,
    limit: int,
    keep: Collection[str] = (),
    now: datetime | None = None,
    *,
    dry_run: bool = False,
) -> Undone:
    """Undo the newest of what the migration wrote and nothing used since. A repeated call does no harm.

    :param before_id: go on with the entries before this one; 0 for the newest
    :param keep: ManyChat ids of people whose opportunities stay in Odoo
    """
    now = now or datetime.now(timezone.utc)
    where = [_J.batch == batch, _J.undone_at.is_(None)] + ([_J.id < before_id] if before_id else [])
    entries = connection.execute(sa.select(migration_rows).where(*where).order_by(_J.id.desc()).limit(limit)).all()
    undone = Undone(entries[-1].id if entries else 0)
    for table_name, inserted, group in _alike(entries):
        table = metadata.tables[table_name]
        wanted = [entry for entry in group if not (table_name in OF_OPPORTUNITIES and entry.manychat_id in keep)]
        usable = _unused(connection, table, wanted, inserted=inserted, dry_run=dry_run)
        undone.rows[table_name] += len(usable)
        undone.kept[table_name] += len(group) - len(usable)
        if usable and not dry_run:
            if inserted:
                connection.execute(
                    table.delete().where(table.c.id == bindparam("row")), [{"row": e.row_id} for e in usable]
                )
            for entry in usable if not inserted else ():
                values = {name: _decode(table.c[name], value) for name, value in json.loads(entry.before).items()}
                connection.execute(table.update().where(table.c.id == entry.row_id).values(values))
            connection.execute(_MARK, [{"journal_id": entry.id, "now": now} for entry in usable])
    return undone


def count(connection: sa.Connection, batch: str) -> int:
    """The number of entries of ``batch`` that are not undone."""
    statement = sa.select(sa.func.count()).select_from(migration_rows)
    return connection.execute(statement.where(_J.batch == batch, _J.undone_at.is_(None))).scalar_one()


def _rows(connection: sa.Connection, watched: Watched) -> dict[tuple[str, int], tuple[dict[str, Any], str | None]]:
    """The watched rows with the ManyChat id of their person, by table and id."""
    found: dict[tuple[str, int], tuple[dict[str, Any], str | None]] = {}

    def look(table: Table, column: sa.Column[Any], keys: Collection[Any], person: sa.Column[Any] | None = None) -> None:
        statement = sa.select(table, (person if person is not None else sa.literal(None)).label("person"))
        if person is not None and person.table is not table:
            statement = statement.join(person.table)
        for row in find(connection, statement, column, keys):
            values = dict(row._mapping)
            names = [column.name for column in table.columns]
            found[table.name, row.id] = ({name: values[name] for name in names}, values["person"])

    people = watched.manychat_ids
    look(channels, channels.c.name_key, watched.channel_keys)
    look(campaigns, campaigns.c.id, watched.campaign_ids)
    look(advisors, advisors.c.id, watched.advisor_ids)
    look(contacts, contacts.c.manychat_id, people, contacts.c.manychat_id)
    look(campaign_contacts, contacts.c.manychat_id, people, contacts.c.manychat_id)
    look(opportunities, opportunities.c.manychat_id, people, opportunities.c.manychat_id)
    events = watched.event_ids
    look(contact_states, contact_states.c.event_id, events, contacts.c.manychat_id)
    look(opportunity_stages, opportunity_stages.c.event_id, events, opportunities.c.manychat_id)
    look(audit, audit.c.event_id, events, audit.c.manychat_id)
    return found


def _entry(
    batch: str, table: str, row_id: int, before: tuple[dict[str, Any], str | None] | None, row: Any, person: str | None
) -> dict[str, Any]:
    changed = None
    if before is not None:
        changed = _json({name: value for name, value in before[0].items() if row[name] != value})
    return {
        "batch": batch,
        "table_name": table,
        "row_id": row_id,
        "manychat_id": person,
        "before": changed,
        "digest": _digest(row),
    }


def _alike(entries: Iterable[Any]) -> Iterable[tuple[str, bool, list[Any]]]:
    """Entries in their order, those together that follow each other and may be undone together: of different rows."""
    seen: set[int] = set()
    number = 0

    def group(entry: Any) -> tuple[int, str, bool]:
        nonlocal number, seen
        if entry.row_id in seen:
            number, seen = number + 1, set()
        seen.add(entry.row_id)
        return number, entry.table_name, entry.before is None

    for (_, table, inserted), members in groupby(entries, group):
        yield table, inserted, list(members)


def _unused(
    connection: sa.Connection, table: Table, entries: Sequence[Any], *, inserted: bool, dry_run: bool
) -> list[Any]:
    """Those of ``entries`` whose row is as the migration left it, and to which no row refers."""
    ids = [entry.row_id for entry in entries]
    rows = {row.id: dict(row._mapping) for row in find(connection, sa.select(table), table.c.id, ids)}
    referred: set[int] = set()
    # In a dry run the rows that refer to it are still there, though they would be gone.
    for other in metadata.tables.values() if inserted and not dry_run else ():
        for column in other.columns:
            if any(key.column.table is table for key in column.foreign_keys):
                referred.update(row[0] for row in find(connection, sa.select(column).distinct(), column, ids))
    return [
        entry
        for entry in entries
        if entry.row_id not in referred and (row := rows.get(entry.row_id)) and _digest(row) == entry.digest
    ]


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, default=_encode, ensure_ascii=False, sort_keys=True)


def _encode(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _decode(column: sa.Column[Any], value: Any) -> Any:
    if value is not None and isinstance(column.type, Moment):
        return datetime.fromisoformat(value)
    return Decimal(value) if isinstance(column.type, sa.Numeric) and value is not None else value


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(row).encode()).hexdigest()
