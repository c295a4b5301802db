"""The event that a row of the audit holds."""

from __future__ import annotations

import json

from ..contract.errors import ContractError
from ..contract.event import Event, from_envelope
from ..contract.fields import format_datetime
from ..contract.strict_json import parse_json
from ..store.rows import AuditRow


def event_of(row: AuditRow) -> Event | None:
    """The event of an audit row; ``None`` if its payload was removed, or no longer fits the contract."""
    try:
        return from_envelope(
            {
                "v": 1,
                "id": row.event_id,
                "type": row.type,
                "received_at": format_datetime(row.received_at),
                "source": row.source,
                "payload": parse_json(row.payload),
                "retries": row.retries,
                "warnings": json.loads(row.warnings or "[]"),
                "extra": json.loads(row.extra or "{}"),
                "traceparent": row.traceparent,
            }
        )
    except ContractError:
        return None
