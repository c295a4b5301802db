"""Writes imported rows: inserts those that are missing, and fills empty fields of those that exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from ..contract.fields import channel_key, normalize_label
from ..store.campaigns import ensure_advisors, ensure_campaigns
from ..store.contacts import ensure_channels
from ..store.last_write_wins import lock
from ..store.schema import advisors, campaign_contacts, campaigns, channels, contact_states, contacts, version
from ..store.upsert import coalesce_old, find

#: A row to write: values by our columns. Two more names stand for rows without a known id: ``channel``, the name of a
#: channel, and ``manychat_id``, in tables that refer to a contact.
Row = Mapping[str, Any]

#: Dates with the column that they belong to: both are filled, or neither.
PAIRS = {
    "commercial_assignment_date": "commercial_advisor_id",
    "medical_assignment_date": "medical_advisor_id",
}
#: Columns that say how new the data is or when it was written. They are never filled.
_NEVER_FILLED = {"id", "created_at", "updated_at", *(column.name for column in version()), "name_key"}
#: Tables whose rows are only inserted, never filled.
_APPENDED = (contact_states,)


@dataclass(frozen=True)
class Counts:
    """Numbers of rows.

    :ivar new: inserted
    :ivar filled: existed, and an empty field was filled
    :ivar same: existed, and did not change
    """

    new: int
    filled: int
    same: int


def write(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], now: datetime, *, dry_run: bool) -> Counts:
    """Write ``rows``, or only count what would be written. Writing them again changes nothing.

    :param rows: without duplicates; only a state may come twice
    """
    rows = _with_references(connection, table, rows, now, dry_run=dry_run)
    identity = IDENTITIES[table]
    existing = _find(connection, table, identity, rows)
    new = [row for row in rows if identity(row) not in existing]
    if table is contact_states:
        new = _unknown_states(connection, new)
    filled = [
        {"row_id": found.id, "now": now, **gaps}
        for row in rows
        if (found := existing.get(identity(row))) is not None and (gaps := _gaps(table, found, row))
    ]
    if not dry_run:
        if new:
            connection.execute(table.insert(), [_complete(table, row, now) for row in new])
        if filled:
            connection.execute(_FILL[table], filled)
    return Counts(len(new), len(filled), len(rows) - len(new) - len(filled))


def compare(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Row], now: datetime
) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each of ``rows`` with our ids in place of names, and the row that exists for it, if any."""
    wanted = _with_references(connection, table, rows, now, dry_run=True)
    identity = IDENTITIES[table]
    existing = _find(connection, table, identity, wanted)
    if table is contact_states:
        # Another source, or an event, may have written the same state before.
        states = find(connection, sa.select(table), table.c.contact_id, {row["contact_id"] for row in wanted})
        same = {state_key(each.contact_id, each._mapping): each for each in states}
        existing |= {
            identity(row): each for row in wanted if (each := same.get(state_key(row["contact_id"], row))) is not None
        }
    return [
        (row, dict(found._mapping) if (found := existing.get(identity(row))) is not None else None) for row in wanted
    ]


def contact_ids(connection: sa.Connection, manychat_ids: Iterable[str]) -> dict[str, int]:
    """Ids of the contacts that exist, by ManyChat id."""
    return _ids(connection, contacts.c.manychat_id, manychat_ids)


def _ids(connection: sa.Connection, key: sa.Column[Any], values: Iterable[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in find(connection, sa.select(key, key.table.c.id), key, set(values))}


def _with_references(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Row], now: datetime, *, dry_run: bool
) -> list[dict[str, Any]]:
    """``rows`` with our ids in place of names. In a dry run a missing row has a negative id."""
    done = [dict(row) for row in rows]
    if "channel_id" in table.c:
        names = {row["channel"] for row in done if row.get("channel")}
        keys = {channel_key(name) for name in names}
        numbers = _ids(connection, channels.c.name_key, keys) if dry_run else ensure_channels(connection, names, now)
        for row in done:
            name = row.pop("channel", None)
            row["channel_id"] = numbers.get(channel_key(name), -1) if name else None
    if "contact_id" in table.c:
        contacts_found = contact_ids(connection, (row["manychat_id"] for row in done))
        for number, row in enumerate(done, start=1):
            row["contact_id"] = contacts_found.get(row.pop("manychat_id"), -number)
        if not dry_run:
            lock(connection, contacts, contacts_found.values())
    if table is campaign_contacts and not dry_run:
        ensure_campaigns(connection, (row.get("campaign_id") for row in done), now)
        ensure_advisors(connection, (row.get("commercial_advisor_id") for row in done), "commercial", now)
        ensure_advisors(connection, (row.get("medical_advisor_id") for row in done), "medical", now)
    return done


