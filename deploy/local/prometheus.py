"""Prometheus and promtool, which try the dashboard's queries and the alert rules. Nothing needs them to run."""

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from .paths import CACHE

_FOLDER = CACHE / "prometheus"


def install() -> Path | None:
    """The folder of both programs: the machine's own, or Debian's package unpacked into the cache.

    Unpacked and not installed: that would start a server. `None` where neither can be had; its tests then say that they
    were skipped, and the queries' names are checked all the same.
    """
    if (mine := shutil.which("prometheus")) and shutil.which("promtool"):
        return Path(mine).parent
    programs = _FOLDER / "usr" / "bin"
    if (programs / "promtool").exists():
        return programs
    if platform.system() != "Linux" or not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    with tempfile.TemporaryDirectory() as folder:
        # The sandbox's user may not write into our folder.
        fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", "prometheus"]
        if subprocess.run(fetch, cwd=folder, capture_output=True).returncode:
            return None
        (package,) = Path(folder).glob("*.deb")
        unpacked = Path(folder) / "unpacked"
        if subprocess.run(["dpkg", "-x", package, unpacked], capture_output=True).returncode:
            return None
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(_FOLDER, ignore_errors=True)
        shutil.copytree(unpacked, _FOLDER, symlinks=True)
    return programs if (programs / "promtool").exists() else None
