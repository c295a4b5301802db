"""``python -m bridge`` as a process of its own, without its start-up.

A start imports some hundred modules, which is most of what a short command costs. So one process imports them once, and
each program is a fork of it, with a process id, an environment, signals, metrics and logs of its own, like any other
process. What only a real start can show, :meth:`Cli.start` and the systems of the other suites do.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import bridge.__main__

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([__name__])


class Program:
    """``python -m bridge ARGUMENTS``, running; used like :class:`subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        stdin: Path | None = None,
        stdout: Path | None = None,
        stderr: Path | None = None,
    ):
        """
        :param folder: where it works
        :param stdin: a file; nothing by default, as for the others
        :param stderr: may be the same file as ``stdout``
        """
        streams = [str(path or os.devnull) for path in (stdin, stdout, stderr)]
        for path in streams[1:]:
            Path(path).write_text("")
        self._process = _server.Process(
            target=_become, args=(list(arguments), dict(environment), str(folder), streams), daemon=True
        )
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code; ``None`` while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit code, when it has ended.

        :raises subprocess.TimeoutExpired: not within so many seconds
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("bridge", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


def _become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[str]) -> None:
    """Turn this process, a fork, into the program."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams):
        descriptor = os.open(path, os.O_APPEND | os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.argv = ["bridge", *arguments]
    bridge.__main__.main()
