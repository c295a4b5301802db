"""A first mapping file, guessed from Spanish and English names. The operator corrects it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

from .fields import ALTERNATIVES, TABLES, Field
from .source import Column, Table

#: Names that a user's table may have, the likeliest first.
_TABLE_NAMES = {
    "channels": "channel channels canal canales source sources",
    "advisors": "advisor advisors adviser advisers asesor asesores agent agents",
    "campaigns": "campaign campaigns campana campanas",
    "contacts": "contact contacts contacto contactos lead leads persona personas subscriber subscribers",
    "contact_states": "contact_state contact_states contact_status estado_contacto estados_contacto estados_contactos "
    "contacto_estado contacto_estados historial_estados historial_estado state_history",
    "campaign_contacts": "campaign_contact campaign_contacts campaigncontact contactos_campana contacto_campana "
    "campana_contacto campana_contactos campanas_contactos asignacion asignaciones assignment assignments",
}
_UPDATED = (
    "updated_at fecha_actualizacion datetime_actual actualizado updated modified_at fecha_modificacion last_update "
    "ultima_actualizacion"
)

_HEAD = """\
# This file says which of your tables and columns become the bridge's channels, contacts and so on. It is a guess: check
# every line. Left of "=" is the bridge's name, right of it yours. Delete lines that are wrong or not wanted. "#" begins
# a comment. Then run: python -m bridge db adopt --mapping THIS_FILE --check

# Time zone of times without one: the zone that your old program used.
# timezone = "America/Bogota"
# timezone = "UTC"
"""


def first_mapping(tables: Sequence[Table]) -> str:
    """The text of a first mapping file for ``tables``."""
    parts = [_HEAD]
    for name, fields in TABLES.items():
        table = _best(tables, _TABLE_NAMES[name].split())
        if table is None and name == "contacts":
            # Whatever its name, a table of contacts has ManyChat ids.
            known = [each for each in tables if _column(each, fields["manychat_id"].likely_names)]
            table = max(known, key=lambda each: each.rows, default=None)
        if table is None:
            parts.append(f"# Nothing looked like {name}.\n# [{name}]\n# table = ...\n")
        else:
            parts.append(_section(name, fields, table))
    return "\n".join(parts)


def _section(name: str, fields: dict[str, Field], table: Table) -> str:
    lines = [f"[{name}]", f"table = {_text(table.full_name)}  # {table.rows} rows"]
    key = table.key[0] if len(table.key) == 1 else None
    about = "unique and never NULL: rows are read in its order, and other tables refer to it"
    lines.append(f"key = {_text(key)}  # {about}" if key else f"# key = ...  # {about}")
    updated = _column(table, _UPDATED.split())
    about = "when the row was last written: of two rows for the same person or thing the newest wins"
    lines.append(f"updated = {_text(updated.name)}  # {about}" if updated else f"# updated = ...  # {about}")
    lines += [
        '# duplicates = "first"  # or "last": which row wins if `updated` does not decide',
        '# misfits = "cut"  # or "skip": cut a value that is too long or cannot be read, or skip its row',
    ]
    if name == "contacts":
        lines.append('# capitals = "same"  # or "different": ManyChat ids that differ only in capitals')
    if name == "advisors":
        lines.append('# roles = { "Closer" = "commercial" }  # or "medical": own words for a role')
    lines += ["", f"[{name}.columns]"]
    taken: set[str] = {updated.name} if updated else set()
    chosen: set[str] = set()
    for field in fields.values():
        column = None
        if not (field.name == "manychat_id" and name in ALTERNATIVES and ALTERNATIVES[name] in chosen):
            column = _column(table, field.likely_names, taken)
        if column is None and field.name == "id" and key:
            column = table.column(key)
        if column is None:
            must = " (needed)" if field.required else ""
            lines.append(f"# {field.name} = ...{must}{f'  # {field.about}' if field.about else ''}")
            continue
        taken.add(column.name)
        chosen.add(field.name)
        note = f"{column.type}{'' if column.nullable else ', never NULL'}{f'; {field.about}' if field.about else ''}"
        lines.append(f"{field.name} = {_text(column.name)}  # {note}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # A JSON string is also a TOML string, unless JSON escapes a character as a surrogate pair.
    return json.dumps(value, ensure_ascii=False)


def _best(tables: Iterable[Table], names: Sequence[str]) -> Table | None:
    found = [(names.index(plain), -table.rows, table) for table in tables if (plain := _plain(table.name)) in names]
    # A table with rows wins over an empty one with a likelier name.
    return min(found, key=lambda item: (item[1] == 0, item[0], item[1]))[2] if found else None


def _column(table: Table, names: Sequence[str], taken: Iterable[str] = ()) -> Column | None:
    by_name = {_plain(column.name): column for column in table.columns if column.name not in taken}
    return next((by_name[name] for name in names if name in by_name), None)


def _plain(name: str) -> str:
    """``name`` in a form for comparing: ``CampañaID`` becomes ``campana_id``."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFC", name))
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "_", ascii_only.casefold()).strip("_")
    return re.sub(r"^(tbl|t|dim|fact|crm|mc)_", "", plain).replace("many_chat", "manychat")
