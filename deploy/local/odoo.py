"""Odoo itself: its environment, its databases, its configuration file."""

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from . import environments, odoo_source, os_packages
from .odoo_source import OdooSource
from .os_packages import Missing
from .paths import ROOT, STATE
from .ports import HOST
from .postgres import MAIN, ROLE, Cluster
from .say import run_logged, say, step
from .supervision import own_environment

DATA = STATE / "odoo-data"
"""Odoo's data_dir: a database's attachments are in filestore/DATABASE, so no two clusters have one of the same name."""

# Suites side by side want the same things at the same time; the second one finds them ready.
_choosing = threading.Lock()
_installing = threading.Lock()

# All of Odoo's pins have wheels for the first. Odoo also runs on the second; it rejects the bytecode of newer ones.
_PYTHONS = (">=3.10,<3.13", ">=3.10,<3.14")
# Pinned to versions without a wheel for Python 3.13: the next ones that have one.
_ON_313 = {"lxml": "lxml>=5.3,<6", "markupsafe": "MarkupSafe>=3,<4", "rjsmin": "rjsmin>=1.2.3,<2"}
# Out of Odoo's own list: needs compilers and headers, for nothing that we use …
_WITHOUT = {"python-ldap", "psycopg2", "psycopg2-binary", "cbor2"}
# … and in: these have wheels. A gevent that finds newer zope packages, or a setuptools without pkg_resources,
# makes the process for long polling crash and restart for ever.
_INSTEAD = ["psycopg2-binary>=2.9.5", "cbor2>=5.4.6"]
_INSTEAD_18 = [*_INSTEAD, "zope.event==5.0", "zope.interface==6.4.post2", "setuptools<81"]
# The addon's own needs, and its tests': pytest-odoo runs them, websocket-client drives the browser.
_OURS = [
    *("azure-storage-queue>=12.10", "azure-identity>=1.19"),
    *("pytest-odoo>=2.1", "pytest-timeout>=2.3", "websocket-client", "psycopg2-binary"),
]


