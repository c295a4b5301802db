"""A fresh Debian with its own systemd as process 1, in namespaces of this machine.

It shares the network of this machine, as a container with ``--network host`` does: apt and pip reach what they reach
here, and its servers have the ports that the page names. Limits of memory and tasks are not enforced in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.local import os_packages
from deploy.local.os_packages import Need

_DEBOOTSTRAP = Need("debootstrap, which makes a Debian", "debootstrap", lambda: shutil.which("debootstrap") is not None)
#: What a Debian server has after its installation, and `minbase` has not.
_INSTALLED = "systemd,systemd-sysv,dbus,ca-certificates,sudo,iproute2,procps"
#: How this machine reaches its package sources and names: settings of clients, no package.
_CLIENT_SETTINGS = [
    *("/etc/pip.conf", "/root/.config/pip/pip.conf", "/etc/resolv.conf", "/etc/hosts"),
    *("/etc/ssl/certs/ca-certificates.crt", "/root/.npmrc"),
]
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "PIP_CERT": _CERTIFICATES,
    "SSL_CERT_FILE": _CERTIFICATES,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
_BOOT = r"""
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
for each in $2; do mkdir -p "$root/srv/$(basename "$each")"; mount --bind "$each" "$root/srv/$(basename "$each")"; done
exec chroot "$root" env -i container=miasalud-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"""


class Machine:
    """A Debian in a folder. ``boot()`` and ``shut_down()`` as often as wanted."""

    def __init__(self, folder: Path, suite: str, shared: list[Path]):
        """
        :param suite: Debian's name of the release
        :param shared: folders of this machine that it has under /srv
        """
        self.root = folder / suite
        self._suite = suite
        self._shared = shared
        unified = Path("/sys/fs/cgroup/unified")
        self._group = (unified if unified.is_dir() else unified.parent) / f"miasalud-test-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """The fresh root."""
        os_packages.ensure(_DEBOOTSTRAP)
        command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)", "Created-By: Packages"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        mirror = next(line.split("|")[1] for line in lines if line.startswith("Debian|") and "security" not in line)
        self.root.mkdir(parents=True, mode=0o755)
        make = ["debootstrap", "--variant=minbase", f"--include={_INSTALLED}", self._suite, self.root, mirror]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        for name in [*_CLIENT_SETTINGS, *map(str, Path("/etc/apt/apt.conf.d").glob("99*"))]:
            if Path(name).exists():
                (self.root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, self.root / name[1:])

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def boot(self) -> None:
        """Start it, and wait until systemd has started all units."""
        self._group.mkdir(exist_ok=True)
        enter = (
            f"echo $$ > {self._group}/cgroup.procs; exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup"
        )
        boot = ["bash", "-c", _BOOT, "boot", str(self.root), " ".join(map(str, self._shared))]
        self._process = subprocess.Popen(
            ["bash", "-c", f'{enter} "$@"', "enter", *boot], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while self.run("systemctl is-system-running --wait >/tmp/state 2>&1 || grep -q degraded /tmp/state").returncode:
            assert time.monotonic() < deadline, "systemd does not start"
            assert self._process.poll() is None, "systemd has ended"
            time.sleep(1)

    def shut_down(self) -> None:
        """As `poweroff` does: systemd stops all units in order."""
        assert self._process
        self.run("systemctl poweroff")
        self._process.wait(180)

    def kill(self) -> None:
        """Cut the power."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)

    def remove(self) -> None:
        """Cut the power, and leave nothing behind."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)
        for group in [*sorted(self._group.rglob("*/"), reverse=True), self._group]:
            with contextlib.suppress(OSError):
                group.rmdir()

    def run(self, script: str, timeout: float = 1800, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script of bash, which ends at the first error, as root; both outputs are in ``stdout``."""
        assert self._process
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return subprocess.CompletedProcess([], 1, "not booted")
        enter = ["nsenter", "--target", children[0], "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
        environment: Mapping[str, str] = {**_ENVIRONMENT, **variables}
        return subprocess.run(
            [*enter, "bash", "-euo", "pipefail", "-c", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
