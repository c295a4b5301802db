"""What administrators set in Odoo for the bridges, as JSON by name. Odoo may be down when a bridge needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from .schema import odoo_settings
from .upsert import find

_S = odoo_settings.c


def get(connection: sa.Connection, name: str) -> Any:
    """One setting; ``None`` if Odoo has not sent it."""
    value = connection.execute(sa.select(_S.value).where(_S.name == name)).scalar()
    return None if value is None else json.loads(value)


def take_over(connection: sa.Connection, settings: Mapping[str, Any], now: datetime | None = None) -> list[str]:
    """Store the settings that differ from what is stored. Those that are not named stay.

    :param settings: what JSON can hold, by name
    :return: names of those that changed
    """
    now = now or datetime.now(timezone.utc)
    wanted = {name: json.dumps(value, ensure_ascii=False, sort_keys=True) for name, value in settings.items()}
    stored = {row[0]: row[1] for row in find(connection, sa.select(_S.name, _S.value), _S.name, wanted)}
    changed = sorted(name for name, value in wanted.items() if stored.get(name) != value)
    for name in changed:
        row = {"value": wanted[name], "updated_at": now}
        if name in stored:
            connection.execute(odoo_settings.update().where(_S.name == name).values(row))
        else:
            connection.execute(odoo_settings.insert().values(name=name, **row))
    return changed
