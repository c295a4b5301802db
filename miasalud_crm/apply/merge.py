"""The rules of what an event may write to an opportunity. Pure functions: they know no database and no Odoo."""

import json

from bridge.contract.fields import format_datetime

from ..moments import naive_utc

#: Parts of a name as events carry them. They are kept in ``manychat_values``; together they are the contact's name.
NAME_PARTS = ("first_name", "last_name")


def order_key(event):
    """``event.order`` as text that sorts the same way."""
    occurred_at, received_at, event_id = event.order
    return f"{format_datetime(occurred_at)}|{format_datetime(received_at)}|{event_id}"


def manual_order_key(moment):
    """Place of an Odoo user's move in the order of events.

    :param datetime moment: when the user moved the opportunity, with time zone
    """
    return f"{format_datetime(moment)}|{format_datetime(moment)}|"


def order_values(event):
    """Values of the lead fields that depend on which event is the newest: its place in the order, and its summary."""
    values = {"manychat_order": order_key(event), "manychat_last_date": naive_utc(event.occurred_at)}
    if event.payload.state.summary:
        values["manychat_summary"] = event.payload.state.summary
    return values


def event_values(payload, references, known=None, is_newer=True):
    """Values of the lead fields, and the parts of the name, that an event carries. What it omits is missing.

    :param payload: of an opportunity event
    :param dict references: ids of the records that the payload names, by lead field
    :param dict known: what earlier events said of the person
    :param bool is_newer: whether the event is newer than ``known``
    """
    values = {
        **{part: getattr(payload, part) for part in NAME_PARTS},
        "phone": payload.phone,
        "manychat_channel": payload.channel,
        "manychat_entry_date": payload.entry_date and naive_utc(payload.entry_date),
        **references,
    }
    values = {name: value for name, value in values.items() if value}
    if values.keys() & NAME_PARTS:
        # An event may carry half a name. The other half comes from earlier events.
        parts = (known or {}) | values if is_newer else values | (known or {})
        person = " ".join(parts[part] for part in NAME_PARTS if parts.get(part))
        values |= {"name": person, "contact_name": person}
    return values


def writable_values(values, known, current, is_newer, overruled=()):
    """The event's values minus fields that a user edited or a newer event set; with ``manychat_values`` if it changes.

    :param dict values: what the event carries, as :func:`event_values` gives it
    :param dict known: what earlier events said of each field
    :param dict current: what each field of the opportunity holds now, as :func:`jsonable` gives it
    :param bool is_newer: whether the event is newer than ``known``; an older one only fills empty fields
    :param overruled: fields in which the event counts more than a user's edit
    """
    sent = jsonable(values)
    completes_name = any(part in values and part not in known for part in NAME_PARTS)
    writable, updated_known_values = {}, {}
    for name, value in values.items():
        if name in NAME_PARTS:
            if is_newer or name not in known:
                updated_known_values[name] = sent[name]
            continue
        is_edited = current[name] != known.get(name, False) and name not in overruled
        fills_empty = not current[name] and name not in known
        completes = completes_name and not is_edited and name in ("name", "contact_name")
        is_writable = (is_newer and not is_edited) or fills_empty or completes
        if is_writable and sent[name] != current[name]:
            writable[name] = value
        if is_newer or name in writable:
            updated_known_values[name] = sent[name]
    if known | updated_known_values != known:
        writable["manychat_values"] = known | updated_known_values
    return writable


def jsonable(values):
    """``values`` as they come back from JSON."""
    return json.loads(json.dumps(values, default=str))
