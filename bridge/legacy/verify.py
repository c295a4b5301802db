"""The comparison after a migration: old tables with ours, and the expected stages with Odoo's."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..contract.fields import format_datetime
from ..contract.newest import order_key
from ..importer import writer
from ..importer.checks import Part
from ..store.engine import read
from .odoo import MigrationOdoo
from .plan import Plan, pages
from .source import Legacy
from .states import Candidate, begun_at

#: Examples of each fault.
SHOWN = 10
#: By which it is accepted that contacts were written.
WRITERS = "writers"
#: Columns that say how new a row is, or when it was written: they have no counterpart in the old tables.
_BOOKKEEPING = {"event_at", "event_received_at", "event_id", "field_versions", "created_at", "updated_at", "category"}


@dataclass
class TableCheck:
    """The old rows of one table beside ours.

    :ivar newer: rows that live events, or people over the API, have changed since: they are in no checksum
    """

    name: str
    legacy: int = 0
    same: int = 0
    newer: int = 0
    missing: int = 0
    different: int = 0
    legacy_checksum: int = 0
    our_checksum: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not (self.missing or self.different) and self.legacy_checksum == self.our_checksum


@dataclass
class Person:
    """What was expected of one person, and what is there."""

    manychat_id: str
    stage: str
    at: datetime
    lead_id: int | None
    found: str
    verdict: str


@dataclass
class Verification:
    """The result.

    :ivar stages: by stage: expected, there, and elsewhere because of a newer event or of a user
    :ivar verdicts: how many people have each verdict
    :ivar beside: how many people have another open opportunity too, which follows no conversation
    :ivar wrong: people whose opportunity is missing or in the wrong stage
    :ivar writers: who wrote contacts since the migration began
    """

    tables: list[TableCheck] = field(default_factory=list)
    stages: dict[str, Counter[str]] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    beside: int = 0
    wrong: list[Person] = field(default_factory=list)
    sample: list[Person] = field(default_factory=list)
    writers: list[dict[str, Any]] = field(default_factory=list)

    def faults(self, accepted: tuple[str, ...] | list[str] = ()) -> list[str]:
        """What is wrong, in sentences."""
        found = [f"{each.name}: {each.missing} rows missing, {each.different} different" for each in self.tables
                 if not each.is_right]  # fmt: skip
        found += [f"{number} people: {verdict}" for verdict, number in self.verdicts.items() if verdict in FAULTS]
        if self.writers and WRITERS not in accepted:
            total = sum(each["partners"] for each in self.writers)
            users = ", ".join(str(each["user"]) for each in self.writers)
            found.append(f"{total} contacts with a ManyChat id were written since the run began, by {users}")
        return found


MISSING, WRONG = "no opportunity", "in another stage, without a newer event or move"
RIGHT, NEWER = "in its stage", "where a newer event or a user moved it"
FAULTS = (MISSING, WRONG)


def compare_tables(engine: sa.Engine, legacy: Legacy, now: datetime, since: datetime | None) -> list[TableCheck]:
    """Compare the old rows with ours, table by table.

    :param since: when the copying was done; ``None``: it is not
    """
    return [_compare(engine, legacy, part, now, since) for part in legacy.parts.values()]


def _compare(engine: sa.Engine, legacy: Legacy, part: Part, now: datetime, since: datetime | None) -> TableCheck:
    check = TableCheck(part.name)
    for rows in legacy.rows(part.name):
        if not rows:
            continue
        pairs = read(engine, writer.compare, part.target, [row.values for row in rows], now)
        for row, (wanted, found) in zip(rows, pairs, strict=True):
            check.legacy += 1
            names = [name for name in wanted if name in part.target.c and name not in _BOOKKEEPING]
            names = [name for name in names if wanted[name] is not None]
            if found is None:
                check.missing += 1
            elif all(wanted[name] == found[name] for name in names):
                check.same += 1
            elif _is_newer(found, wanted, since):
                check.newer += 1
                continue
            else:
                check.different += 1
            if (found is None or any(wanted[name] != found[name] for name in names)) and len(check.examples) < SHOWN:
                check.examples.append(f"{part.key} {row.key}")
            check.legacy_checksum ^= _checksum(wanted, names)
            check.our_checksum ^= _checksum(found, names) if found else 0
    return check


def _is_newer(found: Mapping[str, Any], wanted: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether an event, or a person over the API, has written the row since it was copied."""
    if event_id := found.get("event_id"):
        if not str(event_id).startswith("adopted-"):
            return True
    elif found.get("event_at") is None and wanted.get("event_id"):
        return True
    return bool(since and found.get("updated_at") and found["updated_at"] > since)


def _checksum(row: Mapping[str, Any], names: list[str]) -> int:
    text = "\0".join(f"{name}={row[name]}" for name in sorted(names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def compare_people(
    legacy: Legacy, plan: Plan, odoo: MigrationOdoo, result: Verification, now: datetime, undated: datetime | None,
    sample: int, seed: int | None,
) -> None:  # fmt: skip
    """Compare each person's expected stage with their opportunity in Odoo."""
    names = {row["id"]: row["stage"] for row in plan.overview["map"]}
    result.stages = {name: Counter() for name in names.values()}
    expected: dict[str, tuple[Candidate, datetime]] = {}
    for rows in legacy.rows("contacts"):
        for row in rows:
            candidate = plan.states.newest(row.values["manychat_id"], plan.rows)
            if candidate and (at := candidate.at or begun_at(row, now, undated)):
                expected[row.values["manychat_id"]] = candidate, at
    chosen = set(random.Random(seed).sample(sorted(expected), min(sample, len(expected))))  # noqa: S311
    row_of = {stage: plan.rows[key] for key, stage in plan.states.stages.items()}
    for people in pages(list(expected)):
        found = odoo.get_people(people)
        for manychat_id in people:
            candidate, at = expected[manychat_id]
            person = _person(manychat_id, names[row_of[candidate.stage]], at, found.get(manychat_id, {}),
                             row_of[candidate.stage])  # fmt: skip
            result.verdicts[person.verdict] += 1
            result.beside += bool(found.get(manychat_id, {}).get("open"))
            result.stages[person.stage]["expected"] += 1
            result.stages[person.stage][person.verdict] += 1
            if person.verdict in FAULTS and len(result.wrong) < SHOWN:
                result.wrong.append(person)
            if manychat_id in chosen:
                result.sample.append(person)
    result.writers = odoo.get_writers()


def _person(manychat_id: str, stage: str, at: datetime, found: Mapping[str, Any], row: int) -> Person:
    lead_id = found.get("lead_id") or None
    if lead_id is None:
        verdict = MISSING
    elif found["row"] == row and found["active"]:
        verdict = RIGHT
    elif (found["order"] or "") > order_key(at, at, "") and not _is_of(found["order"], at):
        verdict = NEWER
    else:
        verdict = WRONG
    return Person(manychat_id, stage, at, lead_id, str(found.get("stage") or ""), verdict)


def _is_of(order: str, at: datetime) -> bool:
    """Whether ``order`` is that of an event at that moment, and so not of a newer one."""
    return order.startswith(f"{format_datetime(at)}|")
