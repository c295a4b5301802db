"""What an import did or would do, counted by table and by reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Keys shown of rows with the same fault.
SHOWN = 5


@dataclass
class RowSample:
    """The number of some rows, and the keys of the first few.

    :ivar asks: whether the operator decides about them
    """

    asks: bool = True
    count: int = 0
    keys: list[Any] = field(default_factory=list)

    def add(self, key: Any) -> None:
        self.count += 1
        if len(self.keys) < SHOWN:
            self.keys.append(key)


@dataclass
class Tally:
    """The result of importing one table, or of a dry run.

    :ivar skipped: rows left out, by reason
    :ivar changed: rows with a value cut or left empty, by reason
    """

    name: str
    source: str
    found: int = 0
    new: int = 0
    filled: int = 0
    same: int = 0
    skipped: dict[str, RowSample] = field(default_factory=dict)
    changed: dict[str, RowSample] = field(default_factory=dict)
