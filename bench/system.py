"""The system that is measured: as in production, on one machine, made anew for each run."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import requests
import sqlalchemy as sa

from bridge.store import engine as store_engine
from bridge.store import migrate
from deploy.local import azurite, neighbours, odoo
from tests.year.system import YearStack

from .cpu import Meter, postmaster
from .queue_requests import QueueRequests


class BenchStack(YearStack):
    """A :class:`YearStack` whose bridges the cases start themselves, and whose queues are empty when they ask for it.

    :ivar bridges: process ids of the bridges that run now
    """

    def __init__(self, name: str = "main") -> None:
        super().__init__(name, odoo.chosen(), kind="bench")
        self.bridges: list[int] = []

    @property
    def modules_beside(self) -> Sequence[str]:
        """Odoo's own automations, whose webhook is a peer."""
        return neighbours.FEW_MODULES

    @contextlib.contextmanager
    def fresh(self) -> Iterator[BenchStack]:
        """Up and empty, without bridge and API; deleted at the end, whatever ends it."""
        self.odoo.cluster.start()
        self.remove()
        try:
            self.odoo.cluster.create(self.store_database)
            engine = store_engine.create_engine(self.database_url)
            migrate.upgrade(engine)
            engine.dispose()
            self.start()
            self.programs.stop_program("api")
            yield self
        finally:
            self.__dict__.pop("store", None)
            self.remove()

    @cached_property
    def store(self) -> sa.Engine:
        """The bridge's tables."""
        return store_engine.create_engine(self.database_url)

    @cached_property
    def won_stage(self) -> int:
        """ManyChat's id of the stage that is won."""
        return next(number for number, (_stage, is_won) in self.stages.items() if is_won)

    @cached_property
    def open_stages(self) -> list[int]:
        """ManyChat's ids of the others, in order."""
        return [number for number, (_stage, is_won) in sorted(self.stages.items()) if not is_won]

    @cached_property
    def stages(self) -> dict[int, tuple[int, bool]]:
        """Of each ManyChat stage id: the id of Odoo's stage, and whether it is won."""
        rows = self.rpc("manychat.stage.map", "search_read", [], fields=["manychat_stage_id", "stage_id"])
        won = set(self.rpc("crm.stage", "search", [["is_won", "=", True]]))
        return {int(row["manychat_stage_id"]): (row["stage_id"][0], row["stage_id"][0] in won) for row in rows}

    @property
    def queue_port(self) -> int:
        return int(self._state.get("queue port"))

    def queue(self, name: str) -> QueueRequests:
        return QueueRequests(self.connection_string, name)

    def queue_through(self, port: int) -> str:
        """The connection string for the queues through a proxy."""
        return azurite.connection_string(self._state.get("queue key"), port)

    def empty_queues(self) -> None:
        """A new Azurite with nothing in it: what it has deleted before makes an older one slow."""
        self.programs.stop_program("azurite")
        folder = self.folder / "azurite"
        shutil.rmtree(folder)
        folder.mkdir()
        self.programs.start_program("azurite", wait=False)
        azurite.wait_until_up(self.queue_port)

    def meter(self) -> Meter:
        """Of all processes, from now on."""
        programs: dict[str, list[int]] = {"bridge": list(self.bridges)}
        for each in self.programs.processes():
            if each["statename"] == "RUNNING":
                programs.setdefault(each["group"], []).append(each["pid"])
        return Meter({**programs, "postgres": [postmaster(self.odoo.cluster)]})

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """Rows of Odoo's database, read past Odoo."""
        with self.odoo.cluster.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def session(self) -> requests.Session:
        """An HTTP session that no proxy of the environment gets hold of."""
        session = requests.Session()
        session.trust_env = False
        return session
