"""How far a person's opportunity is, as SQL knows it: for bots that ask while Odoo is away."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from ..contract.opportunity_state import Status
from ..contract.person import Person, name_of
from .schema import odoo_settings, opportunities

#: The settings of Odoo that an answer needs, see the addon's ``manychat.bridge``: the rows of the stage map by the id
#: of their stage, and the names of medical advisers by their number in the chat. JSON has both as text.
STAGE_TEXTS = "stage_texts"
MEDICAL_ADVISORS = "medical_advisors"

_O = opportunities.c
_FIND = sa.select(
    _O.lead_id,
    _O.stage,
    _O.stage_id,
    _O.status,
    _O.salesperson,
    _O.decided_at,
    _O.odoo_as_of,
    _O.manychat_stage_id,
    _O.manychat_stage,
    _O.medical_advisor_id,
)
_SETTINGS = sa.select(odoo_settings.c.name, odoo_settings.c.value).where(
    odoo_settings.c.name.in_([STAGE_TEXTS, MEDICAL_ADVISORS])
)


def find(connection: sa.Connection, manychat_id: str) -> Person | None:
    """How far the person is; ``None`` if SQL knows of no opportunity in Odoo."""
    row = connection.execute(_FIND.where(_O.manychat_id == manychat_id)).first()
    if row is None or row.lead_id is None or row.status == Status.DELETED.value:
        return None
    settings = {name: json.loads(value) for name, value in connection.execute(_SETTINGS)}
    stage, stage_id, text = row.manychat_stage, row.manychat_stage_id, dict[str, Any]()
    if row.stage_id is not None and STAGE_TEXTS in settings:
        # The map as it is now: a row may have changed since the opportunity entered its stage.
        text = settings[STAGE_TEXTS].get(str(row.stage_id)) or {}
        stage, stage_id = text.get("label"), text.get("id")
    return Person(
        stage=stage,
        stage_id=stage_id,
        odoo_stage=row.stage,
        status=Status(row.status) if row.status else None,
        salesperson=row.salesperson,
        medical_advisor=name_of(_name(settings.get(MEDICAL_ADVISORS), row.medical_advisor_id)),
        decided_at=row.decided_at,
        as_of=row.odoo_as_of,
        text=text.get("text"),
        date_format=text.get("date_format"),
    )


def _name(names: Any, advisor_id: int | None) -> str | None:
    return (names or {}).get(str(advisor_id))
