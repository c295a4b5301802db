"""Erasure of a person. Rows that guard against applying an event twice stay, without personal data."""

from __future__ import annotations

import base64
import binascii
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from ..contract import attribution
from ..errors import StoreUnavailable
from .audit import DEAD_LETTERED, ERASED
from .column_types import Moment
from .dead_letters import DISCARDED, OPEN, REPLAYED
from .schema import (
    audit,
    campaign_contacts,
    contact_states,
    contacts,
    dead_letters,
    manychat_echoes,
    manychat_flows,
    manychat_writes,
    migration_rows,
    opportunities,
    opportunity_stages,
)

#: The payload of an erased event. It is still JSON, so that readers need no special case.
NO_PAYLOAD = "{}"
#: Unreadable messages in one page: each may be as long as a message can be.
PAGE = 100
#: Characters of a phone number or email address that is looked for in a text. A shorter one may stand there by chance.
SHORTEST_TERM = 6


def erase(connection: sa.Connection, manychat_id: str, now: datetime | None = None) -> dict[str, int]:
    """Remove the person from all tables. Their events that are not applied yet will not be.

    Audit rows stay, without payload, because their event ids guard against applying an event twice. A random label
    replaces the ManyChat id. A hash would not do: trying all numbers of ten digits would find the id.

    :return: number of rows of each kind
    """
    now = now or datetime.now(timezone.utc)
    label = f"erased-{secrets.token_hex(16)}"
    terms = _known_of(connection, manychat_id)
    contact = sa.select(contacts.c.id).where(contacts.c.manychat_id == manychat_id).scalar_subquery()
    opportunity = sa.select(opportunities.c.id).where(opportunities.c.manychat_id == manychat_id).scalar_subquery()
    counts = {
        what: connection.execute(statement).rowcount
        for what, statement in {
            # First the contact, which the bridges lock first as well.
            "contact": contacts.update().where(contacts.c.manychat_id == manychat_id).values(phone=None, email=None),
            "stage moves": opportunity_stages.delete().where(opportunity_stages.c.opportunity_id == opportunity),
            "opportunity": opportunities.delete().where(opportunities.c.manychat_id == manychat_id),
            "campaign assignments": campaign_contacts.delete().where(campaign_contacts.c.contact_id == contact),
            "states": contact_states.delete().where(contact_states.c.contact_id == contact),
            "audit payloads": _empty_audit(manychat_id, label, now),
            "dead letters": _empty_letters(dead_letters.c.manychat_id == manychat_id, now, manychat_id=label),
        }.items()
    }
    connection.execute(contacts.delete().where(contacts.c.manychat_id == manychat_id))
    # A message that waits for the row then does nothing.
    for table in (migration_rows, manychat_writes, manychat_flows, manychat_echoes):
        connection.execute(table.delete().where(table.c.manychat_id == manychat_id))
    unreadable = _unreadable_letters_of(connection, manychat_id, terms)
    for letter_id in unreadable:
        connection.execute(_empty_letters(dead_letters.c.id == letter_id, now))
    counts["dead letters"] += len(unreadable)
    return counts


def unreadable_letters(connection: sa.Connection) -> int:
    """The number of dead letters whose person is unknown."""
    return connection.execute(sa.select(sa.func.count()).select_from(dead_letters).where(*_UNREADABLE)).scalar_one()


_UNREADABLE = (dead_letters.c.event_id.is_(None), dead_letters.c.body != "")


def _empty_audit(manychat_id: str, label: str, now: datetime) -> sa.Update:
    undecided = sa.or_(audit.c.outcome.is_(None), audit.c.outcome == DEAD_LETTERED)
    return (
        audit.update()
        .where(audit.c.manychat_id == manychat_id)
        .values(
            manychat_id=label,
            payload=NO_PAYLOAD,
            extra=None,
            warnings=None,
            error=None,
            # Odoo's opportunity still names the person.
            lead_id=None,
            outcome=sa.case((undecided, ERASED), else_=audit.c.outcome),
            finished_at=sa.func.coalesce(audit.c.finished_at, _literal(now)),
            reported_at=sa.case((undecided, None), else_=audit.c.reported_at),
            attempt_in_progress=False,
        )
    )


def _empty_letters(which: sa.ColumnElement[bool], now: datetime, **values: Any) -> sa.Update:
    waiting = dead_letters.c.status.in_([OPEN, REPLAYED])
    return (
        dead_letters.update()
        .where(which)
        .values(
            body="",
            message="",
            status=sa.case((waiting, DISCARDED), else_=dead_letters.c.status),
            discarded_at=sa.case((waiting, _literal(now)), else_=dead_letters.c.discarded_at),
            **values,
        )
    )


def _literal(moment: datetime) -> sa.ColumnElement[datetime]:
    # Without a type SQLAlchemy uses DateTime, and each driver treats its time zone differently.
    return sa.literal(moment, Moment())


def _known_of(connection: sa.Connection, manychat_id: str) -> list[str]:
    """What else tells that a text speaks of the person: phone number and email address."""
    columns = sa.select(contacts.c.phone, contacts.c.email).where(contacts.c.manychat_id == manychat_id)
    found = [value for row in connection.execute(columns) for value in row if value]
    return [value for value in found if len(value) >= SHORTEST_TERM]


def _unreadable_letters_of(connection: sa.Connection, manychat_id: str, terms: Sequence[str]) -> list[int]:
    """Ids of letters that are not events, but name the person as an event would, in any form, or have their number."""
    person = attribution.comparable(manychat_id)
    columns = sa.select(dead_letters.c.id, dead_letters.c.body).where(*_UNREADABLE).order_by(dead_letters.c.id)
    found: list[int] = []
    last = 0
    while page := list(connection.execute(columns.where(dead_letters.c.id > last).limit(PAGE))):
        for row in page:
            texts = _readable(row.body)
            if any(attribution.person_of(text) == person or any(term in text for term in terms) for text in texts):
                found.append(row.id)
        last = page[-1].id
    return found


def _readable(body: str) -> list[str]:
    """``body`` as it is, and what it may mean in Base64: with line breaks, without padding, or for URLs."""
    compact = "".join(body.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return [body]
    return [body, decoded.decode("utf-8", "replace"), decoded.decode("utf-16", "replace")]


def scrub(engine: sa.Engine) -> bool:
    """Remove what a database file still holds of rows that are gone. Only SQLite's file can be scrubbed from here.

    ``secure_delete`` (see :mod:`.engine`) overwrites rows as they are deleted, and not the copies in the write-ahead
    log, nor what was deleted before it was switched on.

    :return: whether nothing is left; ``False`` if other programs used the file all the time
    :raises StoreUnavailable: the disk has no room for a copy of the database
    """
    if engine.dialect.name != "sqlite":
        return True
    # Past SQLAlchemy, which would begin a transaction: VACUUM cannot run in one.
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        [busy, *_] = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return False
        raise StoreUnavailable(f"the database file cannot be compacted ({type(error).__name__})") from None
    finally:
        connection.close()
    return not busy
