"""One, two and four bridges drain one queue: moves with and without won ones among them; and contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial

from bridge.contract.event import Event

from .. import drain, events, people
from ..case import Bench
from ..measure import Result, Row, Sample, Target, rate_row, ratio
from .move import WARM_UP


def run(bench: Bench) -> Result:
    stack = bench.stack

    def moves(count: int, won: bool) -> list[Event]:
        return events.moves(stack, people.add(stack, events.new_run("SCALE"), count), won=won)

    def drained(make: Callable[[int], list[Event]], bridges: int, _round: int) -> Sample:
        since, sent = datetime.now(timezone.utc), make(bench.sizes.fewer_events)
        # Each bridge is to have done something before.
        sample = drain.drain(stack, sent, make(WARM_UP * bridges), bridges)
        if sent[0].type.value == "contact":
            drain.require_applied(stack, sent, "stored")
            drain.require_contacts(stack, sent)
        else:
            drain.require_applied(stack, sent, "moved")
            drain.require_stages(stack, sent, since)
        return sample

    kinds: Sequence[tuple[str, Callable[[int], list[Event]], Sequence[int]]] = (
        ("moves, one in eleven won", partial(moves, won=True), (1, 2, 4)),
        ("moves, none won", partial(moves, won=False), (1, 2)),
        ("contacts", lambda count: events.contacts(events.new_run("SCALE"), count), (1, 4)),
    )
    rows: list[Row] = []
    targets: list[Target] = []
    for kind, make, counts in kinds:
        samples = bench.interleave({f"{kind}, {_bridges(count)}": partial(drained, make, count) for count in counts})
        of = dict(zip(counts, samples.values(), strict=True))
        rows += [rate_row(_bridges(count), each, kind) for count, each in of.items()]
        more, wanted = (4, 1.0) if kind == "contacts" else (2, 1.6)
        targets.append(Target(f"{kind}: {more} bridges beside 1", ratio(of[more], of[1]), wanted, "×", at_least=True))
    return Result("Bridges on one queue", rows, targets)


def _bridges(count: int) -> str:
    return f"{count} bridge{'s' if count > 1 else ''}"
