"""Virtual environments, made by uv where PyPI has it for this machine, else by venv and pip.

Standard library only: the first step imports this.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import os_packages
from .paths import ROOT, STATE

_STAMP = ".miasalud-stamp"


def make(
    folder: Path, requirements: Iterable[str], depends_on: Iterable[Path] = (), pythons: Sequence[str] = ()
) -> None:
    """Make `folder` an environment with `requirements` (arguments as pip takes them), unless it already is one.

    It is made anew when the requirements or a file in `depends_on` have changed: an environment that was only added
    to would keep what is no longer asked for.

    :param pythons: versions of Python that it may have (">=3.10,<3.13"), the best first: one of the machine's own, else
        one that uv downloads. Without any, the Python that runs this.
    """
    requirements = list(requirements)
    stamp = _fingerprint([*requirements, *pythons], depends_on)
    marker = folder / _STAMP
    if marker.exists() and marker.read_text() == stamp and (folder / "bin" / "python").exists():
        return
    print(f"Making the Python environment {folder.relative_to(ROOT)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    uv = find_uv()
    if uv:
        _make_empty(uv, folder, pythons)
        _run([uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *requirements])
    else:
        _run([sys.executable, "-m", "venv", folder])
        # --group, for pyproject's dependency groups, came with pip 25.1.
        _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"])
        _run([folder / "bin" / "python", "-m", "pip", "install", "--progress-bar=on", *requirements])
    marker.write_text(stamp)  # last: an interrupted run leaves no stamp and starts this environment again


def _make_empty(uv: Path, folder: Path, pythons: Sequence[str]) -> None:
    """Make an environment with the first of `pythons` that uv finds or downloads, else a system package's."""
    command: list[str | Path] = [uv, "venv", "--quiet", "--clear", folder, "--python"]
    for python in pythons:
        if subprocess.run([*command, python], cwd=ROOT, stderr=subprocess.DEVNULL).returncode == 0:
            return
    if pythons:
        os_packages.ensure(os_packages.OLDER_PYTHON)
    _run([*command, pythons[-1] if pythons else sys.executable])


def find_uv() -> Path | None:
    """The path of uv, if this machine has it.

    It installs in seconds what takes pip minutes, and has an environment to itself, so nothing else sees it.
    """
    folder = STATE / "uv"
    uv = folder / "bin" / "uv"
    if not uv.exists():
        os_packages.ensure(os_packages.VENV)
        _run([sys.executable, "-m", "venv", folder])
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "uv"]
        if subprocess.run([str(part) for part in pip], stderr=subprocess.DEVNULL).returncode:
            print("uv can't be had from this machine's package index, so pip does its work: slower, same result.")
    return uv if uv.exists() else None


def _fingerprint(requirements: list[str], depends_on: Iterable[Path]) -> str:
    digest = hashlib.sha256(repr((requirements, sys.version_info[:2])).encode())
    for path in depends_on:
        # Linters' settings, the [tool.…] tables that end pyproject.toml, change often and no environment with them.
        digest.update(path.read_text().split("\n[tool.")[0].encode())
    return digest.hexdigest()


def _run(command: list[str | Path]) -> None:
    words = [str(word) for word in command]
    if subprocess.run(words, cwd=ROOT).returncode:
        raise os_packages.Missing(
            f"This did not succeed: {' '.join(words)}\nWhat it printed is above; the same command continues from here."
        )
