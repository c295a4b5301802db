"""Contacts, their states, and their channels."""

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
from .upsert import coalesce_new, coalesce_old, ensure, find, to_json

_FIELDS = (
    contacts.c.first_name,
    contacts.c.last_name,
    contacts.c.phone,
    contacts.c.email,
    contacts.c.channel_id,
    contacts.c.subscribed_at,
    contacts.c.initial_state,
    contacts.c.last_state,
    contacts.c.extra,
)
_ROW = contacts.c.id == bindparam("row_id")
_NOW = bindparam("now", type_=contacts.c.updated_at.type)

#: A newer contact event: its values win.
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
#: An older contact event: it fills in empty fields.
_COMPLETE_FROM_OLDER = (
    contacts.update()
    .where(_ROW, ~is_newer(contacts), contacts.c.event_id != bindparam("new_event_id"))
    .values({**{field.name: coalesce_old(field) for field in _FIELDS}, "updated_at": _NOW})
)
#: An opportunity event has a few of the fields. The contact's own events win over it.
_FROM_OPPORTUNITY = (contacts.c.first_name, contacts.c.last_name, contacts.c.phone, contacts.c.channel_id)
_COMPLETE_FROM_OPPORTUNITY = (
    contacts.update()
    .where(
        _ROW,
        sa.or_(
            *(
                # A cast, because SQL Server cannot infer the type in "? IS NOT NULL": it would treat every text of the
                # statement as VARCHAR, and turn emoji into question marks.
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


def channel_key(name: str) -> str:
    """The form of a channel's name for comparing: "Facebook" and " facebook" are the same channel."""
    # Case folding can lengthen a text ("ß"), and the column is as long as the longest name that the contract allows.
    # SQL Server counts an emoji as two characters, and ignores a space at the end.
    return normalize_label(name).encode("utf-16-le")[:512].decode("utf-16-le", "ignore").rstrip()


def apply_contacts(connection: sa.Connection, events: Collection[Event], now: datetime | None = None) -> None:
    """Write contact events: each person's newest data, and every state that the person entered.

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
            "new_extra": to_json(event.extra),
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
    """Create the missing contacts of opportunity events, and fill in empty fields of all.

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
        # Newest first: if several events could fill an empty field, the newest does.
        for event, payload in reversed(payloads)
    ]
    rows.sort(key=itemgetter("row_id"))
    connection.execute(_COMPLETE_FROM_OPPORTUNITY, rows)
    return ids


def lock(connection: sa.Connection, contact_ids: Iterable[int]) -> None:
    """Lock these contacts until the transaction ends: an UPDATE is a lock on every database."""
    rows = [{"row_id": contact_id} for contact_id in sorted(set(contact_ids))]
    if rows:
        connection.execute(_TOUCH, rows)


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