class Odoo:
    """An Odoo source tree with a Python environment that can run it, and a cluster that holds its databases."""

    def __init__(self, source: OdooSource, cluster: Cluster) -> None:
        self.source = source
        self.cluster = cluster
        own = f"-{source.identity()}" if source.is_users_own else ""
        self.label = source.version + own
        self.venv = STATE / f"venv-odoo-{self.label}"
        self.python = self.venv / "bin" / "python"
        self._making_template = threading.Lock()

    def install(self) -> None:
        """Makes the environment: Odoo's libraries, and of this checkout the contract that addon and bridge share."""
        wanted = STATE / f"odoo-{self.label}-requirements.txt"
        constraints = ROOT / "deploy" / "constraints-odoo.txt"  # as in Odoo's image
        arguments = ["--constraint", str(constraints), "--requirement", str(wanted), "--editable", ".[otel]"]
        with _installing:
            wanted.write_text("\n".join([*self._requirements(), *_OURS]) + "\n")
            files = [wanted, constraints, ROOT / "pyproject.toml"]
            environments.make(self.venv, arguments, depends_on=files, pythons=_PYTHONS)
            packages = next((self.venv / "lib").glob("python*/site-packages"))
            (packages / "odoo-source.pth").write_text(f"{self.source.root}\n")

    def command(self, *arguments: str | Path) -> list[str]:
        """A command line: `python -m odoo …`, which both a git tree and Debian's package understand."""
        return [str(self.python), "-m", "odoo", *map(str, arguments)]

    def write_configuration(self, path: Path, database: str, **options: object) -> None:
        """Writes an odoo.conf for `database`. Keys with a section in front ("miasalud_crm.x") go to that section."""
        settings = {
            "addons_path": ",".join(map(str, [*self.source.addons, ROOT])),
            "data_dir": DATA,
            "db_host": HOST,
            "db_port": self.cluster.port,
            "db_user": ROLE,
            "db_password": self.cluster.password,
            # Enough to find the database by; a dbfilter as well would cost a connection (~20 ms) for every request.
            "db_name": database,
            "list_db": False,
            "admin_passwd": secrets.token_urlsafe(24),
            "http_interface": HOST,
            **{key: value for key, value in options.items() if "." not in key},
        }
        lines = ["[options]", *(f"{key} = {value}" for key, value in settings.items())]
        sections = {key.split(".")[0] for key in options if "." in key}
        for section in sorted(sections):
            lines += ["", f"[{section}]"]
            prefix = section + "."
            lines += [
                f"{key.removeprefix(prefix)} = {value}" for key, value in options.items() if key.startswith(prefix)
            ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")

    def template(self, beside: Sequence[str] = ()) -> str:
        """The name of a database with `crm` installed and no demo data; made when this source has none yet.

        :param beside: other modules that it has installed too
        """
        with self._making_template:
            return self._template(beside)

    def _template(self, beside: Sequence[str]) -> str:
        kind = f"miasalud_template_{self.cluster.name}_{self.source.version}".replace("-", "_").replace(".", "_")
        if beside:
            kind += f"_with_{hashlib.sha256(repr(sorted(beside)).encode()).hexdigest()[:8]}"
        name = f"{kind}_{self.source.identity()}"
        if self.cluster.exists(name):
            return name
        for stale in self.cluster.names():
            if stale.startswith(f"{kind}_") and "_with_" not in stale.removeprefix(kind):
                self.drop(stale)
        draft = f"{name}_draft"
        self.cluster.create(draft, durable=False)
        modules = ["crm", *beside]
        with step(f"Installing {' '.join(modules)} into a template, Odoo {self.source.version} (~1–2 min, once)"):
            self.install_modules(draft, modules)
        shutil.rmtree(_filestore(name), ignore_errors=True)
        if _filestore(draft).exists():
            _filestore(draft).rename(_filestore(name))
        self.cluster.rename(draft, name)  # last: a template under its final name is a whole one
        return name

    def create(self, database: str, durable: bool = True, beside: Sequence[str] = ()) -> None:
        """A fresh database with `crm`, copied from the template; one of that name is dropped first.

        :param beside: other modules that it has installed too
        """
        template = self.template(beside)
        self.drop(database)
        with step(f"Creating the database {database}"):
            self.cluster.create(database, template, durable=durable)
            if _filestore(template).exists():
                shutil.copytree(_filestore(template), _filestore(database))

    def drop(self, database: str) -> None:
        self.cluster.drop(database)
        shutil.rmtree(_filestore(database), ignore_errors=True)

    def install_modules(self, database: str, modules: Iterable[str], upgrade: bool = False) -> None:
        """Installs, and makes sure of it: Odoo ends with exit code 0 when it skips a module that it can't install.

        With `upgrade`, loads the modules' data and tables anew where they are installed already.
        """
        modules = list(modules)
        configuration = STATE / "tmp" / f"{database}-install.conf"
        log = STATE / "log" / f"{database}-install.log"
        self.write_configuration(configuration, database)
        without_demo = "--without-demo=True" if self.source.version == "19.0" else "--without-demo=all"
        arguments = [
            "-c",
            configuration,
            "-u" if upgrade else "-i",
            ",".join(modules),
            without_demo,
            "--stop-after-init",
            "--no-http",
        ]
        run_logged(self.command(*arguments), log, cwd=STATE, env=own_environment())
        with self.cluster.connect(database) as connection:
            query = "SELECT name FROM ir_module_module WHERE state = 'installed'"
            installed = {name for (name,) in connection.execute(query)}
        if not installed.issuperset(modules):
            skipped = ", ".join(sorted(set(modules) - installed))
            raise Missing(f"Odoo {self.source.version} did not install {skipped}; see {log}.")

    def run_script(self, database: str, script: str) -> str:
        """What `script` prints in `odoo shell`, where `env` is the superuser's. The caller commits."""
        configuration = STATE / "tmp" / f"{database}-shell.conf"
        self.write_configuration(configuration, database)
        shell = self.command("shell", "-c", configuration, "-d", database, "--no-http", "--log-level=warn")
        done = subprocess.run(shell, input=script, capture_output=True, text=True, cwd=STATE, env=own_environment())
        if done.returncode or "Traceback" in done.stderr:
            raise Missing(f"{done.stdout}{done.stderr}\nA script in the Odoo shell failed; its output is above.")
        return done.stdout

    def _requirements(self) -> list[str]:
        if self.source.requirements is None:
            return (Path(__file__).parent / f"odoo-{self.source.version}-requirements.txt").read_text().splitlines()
        lines = self.source.requirements.read_text().splitlines()
        kept = [_below_313(line) if _name(line) in _ON_313 else line for line in lines if _name(line) not in _WITHOUT]
        newer = [f"{requirement}; python_version >= '3.13'" for requirement in _ON_313.values()]
        return [*kept, *newer, *(_INSTEAD_18 if self.source.version == "18.0" else _INSTEAD)]


def _filestore(database: str) -> Path:
    return DATA / "filestore" / database


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower()


def _below_313(requirement: str) -> str:
    pin, _, condition = requirement.partition("#")[0].partition(";")
    conditions = [condition.strip(), "python_version < '3.13'"]
    return f"{pin.strip()}; {' and '.join(filter(None, conditions))}"


def chosen(version: str | None = None, tree: str | None = None, cluster: str = MAIN) -> Odoo:
    """Odoo as the make variables ODOO and ODOO_SRC name it, else as the arguments do, else the default.

    :param cluster: where its databases are
    """
    if os.environ.get("ODOO") or os.environ.get("ODOO_SRC"):
        version, tree = os.environ.get("ODOO"), os.environ.get("ODOO_SRC")
    with _choosing:
        return _ready(version or None, tree or None, cluster)


@cache
def _ready(version: str | None, tree: str | None, cluster: str) -> Odoo:
    source = _source(version, tree)
    os_packages.ensure(os_packages.POSTGRES)
    return Odoo(source, Cluster(cluster))


@cache
def _source(version: str | None, tree: str | None) -> OdooSource:
    source = odoo_source.find(version, tree)
    say(f"Odoo {source.version} from {source.root}: {source.why}.")
    return source
