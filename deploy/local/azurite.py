"""Azurite, Microsoft's emulator of Azure Storage; we use its queues only."""

import base64
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import ports
from .os_packages import Missing
from .paths import STATE
from .say import run_logged, step

# From 3.36 on it wants Node >= 21; this line runs on 18.
_PACKAGE = "azurite@~3.35.0"
_ACCOUNT = "miasalud"


def install() -> Path:
    """The emulator's program, fetched by npm when it isn't there."""
    folder = STATE / "azurite"
    if not (folder / "complete").exists():
        STATE.mkdir(parents=True, exist_ok=True)
        # Suites side by side, which are processes of their own, want it at the same time: the second one waits.
        with (STATE / "azurite.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "complete").exists():
                _fetch(folder)
    return folder / "node_modules" / ".bin" / "azurite-queue"


def _fetch(folder: Path) -> None:
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Missing(f"Missing: {tool}, which runs the queue emulator. Install Node.js 18 or newer with npm.")
    with step("Fetching Azurite, the queue emulator (~190 MB on disk)"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}\n')
        npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", _PACKAGE]
        run_logged(npm, STATE / "log" / "azurite-install.log", cwd=folder)
        (folder / "complete").touch()


def new_key() -> str:
    """An account key. Azurite's well-known default would open the queues to every program on the machine."""
    return base64.b64encode(secrets.token_bytes(48)).decode()


def accounts(key: str) -> str:
    """The value of AZURITE_ACCOUNTS."""
    return f"{_ACCOUNT}:{key}"


def connection_string(key: str, port: int) -> str:
    endpoint = f"http://{ports.HOST}:{port}/{_ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};QueueEndpoint={endpoint};"


@contextmanager
def serving(timeout: float = 30) -> Iterator[str]:
    """The connection string of a server with empty queues, there for as long as the block lasts (seconds to start)."""
    key, port = new_key(), ports.choose()
    environment = {**os.environ, "AZURITE_ACCOUNTS": accounts(key)}
    with tempfile.TemporaryDirectory(prefix="miasalud-azurite-") as folder:
        server = subprocess.Popen(command(Path(folder), port), env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_until_up(port, timeout)
            yield connection_string(key, port)
        finally:
            server.terminate()
            server.wait()


def wait_until_up(port: int, timeout: float = 30) -> None:
    """Returns when a server listens on the loopback port (seconds)."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((ports.HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise Missing(f"Azurite did not answer on port {port} within {timeout:.0f} s.") from None
            time.sleep(0.05)
        else:
            return


def command(folder: Path, port: int) -> list[str]:
    """The command line of a server that keeps its queues in `folder`.

    The current SDK speaks a newer version of the protocol than Azurite knows, hence --skipApiVersionCheck.
    """
    options = f"--queueHost {ports.HOST} --queuePort {port} --silent --disableTelemetry --skipApiVersionCheck"
    return [str(install()), *options.split(), "--location", str(folder)]
