"""SQL and Odoo hold the same of each person: every field that both have, read past everything that is under test."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bridge.store.schema import channels, contacts, opportunities

from .system import System

_SQL = (
    sa.select(
        opportunities,
        *(contacts.c[name] for name in ("first_name", "last_name", "phone")),
        contacts.c.event_at.label("contact_event_at"),
        channels.c.name.label("channel"),
    )
    .join(contacts, contacts.c.id == opportunities.c.contact_id)
    .outerjoin(channels, channels.c.id == contacts.c.channel_id)
)
#: A merged opportunity is left out: it follows several people.
_ODOO = """
    SELECT identity.manychat_id, lead.id AS lead_id, lead.manychat_summary AS summary,
           lead.manychat_entry_date AS entry_date, lead.phone, lead.contact_name, lead.manychat_channel AS channel,
           commercial.external_id AS commercial_advisor_id, medical.external_id AS medical_advisor_id,
           stage.name AS stage_names, map.manychat_stage_id
      FROM manychat_identity identity
      JOIN crm_lead lead ON lead.id = identity.lead_id
      JOIN crm_stage stage ON stage.id = lead.stage_id
 LEFT JOIN manychat_stage_map map ON map.stage_id = stage.id
 LEFT JOIN manychat_advisor commercial ON commercial.id = lead.manychat_commercial_advisor_id
 LEFT JOIN manychat_advisor medical ON medical.id = lead.manychat_medical_advisor_id
     WHERE NOT EXISTS (SELECT 1 FROM manychat_identity other WHERE other.lead_id = lead.id AND other.id != identity.id)
"""


def disagreements(system: System, engine: sa.Engine, people: Collection[str]) -> Iterator[str]:
    """What SQL and Odoo hold differently, a line for each field.

    :param people: ManyChat ids whose events all came to an end in both
    """
    with engine.connect() as connection:
        stored = {row.manychat_id: row for row in connection.execute(_SQL)}
    for lead in system.database_rows(_ODOO):
        if lead.manychat_id not in people:
            continue
        row = stored.get(lead.manychat_id)
        if row is None:
            yield f"{lead.manychat_id}: opportunity {lead.lead_id} is not in SQL"
            continue
        for name, (in_sql, in_odoo) in _fields(row, lead).items():
            if in_sql != in_odoo:
                yield f"{lead.manychat_id}: {name} is {in_sql!r} in SQL, {in_odoo!r} in Odoo"


def _fields(row: Any, lead: Any) -> dict[str, tuple[Any, Any]]:
    fields: dict[str, tuple[Any, Any]] = {
        "lead_id": (row.lead_id, lead.lead_id),
        "summary": (row.summary, lead.summary),
        "entry_date": (_seconds(row.entry_date), _seconds(lead.entry_date)),
        "commercial_advisor_id": (row.commercial_advisor_id, lead.commercial_advisor_id),
        "medical_advisor_id": (row.medical_advisor_id, lead.medical_advisor_id),
        "stage": (row.stage in lead.stage_names.values(), True),
    }
    if row.manychat_stage_id is not None:
        fields["manychat_stage_id"] = (row.manychat_stage_id, lead.manychat_stage_id)
    if row.contact_event_at is None:  # the contact's own events win in SQL, and Odoo does not have them
        name = " ".join(part for part in (row.first_name, row.last_name) if part)
        fields["name"] = (name, lead.contact_name or "")
        fields["phone"] = (row.phone, lead.phone)
        # Spellings of one channel are one in SQL.
        fields["channel"] = ((row.channel or "").casefold(), (lead.channel or "").casefold())
    return fields


def _seconds(moment: datetime | None) -> datetime | None:
    """What Odoo keeps of a moment."""
    return moment and moment.replace(microsecond=0, tzinfo=None)
