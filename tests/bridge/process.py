"""``python -m bridge api`` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from .conftest import PATIENCE, eventually, free_port


class ApiProcess:
    """The process, and a client of it."""

    def __init__(self, environment: Mapping[str, str], folder: Path):
        self.port = free_port()
        self.log = folder / f"api-{self.port}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "api", "--port", str(self.port)],
                env=dict(environment),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        eventually(self._answers, f"the API answers; its output: {self.log}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.url + path, timeout=30, **options)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.request("GET", "/health").ok
        except requests.ConnectionError:
            return False


@contextmanager
def api_process(environment: Mapping[str, str], folder: Path) -> Iterator[ApiProcess]:
    process = ApiProcess(environment, folder)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.stop()
