"""``python -m bridge purge``: remove what has been settled for longer than it is to be kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from ..store import retention
from ..store.engine import in_transaction


def purge(engine: sa.Engine, before: datetime, *, rows: bool, progress: Callable[[int], object]) -> dict[str, int]:
    """Remove what was settled before then. Killed in between, it goes on from there the next time.

    :param rows: delete the audit rows too, and not only empty their payloads
    :param progress: called with how many more are done
    :return: how many of each kind
    :raises bridge.errors.Outage: SQL is away
    """
    audit = ("audit rows", retention.delete_rows) if rows else ("audit payloads", retention.empty_payloads)
    letters = [("dead letters", remove) for remove in (retention.delete_resolved, retention.delete_discarded)]
    done: dict[str, int] = {}
    for kind, remove in (audit, *letters):
        done.setdefault(kind, 0)
        part = retention.START
        while (part := in_transaction(engine, lambda connection: remove(connection, before, part))).count:  # noqa: B023
            done[kind] += part.count
            progress(part.count)
    return done
