"""`results.json`: the figures of the newest run of each case, by Odoo's version."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from deploy.local import os_packages
from deploy.local.paths import ROOT

from .system import BenchStack

FILE = ROOT / "bench" / "results.json"


def read(path: Path = FILE) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def merged(known: Mapping[str, Any], version: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """``known`` with a run of some cases on one version of Odoo.

    Cases that did not run keep their figures, unless these come from another machine: those go.

    :param run: ``machine``, ``versions``, ``commit``, ``date`` and ``cases``
    """
    before = known.get(version, {})
    kept = before.get("cases", {}) if before.get("machine") == run["machine"] else {}
    about = {"commit": run["commit"], "date": run["date"]}
    cases = {**kept, **{name: {**case, **about} for name, case in run["cases"].items()}}
    return {**known, version: {**run, "cases": cases}}


def write(results: Mapping[str, Any], path: Path = FILE) -> None:
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def about(stack: BenchStack) -> dict[str, Any]:
    """Where and of what a run is."""
    return {
        "odoo": stack.odoo.source.version,
        "machine": machine(),
        "versions": versions(stack),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }


def machine() -> str:
    """Processors and memory; no name that says whose machine it is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} processors ({model}), {memory:.0f} GB, {platform.system()}"


def versions(stack: BenchStack) -> dict[str, str]:
    postgres = os_packages.postgres_bin()
    return {
        "Odoo": stack.odoo.source.version,
        "Python": platform.python_version(),
        "PostgreSQL": _said(str(postgres / "postgres"), "--version").split()[2] if postgres else "",
        "Azurite": json.loads(
            (ROOT / ".miasalud" / "azurite" / "node_modules" / "azurite" / "package.json").read_text()
        )["version"],
        "azure-storage-queue": importlib.metadata.version("azure-storage-queue"),
    }


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
