"""What ``trace`` says of a decision on its way back to ManyChat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..contract.fields import format_datetime
from ..store.history import EventDetails


def rows(kept: EventDetails | None) -> dict[str, Any]:
    """``manychat_write`` and ``manychat_flow``, as JSON; ``None`` if there is none."""
    found = {"manychat_write": kept and kept.write, "manychat_flow": kept and kept.flow}
    return {name: row and {key: _plain(value) for key, value in row._asdict().items()} for name, row in found.items()}


def steps(history: Mapping[str, Any]) -> Iterator[tuple[str | None, str, str]]:
    """The moments, ManyChat, and what happened. A newer state of the person may have been written in its place."""
    if flow := history["manychat_flow"]:
        became = flow["result"] or "not known whether it started"
        yield flow["started_at"], "ManyChat", f"flow {flow['flow_ns']}: {became}"
    write = history["manychat_write"]
    if write and write["sent_as_of"]:
        code = write["refused_code"]
        yield write["result_at"], "ManyChat", f"refused it: {code}" if code else "has it"


def _plain(value: Any) -> Any:
    return format_datetime(value) if isinstance(value, datetime) else value
