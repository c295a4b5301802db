"""Azurite, Microsoft's emulator of Azure Storage; we use its queues only."""

import base64
import secrets
import shutil
from pathlib import Path

from .os_packages import Missing
from .paths import STATE
from .ports import HOST
from .say import run_logged, step

# From 3.36 on it wants Node >= 21; this line runs on 18.
_PACKAGE = "azurite@~3.35.0"
_ACCOUNT = "miasalud"


def install() -> Path:
    """The emulator's program, fetched by npm when it isn't there."""
    folder = STATE / "azurite"
    program = folder / "node_modules" / ".bin" / "azurite-queue"
    if (folder / "complete").exists():
        return program
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
    return program


def new_key() -> str:
    """An account key. Azurite's well-known default would open the queues to every program on the machine."""
    return base64.b64encode(secrets.token_bytes(48)).decode()


def accounts(key: str) -> str:
    """The value of AZURITE_ACCOUNTS."""
    return f"{_ACCOUNT}:{key}"


def connection_string(key: str, port: int) -> str:
    endpoint = f"http://{HOST}:{port}/{_ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};QueueEndpoint={endpoint};"


def command(folder: Path, port: int) -> list[str]:
    """The command line of a server that keeps its queues in `folder`.

    The current SDK speaks a newer version of the protocol than Azurite knows, hence --skipApiVersionCheck.
    """
    options = f"--queueHost {HOST} --queuePort {port} --silent --disableTelemetry --skipApiVersionCheck"
    return [str(install()), *options.split(), "--location", str(folder)]
