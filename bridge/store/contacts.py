"""Contacts, their states, and the channels they came by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from ..contract.event import Event
from ..contract.fields import normalize_label
from ..contract.payloads import Contact, Opportunity
from .last_write_wins import is_newer, set_version, superseded, version_params
from .schema import channels, contact_states, contacts
from .upsert import coalesce_new, coalesce_old, ensure, find

_FIELDS = (
    contacts.c.first_name,
    contacts.c.last_name,
    contacts.c.phone,
    contacts.c.email,
    contacts.c.channel_id,
    contacts.c.subscribed_at,
    contacts.c.initial_state,
    contacts.c.last_state,
)
_ROW = contacts.c.id == bindparam("row_id")
_NOW = bindparam("now", type_=contacts.c.updated_at.type)

#: A newer contact event: what it carries wins.
_UPDATE = (
    contacts.update()
    .where(_ROW, is_newer(contacts))
    .values(
        {
            **{field.name: coalesce_new(field) for field in _FIELDS},
            **set_version(contacts),
            "updated_at": _NOW,
        }
    )
)
#: An older one: it still knows what nobody else has told.
_COMPLETE_FROM_OLDER = (
    contacts.update()
    .where(_ROW, ~is_newer(contacts), contacts.c.event_id != bindparam("new_event_id"))
    .values({**{field.name: coalesce_old(field) for field in _FIELDS}, "updated_at": _NOW})
)
#: An opportunity event knows a few of the fields; the contact's own events know better.
_FROM_OPPORTUNITY = (contacts.c.first_name, contacts.c.last_name, contacts.c.phone, contacts.c.channel_id)
_COMPLETE_FROM_OPPORTUNITY = (
    contacts.update()
    .where(
        _ROW,
        sa.or_(
            *(
                # Of a bare "? IS NOT NULL" SQL Server cannot tell the type: it would take every text of the statement
                # for VARCHAR, and emoji for question marks.
                sa.and_(field.is_(None), sa.cast(bindparam(f"new_{field.name}"), field.type).is_not(None))
                for field in _FROM_OPPORTUNITY
            )
        ),
    )
    .values({**{field.name: coalesce_old(field) for field in _FROM_OPPORTUNITY}, "updated_at": _NOW})
)
#: Changes nothing, but locks the row.
_TOUCH = contacts.update().where(_ROW).values(last_state=contacts.c.last_state)


def ensure_contacts(connection: sa.Connection, manychat_ids: Iterable[str], now: datetime) -> dict[str, int]:
    """Ids of the contacts, by ManyChat id; a bare row is made for whoever is not known yet, completed later."""
    return ensure(
        connection,
        contacts.c.manychat_id,
        {
            manychat_id: {"manychat_id": manychat_id, "created_at": now, "updated_at": now}
            for manychat_id in manychat_ids
        },
    )


def ensure_channels(connection: sa.Connection, names: Iterable[str | None], now: datetime) -> dict[str, int]:
    """Ids of the channels, by :func:`normalize_label` of their names; missing ones are made."""
    rows: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if name is not None:
            row = {"name_key": channel_key(name), "name": name, "created_at": now, "updated_at": now}
            rows.setdefault(channel_key(name), row)
    return ensure(connection, channels.c.name_key, rows) if rows else {}


def channel_key(name: str) -> str:
    # Case folding can lengthen a text ("ß"); the column is as long as the longest name that the contract lets in.
    # SQL Server counts an emoji as two, and takes no notice of a space at the end.
    return normalize_label(name).encode("utf-16-le")[:512].decode("utf-16-le", "ignore").rstrip()


def apply_contacts(connection: sa.Connection, events: Collection[Event], now: datetime | None = None) -> None:
    """Write contact events: each person's newest data, and every state they entered.

    Applying an event again changes nothing.
    """
    now = now or datetime.now(timezone.utc)
    payloads = [(event, _contact(event)) for event in sorted(events, key=lambda event: event.order)]
    channel_ids = ensure_channels(connection, (payload.canal_entrada for _, payload in payloads), now)
    ids = ensure_contacts(connection, {event.manychat_id for event in events}, now)
    rows: list[dict[str, Any]] = [
        {
            "row_id": ids[event.manychat_id],
            "now": now,
            "new_first_name": payload.nombre_lead,
            "new_last_name": payload.apellido_lead,
            "new_phone": payload.whatsapp,
            "new_email": payload.email_lead,
            "new_channel_id": channel_ids[channel_key(payload.canal_entrada)] if payload.canal_entrada else None,
            "new_subscribed_at": payload.datetime_suscripcion,
            "new_initial_state": payload.estado_inicial,
            "new_last_state": payload.ultimo_estado,
            **version_params(event),
        }
        for event, payload in payloads
    ]
    # By contact, so that two bridges take their row locks in the same order; within one, still oldest first.
    rows.sort(key=itemgetter("row_id"))
    connection.execute(_UPDATE, rows)
    if older := superseded(connection, contacts, rows):
        connection.execute(_COMPLETE_FROM_OLDER, older)
    append_states(
        connection,
        [
            (ids[event.manychat_id], payload.ultimo_estado, "contact", event)
            for event, payload in payloads
            if payload.ultimo_estado
        ],
    )


def complete_from_opportunities(connection: sa.Connection, events: Collection[Event], now: datetime) -> dict[str, int]:
    """Make the contacts of opportunity events if missing, filling only what is empty.

    :return: ids of the contacts, by ManyChat id
    """
    payloads = [(event, _opportunity(event)) for event in sorted(events, key=lambda event: event.order)]
    channel_ids = ensure_channels(connection, (payload.channel for _, payload in payloads), now)
    ids = ensure_contacts(connection, {event.manychat_id for event in events}, now)
    rows: list[dict[str, Any]] = [
        {
            "row_id": ids[event.manychat_id],
            "now": now,
            "new_first_name": payload.first_name,
            "new_last_name": payload.last_name,
            "new_phone": payload.phone,
            "new_channel_id": channel_ids[channel_key(payload.channel)] if payload.channel else None,
        }
        # Newest first: where several of them could fill a gap, the newest does.
        for event, payload in reversed(payloads)
    ]
    rows.sort(key=itemgetter("row_id"))
    connection.execute(_COMPLETE_FROM_OPPORTUNITY, rows)
    return ids


def lock(connection: sa.Connection, contact_ids: Iterable[int]) -> None:
    """Keep other transactions off these contacts until this one ends: an UPDATE is a lock on every database."""
    rows = [{"row_id": contact_id} for contact_id in sorted(set(contact_ids))]
    if rows:
        connection.execute(_TOUCH, rows)


def append_states(connection: sa.Connection, states: Sequence[tuple[int, str, str, Event]]) -> None:
    """Append to the states' history, once per event.

    :param states: (contact id, state, category, the event that told it)
    """
    if not states:
        return
    there = {
        row[0]
        for row in find(
            connection,
            sa.select(contact_states.c.event_id),
            contact_states.c.event_id,
            [event.id for *_, event in states],
        )
    }
    rows = [
        {
            "contact_id": contact_id,
            "state": state,
            "category": category,
            "created_at": event.occurred_at,
            "event_id": event.id,
        }
        for contact_id, state, category, event in states
        if event.id not in there
    ]
    if rows:
        connection.execute(contact_states.insert(), rows)


def _contact(event: Event) -> Contact:
    assert isinstance(event.payload, Contact)
    return event.payload


def _opportunity(event: Event) -> Opportunity:
    assert isinstance(event.payload, Opportunity)
    return event.payload
