"""What only the operating system can give: PostgreSQL's server, unixODBC, a browser.

Looked for by effect (is the program, the library there?), never by package name, so that a PostgreSQL from
elsewhere is as good as Debian's. Standard library only: the first step imports this.
"""

import ctypes.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class Missing(Exception):
    """Something can't be had; the message is the one sentence that says what and how to get it."""


@dataclass(frozen=True)
class Need:
    """One thing the machine must have, and what Debian and Ubuntu call it."""

    what: str
    package: str
    present: Callable[[], bool]


def postgres_bin() -> Path | None:
    """The folder of the newest PostgreSQL server's programs: Debian and Ubuntu keep them off the PATH."""
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    folders += [Path(prefix) for prefix in ("/usr/local/pgsql/bin", "/usr/pgsql/bin") if Path(prefix).is_dir()]
    folders += list(Path("/opt/homebrew/opt").glob("postgresql@*/bin"))
    with_server = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    if with_server:
        return max(with_server, key=lambda folder: [int(number) for number in re.findall(r"\d+", str(folder))])
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def chromium() -> str | None:
    """The browser for screenshots and browser tests."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def nginx() -> str | None:
    """The proxy; Debian keeps it where only root's PATH leads."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _has_venv() -> bool:
    # Debian splits ensurepip off into python3-venv, and without it `python3 -m venv` fails half-way.
    return subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


VENV = Need("Python's venv module", "python3-venv", _has_venv)
#: For Odoo, where the machine's own Python is too new and uv cannot download another.
OLDER_PYTHON = Need(
    "a Python that Odoo runs on", "python3.13", lambda: any(shutil.which(f"python3.{minor}") for minor in range(10, 14))
)
POSTGRES = Need("the PostgreSQL server", "postgresql", lambda: postgres_bin() is not None)
ODBC = Need("unixODBC's library, which pyodbc loads", "libodbc2", lambda: ctypes.util.find_library("odbc") is not None)
NGINX = Need("the proxy of the fail-over tests", "nginx", lambda: nginx() is not None)
CHROMIUM = Need("a browser for the browser tests", "chromium", lambda: chromium() is not None)
PLAYWRIGHT_LIBRARY = Need(
    "a library of the Node that Playwright brings along", "libatomic1", lambda: _can_load("libatomic.so.1")
)
SYSTEMD = Need("systemd-analyze, which reads the units", "systemd", lambda: shutil.which("systemd-analyze") is not None)
CURL = Need("curl, which the docs show", "curl", lambda: shutil.which("curl") is not None)

#: apt-get has one lock, and suites side by side may want it at the same time.
_installing = threading.Lock()


def ensure(*needs: Need) -> None:
    """Installs what is missing, as root or with a sudo that asks nothing.

    Raises:
        Missing: with the line to run, when it may not or cannot install.
    """
    with _installing:
        missing = [need for need in needs if not need.present()]
        if missing:
            _install(missing)


def _install(missing: list[Need]) -> None:
    packages = [need.package for need in missing]
    what = " and ".join(need.what for need in missing)
    line = "apt-get install --no-install-recommends -y " + " ".join(packages)
    if not shutil.which("apt-get"):
        raise Missing(f"Missing: {what}. Install it with this system's package manager and run the same command again.")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode):
        raise Missing(f"Missing: {what}. Run this, then the same command again:\n\n    sudo {line}\n")
    print(f"Installing {what}: {' '.join(packages)}", flush=True)
    # RUNLEVEL=1 keeps packages from starting their servers: what is needed is started here, on ports of our own.
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    environment = {**os.environ, **quiet}
    if not _known_to_apt(packages):
        subprocess.run([*sudo, "apt-get", "update", "-q"], env=environment, check=False)
    install = [*sudo, "env", *(f"{name}={value}" for name, value in quiet.items()), *line.split()]
    if subprocess.run([*install, "-q"], env=environment).returncode:
        # Lists that are there but old name files that the mirror no longer has.
        subprocess.run([*sudo, "apt-get", "update", "-q"], env=environment, check=False)
        if subprocess.run([*install, "-q"], env=environment).returncode:
            raise Missing(f"Could not install {what}. Run `{' '.join([*sudo, *line.split()])}` and read what it says.")
    still = [need.what for need in missing if not need.present()]
    if still:
        raise Missing(f"apt-get installed {' '.join(packages)}, and yet missing: {' and '.join(still)}.")


def _known_to_apt(packages: list[str]) -> bool:
    answer = subprocess.run(["apt-cache", "policy", *packages], capture_output=True, text=True).stdout
    return answer.count("Candidate:") == len(packages) and "Candidate: (none)" not in answer
