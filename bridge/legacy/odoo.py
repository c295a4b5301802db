"""The calls of Odoo's model ``manychat.migration``. They work while a sales manager has opened a migration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError, OdooRefused
from ..odoo import Odoo


class MigrationOdoo(Odoo):
    """The bridge's user in one Odoo database, for a migration: :meth:`apply` notifies nobody."""

    def apply(self, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """``manychat.migration.apply_events``: as :meth:`Odoo.apply`.

        :raises OdooUnavailable:
        :raises OdooRefused:
        :raises ConfigurationError: no migration is open
        """
        return self._results(self._ask("apply_events", events=list(events)), events)

    def get_overview(
        self, states: Sequence[tuple[int | None, str | None]], advisers: Mapping[str, Sequence[int]]
    ) -> dict[str, Any]:
        """``get_overview``: the open migration, the stages, and what Odoo has of these states and advisers."""
        pairs = [[number or False, label or False] for number, label in states]
        return dict(
            self._ask("get_overview", states=pairs, advisers={role: list(ids) for role, ids in advisers.items()})
        )

    def get_people(self, manychat_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """``get_people``: contacts and opportunities of those people whom Odoo knows."""
        return dict(self._ask("get_people", manychat_ids=list(manychat_ids)))

    def get_writers(self) -> list[dict[str, Any]]:
        """``get_writers``: who wrote contacts with a ManyChat id since the migration began to write."""
        return list(self._ask("get_writers"))

    def roll_back(self, before_id: int, limit: int, dry_run: bool) -> dict[str, Any]:
        """``roll_back``: undo the next ``limit`` opportunities of the migration."""
        return dict(self._ask("roll_back", before_id=before_id, limit=limit, dry_run=dry_run))

    def _ask(self, method: str, **arguments: Any) -> Any:
        try:
            return self._call("manychat.migration", method, **arguments)
        except OdooRefused as refused:
            if refused.name == "odoo.exceptions.UserError":
                raise ConfigurationError(refused.message) from None
            raise
