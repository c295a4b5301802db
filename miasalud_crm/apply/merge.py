"""The rules of what an event may write to an opportunity. Pure functions: they know no database and no Odoo."""

import json

from bridge.contract.newest import order_key

from ..moments import naive_utc

#: Parts of a name as events carry them. They are kept in ``manychat_values``; together they are the contact's name.
NAME_PARTS = ("first_name", "last_name")
#: Fields of an opportunity that hold what the chat said of each field, and the order of the event that said it.
MEMORY = ("manychat_values", "manychat_versions")


def manual_order_key(moment):
    """Place of an Odoo user's move in the order of events.

    :param datetime moment: when the user moved the opportunity, with time zone
    """
    return order_key(moment, moment, "")


def event_values(payload, references):
    """Values of the lead fields, and the parts of the name, that an event carries. What it omits is missing.

    :param payload: of an opportunity event
    :param dict references: ids of the records that the payload names, by lead field
    """
    values = {
        **{part: getattr(payload, part) for part in NAME_PARTS},
        "phone": payload.phone,
        "manychat_channel": payload.channel,
        "manychat_entry_date": payload.entry_date and naive_utc(payload.entry_date),
        "manychat_summary": payload.state.summary,
        **references,
    }
    return {name: value for name, value in values.items() if value}


def with_custom(values, custom, order, versions):
    """``values`` with those of the fields that a manager has chosen for unknown fields.

    Such a field is no longer filled by what else an event says of it: the channel, once a ``utm_source`` has come.

    :param dict values: as :func:`event_values` gives them
    :param dict custom: field → pair of value and whether the first value is kept
    :param str order: of the event
    :param dict versions: order of the event that said each value; :func:`mark` → order of the one that chose it
    :return tuple: the values; and the fields in which the event counts although a newer one came before
    """
    merged = {name: value for name, value in values.items() if mark(name) not in versions}
    earlier = set()
    for name, (value, keep_first) in custom.items():
        said = versions.get(mark(name))
        if keep_first and said is not None:
            if said <= order:
                continue
            earlier.add(name)  # it happened before the one that arrived first
        elif said is None and name in versions:
            earlier.add(name)  # so far the field has what events say of it otherwise
        merged[name] = value
    return merged, earlier


def mark(name):
    """Key in the memory of a field that a manager has chosen for an unknown one, once an event has said it."""
    return f"custom.{name}"


def names(values):
    """Name of the opportunity and of its contact, from ``values``; without what they do not tell."""
    # An event may carry half a name. The other half comes from other events.
    person = " ".join(values[part] for part in NAME_PARTS if values.get(part))
    found = {"name": person or values.get("phone"), "contact_name": person}
    return {name: value for name, value in found.items() if value}


def writable_values(taken, order, memory, current, overruled=()):
    """The event's values minus fields that a user edited; with the fields of :data:`MEMORY`.

    :param dict taken: what the event carries and no newer one has said
    :param str order: of the event
    :param tuple memory: what the chat said of each field, and the order of the event that said it
    :param dict current: what each field of the opportunity holds now, as :func:`jsonable` gives it
    :param overruled: fields in which the event counts more than a user's edit
    """
    known, versions = memory
    versions = versions | dict.fromkeys(taken, order)
    if taken.keys() & {*NAME_PARTS, "phone"}:
        taken = taken | names(known | taken)
    sent, writable = jsonable(taken), {}
    for name, value in taken.items():
        if name in NAME_PARTS:
            continue
        if isinstance(value, list):
            # Tags and the like: added, never taken away; what a user took away does not come back.
            if added := [each for each in value if each not in (known.get(name) or []) and each not in current[name]]:
                writable[name] = added
            sent[name] = sorted({*(known.get(name) or []), *value})
            continue
        is_edited = current[name] != known.get(name, False) and name not in overruled
        fills_empty = not current[name] and name not in known
        if (fills_empty or not is_edited) and sent[name] != current[name]:
            writable[name] = value
    return {**writable, "manychat_values": known | sent, "manychat_versions": versions}


def jsonable(values):
    """``values`` as they come back from JSON."""
    return json.loads(json.dumps(values, default=str))
