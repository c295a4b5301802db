"""The running containers. They share the network of the machine, as the isolation by chroot has it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from deploy.local import azurite, images, ports
from deploy.local.images import Container
from deploy.local.odoo import DATA, Odoo, chosen

#: Of both images.
USER = 10001
DATABASE = "miasalud_images"


@dataclass(frozen=True)
class Containers:
    """A container of each image, and where their neighbours are."""

    bridge: Container
    odoo: Container
    installation: Odoo
    queues: str
    odoo_port: int
    websocket_port: int
    metrics_port: int
    api_port: int
    logs: Path
    secrets: Path

    @property
    def odoo_environment(self) -> dict[str, str]:
        """As docker-compose.prod.yml has it."""
        return {
            "PGHOST": ports.HOST,
            "PGPORT": str(self.installation.cluster.port),
            "PGUSER": "odoo",
            "PGPASSWORD_FILE": "/run/secrets/postgres_password",
            "MIASALUD_QUEUE_CONNECTION_STRING": self.queues,
        }

    @property
    def bridge_environment(self) -> dict[str, str]:
        """As docker-compose.prod.yml has it, but for a database that a test machine can have."""
        return {
            "BRIDGE_QUEUE_CONNECTION_STRING_FILE": "/run/secrets/queue_connection_string",
            "BRIDGE_DATABASE_URL": "sqlite:////home/bridge/kept/miasalud.db",
            "BRIDGE_ODOO_URL": f"http://{ports.HOST}:{self.odoo_port}",
            "BRIDGE_ODOO_DATABASE": DATABASE,
            "BRIDGE_ODOO_API_KEY_FILE": "/keys/bridge",
            "BRIDGE_METRICS_PORT": str(self.metrics_port),
            "BRIDGE_API_PORT": str(self.api_port),
            "BRIDGE_API_KEYS_FILE": "/home/bridge/kept/api-keys.json",
        }

    def run_odoo(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command through the entry point of Odoo's image."""
        words = ("/opt/miasalud/entrypoint", *words)
        return self.odoo.run(*words, environment=self.odoo_environment, stdin=stdin)

    def run_bridge(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the bridge."""
        return self.bridge.run("python", "-m", "bridge", *words, environment=self.bridge_environment)

    def answers(self, port: int, path: str) -> bool:
        """Whether the address answers 200."""
        try:
            return requests.get(f"http://{ports.HOST}:{port}{path}", timeout=5).ok
        except requests.RequestException:
            return False


def stop(process: subprocess.Popen[bytes]) -> int:
    """Send SIGTERM to process 1 of the container, as Docker does; the exit code."""
    # Between buildah and the command are buildah's own processes, also as the container's user.
    below = [(each, each.cmdline()) for each in psutil.Process(process.pid).children(recursive=True)]
    inside = [each for each, words in below if words and not words[0].startswith("buildah") and words[0] != "exe"]
    # The command itself is the first of them to be started; Odoo's workers are its children.
    min(inside, key=lambda each: each.create_time()).send_signal(signal.SIGTERM)
    return process.wait(120)


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    installation = chosen()
    installation.cluster.start()
    installation.create(DATABASE, durable=False)
    root = tmp_path_factory.mktemp("volumes")
    folders = {name: root / name for name in ("odoo", "keys", "kept", "secrets")}
    for name, folder in folders.items():
        folder.mkdir()
        if name != "secrets":
            os.chown(folder, USER, USER)
    template = DATA / "filestore" / DATABASE
    if template.exists():
        shutil.copytree(template, folders["odoo"] / "filestore" / DATABASE)
        for path in (folders["odoo"] / "filestore", *(folders["odoo"] / "filestore").rglob("*")):
            os.chown(path, USER, USER)
    (folders["secrets"] / "postgres_password").write_text(f"{installation.cluster.password}\n")
    secrets = {folders["secrets"]: "/run/secrets", folders["keys"]: "/keys"}
    with (
        azurite.serving() as queues,
        images.container("miasalud-odoo", {**secrets, folders["odoo"]: "/srv/odoo"}) as odoo,
        images.container("miasalud-bridge", {**secrets, folders["kept"]: "/home/bridge/kept"}) as bridge,
    ):
        (folders["secrets"] / "queue_connection_string").write_text(f"{queues}\n")
        numbers = [ports.choose() for _ in range(4)]
        logs = tmp_path_factory.mktemp("logs")
        yield Containers(bridge, odoo, installation, queues, *numbers, logs, folders["secrets"])
    installation.drop(DATABASE)
