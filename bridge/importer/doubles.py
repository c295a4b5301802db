"""Several rows of an old system for one person or thing: each column has the value of the newest row that has one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ..contract.newest import order_key
from ..store import campaigns, contacts
from ..store.last_write_wins import NO_EVENT
from .writer import PAIRS

#: What says how new a row is: it is always of the newest row.
_OF_THE_NEWEST = ("event_at", "event_received_at", "event_id")
#: Columns with a version, by the names that a row has for them before it is written.
_VERSIONED = {name: name for name in (*contacts.FIELDS, *campaigns.FIELDS)} | {"channel": "channel_id"}
EVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class SourceRow:
    """A row of a user's table, with its values converted to ours."""

    key: Any
    updated: datetime | None
    values: dict[str, Any]


def newest_last(rows: Sequence[SourceRow], *, last_wins: bool) -> list[SourceRow]:
    """``rows`` from the oldest to the newest. A row without a date is older than any row with one.

    :param rows: in the order of their keys
    :param last_wins: of rows with the same date, that with the highest key is the newest
    """
    return sorted(rows if last_wins else reversed(rows), key=lambda row: row.updated or EVER)


def join(rows: Sequence[SourceRow]) -> SourceRow:
    """One row of ``rows``. Its first date is the earliest.

    A column that an older row fills has the version of that row: an event from between the two is newer.

    :param rows: from the oldest to the newest
    """
    *older, newest = rows
    values = dict(newest.values)
    versions: dict[str, list[str]] = defaultdict(list)
    for row in reversed(older):
        taken = {name: value for name, value in row.values.items() if value is not None and _is_gap(name, values)}
        values |= taken
        if "event_at" in values:
            versions[_order(row.values)] += sorted(_VERSIONED[name] for name in taken if _has_version(name, taken))
    made = [row.values["created_at"] for row in rows if row.values.get("created_at")]
    if made:
        values["created_at"] = min(made)
    if versions := {order: names for order, names in versions.items() if names}:
        values["field_versions"] = json.dumps(versions, separators=(",", ":"))
    return replace(newest, values=values)


def _is_gap(name: str, values: Mapping[str, Any]) -> bool:
    """Whether nothing of ``name`` is there. An adviser and its date come from one row, or neither does."""
    if name in _OF_THE_NEWEST or name == "created_at":
        return False
    pair = (name, *(other for ours in PAIRS.items() if name in ours for other in ours))
    return all(values.get(each) is None for each in pair)


def _has_version(name: str, taken: Mapping[str, Any]) -> bool:
    """Whether the version of a column must be written down. That of an adviser is the date of the assignment."""
    pair = next((ours for ours in PAIRS.items() if name in ours), None)
    return name in _VERSIONED and not (pair and pair[0] in taken)


def _order(values: Mapping[str, Any]) -> str:
    at, received_at, event_id = (values.get(name) for name in ("event_at", "event_received_at", "event_id"))
    return order_key(at, received_at, event_id) if at and received_at and event_id else NO_EVENT
