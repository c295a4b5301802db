"""The stack under test: a real one, whose bridges reach Odoo and the queues through proxies."""

import contextlib
import json
import os
import signal
import sqlite3
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
from tests.manychat_stand_in import TOKEN

from .manychat import FLOWS, TARGETS, ManyChatProcess
from .proxy import Proxy

QUEUES = (*payloads.QUEUES.values(), payloads.OUTBOUND_QUEUE, payloads.DEAD_LETTER_QUEUE)
#: Seconds. Short, so that what a killed bridge had in hand comes again within the run.
VISIBILITY_TIMEOUT = 6
#: Seconds, and minutes. Short, so that what the queue has lost is missed soon.
RECONCILE_SECONDS = 20
OVERDUE_MINUTES = 1
#: Seconds that SQLite waits for a lock. The product's own 30 would make every lock of ours a mere delay.
BUSY_SECONDS = 2
#: Those who work in Odoo, with their rights there: a manager may also delete.
USERS = {"vendedora": "group_sale_salesman_all_leads", "gerente": "group_sale_manager"}


class System(Stack):
    """A :class:`Stack` that can be broken in all the ways that ``kinds`` knows.

    :ivar front_url: of the proxy that the bots talk to: it sends them to Odoo, or to the standby while Odoo is away
    :ivar bridges: how many there are
    :ivar manychat: the stand-in for ManyChat: what Odoo's users decide is written there
    :ivar users: ids in Odoo of those who work there, by login
    """

    def __init__(self, bridges: int = 4) -> None:
        # Durable: with synchronous_commit off, a PostgreSQL that is stopped at once may rightly forget.
        super().__init__("faults", odoo.chosen(cluster=BREAKABLE), bridges=bridges, durable=True)
        self.odoo_proxy = Proxy(lambda: urlsplit(self.odoo_url).port or 0)
        self.queue_proxy = Proxy(lambda: self._state.get("queue port"))
        self._manychat = ManyChatProcess()
        self.manychat = self._manychat.stand_in
        self.bridges = bridges
        self.users: dict[str, int] = {}
        self.front_url = ""

    def bridge_environment(self) -> dict[str, str]:
        through_proxies = {
            "BRIDGE_ODOO_URL": f"http://127.0.0.1:{self.odoo_proxy.port}",
            "BRIDGE_QUEUE_CONNECTION_STRING": azurite.connection_string(
                self._state.get("queue key"), self.queue_proxy.port
            ),
            "BRIDGE_VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
            "BRIDGE_MANYCHAT_API_TOKEN": TOKEN,
            "BRIDGE_MANYCHAT_API_URL": self.manychat.url,
            "BRIDGE_RECONCILE_INTERVAL": str(RECONCILE_SECONDS),
            "BRIDGE_DATABASE_OPTIONS": f'{{"connect_args": {{"timeout": {BUSY_SECONDS}}}}}',
        }
        return super().bridge_environment() | through_proxies

    def addon_settings(self) -> dict[str, str]:
        of_manychat = {"manychat_api_token": TOKEN, "manychat_api_url": self.manychat.url}
        return super().addon_settings() | of_manychat

    @contextlib.contextmanager
    def fresh(self) -> Iterator["System"]:
        """Up and empty; stopped at the end, but kept: logs and databases tell why something failed."""
        self.odoo.cluster.start()
        self.remove()
        self.start()
        self.rpc("ir.config_parameter", "set_param", "miasalud_crm.overdue_minutes", str(OVERDUE_MINUTES))
        try:
            self._hire()
            self._tell_manychat()
            with contextlib.contextmanager(proxy)(_folder(self.folder / "nginx"), self.odoo_url, self.api_url) as front:
                self.front_url = front
                yield self
        finally:
            self.stop()
            self.odoo.cluster.stop()
            for each in (self.odoo_proxy, self.queue_proxy):
                each.close()
            self._manychat.close()

    def _hire(self) -> None:
        """Users who work in Odoo; their password is the administrator's."""
        groups = "group_ids" if self.odoo.source.version == "19.0" else "groups_id"
        for login, group in USERS.items():
            domain = [["module", "=", "sales_team"], ["name", "=", group]]
            (right,) = self.rpc("ir.model.data", "search_read", domain, fields=["res_id"])
            # Without an address Odoo refuses to merge: it tells so in the chatter.
            values = {"login": login, "name": login.title(), "email": f"{login}@example.com"}
            values["password"] = self.admin_password
            self.users[login] = self.rpc("res.users", "create", {**values, groups: [(4, right["res_id"])]})

    def _tell_manychat(self) -> None:
        """As an administrator switches it on in Odoo; the bridges hear of it by their sign of life."""
        (settings,) = self.rpc("manychat.write.back", "search", [])
        self.rpc("manychat.write.back", "action_refresh", [settings])
        items = self.rpc("manychat.account.item", "search_read", [], fields=["remote_id"])
        ids = {item["remote_id"]: item["id"] for item in items}
        chosen = {name: ids[str(target)] for name, target in TARGETS.items()}
        self.rpc("manychat.write.back", "write", [settings], {"enabled": True, **chosen})
        for number, flow in FLOWS.items():
            rows = self.rpc("manychat.stage.map", "search", [["manychat_stage_id", "=", number]])
            self.rpc("manychat.stage.map", "write", rows, {"flow_id": ids[flow]})
        # Their first sign of life, at their start: the next one would come a minute later.
        self.programs.stop_program("bridge")
        self.programs.start_program("bridge")
        if not self.wait_until(self._writes_back, 60):
            raise RuntimeError("The bridges did not hear that they write to ManyChat.")

    def _writes_back(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.folder / "miasalud.db", timeout=30)) as store:
            rows = store.execute("SELECT value FROM odoo_settings WHERE name = 'write_back'").fetchall()
        return any(json.loads(value)["enabled"] for (value,) in rows)

    def act_as(self, login: str, model: str, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method in Odoo as one of :data:`USERS`.

        :raises RuntimeError: Odoo refuses the call
        """
        return self.rpc_as(self.users[login], self.admin_password, model, method, *arguments, **options)

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
