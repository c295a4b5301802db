"""The units of deploy/systemd: systemd itself reads them, and says how much a process in them could do.

That they work is shown by `make test-server`, on a Debian with systemd.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli.console import MISUSED
from bridge.progress import STANDSTILL_SECONDS
from deploy.local import os_packages
from deploy.local.paths import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for kind in ("service", "target", "timer") for path in FOLDER.glob(f"*.{kind}"))
OURS = ["miasalud-bridge@.service", "miasalud-api.service", "miasalud-purge.service"]


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units in a folder, with programs that exist on this machine."""
    os_packages.ensure(os_packages.SYSTEMD)
    folder = tmp_path_factory.mktemp("units")
    for name in UNITS:
        text = re.sub(r"/opt/\w+/venv/bin/python|/usr/local/sbin/\S+", sys.executable, (FOLDER / name).read_text())
        (folder / name.replace("@.", "@1.")).write_text(text)
    return folder


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def test_systemd_reads_all_units_without_a_complaint(units: Path) -> None:
    done = systemd_analyze("verify", "--man=no", *sorted(units.iterdir()))
    complaints = [line for line in done.stderr.splitlines() if "miasalud" in line or "odoo" in line]
    assert (complaints, done.returncode) == ([], 0), done.stderr


def test_a_typing_error_in_a_unit_would_be_a_complaint(units: Path, tmp_path: Path) -> None:
    text = (units / "miasalud-api.service").read_text().replace("ProtectSystem=", "ProtectSytem=")
    (tmp_path / "miasalud-api.service").write_text(text)
    assert "ProtectSytem" in systemd_analyze("verify", "--man=no", tmp_path / "miasalud-api.service").stderr


@pytest.mark.parametrize("name", OURS)
def test_a_process_of_ours_can_do_little_on_the_machine(units: Path, name: str) -> None:
    """systemd's own scale: 0 is nothing, 10 everything; a plain unit has 9.2 and more."""
    done = systemd_analyze("security", "--offline=true", "--threshold=15", units / name.replace("@.", "@1."))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [*OURS, "odoo.service", "miasalud-backup.service"])
def test_a_unit_runs_what_exists(name: str) -> None:
    service = _section(name, "Service")
    command = service["ExecStart"].split()
    if "bridge" in command:
        shown = subprocess.run(
            [sys.executable, "-m", "bridge", command[command.index("bridge") + 1], "--help"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert shown.returncode == 0
        assert all(option in shown.stdout for option in command if option.startswith("--"))
    elif name == "miasalud-backup.service":
        assert (FOLDER / "miasalud-backup").stat().st_mode & 0o111


@pytest.mark.parametrize("name", OURS[:2])
def test_a_wrong_setting_is_no_reason_to_start_again(name: str) -> None:
    service = _section(name, "Service")
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(MISUSED)
    assert _section(name, "Unit")["StartLimitIntervalSec"] == "0"


def test_a_stop_has_time_for_the_longest_step() -> None:
    assert float(_section(OURS[0], "Service")["TimeoutStopSec"]) > STANDSTILL_SECONDS / 2


@pytest.mark.parametrize("script", ["miasalud", "miasalud-backup"])
def test_the_scripts_are_sound(script: str) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert shellcheck.exists(), "the dependency group “deploy” brings it"
    assert shutil.which("sh")
    done = subprocess.run([shellcheck, FOLDER / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _section(name: str, section: str) -> configparser.SectionProxy:
    """A section of a unit; of a line that comes several times, the last one."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(FOLDER / name)
    return parser[section]
