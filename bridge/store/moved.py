"""A SQLite file that is deleted, or replaced by a backup of it, while connections to it are open.

They would go on with the file that has lost its name: what they write is gone when they are closed, and no other
program sees it. SQLite itself does not notice (https://www.sqlite.org/howtocorrupt.html, section 2.4).
"""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError

#: The key of a connection's file in what the pool knows of the connection.
_FILE = "file"


def follow_file(engine: sa.Engine) -> None:
    """Let ``engine`` use only connections to the file that has its name now, and never make a second file.

    A file that is gone is an outage, which ends when there is a file again.
    """
    path = engine.url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        return
    was_there = False

    def require_file(dialect: Any, *_: Any) -> None:
        if was_there and not os.path.exists(path):
            # As SQLite says it of a directory that is missing.
            raise dialect.loaded_dbapi.OperationalError("unable to open database file")

    def remember(_connection: Any, record: Any) -> None:
        nonlocal was_there
        was_there = True
        record.info[_FILE] = _identity(path)

    def compare(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info[_FILE] != _identity(path):
            raise DisconnectionError("the file was deleted or replaced")

    sa.event.listen(engine, "do_connect", require_file)
    sa.event.listen(engine, "connect", remember)
    sa.event.listen(engine, "checkout", compare)


def _identity(path: str) -> tuple[int, int] | None:
    """Device and number of the file; ``None`` if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
