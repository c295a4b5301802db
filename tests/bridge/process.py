"""``python -m bridge api`` as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from .conftest import PATIENCE, eventually, free_port
from .program import Program


class ApiProcess:
    """The process, and a client of it."""

    def __init__(self, environment: Mapping[str, str], folder: Path):
        self.port = free_port()
        self.log = folder / f"api-{self.port}.log"
        self.process = Program(["api", "--port", str(self.port)], environment, folder, stdout=self.log, stderr=self.log)
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
