"""The events that the cases send."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from bridge.contract import examples
from bridge.contract.event import Event, accept
from bridge.contract.payloads import EventType

from .system import BenchStack

#: One opportunity in so many is won.
WON_EVERY = 11
_runs = itertools.count(1)


def new_run(name: str) -> str:
    """A prefix of ManyChat ids that no other run has."""
    return f"MC-{name}-{next(_runs)}"


def moves(stack: BenchStack, people: Sequence[str], won: bool = True) -> list[Event]:
    """One event for each person, who is in the first stage: into a later one.

    :param won: whether some of them go into the stage that is won
    """
    later = stack.open_stages[1:8]
    stages = [
        stack.won_stage if won and number % WON_EVERY == 0 else later[number % len(later)]
        for number in range(len(people))
    ]
    return [opportunity(person, stage) for person, stage in zip(people, stages, strict=True)]


def entries(stack: BenchStack, prefix: str, count: int) -> list[Event]:
    """The first events of unknown people."""
    stages = stack.open_stages[:8]
    return [opportunity(f"{prefix}-{number}", stages[number % len(stages)]) for number in range(count)]


def opportunity_payload(person: str, stage: int, date: datetime) -> dict[str, Any]:
    state = {"stage_id": stage, "date": date.isoformat(timespec="microseconds")}
    return examples.OPPORTUNITY | {"manychat_id": person, "state": state}


def opportunity(person: str, stage: int) -> Event:
    now = datetime.now(timezone.utc)
    payload = opportunity_payload(person, stage, now)
    return accept(EventType.OPPORTUNITY, payload, received_at=now, source="odoo")


def contacts(prefix: str, count: int) -> list[Event]:
    """Contact events: every other one of a person who has none yet, the next one of the same person a second time."""
    now = datetime.now(timezone.utc)
    return [
        accept(
            EventType.CONTACT,
            examples.CONTACT
            | {
                "manychat_id": f"{prefix}-{number // 2}",
                "ultimo_estado": f"Estado {number % 2}",
                "datetime_actual": now.replace(microsecond=number).isoformat(),
            },
            received_at=now,
            source="odoo",
        )
        for number in range(count)
    ]


def stage_of(event: Event) -> int:
    """ManyChat's id of the stage into which an opportunity event moves."""
    return int(event.payload.state.stage_id)  # type: ignore[attr-defined]
