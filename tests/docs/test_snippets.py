"""Every shell snippet is valid shell, and those marked ``<!-- run -->`` run, page by page."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from bridge.store import migrate
from bridge.store.engine import create_engine
from tests.bridge.api import KEYS, running

from .pages import PAGES, ROOT, Page

RUNNABLE = {name: page for name, page in PAGES.items() if any(snippet.runs for snippet in page.snippets)}
#: Nothing that these snippets do needs a queue that answers.
NO_QUEUE = "DefaultEndpointsProtocol=http;AccountName=away;AccountKey=YXdheQ==;QueueEndpoint=http://127.0.0.1:9/away;"


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_shell_snippets_are_valid_shell(page: Page) -> None:
    for snippet in page.snippets:
        checked = subprocess.run(["bash", "-n"], input=snippet.text, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), snippet.text


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_restored_odoo_gets_the_events_since_its_backup(page: Page) -> None:
    for snippet in page.snippets:
        assert ("pg_restore" in snippet.text) == ("reconcile --odoo-restored-to" in snippet.text), snippet.text


@pytest.mark.parametrize("page", RUNNABLE.values(), ids=RUNNABLE)
def test_snippets_run(page: Page, checkout: Path, reader: dict[str, str]) -> None:
    snippets = "\n".join(snippet.text for snippet in page.snippets if snippet.runs)
    command = ["bash", "-euo", "pipefail", "-c", snippets]
    ran = subprocess.run(command, cwd=checkout, env=reader, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_addresses_of_the_api_exist(page: Page, api: str) -> None:
    with urllib.request.urlopen(f"{api}/openapi.json") as answer:
        described = json.load(answer)["paths"]
    assert described
    # Up to the part that differs from row to row.
    known = {path.partition("{")[0] for path in described} | described.keys()
    named = {path for code in page.code for path in re.findall(r"(?<!\w)/(?:api/v1/[\w/-]*|health\b|metrics\b)", code)}
    assert named - known - {"/metrics"} == set()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the reader's, with a database to import."""
    for path in ROOT.iterdir():
        if path.name not in (".git", ".miasalud", ".env"):
            (tmp_path / path.name).symlink_to(path)
    existing = sqlite3.connect(tmp_path / "existing.db")
    with existing:
        existing.execute("CREATE TABLE Contactos (id INTEGER PRIMARY KEY, manychat_id NVARCHAR(64) NOT NULL)")
        existing.execute("INSERT INTO Contactos VALUES (1, 'MC1')")
    existing.close()
    return tmp_path


@pytest.fixture
def reader(api: str) -> dict[str, str]:
    """The reader's environment: a Python with the bridge, the address of a running API, and a key that opens it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    address = {"API": api, "ADDRESS": api, "KEY": KEYS["write"]}
    bridge = {"BRIDGE_QUEUE_CONNECTION_STRING": NO_QUEUE, "BRIDGE_DATABASE_URL": "sqlite:///miasalud.db"}
    return own | address | bridge | {"PATH": path}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"sqlite:///{tmp_path_factory.mktemp('api') / 'store.db'}"
    engine = create_engine(url)
    migrate.upgrade(engine)
    engine.dispose()
    with running(database_url=url, queue_connection_string=NO_QUEUE) as served:
        server = uvicorn.Server(uvicorn.Config(served.client.app, port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()
