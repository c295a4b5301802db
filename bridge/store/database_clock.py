"""The database's clock: the one clock that all bridges share."""

from __future__ import annotations

from datetime import datetime, timezone

import sqlalchemy as sa

_NOW = {
    "postgresql": "SELECT CAST(clock_timestamp() AT TIME ZONE 'utc' AS TEXT)",
    "mssql": "SELECT CONVERT(VARCHAR(26), SYSUTCDATETIME(), 121)",
    "sqlite": "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')",
}


def now(connection: sa.Connection) -> datetime:
    """The moment by the database's clock, in UTC."""
    text = str(connection.exec_driver_sql(_NOW[connection.dialect.name]).scalar_one())
    whole, _, fraction = text.partition(".")
    moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    return moment.replace(microsecond=int((fraction + "000000")[:6]))
