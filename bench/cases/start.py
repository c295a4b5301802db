"""The command line's start, and a bridge's: until its help is printed, and until it has its first message."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import sqlalchemy as sa

from bridge.store import schema
from deploy.local.supervision import own_environment

from .. import drain, events
from ..case import Bench
from ..measure import Result, Row, Sample, Spread, Target

HELP, FIRST, BARE = "python -m bridge --help", "first message taken", "python -c pass"


def run(bench: Bench) -> Result:
    def commands(*words: str) -> Sample:
        return _commands(bench.sizes.starts, *words)

    samples = bench.interleave(
        {
            HELP: lambda _round: commands("-m", "bridge", "--help"),
            FIRST: lambda _round: _first_message(bench),
            BARE: lambda _round: commands("-c", "pass"),
        }
    )
    seconds = {name: Spread.of([1 / sample.rate for sample in each]) for name, each in samples.items()}
    cpu = {name: {"bridge": Spread.of([s.cpu_ms["bridge"] for s in each]).median} for name, each in samples.items()}
    return Result(
        "Starts",
        [Row(name, "s", spread, cpu[name]) for name, spread in seconds.items()],
        [
            Target(HELP, seconds[HELP], 0.25, "s", at_least=False),
            Target(FIRST, seconds[FIRST], 0.6, "s", at_least=False),
        ],
    )


def _commands(count: int, *words: str) -> Sample:
    before, began = _children(), time.perf_counter()
    for _ in range(count):
        subprocess.run([sys.executable, *words], check=True, capture_output=True, env=own_environment())
    return Sample(count, time.perf_counter() - began, {"bridge": _children() - before})


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _first_message(bench: Bench) -> Sample:
    """Until the bridge's own clock says that it has received the message: all programs are on one machine."""
    stack, count = bench.stack, bench.sizes.starts
    seconds = 0.0
    stack.empty_queues()
    before = _children()
    for _ in range(count):
        [event] = events.contacts(events.new_run("START"), 1)
        stack.queue(event.type.queue).put_all([event.encode()])
        began = time.time()
        with drain.bridges(stack, only=None):
            drain.wait_until(lambda event=event: drain.finished(stack, [event]), "the first message ends")
        audit = schema.audit.c
        with stack.store.connect() as connection:
            received = connection.execute(sa.select(audit.started_at).where(audit.event_id == event.id)).scalar_one()
        seconds += received.timestamp() - began
    return Sample(count, seconds, {"bridge": _children() - before})
