"""A database such as a user has: Spanish names with spaces and accents, numbers of its own, what years have left."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Numeric, Table, Unicode

from bridge.store import schema

metadata = MetaData()

canales = Table("Canales", metadata, Column("CanalID", Integer, primary_key=True), Column("Nombre", Unicode(100)))
asesores = Table(
    "Asesores",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("nombre", Unicode(100)),
    Column("correo", Unicode(400)),
    Column("rol", Unicode(20)),
)
campanas = Table(
    "Campañas",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("Nombre", Unicode(100), nullable=False),
    Column("Presupuesto", Numeric(10, 2)),
    Column("Fecha inicio", sa.Date),
    Column("canal_id", Integer),
)
contactos = Table(
    "Contactos de ManyChat",
    metadata,
    # Numbers of its own: Babelfish has no IDENTITY_INSERT for a table with a space in its name. So has the history.
    Column("ContactoID", Integer, primary_key=True, autoincrement=False),
    Column("Manychat ID", Unicode(100)),
    Column("nombre_lead", Unicode(100)),
    Column("apellido_lead", Unicode(400)),
    Column("whatsapp", Unicode(50)),
    Column("Correo electrónico", Unicode(100)),
    Column("canal_id", Integer),
    Column("Último estado", Unicode(100)),
    Column("Fecha suscripción", sa.DateTime),
    Column("Fecha actualización", sa.DateTime),
)
estados = Table(
    "Historial estados",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("ContactoID", Integer),  # without a foreign key, hence with orphans
    Column("estado", Unicode(100)),
    Column("fecha", sa.DateTime),
)
asignaciones = Table(
    "Asignaciones",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ContactoID", ForeignKey(contactos.c.ContactoID)),
    Column("Campaña", Integer),
    Column("comercial_id", Integer),
    Column("fecha_asignacion_comercial", sa.DateTime),
    Column("último_estado", Unicode(100)),
    Column("resumen", sa.UnicodeText),
    Column("Fecha actualización", sa.DateTime),
)

MAPPING = """
timezone = "America/Bogota"

[channels]
table = "Canales"
key = "CanalID"
[channels.columns]
name = "Nombre"

[advisors]
table = "Asesores"
key = "id"
[advisors.columns]
id = "id"
name = "nombre"
email = "correo"
role = "rol"

[campaigns]
table = "Campañas"
key = "id"
[campaigns.columns]
id = "id"
name = "Nombre"
budget = "Presupuesto"
date_start = "Fecha inicio"
channel_id = "canal_id"

[contacts]
table = "Contactos de ManyChat"
key = "ContactoID"
updated = "Fecha actualización"
[contacts.columns]
manychat_id = "Manychat ID"
first_name = "nombre_lead"
last_name = "apellido_lead"
phone = "whatsapp"
email = "Correo electrónico"
channel_id = "canal_id"
last_state = "Último estado"
subscribed_at = "Fecha suscripción"

[contact_states]
table = "Historial estados"
key = "id"
[contact_states.columns]
contact_id = "ContactoID"
state = "estado"
created_at = "fecha"

[campaign_contacts]
table = "Asignaciones"
key = "id"
updated = "Fecha actualización"
[campaign_contacts.columns]
contact_id = "ContactoID"
campaign_id = "Campaña"
commercial_advisor_id = "comercial_id"
commercial_assignment_date = "fecha_asignacion_comercial"
last_state = "último_estado"
summary = "resumen"
"""

#: Local time of Bogotá: five hours behind UTC, all year.
EVENING = datetime(2025, 3, 4, 21, 30)  # noqa: DTZ001


def person(number: int, **values: Any) -> dict[str, Any]:
    """A row of ``contactos`` with every column."""
    row: dict[str, Any] = {
        "Manychat ID": f"MC{number}",
        "nombre_lead": "José 🌻",
        "apellido_lead": "Muñoz",
        "whatsapp": f"+57300{number:07}",
        "Correo electrónico": f"jose{number}@example.com",
        "canal_id": 1,
        "Último estado": "Cotización",
        "Fecha suscripción": EVENING,
        "Fecha actualización": EVENING + timedelta(minutes=number),
    }
    return {"ContactoID": number} | row | values


def state(number: int, contact: int | None, **values: Any) -> dict[str, Any]:
    return {"id": number, "ContactoID": contact, "estado": "Nuevo lead", "fecha": EVENING} | values


def assignment(number: int, contact: int, campaign: int | None = 85, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ContactoID": contact,
        "Campaña": campaign,
        "comercial_id": 7,
        "fecha_asignacion_comercial": EVENING,
        "último_estado": "Asignado",
        "resumen": "Pregunta por precios 💬",
        "Fecha actualización": EVENING,
    }
    return {"id": number} | row | values


def fill(engine: sa.Engine, rows: dict[Table, list[dict[str, Any]]]) -> None:
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if rows.get(table):
                connection.execute(table.insert(), rows[table])


def few(people: int = 3) -> dict[Table, list[dict[str, Any]]]:
    """Rows in which nothing is wrong."""
    return {
        canales: [{"CanalID": 1, "Nombre": "Facebook"}, {"CanalID": 2, "Nombre": " facebook"}],
        asesores: [{"id": 7, "nombre": "Lucía", "correo": "lucia@example.com", "rol": "commercial"}],
        campanas: [
            {"id": 85, "Nombre": "Invierno ❄", "Presupuesto": 1500, "Fecha inicio": EVENING.date(), "canal_id": 2}
        ],
        contactos: [person(number) for number in range(1, people + 1)],
        estados: [state(number, number) for number in range(1, people + 1)],
        asignaciones: [assignment(number, number) for number in range(1, people + 1)],
    }


def adopted_rows() -> dict[Table, list[dict[str, Any]]]:
    """Rows as ``bridge.adopt`` hands them to the store: of a person who is there (P1), and of one who is not."""
    at = EVENING.replace(tzinfo=timezone.utc)
    rows: dict[Table, list[dict[str, Any]]] = {
        schema.channels: [{"name": "x", "name_key": "x"}],
        schema.advisors: [{"id": 7001, "name": "x"}],
        schema.campaigns: [{"id": 7001, "name": "x", "channel": "y"}],
        schema.contacts: [{"manychat_id": who, "email": "x", "channel": "z"} for who in ("P1", "P-adopted")],
        schema.contact_states: [
            {"manychat_id": "P1", "state": "x", "category": "adopted", "created_at": at, "event_id": "adopted-x"}
        ],
        schema.campaign_contacts: [
            {"manychat_id": "P1", "campaign_id": campaign, "commercial_advisor_id": 7001, "medical_advisor_id": 7002}
            for campaign in (85, 7001)
        ],
    }
    return rows
