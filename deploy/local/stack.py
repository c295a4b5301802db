"""A whole running system of its own: queues, Odoo with the addon, bridges; kept going by supervisor.

The demo is one, the end-to-end tests make others. A stack's folder holds its configuration, its queues, its SQLite
file and its logs; its Odoo database is in the cluster that all stacks share.
"""

import contextlib
import hashlib
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from bridge.contract import keys
from bridge.contract.payloads import EventType

from . import azurite, neighbours, ports
from .odoo import Odoo
from .os_packages import Missing
from .paths import ROOT, STATE, VENV
from .ports import HOST
from .say import run_logged, step
from .state import State
from .supervision import Program, Supervision, own_environment

FOLDER = STATE / "stacks"
ADDON = "miasalud_crm"
PYTHON = VENV / "bin" / "python"
# Odoo loads its registry on 2 shared cores in ~5 s; a machine that is busy with tests takes several times that.
_START_TIMEOUT = 120

_KEYS_SCRIPT = """
env.ref("base.user_admin").password = {password!r}
# Odoo's own lead enrichment runs after every new lead, calls a service on the internet and locks what it looks at.
enrichment = env.ref("crm_iap_enrich.ir_cron_lead_enrichment", raise_if_not_found=False)
if enrichment:
    enrichment.active = False
print("webhook_key", env["manychat.api.key"]._generate("Local stack"))
print("bridge_key", env["manychat.api.key"]._generate_bridge_key("Local stack"))
env.cr.commit()
"""


