"""A span of each transaction about the events in hand, while spans are on: see :mod:`bridge.spans`."""

from __future__ import annotations

from datetime import datetime, timezone

import sqlalchemy as sa

from .. import spans

_STARTED = "miasalud_started"


def export_transactions(engine: sa.Engine) -> None:
    """Export the transactions of ``engine`` that are about events in hand. Without spans it adds nothing to it."""
    if not spans.are_on():
        return

    def begin(connection: sa.Connection) -> None:
        connection.info[_STARTED] = datetime.now(timezone.utc)

    def end(connection: sa.Connection, *, failed: bool) -> None:
        if started := connection.info.pop(_STARTED, None):
            spans.record_step("SQL", started, failed=failed, database=connection.dialect.name)

    sa.event.listen(engine, "begin", begin)
    sa.event.listen(engine, "commit", lambda connection: end(connection, failed=False))
    sa.event.listen(engine, "rollback", lambda connection: end(connection, failed=True))
