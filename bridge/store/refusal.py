"""Whose fault it is that the database refused a statement: its own, or that of the events in the statement.

The number of an error does not tell: a trigger that raises, a right that is missing and a full log look alike. So it is
found out as it is for Odoo: if something harmless works, it was the events. Harmless is a row of a table of our own,
as large as the largest event, and a statement without rows on every table that events are written to.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from ..contract.reading import MAX_MESSAGE_CHARS
from ..errors import StoreRefused, StoreUnavailable
from .batch_update import BatchUpdate
from .engine import in_transaction, schema_of
from .schema import (
    advisors,
    audit,
    campaign_contacts,
    campaigns,
    channels,
    contact_states,
    contacts,
    dead_letters,
    manychat_echoes,
    manychat_writes,
    opportunities,
    opportunity_stages,
    write_checks,
)

P = ParamSpec("P")
T = TypeVar("T")

#: The tables that events are written to.
TABLES = (
    channels,
    advisors,
    campaigns,
    contacts,
    contact_states,
    campaign_contacts,
    opportunities,
    opportunity_stages,
    audit,
    dead_letters,
    manychat_writes,
    manychat_echoes,
)
_FILLER = "-" * MAX_MESSAGE_CHARS
_W = write_checks.c
_TOUCH = BatchUpdate(
    lambda new: write_checks.update().where(_W.id == new.id).values(written_at=new.written_at),
    id=_W.id.type,
    written_at=_W.written_at.type,
)


def write_events(
    engine: sa.Engine, work: Callable[Concatenate[sa.Connection, P], T], *arguments: P.args, **named: P.kwargs
) -> T:
    """Run ``work``, which writes what events say, as :func:`.engine.in_transaction` does.

    :raises StoreUnavailable: the database's fault
    :raises sqlalchemy.exc.DBAPIError: the events' fault
    """
    try:
        return in_transaction(engine, work, *arguments, **named)
    except StoreRefused as refused:
        check_writing(engine)
        raise refused.error from None


def check_writing(engine: sa.Engine) -> None:
    """Write as events do, and leave nothing behind.

    :raises StoreUnavailable: the database is down, read-only or full, or refuses what the bridge must write
    """
    in_transaction(engine, _write)


def _write(connection: sa.Connection) -> None:
    _require_sequences(connection)
    for table in TABLES:
        # What a trigger or the lack of a right does to every statement shows without any row.
        columns = [column for column in table.columns if column.default is not None or column.name != "id"]
        nothing = sa.select(*columns).where(sa.false())
        connection.execute(table.insert().from_select(columns, nothing))
        connection.execute(table.update().where(sa.false()).values({columns[0].name: columns[0]}))
    # Also in the form that many rows have. It is committed: SQLite meets a full disk only then.
    token = secrets.token_hex(16)
    values = {"id": token, "written_at": datetime.now(timezone.utc), "filler": _FILLER}
    connection.execute(write_checks.insert(), [values])
    _TOUCH.execute(connection, [{"id": token, "written_at": values["written_at"]}])
    connection.execute(write_checks.delete().where(write_checks.c.id == token))


def _require_sequences(connection: sa.Connection) -> None:
    """Require PostgreSQL's right to number rows, which a grant on all tables does not give.

    A statement without rows needs no number.

    :raises StoreUnavailable:
    """
    if connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    schema = schema_of(connection)
    prefix = f"{quote(schema)}." if schema else ""
    for table in TABLES:
        own = table.c.id.default
        of_column = sa.func.pg_get_serial_sequence(prefix + quote(table.name), "id")
        sequence = sa.literal(prefix + quote(own.name)) if isinstance(own, sa.Sequence) else of_column
        if connection.execute(sa.select(sa.func.has_sequence_privilege(sequence, "USAGE"))).scalar_one() is False:
            raise StoreUnavailable(
                f"a right is missing on the sequence of {table.name}: Grant the bridge's user USAGE on all sequences "
                "in the schema."
            )
