"""What administrators set in Odoo for the bridges: JSON by name, as the heartbeat's answer brought it last."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from .schema import odoo_settings


def get(connection: sa.Connection, name: str) -> Any:
    """The setting of that name; ``None`` if Odoo has sent none."""
    value = connection.scalar(sa.select(odoo_settings.c.value).where(odoo_settings.c.name == name))
    return None if value is None else json.loads(value)
