"""The stack under test: a real one, whose bridges reach Odoo and the queues through proxies."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from psycopg.rows import namedtuple_row

from bridge.contract import payloads
from deploy.local import azurite, odoo
from deploy.local.postgres import BREAKABLE
from deploy.local.stack import Stack
from tests.front import proxy

from .proxy import Proxy

QUEUES = (*payloads.QUEUES.values(), payloads.DEAD_LETTER_QUEUE)
#: Seconds. Short, so that what a killed bridge had in hand comes again within the run.
VISIBILITY_TIMEOUT = 6
#: Seconds, and minutes. Short, so that what the queue has lost is missed soon.
RECONCILE_SECONDS = 20
OVERDUE_MINUTES = 1
#: Seconds that SQLite waits for a lock. The product's own 30 would make every lock of ours a mere delay.
BUSY_SECONDS = 2


class System(Stack):
    """A :class:`Stack` that can be broken in all the ways that ``kinds`` knows.

    :ivar front_url: of the proxy that the bots talk to: it sends them to Odoo, or to the standby while Odoo is away
    """

    def __init__(self, bridges: int = 3) -> None:
        # Durable: with synchronous_commit off, a PostgreSQL that is stopped at once may rightly forget.
        super().__init__("faults", odoo.chosen(cluster=BREAKABLE), bridges=bridges, durable=True)
        self.odoo_proxy = Proxy(lambda: urlsplit(self.odoo_url).port or 0)
        self.queue_proxy = Proxy(lambda: self._state.get("queue port"))
        self.front_url = ""

    def bridge_environment(self) -> dict[str, str]:
        through_proxies = {
            "BRIDGE_ODOO_URL": f"http://127.0.0.1:{self.odoo_proxy.port}",
            "BRIDGE_QUEUE_CONNECTION_STRING": azurite.connection_string(
                self._state.get("queue key"), self.queue_proxy.port
            ),
            "BRIDGE_VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
            "BRIDGE_RECONCILE_INTERVAL": str(RECONCILE_SECONDS),
            "BRIDGE_DATABASE_OPTIONS": f'{{"connect_args": {{"timeout": {BUSY_SECONDS}}}}}',
        }
        return super().bridge_environment() | through_proxies

    @contextlib.contextmanager
    def fresh(self) -> Iterator["System"]:
        """Up and empty; stopped at the end, but kept: logs and databases tell why something failed."""
        self.odoo.cluster.start()
        self.remove()
        self.start()
        self.rpc("ir.config_parameter", "set_param", "miasalud_crm.overdue_minutes", str(OVERDUE_MINUTES))
        try:
            with contextlib.contextmanager(proxy)(_folder(self.folder / "nginx"), self.odoo_url, self.api_url) as front:
                self.front_url = front
                yield self
        finally:
            self.stop()
            self.odoo.cluster.stop()
            for each in (self.odoo_proxy, self.queue_proxy):
                each.close()

    # Its parts.

    def bridge_pids(self) -> list[int]:
        processes = self.programs.processes()
        return [each["pid"] for each in processes if each["group"] == "bridge" and each["statename"] == "RUNNING"]

    def bridges_are_at_work(self) -> bool:
        """Odoo has heard of each of them, by its sign of life, which names the process."""
        known = {row.name.rsplit("/")[-1] for row in self.database_rows("SELECT name FROM manychat_bridge")}
        pids = self.bridge_pids()
        return bool(pids) and known.issuperset(map(str, pids))

    def bridge_at(self, port: int) -> int | None:
        """The bridge whose end of a connection is ``port``; ``None`` if it is gone."""
        for pid in self.bridge_pids():
            with contextlib.suppress(psutil.Error):
                if any(each.laddr.port == port for each in psutil.Process(pid).net_connections("tcp")):
                    return pid
        return None

    def kill(self, pid: int) -> None:
        """SIGKILL, by process id; supervisor starts the program again."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def standby_is_behind(self) -> bool:
        """Whether rows of events that the standby accepted wait for SQL."""
        waiting = "accepted_events_wait_for_sql"
        marks = (waiting, "accepted_events_noted", '"starting"')
        lines = self.programs.log_tail("api", 1000).splitlines()
        return waiting in next((line for line in reversed(lines) if any(mark in line for mark in marks)), "")

    def ensure_up(self) -> None:
        """Every program runs, also one that supervisor gave up on because it was killed too often in a row."""
        if not self.odoo.cluster.is_running():
            self.odoo.cluster.start()
        for name in ("azurite", "odoo", "bridge", "api"):
            states = {each["statename"] for each in self.programs.processes() if each["group"] == name}
            if states & {"STOPPED", "FATAL", "EXITED"}:
                self.programs.start_program(name)
        self.wait_for_odoo()

    # What it says.

    def database_rows(self, statement: str, *parameters: Any) -> list[Any]:
        """Of Odoo's database, read past Odoo: RPC would cut times to whole seconds."""
        with self.odoo.cluster.connect(self.database, row_factory=namedtuple_row) as connection:
            return connection.execute(statement, parameters).fetchall()

    def wait_until(self, look: Any, patience: float) -> bool:
        """Whether ``look`` came true within so many seconds."""
        deadline = time.monotonic() + patience
        while not look():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
