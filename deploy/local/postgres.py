"""PostgreSQL clusters of the checkout's own, each on a loopback port of its own.

Odoo refuses to work as the role `postgres`, so databases belong to the role `odoo`; `postgres` can be reached only
through a socket in a folder that no other user may enter.
"""

import getpass
import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
import threading
from pathlib import Path

import psycopg
from psycopg import sql

from . import os_packages, ports
from .paths import ROOT, STATE
from .say import say, step
from .state import State

ROLE = "odoo"
MAIN = "postgres"
BREAKABLE = "postgres-faults"
"""Where the faults happen: what restarts it breaks nothing of anything else."""
CLUSTERS = (MAIN, BREAKABLE)
# A development machine's share: Odoo, two bridges and the tests use it at the same time. fsync stays on: the demo's
# databases are to survive a power cut; test databases give up synchronous_commit instead (see `create`).
_SETTINGS = """
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = 256MB
work_mem = 16MB
maintenance_work_mem = 128MB
checkpoint_timeout = 15min
max_wal_size = 2GB
wal_compression = on
random_page_cost = 1.1
lc_messages = 'C'
"""


class Cluster:
    """One PostgreSQL cluster: `start()` it before anything else, it is made when it isn't there."""

    def __init__(self, name: str = MAIN) -> None:
        self.name = name
        self._starting = threading.Lock()
        self._state = State(STATE / f"{name}.json")
        self._owner = _owner()
        self.folder = self._choose_folder()
        self._sockets = self.folder / "sockets"
        # A socket's path may have 107 bytes at most.
        if len(os.fsencode(self._sockets)) > 85:
            self._sockets = Path("/tmp") / f"miasalud-{_checkout_id()}-{name}"

    @property
    def port(self) -> int:
        return self._state.get("port")

    @property
    def password(self) -> str:
        return self._state.get("password")

    def url(self, database: str) -> str:
        """For libpq; SQLAlchemy wants `postgresql+psycopg` in front, as `sqlalchemy_url` has it."""
        return f"postgresql://{ROLE}:{self.password}@{ports.HOST}:{self.port}/{database}"

    def sqlalchemy_url(self, database: str) -> str:
        return self.url(database).replace("postgresql:", "postgresql+psycopg:", 1)

    def start(self) -> None:
        """Makes the cluster if need be, and starts it; nothing happens when it runs already."""
        with self._starting:  # suites side by side
            self._start()

    def _start(self) -> None:
        if self.is_running():
            if not self.password:  # the state folder was deleted under a cluster that lies elsewhere
                self._state.set("port", int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[3]))
                self._ensure_role()
            return
        os_packages.ensure(os_packages.POSTGRES)
        if not (self.folder / "data" / "miasalud-complete").exists():
            self._make()
        self._private_folder(self._sockets)
        port = ports.keep(self._state, "port", "PostgreSQL")
        log = self.folder / "postgres.log"
        # With the database in each line of the log, so that a test finds what its own database met.
        options = f"-p {port} -k '{self._sockets}' -c log_line_prefix='%m [%p] %d '"
        with step(f"Starting PostgreSQL on port {port}"):
            self._as_owner(
                "pg_ctl", "start", "--wait", "--silent", "-D", self.folder / "data", "-l", log, "-o", options
            )
        self._ensure_role()

    def stop(self) -> None:
        if self.is_running():
            with step("Stopping PostgreSQL"):
                self._as_owner("pg_ctl", "stop", "--wait", "--silent", "-m", "fast", "-D", self.folder / "data")

    def restart(self, mode: str) -> None:
        """Breaks all connections: `fast` ends cleanly before it starts again, `immediate` as after a power cut."""
        data, log = self.folder / "data", self.folder / "postgres.log"
        self._as_owner("pg_ctl", "restart", "--wait", "--silent", "-m", mode, "-D", data, "-l", log)

    def is_running(self) -> bool:
        if os_packages.postgres_bin() is None or not (self.folder / "data").exists():
            return False
        status = self._command("pg_ctl", "status", "-D", self.folder / "data")
        return subprocess.run(status, capture_output=True, cwd="/", **self._identity()).returncode == 0

    def remove(self) -> None:
        """The cluster may lie outside the state folder, so deleting that isn't enough."""
        self.stop()
        for folder in (self.folder, self._sockets):
            shutil.rmtree(folder, ignore_errors=True)

    # Databases. All belong to the role `odoo`.

    def connect(self, database: str, **options) -> psycopg.Connection:
        return psycopg.connect(self.url(database), **options)

    def exists(self, database: str) -> bool:
        with self.connect("postgres") as connection:
            return bool(connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone())

    def names(self) -> list[str]:
        with self.connect("postgres") as connection:
            return [name for (name,) in connection.execute("SELECT datname FROM pg_database ORDER BY 1")]

    def create(self, database: str, template: str = "template0", durable: bool = True) -> None:
        """Creates a database, a copy of `template` (0.5 s for one with `crm`).

        Without `durable`, commits don't wait for the disk: a power cut may lose the last ones, and tests don't care.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
        self.execute(statement.format(sql.Identifier(database), sql.Identifier(template)))
        if not durable:
            self.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(database)))

    def rename(self, database: str, new_name: str) -> None:
        statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        self.execute(statement.format(sql.Identifier(database), sql.Identifier(new_name)))

    def drop(self, database: str) -> None:
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def execute(self, statement: sql.Composable) -> None:
        with self.connect("postgres", autocommit=True) as connection:
            connection.execute(statement)

    # Making it.

    def _make(self) -> None:
        with step("Making a PostgreSQL cluster"):
            shutil.rmtree(self.folder, ignore_errors=True)
            self._private_folder(self.folder)
            self._as_owner(
                "initdb", "-D", self.folder / "data", "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8",
                "--auth-local=trust", "--auth-host=scram-sha-256",
            )  # fmt: skip
            with open(self.folder / "data" / "postgresql.conf", "a") as configuration:
                configuration.write(_SETTINGS)
            (self.folder / "data" / "miasalud-complete").touch()

    def _ensure_role(self) -> None:
        password = self._state.once("password", lambda: secrets.token_urlsafe(24))
        statement = f"""
            DO $$ BEGIN CREATE ROLE {ROLE} LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
            ALTER ROLE {ROLE} CREATEROLE PASSWORD '{password}'; -- tests make users without rights
        """
        self._as_owner(
            "psql", "-h", self._sockets, "-p", str(self.port), "-U", "postgres", "-X", "-v", "ON_ERROR_STOP=1",
            stdin=statement,
        )  # fmt: skip

    def _choose_folder(self) -> Path:
        """In the state folder, unless the server's user can't get there (a checkout below /root)."""
        inside = STATE / self.name
        if self._owner is None or inside.exists():
            return inside
        STATE.mkdir(exist_ok=True)
        if subprocess.run(["test", "-x", STATE], cwd="/", capture_output=True, **self._identity()).returncode == 0:
            return inside
        outside = Path("/var/tmp") / f"miasalud-{_checkout_id()}-{self.name}"
        if not outside.exists():
            say(f"PostgreSQL's user can't enter {ROOT}, so its data goes to {outside}.")
        return outside

    def _private_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._owner:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)

    def _identity(self) -> dict:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}

    def _command(self, program: str, *arguments: str | Path) -> list[str]:
        return [str(os_packages.postgres_bin() / program), *map(str, arguments)]

    def _as_owner(self, program: str, *arguments: str | Path, stdin: str | None = None) -> None:
        # Output goes to a file: the server that pg_ctl leaves behind would keep a pipe open for ever.
        log = STATE / "log" / f"{self.name}-{program}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w") as output:
            done = subprocess.run(
                self._command(program, *arguments), input=stdin, text=True, stdout=output, stderr=subprocess.STDOUT,
                cwd="/", env=_plain_environment(), **self._identity(),
            )  # fmt: skip
        if done.returncode:
            raise os_packages.Missing(f"{log.read_text()}\nPostgreSQL's {program} failed; its output is above.")


def _owner() -> pwd.struct_passwd | None:
    """The user the server runs as, if not as ourselves: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        os_packages.ensure(os_packages.POSTGRES)
        return pwd.getpwnam("postgres")


def _plain_environment() -> dict[str, str]:
    """Without PGHOST and its like, which would send us to another server, nor a locale that isn't there."""
    user = getpass.getuser()
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "USER": user}


def _checkout_id() -> str:
    return hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12]
