"""Undoing a migration: in Odoo first, then in SQL. It can be killed and run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..store import migration_journal
from ..store.engine import in_transaction, read
from .odoo import MigrationOdoo

#: Opportunities in one call to Odoo, and rows in one transaction.
IN_ODOO, IN_SQL = 100, 500


@dataclass
class Rollback:
    """What was undone, or would be.

    :ivar opportunities: how many were created, taken over or known before
    :ivar kept: of each opportunity that stays: ``manychat_id``, ``lead_id`` and ``reason``
    :ivar rows, rows_kept: rows in SQL, by table
    """

    opportunities: Counter[str] = field(default_factory=Counter)
    kept: list[dict[str, Any]] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    rows_kept: Counter[str] = field(default_factory=Counter)

    def in_odoo(self, odoo: MigrationOdoo, dry_run: bool) -> Iterator[int]:
        """Undo what the migration did in Odoo, and nobody used since.

        :return: the number of opportunities since the last one, again and again
        """
        before_id = 0
        while True:
            answer = odoo.roll_back(before_id, IN_ODOO, dry_run)
            self.opportunities.update(answer["undone"])
            self.kept += answer["kept"]
            yield sum(answer["undone"].values()) + len(answer["kept"])
            if not (before_id := answer["next"]):
                return

    def in_sql(self, engine: sa.Engine, batch: str, dry_run: bool) -> Iterator[int]:
        """Undo what the migration wrote to SQL and nothing used since; not that of opportunities that stay in Odoo.

        :return: the number of rows since the last one, again and again
        """
        keep = {each["manychat_id"] for each in self.kept}
        before_id = 0
        work = read if dry_run else in_transaction
        while True:
            undone = work(engine, migration_journal.undo, batch, before_id, IN_SQL, keep, dry_run=dry_run)
            self.rows.update(undone.rows)
            self.rows_kept.update(undone.kept)
            yield sum(undone.rows.values()) + sum(undone.kept.values())
            if not (before_id := undone.next):
                return
