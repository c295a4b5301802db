"""What was chosen once and must stay: ports, passwords, keys. One private JSON file for each stack."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class State:
    """A JSON file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> Any:
        return self._read().get(key)

    def set(self, key: str, value: Any) -> None:
        values = self._read() | {key: value}
        draft = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(values, file, indent=2, sort_keys=True)
        draft.rename(self._path)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """The value of `key`, made by `make` the first time it is asked for."""
        values = self._read()
        if key not in values:
            self.set(key, make())
            values = self._read()
        return values[key]

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
