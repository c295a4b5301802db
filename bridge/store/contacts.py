"""Contacts, their states, and their channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from ..contract.event import Event
from ..contract.fields import channel_key
from ..contract.newest import order_of
from ..contract.payloads import Contact, Opportunity
from .last_write_wins import Said, carried, merge, said_by, weaker
from .schema import channels, contact_states, contacts
from .upsert import ensure, find

FIELDS = (
    "first_name",
    "last_name",
    "phone",
    "email",
    "channel_id",
    "subscribed_at",
    "initial_state",
    "last_state",
    "extra",
)


def ensure_contacts(connection: sa.Connection, manychat_ids: Iterable[str], now: datetime) -> dict[str, int]:
    """Ids of the contacts, by ManyChat id. A missing contact gets a row with only its ManyChat id."""
    return ensure(
        connection,
        contacts.c.manychat_id,
        {
            manychat_id: {"manychat_id": manychat_id, "created_at": now, "updated_at": now}
            for manychat_id in manychat_ids
        },
    )


def ensure_channels(connection: sa.Connection, names: Iterable[str | None], now: datetime) -> dict[str, int]:
    """Ids of the channels, by :func:`channel_key` of their names. Missing channels are created."""
    rows: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if name is not None:
            row = {"name_key": channel_key(name), "name": name, "created_at": now, "updated_at": now}
            rows.setdefault(channel_key(name), row)
    return ensure(connection, channels.c.name_key, rows) if rows else {}


def apply_contacts(connection: sa.Connection, events: Collection[Event], now: datetime | None = None) -> None:
    """Write contact events: each person's newest data, and every state that the person entered.

    Applying an event again changes nothing.
    """
    now = now or datetime.now(timezone.utc)
    payloads = [(event, _contact(event)) for event in sorted(events, key=lambda event: event.order)]
    channel_ids = ensure_channels(connection, (payload.canal_entrada for _, payload in payloads), now)
    ids = ensure_contacts(connection, {event.manychat_id for event in events}, now)
    said = [
        said_by(
            event,
            ids[event.manychat_id],
            {
                "first_name": payload.nombre_lead,
                "last_name": payload.apellido_lead,
                "phone": payload.whatsapp,
                "email": payload.email_lead,
                "channel_id": channel_ids[channel_key(payload.canal_entrada)] if payload.canal_entrada else None,
                "subscribed_at": payload.datetime_suscripcion,
                "initial_state": payload.estado_inicial,
                "last_state": payload.ultimo_estado,
            },
        )
        for event, payload in payloads
    ]
    merge(connection, contacts, FIELDS, said, now)
    append_states(
        connection,
        [
            (ids[event.manychat_id], payload.ultimo_estado, "contact", event)
            for event, payload in payloads
            if payload.ultimo_estado
        ],
    )


def complete_from_opportunities(connection: sa.Connection, events: Collection[Event], now: datetime) -> dict[str, int]:
    """Create the missing contacts of opportunity events, and write the few fields that these have.

    The contact's own events win over them, whatever their dates.

    :return: ids of the contacts, by ManyChat id
    """
    payloads = [(event, _opportunity(event)) for event in sorted(events, key=lambda event: event.order)]
    channel_ids = ensure_channels(connection, (payload.channel for _, payload in payloads), now)
    ids = ensure_contacts(connection, {event.manychat_id for event in events}, now)
    said = [
        Said(
            ids[event.manychat_id],
            weaker(order_of(event)),
            carried(
                {
                    "first_name": payload.first_name,
                    "last_name": payload.last_name,
                    "phone": payload.phone,
                    "channel_id": channel_ids[channel_key(payload.channel)] if payload.channel else None,
                }
            ),
        )
        for event, payload in payloads
    ]
    merge(connection, contacts, FIELDS, said, now)
    return ids


def append_states(connection: sa.Connection, states: Sequence[tuple[int, str, str, Event]]) -> None:
    """Append to the states' history, once per event.

    :param states: (contact id, state, category, event)
    """
    if not states:
        return
    existing = {
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
        if event.id not in existing
    ]
    if rows:
        connection.execute(contact_states.insert(), rows)


def _contact(event: Event) -> Contact:
    assert isinstance(event.payload, Contact)
    return event.payload


def _opportunity(event: Event) -> Opportunity:
    assert isinstance(event.payload, Opportunity)
    return event.payload
