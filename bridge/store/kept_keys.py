"""The API's keys, put aside while the tables are at an earlier revision.

That revision may have no table for them, or lack a column. They are the only rows that neither an event nor Odoo can
bring back. What is put aside has the digests only, as the table itself.
"""

from __future__ import annotations

import sqlalchemy as sa

from .engine import schema_of
from .schema import api_keys

_KEPT = sa.Table("kept_api_keys", sa.MetaData(), *(sa.Column(each.name, each.type) for each in api_keys.columns))
_DIGEST = "digest"


def put_aside(connection: sa.Connection) -> None:
    """Copy the keys. A key that is aside already stays as it is there: it may have more columns."""
    columns = _columns(connection, api_keys.name)
    if not columns:
        return
    if not _columns(connection, _KEPT.name):
        _KEPT.create(connection)
    known = set(connection.execute(sa.select(_KEPT.c.digest)).scalars())
    rows = connection.execute(sa.select(*(api_keys.c[name] for name in columns)))
    new = [dict(row._mapping) for row in rows if row.digest not in known]
    if new:
        connection.execute(_KEPT.insert(), new)


def bring_back(connection: sa.Connection) -> None:
    """Insert the keys that are missing, and fill in what the earlier revision had no column for."""
    if not _columns(connection, _KEPT.name):
        return
    known = {row.digest: row for row in connection.execute(sa.select(api_keys))}
    for kept in connection.execute(sa.select(_KEPT).order_by(_KEPT.c.id)).all():
        values = {name: value for name, value in kept._mapping.items() if name != "id"}
        if kept.digest not in known:
            connection.execute(api_keys.insert(), [values])
            continue
        there = known[kept.digest]
        gaps = {name: value for name, value in values.items() if getattr(there, name) is None and value is not None}
        if gaps:
            connection.execute(api_keys.update().where(api_keys.c.id == there.id).values(gaps))
    _KEPT.drop(connection)


def forget(connection: sa.Connection) -> None:
    """Delete what is aside: without any table of ours, no key is left."""
    if _columns(connection, _KEPT.name):
        _KEPT.drop(connection)


def _columns(connection: sa.Connection, table: str) -> list[str]:
    """The columns of our table that the database has; empty without the table."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(table, schema=schema_of(connection)):
        return []
    there = {column["name"] for column in inspector.get_columns(table, schema=schema_of(connection))}
    return [column.name for column in api_keys.columns if column.name in there]
