"""The programs of a stack, kept going by supervisor, one supervisor for each folder."""

import hashlib
import os
import signal
import time
import xmlrpc.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from .paths import VENV
from .say import run_logged


def own_environment() -> dict[str, str]:
    """The environment without what would send a local program to a real queue or database."""
    foreign = ("BRIDGE_", "MIASALUD_", "AZURITE_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


@dataclass(frozen=True)
class Program:
    """What to keep running. With `copies`, that many processes of it, named NAME_0, NAME_1, …"""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    copies: int = 1


class Supervision:
    """The supervisor of one folder, which need not be running: then `is_running()` says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "supervisor.sock"
        # A socket's path may have 107 bytes at most, and supervisor adds its process id while it makes one.
        if len(os.fsencode(self._socket)) > 90:
            self._socket = Path("/tmp") / f"miasalud-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}.sock"

    def start(self, programs: list[Program]) -> None:
        """Starts all, the first one first. They are stopped in the opposite order."""
        configuration = self.folder / "supervisord.conf"
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration(programs))
        command = [VENV / "bin" / "supervisord", "-c", configuration]
        log = self.folder / "log" / "supervisord-start.log"
        run_logged(command, log, cwd=self.folder, env=own_environment())

    def stop(self) -> None:
        """Stops all programs, then supervisor; returns when both have ended."""
        pid = self._server().getPID()
        self._server().shutdown()
        # Its socket goes before the process does; a new one must find neither.
        while _is_alive(pid):
            time.sleep(0.05)

    def is_running(self) -> bool:
        try:
            return bool(self._server().getState()["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def processes(self) -> list[dict[str, Any]]:
        """As supervisor tells it: name, group (the program's name), statename, pid, description, …"""
        return self._server().getAllProcessInfo()

    def start_program(self, name: str, wait: bool = True) -> None:
        """Returns when all its processes have run for a second; without `wait`, when they have begun."""
        self._server().startProcessGroup(name, wait)

    def stop_program(self, name: str) -> None:
        """Sends SIGTERM and returns when all its processes have ended."""
        self._server().stopProcessGroup(name)

    def signal_program(self, name: str, number: signal.Signals) -> None:
        """A program that ends by the signal is started again."""
        self._server().signalProcessGroup(name, str(int(number)))

    def log_tail(self, name: str, lines: int = 40) -> str:
        """The last lines that the program's processes printed."""
        logs = sorted((self.folder / "log").glob(f"{name}*.log"))
        return "\n".join("\n".join(log.read_text(errors="replace").splitlines()[-lines:]) for log in logs)

    def _server(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://local", transport).supervisor

    def _configuration(self, programs: list[Program]) -> str:
        sections = [
            f"""
[unix_http_server]
file={self._socket}
chmod=0700

[supervisord]
logfile={self.folder}/log/supervisord.log
pidfile={self.folder}/supervisord.pid
childlogdir={self.folder}/log
directory={self.folder}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{self._socket}
"""
        ]
        for priority, program in enumerate(programs, start=1):
            variables = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
            process = f"{program.name}_%(process_num)d" if program.copies > 1 else program.name
            # stopwaitsecs: the longest that a bridge needs to finish what is in flight, and Odoo its requests.
            sections.append(f"""
[program:{program.name}]
command={" ".join(program.command).replace("%", "%%")}
directory={self.folder}
environment={variables.replace("%", "%%")}
numprocs={program.copies}
process_name={process}
priority={priority}
startsecs=1
startretries=5
autorestart=true
stopsignal=TERM
stopwaitsecs=30
killasgroup=true
redirect_stderr=true
stdout_logfile={self.folder}/log/{process}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
""")
        return "".join(sections)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
