"""The API's start command on Azure App Service: docs/azure.md."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from bridge.contract.throttle import Throttle

from .conftest import PATIENCE, ROOT, eventually, free_port

PAGE = (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")


def test_documented_start_command_listens_where_app_service_asks_and_knows_the_caller(
    environment: dict[str, str], engine: sa.Engine, queues: dict[str, Any], tmp_path: Path
) -> None:
    [command] = re.findall(r"^python -m bridge api .*PORT.*$", PAGE, re.MULTILINE)
    [networks] = re.findall(r"^FORWARDED_ALLOW_IPS=(.*)$", PAGE, re.MULTILINE)
    port = free_port()
    # As App Service starts it: by a shell, in which PORT is set.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**environment, "PORT": str(port), "FORWARDED_ALLOW_IPS": networks, "PATH": path}
    with (tmp_path / "api.log").open("w") as log:
        process = subprocess.Popen(["sh", "-c", f"exec {command}"], env=settings, cwd=tmp_path, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "api.log").read_text()
        try:
            return requests.get(f"{address}/health", timeout=10).ok
        except requests.ConnectionError:
            return False

    def status(caller: str) -> int:
        headers = {"X-API-KEY": "wrong", "X-Forwarded-For": caller, "X-Forwarded-Proto": "https"}
        return requests.get(f"{address}/api/v1/contacts/", headers=headers, timeout=10).status_code

    try:
        eventually(answers, "the API answers on PORT")
        assert {status("203.0.113.9") for _ in range(Throttle.TRIES)} == {401}
        assert status("203.0.113.9") == 429
        # Another caller behind the same front end is not blocked.
        assert status("203.0.113.10") == 401
        # What a caller writes into the header itself stands before its real address, and does not count.
        assert status("198.51.100.1, 203.0.113.9") == 429
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
