"""The fields of an event that the contract does not know, as one flat dict. Pure functions without Odoo."""

from bridge.contract.names import spelling

#: The part of *Full Contact Data* that holds the bot builder's own fields. It does not count as a part of their names.
CUSTOM_FIELDS = "custom_fields"
#: Names that are longer, or nested more deeply, are no field that a person would choose.
MAX_KEY_CHARS = 128
MAX_DEPTH = 3
#: Most fields of one event that are looked at.
MAX_FIELDS = 200


def key_of(name):
    """The form in which two names of fields are compared: ``Fecha de Nacimiento`` and ``fecha_de_nacimiento`` agree.

    :param str name: parts of a nested name with dots between them
    """
    parts = [spelling(part) for part in name.split(".")]
    if len(parts) > 1 and parts[0] == CUSTOM_FIELDS:
        parts = parts[1:]
    return ".".join(part for part in parts if part)


def flat(extra):
    """The unknown fields of one event: dict of key → (name, value).

    A field of the request counts for more than a custom field of the same name.

    :param extra: as the contract keeps it
    """
    found = {}
    if isinstance(extra, dict):
        rest = {name: value for name, value in extra.items() if spelling(name) != CUSTOM_FIELDS}
        _collect(rest, "", found)
        for name, value in extra.items():
            if name not in rest:
                _collect(_by_name(value), "", found)
    return found


def _collect(fields, prefix, found):
    for name, value in fields.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and prefix.count(".") < MAX_DEPTH - 1:
            _collect(value, f"{path}.", found)
        elif (key := key_of(path)) and len(path) <= MAX_KEY_CHARS and len(found) < MAX_FIELDS:
            found.setdefault(key, (path, value))


def _by_name(custom_fields):
    """Custom fields as ManyChat sends them: an object, or a list of ``{"name", "value"}``."""
    if isinstance(custom_fields, list):
        pairs = [each for each in custom_fields if isinstance(each, dict) and isinstance(each.get("name"), str)]
        return {each["name"]: each["value"] for each in pairs if each.get("value") is not None}
    return custom_fields if isinstance(custom_fields, dict) else {}
