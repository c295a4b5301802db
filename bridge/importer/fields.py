"""The fields that can be imported: their meaning, their kind, and the names that a user's columns may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..store.column_types import Moment
from ..store.schema import metadata

#: Names that a user's column may have, by our name, the likeliest first.
_LIKELY_NAMES = {
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


@dataclass(frozen=True)
class Field:
    """One field of our tables that can be imported.

    :ivar kind: "text", "integer", "number", "moment", or the table that the user's column refers to: "contact" or
        "channel"
    :ivar about: its meaning, for the mapping file
    :ivar length: of a text, in UTF-16 units, as SQL Server counts; ``None`` for any
    :ivar likely_names: names that the user's column may have, the likeliest first
    """

    name: str
    kind: str
    about: str
    required: bool = False
    length: int | None = None
    likely_names: tuple[str, ...] = ()


def _fields(table: str, names: Mapping[str, str], required: tuple[str, ...] = ()) -> dict[str, Field]:
    fields = {}
    for name, about in names.items():
        column = metadata.tables[table].c.get(name)
        kind, length = _REFERENCES.get(name, ""), None
        if column is not None and not kind:
            kind, length = _kind(column)
        elif not kind:  # these two are looked up by name, so they are not columns of every table
            length = {"manychat_id": 64, "channel": 256}[name]
            kind = "text"
        fields[name] = Field(name, kind, about, name in required, length, tuple(_LIKELY_NAMES[name].split()))
    return fields


_REFERENCES = {"contact_id": "contact", "channel_id": "channel"}


def _kind(column: sa.Column[Any]) -> tuple[str, int | None]:
    if isinstance(column.type, Moment):
        return "moment", None
    if isinstance(column.type, sa.Integer):
        return "integer", None
    if isinstance(column.type, sa.Numeric):
        return "number", None
    return "text", getattr(column.type, "length", None)


_MADE = "when the row was created"
#: The tables that can be imported, in the order of writing: a row comes after the rows that it refers to.
TABLES: dict[str, dict[str, Field]] = {
    "channels": _fields("channels", {"name": "", "description": "", "created_at": _MADE}, ("name",)),
    "advisors": _fields(
        "advisors",
        {
            "id": "the number by which events name the adviser",
            "name": "",
            "email": "",
            "phone": "",
            "role": "commercial or medical",
            "created_at": _MADE,
        },
        ("id",),
    ),
    "campaigns": _fields(
        "campaigns",
        {
            "id": "the number by which events name the campaign",
            "name": "",
            "date_start": "",
            "date_end": "",
            "budget": "",
            "status": "",
            "channel": "the channel's name",
            "channel_id": "or its key in the table that is mapped as [channels]",
            "created_at": _MADE,
        },
        ("id",),
    ),
    "contacts": _fields(
        "contacts",
        {
            "manychat_id": "the person's subscriber id in ManyChat",
            "first_name": "",
            "last_name": "",
            "phone": "",
            "email": "",
            "channel": "the channel's name",
            "channel_id": "or its key in the table that is mapped as [channels]",
            "subscribed_at": "",
            "initial_state": "",
            "last_state": "",
            "created_at": _MADE,
        },
        ("manychat_id",),
    ),
    "contact_states": _fields(
        "contact_states",
        {
            "contact_id": "the contact's key in the table that is mapped as [contacts]",
            "manychat_id": "or the contact's ManyChat id",
            "state": "",
            "category": "",
            "created_at": "when the person entered the state",
        },
        ("state", "created_at"),
    ),
    "campaign_contacts": _fields(
        "campaign_contacts",
        {
            "contact_id": "the contact's key in the table that is mapped as [contacts]",
            "manychat_id": "or the contact's ManyChat id",
            "campaign_id": "the number by which events name the campaign",
            "type": "",
            "commercial_advisor_id": "the number by which events name the adviser",
            "commercial_assignment_date": "",
            "medical_advisor_id": "the number by which events name the adviser",
            "medical_assignment_date": "",
            "assigned_at": "when the contact was assigned to the campaign",
            "last_state": "",
            "summary": "",
            "created_at": _MADE,
        },
        (),
    ),
}
#: Tables that name a contact by ``manychat_id`` or by this field: exactly one of the two is mapped.
ALTERNATIVES = {"contact_states": "contact_id", "campaign_contacts": "contact_id"}
