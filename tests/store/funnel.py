"""Opportunities as the bridge writes them, for the tests of the views."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bridge.store import schema
from bridge.store.views import views

from .conftest import NOON, Store

V = views.tables


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


class Funnel:
    """Rows as the bridge writes them, and what the views make of them."""

    def __init__(self, store: Store):
        self.store = store
        self.moves = 0

    def insert(self, table: str, **values: Any) -> int:
        target = schema.metadata.tables[table]
        stamps = {name: NOON for name in ("created_at", "updated_at") if name in target.columns}
        with self.store.engine.begin() as connection:
            return int(connection.execute(target.insert().values(**stamps | values)).inserted_primary_key[0])  # type: ignore[index]

    def person(self, lead: int | None, name: str = "", contact: dict[str, Any] | None = None, **state: Any) -> int:
        name = name or f"MC{lead}"
        contact_id = self.insert("contacts", manychat_id=name, **contact or {})
        values = {"odoo_sync_status": "success", "attempts": 1, "lead_id": lead, "status": "open", **state}
        return self.insert("opportunities", manychat_id=name, contact_id=contact_id, **values)

    def move(self, opportunity: int, stage: str | None, hours: float, lead: int | None = None, **more: Any) -> None:
        self.moves += 1
        values = {"event_at": at(hours), "applied_at": at(hours), "event_id": f"e{self.moves}", **more}
        self.insert("opportunity_stages", opportunity_id=opportunity, lead_id=lead, stage_to=stage, **values)

    def lived(self, lead: int, *path: tuple[str | None, float], **state: Any) -> int:
        """An opportunity that went from stage to stage at these hours; ``None`` is a loss."""
        last = path[-1][0]
        known = {"stage": last or [stage for stage, _ in path if stage][-1], "status": "open" if last else "lost"}
        opportunity = self.person(lead, **known | state)
        for stage, hours in path:
            self.move(opportunity, stage, hours, lead, status="open" if stage else "lost")
        return opportunity

    def rows(self, view: str, *names: str, **where: Any) -> list[tuple[Any, ...]]:
        columns = V[view].columns
        statement = sa.select(*(columns[name] for name in names)).where(
            *(columns[name] == value if value is not None else columns[name].is_(None) for name, value in where.items())
        )
        with self.store.engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(statement)]
        return sorted(found, key=lambda row: tuple((value is None, str(value)) for value in row))
