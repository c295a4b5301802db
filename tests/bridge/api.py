"""The API, asked over HTTP: the real application on a real SQLite file and a real queue."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from bridge.api.app import create_app
from bridge.api.serve import open_context
from bridge.contract.keys import digest
from bridge.settings import Settings
from bridge.store import api_keys
from bridge.store.engine import in_transaction

#: Keys as tests use them, by what they open.
KEYS = {scope: f"mck_test-{scope}-{'x' * 32}" for scope in ("webhook", "ask", "read", "write")}


class Api:
    """A client with a key of each scope."""

    def __init__(self, client: TestClient, context: Any):
        self.client = client
        self.context = context

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "write",
        status: int | None = None,
        **options: Any,
    ) -> Any:
        """The answer: its body if ``status`` says what it must be, else the response itself."""
        headers = {"X-API-KEY": KEYS.get(key, key)} if key else {}
        headers |= options.pop("headers", {})
        if isinstance(body, bytes):
            options["content"] = body
        elif body is not None:
            options["json"] = body
        response = self.client.request(method, path, headers=headers, **options)
        if status is None:
            return response
        assert response.status_code == status, response.text
        return response.json() if response.content else None


@contextmanager
def running(**settings: Any) -> Iterator[Api]:
    """The API with these settings and :data:`KEYS`."""
    with tempfile.TemporaryDirectory() as folder:
        context = open_context(Settings(_env_file=None, **{"api_keys_file": Path(folder) / "keys.json", **settings}))
        if context.keys.are_known:
            for scope, key in KEYS.items():
                row = {"name": f"Prueba {scope}", "prefix": key[:12], "digest": digest(key), "scope": scope}
                in_transaction(context.engine, api_keys.add, **row)
            context.keys.refresh()
        with TestClient(create_app(context), raise_server_exceptions=False) as client:
            yield Api(client, context)
        context.engine.dispose()