#: The identity of a row.
IDENTITIES: dict[sa.Table, Callable[[Row], Any]] = {
    channels: lambda row: row["name_key"],
    advisors: lambda row: row["id"],
    campaigns: lambda row: row["id"],
    contacts: lambda row: row["manychat_id"],
    contact_states: lambda row: row["event_id"],
    campaign_contacts: lambda row: (row["contact_id"], row.get("campaign_id")),
}
#: The column by which existing rows are searched.
_LOOKED_UP = {
    channels: channels.c.name_key,
    advisors: advisors.c.id,
    campaigns: campaigns.c.id,
    contacts: contacts.c.manychat_id,
    contact_states: contact_states.c.event_id,
    campaign_contacts: campaign_contacts.c.contact_id,
}


def _find(
    connection: sa.Connection, table: sa.Table, identity: Callable[[Row], Any], rows: Iterable[Row]
) -> dict[Any, Any]:
    column = _LOOKED_UP[table]
    found = find(connection, sa.select(table), column, {row[column.name] for row in rows})
    return {identity(each._mapping): each for each in found}


def state_key(person: Any, row: Row) -> tuple[Any, str, datetime]:
    """What makes a state one: whose it is, its name and its time."""
    return person, normalize_label(row["state"]), row["created_at"]


def _unknown_states(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The states that neither an event nor another source has written, each once."""
    if not rows:
        return []
    times = [row["created_at"] for row in rows]
    columns = (contact_states.c.contact_id, contact_states.c.state, contact_states.c.created_at)
    statement = sa.select(*columns).where(columns[2].between(min(times), max(times)))
    found = find(connection, statement, columns[0], {row["contact_id"] for row in rows})
    known = {state_key(each.contact_id, each._mapping) for each in found}
    unknown = {state_key(row["contact_id"], row): row for row in reversed(rows)}
    return [row for key, row in reversed(unknown.items()) if key not in known]


def _gaps(table: sa.Table, found: Any, row: Row) -> dict[str, Any]:
    """Parameters for filling what is empty in ``found`` and not in ``row``; empty if there is nothing to fill."""
    if table in _APPENDED:
        return {}
    gaps: dict[str, Any] = {}
    for column in _fillable(table):
        # A date without its adviser, or an adviser without its date, would be of another assignment.
        pair = (column.name, *(each for ours in PAIRS.items() if column.name in ours for each in ours))
        is_gap = all(getattr(found, name) is None for name in pair)
        gaps[f"new_{column.name}"] = row.get(column.name) if is_gap else None
    return gaps if any(value is not None for value in gaps.values()) else {}


def _complete(table: sa.Table, row: Row, now: datetime) -> dict[str, Any]:
    """Every column except a generated id, so that one statement inserts all rows."""
    given = {column.name: row.get(column.name) for column in table.columns if column.name != "id" or "id" in row}
    stamps = {"created_at": row.get("created_at") or now, "updated_at": now}
    return given | {name: value for name, value in stamps.items() if name in table.c}


def _fillable(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if column.name not in _NEVER_FILLED and not _is_identity(column)]


def _is_identity(column: sa.Column[Any]) -> bool:
    return column.name in ("contact_id", "campaign_id", "manychat_id")


_FILL = {
    table: table.update()
    .where(table.c.id == bindparam("row_id"))
    .values(
        {
            **{column.name: coalesce_old(column) for column in _fillable(table)},
            "updated_at": bindparam("now", type_=table.c.updated_at.type),
        }
    )
    for table in IDENTITIES
    if table not in _APPENDED
}
