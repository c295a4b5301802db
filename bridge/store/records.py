"""Single contacts, campaigns, channels and advisers, as the API writes them.

A write of the API counts as the newest event at the time of the call. It says the fields that the call gives, the
emptied ones included. An event that happened earlier fills only what no newer one has said.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from ..contract.fields import MAX_INT, channel_key
from ..contract.newest import order_key
from .contacts import FIELDS
from .last_write_wins import dump, orders_of
from .schema import (
    advisors,
    campaign_contacts,
    campaigns,
    channels,
    contact_states,
    contacts,
    opportunities,
)

#: The ``category`` of states that were set through the API.
API = "api"

#: The unique columns of each table, with their names in the API.
_KEYS = {
    contacts: ((contacts.c.manychat_id, "manychat_id"),),
    channels: ((channels.c.name_key, "name"),),
    campaigns: ((campaigns.c.id, "id"),),
    advisors: ((advisors.c.id, "id"),),
}
#: The columns that refer to each table. The history of states is part of its contact and is deleted with it.
_REFERRERS = {
    contacts: (campaign_contacts.c.contact_id, opportunities.c.contact_id),
    channels: (contacts.c.channel_id, campaigns.c.channel_id),
    campaigns: (campaign_contacts.c.campaign_id,),
    advisors: (
        campaign_contacts.c.commercial_advisor_id,
        campaign_contacts.c.medical_advisor_id,
        opportunities.c.commercial_advisor_id,
        opportunities.c.medical_advisor_id,
    ),
}


class Duplicate(Exception):
    """Another row has the same value in a unique field.

    :ivar field: its name in the API
    :ivar row_id: id of the other row
    """

    def __init__(self, field: str, row_id: int):
        super().__init__(field)
        self.field = field
        self.row_id = row_id


class NoSuchChannel(Exception):
    """There is no channel with this ``channel_id``."""


class InUse(Exception):
    """Other rows refer to the row.

    :ivar tables: their tables
    """

    def __init__(self, tables: list[str]):
        super().__init__(", ".join(tables))
        self.tables = tables


def get(connection: sa.Connection, table: sa.Table, row_id: int) -> sa.Row[Any] | None:
    """One row; ``None`` if there is none."""
    return connection.execute(sa.select(table).where(table.c.id == row_id)).first()


def _get(connection: sa.Connection, table: sa.Table, row_id: int) -> sa.Row[Any]:
    return connection.execute(sa.select(table).where(table.c.id == row_id)).one()


def create(
    connection: sa.Connection, table: sa.Table, values: Mapping[str, Any], now: datetime | None = None
) -> sa.Row[Any]:
    """Insert a row.

    :param values: by column; an ``id`` only for tables whose ids the senders of events choose
    :return: the new row
    :raises Duplicate, NoSuchChannel:
    """
    now = now or datetime.now(timezone.utc)
    row = _derived(table, {name: value for name, value in values.items() if name != "id" or value is not None})
    _check(connection, table, row, None)
    row |= {"created_at": now, "updated_at": now, **_version(table, None, row, now)}
    if table in (campaigns, advisors) and "id" not in row:
        row["id"] = _next_id(connection, table)
    inserted = connection.execute(table.insert().values(row)).inserted_primary_key
    assert inserted is not None
    _note_state(connection, table, inserted[0], None, row, now)
    return _get(connection, table, inserted[0])


def update(
    connection: sa.Connection, table: sa.Table, row_id: int, values: Mapping[str, Any], now: datetime | None = None
) -> sa.Row[Any] | None:
    """Change a row.

    :param values: by column; the other columns stay
    :return: the row as it is now; ``None`` if there is none
    :raises Duplicate, NoSuchChannel:
    """
    now = now or datetime.now(timezone.utc)
    # Writing first locks the row, so that no bridge changes it between our read and our write.
    if not connection.execute(table.update().where(table.c.id == row_id).values(updated_at=now)).rowcount:
        return None
    before = _get(connection, table, row_id)
    row = _derived(table, values)
    _check(connection, table, row, row_id)
    row |= _version(table, before, row, now)
    if row:
        connection.execute(table.update().where(table.c.id == row_id).values(row))
    _note_state(connection, table, row_id, before, row, now)
    return get(connection, table, row_id)


def delete(connection: sa.Connection, table: sa.Table, row_id: int) -> bool:
    """Delete a row.

    :return: ``False`` if there is no such row
    :raises InUse: other rows refer to it
    """
    if get(connection, table, row_id) is None:
        return False
    referring = [
        column.table.name
        for column in _REFERRERS[table]
        if connection.execute(sa.select(column).where(column == row_id).limit(1)).first()
    ]
    if referring:
        raise InUse(sorted(set(referring)))
    if table is contacts:
        connection.execute(contact_states.delete().where(contact_states.c.contact_id == row_id))
    return connection.execute(table.delete().where(table.c.id == row_id)).rowcount == 1


def _derived(table: sa.Table, values: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(values)
    if table is channels and "name" in row:
        row["name_key"] = channel_key(row["name"])
    return row


def _check(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], row_id: int | None) -> None:
    """Check before the write: the error of a constraint does not name the field."""
    for column, name in _KEYS[table]:
        if column.name in row:
            other = connection.execute(sa.select(table.c.id).where(column == row[column.name])).scalar()
            if other is not None and other != row_id:
                raise Duplicate(name, other)
    if row.get("channel_id") is not None and get(connection, channels, row["channel_id"]) is None:
        raise NoSuchChannel


def _next_id(connection: sa.Connection, table: sa.Table) -> int:
    """A free id. The sequence does not know the ids that events have used."""
    while True:
        if connection.dialect.supports_sequences:
            row_id = connection.execute(sa.select(_SEQUENCES[table].next_value())).scalar_one()
        else:
            row_id = _first_free_id(connection, table)
        if get(connection, table, row_id) is None:
            return int(row_id)


def _first_free_id(connection: sa.Connection, table: sa.Table) -> int:
    """One more than the largest id; the first gap only if the largest possible id is used.

    A gap may be the id of a deleted row. Events that still name the deleted row would then mean the new one.
    """
    largest = int(connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0)
    if largest < MAX_INT:
        return largest + 1
    if get(connection, table, 1) is None:
        return 1
    following = table.alias()
    before_a_gap = ~sa.exists().where(following.c.id == table.c.id + 1)
    return int(connection.execute(sa.select(sa.func.min(table.c.id)).where(before_a_gap)).scalar_one()) + 1


_SEQUENCES = {table: sa.Sequence(f"{table.name.removesuffix('s')}_id") for table in (campaigns, advisors)}


def _version(table: sa.Table, before: sa.Row[Any] | None, given: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The call as the row's newest "event". Only contacts have one."""
    if table is not contacts:
        return {}
    # A bot's clock may be ahead, by a day at most: a stale event must not become newer than the row by this call.
    at = now if before is None or before.event_at is None else max(now, before.event_at)
    event_id = f"api-{secrets.token_hex(16)}"
    version = {"event_at": at, "event_received_at": now, "event_id": event_id}
    if before is None:
        return version  # what a new row lacks was not emptied
    newest = order_key(at, now, event_id)
    said = dict.fromkeys((name for name in given if name in FIELDS), newest)
    values = {name: given.get(name, getattr(before, name)) for name in FIELDS}
    return {**version, "field_versions": dump(orders_of(before, FIELDS) | said, values, newest)}


def _note_state(
    connection: sa.Connection,
    table: sa.Table,
    row_id: int,
    before: sa.Row[Any] | None,
    row: Mapping[str, Any],
    now: datetime,
) -> None:
    """Append a state that was set through the API to the history."""
    state = row.get("last_state") if table is contacts else None
    if state and (before is None or before.last_state != state):
        connection.execute(
            contact_states.insert().values(contact_id=row_id, state=state, category=API, created_at=now, event_id=None)
        )
