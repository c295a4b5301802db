"""The states of the old system: which each person was in, and when; and which of them counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ..contract.fields import normalize_label
from ..importer.doubles import SourceRow
from .source import Legacy

#: A stage as an event names it: by number, or by label.
Stage = tuple[int | None, str | None]


@dataclass(frozen=True)
class Candidate:
    """The state that a person's opportunity begins with.

    :ivar at: ``None``: the old system has no date for it that can be believed
    """

    stage: Stage
    at: datetime | None


@dataclass
class LegacyStates:
    """What the old tables say of people's states.

    :ivar stages: every stage that occurs, by the form in which two are compared
    :ivar people: by ManyChat id: when the person was last in each stage, by its key
    :ivar in_future: how many dates are in the future, and so not believed
    :ivar advisers: the numbers of the advisers, by role
    """

    stages: dict[str, Stage] = field(default_factory=dict)
    people: dict[str, dict[str, datetime | None]] = field(default_factory=dict)
    in_future: int = 0
    advisers: dict[str, set[int]] = field(default_factory=lambda: {"commercial": set(), "medical": set()})

    def newest(self, manychat_id: str, rows: Mapping[str, int]) -> Candidate | None:
        """The newest of the person's states that is mapped. A state without a date is older than any with one.

        :param rows: place in the stage map, by the key of a stage; 0 or missing if it is not mapped
        """
        mapped = [(at, key) for key, at in self.people.get(manychat_id, {}).items() if rows.get(key)]
        if not mapped:
            return None
        at, key = max(mapped, key=lambda each: (each[0] is not None, each[0] or _EVER, rows[each[1]]))
        return Candidate(self.stages[key], at)

    def unmapped(self, rows: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """By the key of each stage that is not mapped: how many people were in it, and whose newest state it is."""
        ever: Counter[str] = Counter()
        newest: Counter[str] = Counter()
        for states in self.people.values():
            ever.update(key for key in states if not rows.get(key))
            last = max(states, key=lambda key: (states[key] is not None, states[key] or _EVER))
            newest.update([last] if not rows.get(last) else [])
        return {key: (number, newest[key]) for key, number in ever.most_common()}


_EVER = datetime.min.replace(tzinfo=timezone.utc)


def gather(legacy: Legacy, now: datetime) -> LegacyStates:
    """Read the states of all people: their history, their last state, and that of their campaigns.

    :param now: a later date is not believed: it would shut out all events until then
    """
    found = LegacyStates()
    for manychat_id, label, said in _each(legacy, found):
        key = normalize_label(label or "")
        if not label or not key:
            continue
        at = said
        if said is not None and said > now:
            found.in_future += 1
            at = None
        found.stages.setdefault(key, (int(key), None) if key.isdecimal() and len(key) < 10 else (None, label))
        states = found.people.setdefault(manychat_id, {})
        known = states.get(key)
        states[key] = max(known, at) if known and at else known or at
    return found


def _each(legacy: Legacy, found: LegacyStates) -> Iterator[tuple[str, str | None, datetime | None]]:
    for rows in legacy.all_rows("contacts"):  # of doubles, too: each has a state of its own time
        for row in rows:
            yield legacy.adoption.spelling(row.values["manychat_id"]), row.values.get("last_state"), row.updated
    for rows in legacy.rows("contact_states"):
        for row in rows:
            yield row.values["manychat_id"], row.values["state"], row.values["created_at"]
    for rows in legacy.rows("campaign_contacts"):
        for row in rows:
            for role in found.advisers:
                if number := row.values.get(f"{role}_advisor_id"):
                    found.advisers[role].add(number)
            yield row.values["manychat_id"], row.values.get("last_state"), row.updated or row.values.get("assigned_at")


def begun_at(row: SourceRow, now: datetime, undated: datetime | None) -> datetime | None:
    """The date of a state without one: when the person subscribed, else ``undated``."""
    subscribed = row.values.get("subscribed_at")
    return subscribed if subscribed and subscribed <= now else undated