class Stack:
    """`start()` makes what isn't there yet; `stop()` keeps everything; `remove()` doesn't."""

    def __init__(
        self, name: str, odoo: Odoo, bridges: int = 1, durable: bool = True, has_neighbours: bool = False
    ) -> None:
        self.name = f"{name}-{odoo.label}"
        self.odoo = odoo
        self.folder = FOLDER / self.name
        self.database = f"miasalud_{self.name}".replace("-", "_").replace(".", "_")
        self._bridges = bridges
        self._durable = durable
        self._has_neighbours = has_neighbours
        self.programs = Supervision(self.folder)
        self._state = State(self.folder / "state.json")

    # What others need to talk to it.

    @property
    def modules_beside(self) -> Sequence[str]:
        """Other modules that its database has, from a template that is made once."""
        return neighbours.MODULES if self._has_neighbours else ()

    @property
    def odoo_url(self) -> str:
        return f"http://{HOST}:{self._state.get('odoo port')}"

    @property
    def connection_string(self) -> str:
        """For the queues."""
        return azurite.connection_string(self._state.get("queue key"), self._state.get("queue port"))

    @property
    def metrics_url(self) -> str:
        """Of the first bridge; the others have the next free ports."""
        return f"http://{HOST}:{self._state.get('metrics port')}/metrics"

    @property
    def database_url(self) -> str:
        """The bridge's store, as SQLAlchemy writes it."""
        return f"sqlite:///{self.folder / 'miasalud.db'}"

    @property
    def webhook_key(self) -> str:
        return self._state.get("webhook key")

    @property
    def api_url(self) -> str:
        """Of the bridge's API."""
        return f"http://{HOST}:{self._state.get('api port')}"

    @property
    def api_key(self) -> str:
        """Opens everything in it. Its webhooks also take `webhook_key`, which comes from Odoo."""
        return self._state.get("api key")

    @property
    def bridge_key(self) -> str:
        return self._state.get("bridge key")

    @property
    def admin_password(self) -> str:
        """Of Odoo's user `admin`."""
        return self._state.get("admin password")

    def bridge_environment(self) -> dict[str, str]:
        """The bridge's settings for this stack; also in the folder's .env."""
        return {
            "BRIDGE_QUEUE_CONNECTION_STRING": self.connection_string,
            "BRIDGE_DATABASE_URL": self.database_url,
            "BRIDGE_ODOO_URL": self.odoo_url,
            "BRIDGE_ODOO_DATABASE": self.database,
            "BRIDGE_ODOO_API_KEY": self.bridge_key,
            "BRIDGE_WEBHOOK_KEY": self.webhook_key,
            "BRIDGE_API_PORT": str(self._state.get("api port")),
        }

    def addon_settings(self) -> dict[str, str]:
        """The addon's section in odoo.conf."""
        return {"queue_connection_string": self.connection_string}

    def rpc(self, model: str, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls a method in Odoo as the administrator, as a person's browser would.

        Raises:
            RuntimeError: with what Odoo says when the call fails.
        """
        return self.rpc_as(2, self.admin_password, model, method, *arguments, **options)  # 2 is base.user_admin

    def rpc_as(self, user_id: int, password: str, model: str, method: str, *arguments: Any, **options: Any) -> Any:
        """The same as another user."""
        credentials = [self.database, user_id, password]
        parameters = {"service": "object", "method": "execute_kw"}
        parameters["args"] = [*credentials, model, method, list(arguments), options]
        body = {"jsonrpc": "2.0", "method": "call", "params": parameters}
        # Installing a language is the longest of what is called: minutes on a machine that is busy with tests.
        answer = requests.post(f"{self.odoo_url}/jsonrpc", json=body, timeout=300).json()
        if "error" in answer:
            raise RuntimeError(answer["error"]["data"].get("debug") or answer["error"]["message"])
        return answer.get("result")  # left out when it is null

    def count(self, what: str) -> int:
        """1 the first time that this stack is asked, then 2, …"""
        number = (self._state.get(what) or 0) + 1
        self._state.set(what, number)
        return number

    # Life.

    def start(self) -> None:
        """Brings everything up and waits until it answers; what runs already stays, unless its code has changed."""
        self.odoo.cluster.start()
        code = _fingerprint(ROOT / ADDON, ROOT / "bridge")
        if self.programs.is_running():
            if self._state.get("running code") == code:
                return
            self.stop()
        azurite.install()
        self.odoo.install()
        self._prepare_database()
        ports.keep(self._state, "odoo port", "Odoo")
        ports.keep(self._state, "queue port", "Azurite")
        ports.keep(self._state, "metrics port", "The bridge's /metrics")
        ports.keep(self._state, "api port", "The API")
        self._write_configuration()
        self._bridge("db", "upgrade")
        self._make_api_key()
        with step(f"Starting {self.name}: Azurite, Odoo, bridge, API"):
            self.programs.start(self._programs())
            self.wait_for_odoo()
            self._wait_for_bots_key()
        self._state.set("running code", code)

    def wait_for_odoo(self, timeout: float = _START_TIMEOUT) -> None:
        """Returns when Odoo answers; a program that gives up first is the error message (seconds)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                # Odoo answers this one before any database is loaded, so ask for a page that needs ours.
                if requests.get(f"{self.odoo_url}/web/login", timeout=deadline - time.monotonic()).ok:
                    return
            except requests.RequestException:
                pass
            for process in self.programs.processes():
                if process["statename"] == "FATAL":
                    raise Missing(
                        f"{self.programs.log_tail(process['group'])}\n{process['name']} can't run; it says why above."
                    )
            time.sleep(0.1)
        raise Missing(
            f"{self.programs.log_tail('odoo')}\nOdoo did not answer within {timeout:.0f} s; its log is above."
        )

    def _wait_for_bots_key(self) -> None:
        """Returns when the API takes the bot's key. It asks seldom: an address that tries too often must wait."""
        headers = {"X-API-KEY": self.webhook_key, "X-Dry-Run": "1", "Content-Type": "application/json"}
        address = f"{self.api_url}{EventType.CONTACT.spec.path}"
        for tries in range(_START_TIMEOUT // 7):
            with contextlib.suppress(requests.RequestException):
                if requests.post(address, data=b"{}", headers=headers, timeout=30).status_code == 422:
                    return
            time.sleep(1 if tries < 5 else 7)
        raise Missing(f"{self.programs.log_tail('api')}\nThe API does not take the bot's key.")

    def stop(self) -> None:
        """Stops all programs in order (bridges first) and supervisor itself; nothing is lost."""
        if self.programs.is_running():
            with step(f"Stopping {self.name}"):
                self.programs.stop()

    def remove(self) -> None:
        """Stops it and deletes its folder and its database."""
        self.stop()
        self.odoo.drop(self.database)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Making it.

    def _prepare_database(self) -> None:
        """A database with the addon of this checkout, keys for webhook and bridge, and a password for `admin`."""
        addon = _fingerprint(ROOT / ADDON)
        if not (self._state.get("addon") and self.odoo.cluster.exists(self.database)):
            # Queues and SQL speak of opportunities that only the lost database knew.
            shutil.rmtree(self.folder, ignore_errors=True)
            self.odoo.create(self.database, durable=self._durable, beside=self.modules_beside)
            if self._has_neighbours:
                self.odoo.run_script(self.database, neighbours.SCRIPT + neighbours.AUTOMATIONS)
            with step(f"Installing {ADDON}"):
                self.odoo.install_modules(self.database, [ADDON])
            self._state.set("admin password", secrets.token_urlsafe(12))
            with step("Making the webhook's key and the bridge's"):
                self._make_keys()
        elif self._state.get("addon") != addon:
            with step(f"Upgrading {ADDON}, whose code has changed"):
                self.odoo.install_modules(self.database, [ADDON], upgrade=True)
        self._state.set("addon", addon)
        self._state.once("queue key", azurite.new_key)

    def _make_keys(self) -> None:
        printed = self.odoo.run_script(self.database, _KEYS_SCRIPT.format(password=self.admin_password))
        keys = dict(
            line.split(" ", 1) for line in printed.splitlines() if line.startswith(("webhook_key ", "bridge_key "))
        )
        for name in ("webhook_key", "bridge_key"):
            self._state.set(name.replace("_", " "), keys[name])

    def _make_api_key(self) -> None:
        """A key that opens everything in the bridge's API. The bot's key comes there from Odoo, by the heartbeat."""
        if self._state.get("api key"):
            return
        key = keys.new_key()
        self._bridge("key", "create", "Local stack", "--scope", "write", "--existing", stdin=key)
        self._state.set("api key", key)

    def _write_configuration(self) -> None:
        (self.folder / "azurite").mkdir(parents=True, exist_ok=True)
        self.odoo.write_configuration(
            self.folder / "odoo.conf",
            self.database,
            http_port=self._state.get("odoo port"),
            proxy_mode=False,
            max_cron_threads=2,
            # In files of ours, without colours.
            log_handler=":INFO",
            **{f"{ADDON}.{name}": value for name, value in self.addon_settings().items()},
        )
        settings = "".join(f"{name}={value}\n" for name, value in self.bridge_environment().items())
        _write_private(self.folder / ".env", settings)

    def _programs(self) -> list[Program]:
        queue_server = azurite.command(self.folder / "azurite", self._state.get("queue port"))
        bridge = {"BRIDGE_LOG_FORMAT": "json", "BRIDGE_METRICS_PORT": str(self._state.get("metrics port"))}
        accounts = {"AZURITE_ACCOUNTS": azurite.accounts(self._state.get("queue key"))}
        return [
            Program("azurite", queue_server, accounts),
            Program("odoo", self.odoo.command("-c", self.folder / "odoo.conf"), {"TZ": "UTC"}),
            Program("bridge", [str(PYTHON), "-m", "bridge", "run"], bridge, self._bridges),
            Program("api", [str(PYTHON), "-m", "bridge", "api"], {"BRIDGE_LOG_FORMAT": "json"}),
        ]

    def _bridge(self, *arguments: str, stdin: str = "") -> None:
        command = [PYTHON, "-m", "bridge", *arguments]
        log = self.folder / "log" / f"command-{arguments[0]}.log"
        run_logged(command, log, cwd=self.folder, env=own_environment(), input=stdin, text=True)


def running() -> list[Path]:
    """The folders of the stacks that are up."""
    folders = sorted(path.parent for path in FOLDER.glob("*/supervisord.conf"))
    return [folder for folder in folders if Supervision(folder).is_running()]


def _fingerprint(*folders: Path) -> str:
    """Of the code that a stack runs."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not {"tests", "__pycache__"} & set(path.relative_to(folder).parts):
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
