"""A first mapping, guessed from names in Spanish and English, for a person to correct."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

from .mapping import ALTERNATIVES, TABLES, Field
from .source import Column, Table

#: Names of tables, the likeliest first.
_TABLES = {
    "channels": "channel channels canal canales source sources",
    "advisors": "advisor advisors adviser advisers asesor asesores agent agents",
    "campaigns": "campaign campaigns campana campanas",
    "contacts": "contact contacts contacto contactos lead leads persona personas subscriber subscribers",
    "contact_states": "contact_state contact_states contact_status estado_contacto estados_contacto estados_contactos "
    "contacto_estado contacto_estados historial_estados historial_estado state_history",
    "campaign_contacts": "campaign_contact campaign_contacts campaigncontact contactos_campana contacto_campana "
    "campana_contacto campana_contactos campanas_contactos asignacion asignaciones assignment assignments",
}
#: Names of columns, by the name of ours, the likeliest first.
_COLUMNS = {
    "id": "id",
    "name": "name nombre full_name nombre_completo",
    "description": "description descripcion",
    "email": "email email_lead correo correo_electronico mail",
    "phone": "phone whatsapp telefono celular movil phone_number mobile tel",
    "role": "role rol tipo type cargo",
    "date_start": "date_start start_date fecha_inicio inicio",
    "date_end": "date_end end_date fecha_fin fin",
    "budget": "budget presupuesto",
    "status": "status estado state estatus",
    "channel": "channel canal canal_entrada canal_de_entrada fuente source",
    "channel_id": "channel_id canal_id id_canal",
    "manychat_id": "manychat_id id_manychat manychatid subscriber_id suscriptor_id id_suscriptor many_chat_id",
    "first_name": "first_name nombre_lead nombre nombres name",
    "last_name": "last_name apellido_lead apellido apellidos surname",
    "subscribed_at": "subscribed_at datetime_suscripcion fecha_suscripcion subscription_date fecha_de_suscripcion",
    "initial_state": "initial_state estado_inicial",
    "last_state": "last_state ultimo_estado estado_actual estado state",
    "created_at": "created_at fecha_creacion creado created fecha_alta fecha date timestamp fecha_registro",
    "contact_id": "contact_id contacto_id id_contacto lead_id",
    "state": "state estado status estado_nombre",
    "category": "category categoria tipo",
    "campaign_id": "campaign_id campana_id id_campana campana campaign",
    "type": "type tipo tipo_asignacion assignment_type",
    "commercial_advisor_id": "commercial_advisor_id comercial_id id_comercial asesor_comercial_id asesor_comercial",
    "commercial_assignment_date": "commercial_assignment_date fecha_asignacion_comercial",
    "medical_advisor_id": "medical_advisor_id medico_id id_medico asesor_medico_id asesor_medico",
    "medical_assignment_date": "medical_assignment_date fecha_asignacion_medico fecha_asignacion_medica",
    "assigned_at": "assigned_at fecha_asignacion assignment_date fecha_de_asignacion",
    "summary": "summary resumen notas notes",
}
_UPDATED = (
    "updated_at fecha_actualizacion datetime_actual actualizado updated modified_at fecha_modificacion last_update "
    "ultima_actualizacion"
)

_HEAD = """\
# Which of your tables and columns are what the bridge calls channels, contacts and so on. It is a guess: read every
# line. Left of "=" is the bridge's name, right of it yours. Take out what is wrong or not wanted; "#" begins a comment.
# Then: python -m bridge db adopt --mapping THIS_FILE --check

# The zone of times that do not say theirs: the one that your old program wrote.
# timezone = "America/Bogota"
# timezone = "UTC"
"""


def starter(tables: Sequence[Table]) -> str:
    """A mapping file for what was found."""
    parts = [_HEAD]
    for name, fields in TABLES.items():
        table = _best(tables, _TABLES[name].split())
        if table is None and name == "contacts":
            # Whatever they are called, they know who somebody is in ManyChat.
            known = [each for each in tables if _column(each, _COLUMNS["manychat_id"].split())]
            table = max(known, key=lambda each: each.rows, default=None)
        if table is None:
            parts.append(f"# Nothing looked like {name}.\n# [{name}]\n# table = ...\n")
        else:
            parts.append(_section(name, fields, table))
    return "\n".join(parts)


def _section(name: str, fields: dict[str, Field], table: Table) -> str:
    lines = [f"[{name}]", f"table = {_text(table.full_name)}  # {table.rows} rows"]
    key = table.key[0] if len(table.key) == 1 else None
    about = "unique and never empty: rows are read in its order, and other tables refer to it"
    lines.append(f"key = {_text(key)}  # {about}" if key else f"# key = ...  # {about}")
    updated = _column(table, _UPDATED.split())
    about = "when a row was last written: of two for the same the newest wins"
    lines.append(f"updated = {_text(updated.name)}  # {about}" if updated else f"# updated = ...  # {about}")
    lines += [
        '# duplicates = "first"  # or "last": which wins where `updated` does not tell',
        '# misfits = "cut"  # or "skip": what becomes of values that are too long or cannot be read',
    ]
    if name == "contacts":
        lines.append('# capitals = "same"  # or "different": what ManyChat ids are that differ in capitals only')
    lines += ["", f"[{name}.columns]"]
    taken: set[str] = {updated.name} if updated else set()
    chosen: set[str] = set()
    for field in fields.values():
        column = None
        if not (field.name == "manychat_id" and name in ALTERNATIVES and ALTERNATIVES[name] in chosen):
            column = _column(table, _COLUMNS[field.name].split(), taken)
        if column is None and field.name == "id" and key:
            column = table.column(key)
        if column is None:
            must = " (needed)" if field.required else ""
            lines.append(f"# {field.name} = ...{must}{f'  # {field.about}' if field.about else ''}")
            continue
        taken.add(column.name)
        chosen.add(field.name)
        told = f"{column.type}{'' if column.nullable else ', never NULL'}{f'; {field.about}' if field.about else ''}"
        lines.append(f"{field.name} = {_text(column.name)}  # {told}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # A JSON string is one of TOML's too, unless it splits characters in two.
    return json.dumps(value, ensure_ascii=False)


def _best(tables: Iterable[Table], names: Sequence[str]) -> Table | None:
    found = [(names.index(plain), -table.rows, table) for table in tables if (plain := _plain(table.name)) in names]
    # The fullest: an empty table by the likelier name is what somebody left behind.
    return min(found, key=lambda item: (item[1] == 0, item[0], item[1]))[2] if found else None


def _column(table: Table, names: Sequence[str], taken: Iterable[str] = ()) -> Column | None:
    by_name = {_plain(column.name): column for column in table.columns if column.name not in taken}
    return next((by_name[name] for name in names if name in by_name), None)


def _plain(name: str) -> str:
    """``CampañaID`` and ``Id de campaña`` in letters that can be compared."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFC", name))
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "_", ascii_only.casefold()).strip("_")
    return re.sub(r"^(tbl|t|dim|fact|crm|mc)_", "", plain).replace("many_chat", "manychat")
