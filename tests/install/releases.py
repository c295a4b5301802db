"""Processes of this release and of the one before, side by side, and a sender whose events never stop."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import requests

from bridge.contract.payloads import EventType
from deploy.local.odoo import Odoo
from deploy.local.paths import VENV
from deploy.local.ports import HOST
from deploy.local.supervision import own_environment

#: How long something may take on a machine that is busy with other tests (seconds). Nothing here measures time.
PATIENCE = 150


def wait(until: Callable[[], Any], what: str) -> None:
    """Return as soon as ``until()`` is true."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


@dataclass
class Release:
    """The code of a release in a folder, as an operator has it installed."""

    folder: Path
    logs: Path
    odoo: Odoo
    #: The bridge's settings.
    settings: dict[str, str]
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**own_environment(), **self.settings, "PYTHONPATH": str(self.folder)}

    def bridge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of this release's bridge, to its end."""
        command = [VENV / "bin" / "python", "-m", "bridge", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def start_bridge(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start(f"{arguments[0]}", [str(VENV / "bin" / "python"), "-m", "bridge", *arguments])

    def start_odoo(self, configuration: Path) -> subprocess.Popen[bytes]:
        return self._start("odoo", self.odoo.command("-c", configuration))

    def run_odoo(self, *arguments: str | Path, script: str = "") -> str:
        """A command of Odoo with this release's addon; what it prints."""
        command = self.odoo.command(*arguments)
        done = subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.environment,
        )
        assert not done.returncode, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        log = self.logs / f"{name}-{self.folder.name}-{len(self._processes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._processes.append(process)
        return process

    def stop_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(PATIENCE)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop it in order: it finishes what it has in hand."""
    assert process.poll() is None, "it had ended by itself"
    process.terminate()
    process.wait(PATIENCE)


class Sender(threading.Thread):
    """A bot, and the proxy in front: one event after the other goes to Odoo, and to the API while Odoo is down."""

    STAGES = (17, 18, 19, 20, 21, 22, 23)

    def __init__(self, odoo_url: str, api_url: str, key: str):
        super().__init__(daemon=True)
        self._urls, self._key = (odoo_url, api_url), key
        self._ended = threading.Event()
        self._may_send = threading.Event()
        self._may_send.set()
        self._idle = threading.Event()
        #: Event id → person, of all events that were answered with 200.
        self.accepted: dict[str, str] = {}
        #: Person → the stage id of the newest event.
        self.newest: dict[str, int] = {}
        self.by_api = 0
        self.refused: list[str] = []

    def run(self) -> None:
        began = datetime.now(timezone.utc) - timedelta(hours=2)
        number = 0
        while not self._ended.is_set():
            if not self._may_send.is_set():
                self._idle.set()
                time.sleep(0.02)
                continue
            self._idle.clear()
            number += 1
            person, stage = f"MC-ROLL-{number % 12}", self.STAGES[number % len(self.STAGES)]
            moment = (began + timedelta(seconds=number)).isoformat()
            self._send(EventType.OPPORTUNITY, person, state={"stage_id": stage, "date": moment}, first_name="Prueba")
            self.newest[person] = stage
            self._send(EventType.CONTACT, person, nombre_lead="Prueba", datetime_actual=moment)
            time.sleep(0.1)

    def _send(self, kind: EventType, person: str, **payload: Any) -> None:
        body, headers = {"manychat_id": person, **payload}, {"X-API-KEY": self._key}
        # Longer than any start: what a bot would lose here, a test of the proxy looks at.
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._ended.is_set():
            for url in self._urls:
                with suppress(requests.ConnectionError, requests.Timeout):
                    answer = requests.request(
                        kind.spec.method, f"{url}{kind.spec.path}", json=body, headers=headers, timeout=10
                    )
                    if answer.status_code == 200:
                        self.accepted[answer.json()["event_id"]] = person
                        self.by_api += url == self._urls[1]
                        return
                    if answer.status_code not in (404, 500, 502, 503, 504):
                        self.refused.append(f"{url}: {answer.status_code} {answer.text}")
                        return
            time.sleep(0.1)
        if not self._ended.is_set():
            self.refused.append(f"no server took {body}")

    def pause(self) -> None:
        """Return when nothing is under way."""
        self._may_send.clear()
        self._idle.wait(PATIENCE)

    def go_on(self) -> None:
        self._idle.clear()
        self._may_send.set()

    def end(self) -> None:
        self._ended.set()
        self.join(PATIENCE)


def freeze(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def thaw(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGCONT)


def answers(port: int, path: str) -> bool:
    try:
        return requests.get(f"http://{HOST}:{port}{path}", timeout=5).ok
    except requests.RequestException:
        return False
