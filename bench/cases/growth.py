"""The same work on a small system and on a large one: webhooks, and moves drained."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from functools import partial

from .. import drain, events, large, people, webhook_load
from ..case import Bench
from ..measure import Result, Row, Sample, Target, WrongAnswer, rate_row, ratio
from ..system import BenchStack
from .move import WARM_UP
from .webhook import Webhooks

#: Opportunities of the small system.
SMALL = 1000
#: Requests in each run, one after the other.
REQUESTS = 150


def run(bench: Bench) -> Result:
    systems = {f"{SMALL:,}": bench.stack, f"{bench.sizes.opportunities:,}": large.system(bench)}
    people.add(bench.stack, events.new_run("SMALL"), SMALL)
    hooks = {name: Webhooks(dataclasses.replace(bench, stack=stack)) for name, stack in systems.items()}
    for each in hooks.values():
        each.stack.empty_queues()
        webhook_load.send(each.port, 4, each.ours, count=60)
    rows: list[Row] = []
    targets: list[Target] = []
    for what, alternatives in (
        ("webhooks", {name: partial(_webhooks, each) for name, each in hooks.items()}),
        ("moves", {name: partial(_moves, bench, each) for name, each in systems.items()}),
    ):
        samples = bench.interleave({f"{what}, {name} opportunities": call for name, call in alternatives.items()})
        for name, each in zip(systems, samples.values(), strict=True):
            rows.append(rate_row(f"{name} opportunities", each, what))
        small, full = samples.values()
        slower = ratio(full, small, lambda sample: sample.seconds / sample.events)
        targets.append(Target(f"{what}: time, large beside small", slower, 1.1, "×", at_least=False))
        for each in hooks.values():
            each.clear()
    return Result("A small system and a large one", rows, targets)


def _webhooks(hooks: Webhooks, _round: int) -> Sample:
    meter = hooks.stack.meter()
    load = webhook_load.send(hooks.port, 1, hooks.ours, count=REQUESTS)
    cpu = meter.seconds()
    if load.refused:
        raise WrongAnswer(f"{len(load.refused)} requests failed: {load.refused[0]}")
    hooks.wait_until_queued()
    return Sample(REQUESTS, load.seconds, cpu)


def _moves(bench: Bench, stack: BenchStack, _round: int) -> Sample:
    since = datetime.now(timezone.utc)
    count = bench.sizes.fewer_events
    moves = events.moves(stack, people.add(stack, events.new_run("GROWTH"), count))
    sample = drain.drain(stack, moves, events.moves(stack, people.add(stack, events.new_run("GROWTH"), WARM_UP)))
    drain.require_applied(stack, moves, "moved")
    drain.require_stages(stack, moves, since)
    return sample
