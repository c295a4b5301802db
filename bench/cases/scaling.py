"""One, two and four bridges drain one queue: moves with and without won ones among them, and contacts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

from bridge.contract.event import Event

from .. import drain, events, people
from ..case import Bench
from ..measure import Result, Row, Sample, Target, rate_row, ratio
from .move import WARM_UP

BRIDGES = (1, 2, 4)


def run(bench: Bench) -> Result:
    stack = bench.stack

    def moves(count: int, won: bool) -> list[Event]:
        return events.moves(stack, people.add(stack, events.new_run("SCALE"), count), won=won)

    def drained(make: Callable[[int], list[Event]], bridges: int, _round: int) -> Sample:
        since, sent = datetime.now(timezone.utc), make(bench.sizes.events)
        # Each bridge is to have done something before.
        sample = drain.drain(stack, sent, make(WARM_UP * bridges), bridges)
        if sent[0].type.value == "contact":
            drain.require_applied(stack, sent, "stored")
            drain.require_contacts(stack, sent)
        else:
            drain.require_applied(stack, sent, "moved")
            drain.require_stages(stack, sent, since)
        return sample

    kinds: dict[str, Callable[[int], list[Event]]] = {
        "moves, one in eleven won": partial(moves, won=True),
        "moves, none won": partial(moves, won=False),
        "contacts": lambda count: events.contacts(events.new_run("SCALE"), count),
    }
    rows: list[Row] = []
    targets: list[Target] = []
    for kind, make in kinds.items():
        samples = bench.interleave({f"{kind}, {_bridges(count)}": partial(drained, make, count) for count in BRIDGES})
        rows += [rate_row(name, each) for name, each in samples.items()]
        one, two, four = samples.values()
        if kind == "contacts":
            targets.append(Target(f"{kind}: 4 bridges beside 1", ratio(four, one), 1, "×", at_least=True))
        else:
            targets.append(Target(f"{kind}: 2 bridges beside 1", ratio(two, one), 1.6, "×", at_least=True))
    return Result("Bridges on one queue", rows, targets)


def _bridges(count: int) -> str:
    return f"{count} bridge{'s' if count > 1 else ''}"
