"""Two running systems side by side: an empty one, and one with a year of events. Each has Odoo with workers."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from bridge.store import engine as store_engine
from deploy.local import odoo, ports
from deploy.local.odoo import Odoo
from deploy.local.stack import Stack
from deploy.local.supervision import Program
from tests.world import World


class YearStack(Stack):
    """A :class:`Stack` as in production: Odoo with workers, and the bridge's tables in PostgreSQL."""

    def __init__(self, name: str, chosen: Odoo | None = None, kind: str = "year") -> None:
        # Durable: what commits cost is part of what an action costs.
        super().__init__(f"{kind}-{name}", chosen or odoo.chosen(), durable=True)

    @property
    def store_database(self) -> str:
        return f"{self.database}_store"

    @property
    def database_url(self) -> str:
        return self.odoo.cluster.sqlalchemy_url(self.store_database)

    def remove(self) -> None:
        super().remove()
        self.odoo.cluster.drop(self.store_database)

    def engine(self) -> sa.Engine:
        """Of the bridge's tables."""
        return store_engine.create_engine(self.database_url)

    def world(self) -> World:
        return World(self, sa.create_engine(self.database_url))

    def superuser(self, database: str) -> psycopg.Connection[Any]:
        """A connection that may switch off foreign keys while tables are filled."""
        cluster = self.odoo.cluster
        return psycopg.connect(
            host=str(cluster._sockets), port=cluster.port, user="postgres", dbname=database, autocommit=True
        )

    def _write_configuration(self) -> None:
        if not self.odoo.cluster.exists(self.store_database):
            self.odoo.cluster.create(self.store_database)
        for database in (self.database, self.store_database):
            # As docs/operate.md advises: compiling a query takes longer than these queries do.
            self.odoo.cluster.execute(sql.SQL("ALTER DATABASE {} SET jit = off").format(sql.Identifier(database)))
        super()._write_configuration()
        if self._has_workers():
            path = self.folder / "odoo.conf"
            options = f"[options]\nworkers = 2\ngevent_port = {ports.choose()}"
            path.write_text(path.read_text().replace("[options]", options, 1))

    def _has_workers(self) -> bool:
        return (self.odoo.source.root / "odoo-bin").exists()

    def _programs(self) -> list[Program]:
        programs = super()._programs()
        if not self._has_workers():
            return programs
        # With workers, `python -m odoo` cannot start the process for long polling.
        start = [str(self.odoo.python), str(self.odoo.source.root / "odoo-bin")]
        command = [*start, "-c", str(self.folder / "odoo.conf")]
        return [Program("odoo", command, {"TZ": "UTC"}) if each.name == "odoo" else each for each in programs]
