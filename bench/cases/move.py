"""Opportunity events of known people are drained: each moves one opportunity, one in eleven into the won stage."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from bridge.contract.event import Event
from bridge.contract.payloads import OPPORTUNITY_QUEUE
from bridge.odoo import Odoo

from .. import drain, events, people
from ..case import Bench
from ..measure import OURS, Result, Row, Sample, Spread, Target, cpu_row, own_cpu_ms, rate_row, ratio
from ..peers import inside_odoo
from ..peers.document_worker import DocumentWorker
from ..queries import counted, logged

DOCUMENT, INSIDE, QUEUE = "the document's worker", "inside Odoo", "receive and delete"
WARM_UP = 32


def run(bench: Bench) -> Result:
    stack = bench.stack

    def people_for(name: str, count: int) -> list[str]:
        return people.add(stack, events.new_run(name), count)

    def ours(_round: int) -> Sample:
        since = datetime.now(timezone.utc)
        moves = events.moves(stack, people_for("MOVE", bench.sizes.events))
        sample = drain.drain(stack, moves, events.moves(stack, people_for("MOVE", WARM_UP)))
        drain.require_applied(stack, moves, "moved")
        drain.require_stages(stack, moves, since)
        return sample

    def document(_round: int) -> Sample:
        since = datetime.now(timezone.utc)
        moves = events.moves(stack, people_for("MOVE", bench.sizes.peer_events))
        stack.empty_queues()
        worker = DocumentWorker(stack, OPPORTUNITY_QUEUE)
        try:
            worker.work_off(events.moves(stack, people_for("MOVE", 8)))
            sample = worker.work_off(moves)
        finally:
            worker.close()
        drain.require_stages(stack, moves, since)
        return sample

    def inside(_round: int) -> Sample:
        since = datetime.now(timezone.utc)
        moves = events.moves(stack, people_for("MOVE", bench.sizes.events))
        sample = inside_odoo.run(stack, "move", moves, events.moves(stack, people_for("MOVE", WARM_UP)))
        drain.require_stages(stack, moves, since)
        return sample

    def queue_alone(_round: int) -> Sample:
        return receive_and_delete(bench, events.moves(stack, [f"MC-{n}" for n in range(bench.sizes.events)]))

    samples = bench.interleave({OURS: ours, DOCUMENT: document, INSIDE: inside, QUEUE: queue_alone})
    queries = queries_of_a_batch(bench, events.moves(stack, people_for("MOVE", 3 * WARM_UP)))
    limits = [min(one, other, key=lambda s: s.rate) for one, other in zip(samples[INSIDE], samples[QUEUE], strict=True)]
    return Result(
        "Opportunities moved, one in eleven won",
        [
            *(rate_row(name, each) for name, each in samples.items()),
            cpu_row(samples[OURS], samples[DOCUMENT], DOCUMENT),
            Row("queries of a batch of 32", "queries", queries),
        ],
        [
            Target(f"times {DOCUMENT}", ratio(samples[OURS], samples[DOCUMENT]), 8, "×", at_least=True),
            Target("part of the limit", ratio(samples[OURS], limits), 0.6, "×", at_least=True),
            Target(
                "processor time without Azurite", Spread.of([own_cpu_ms(each) for each in samples[OURS]]), 2.5,
                "ms/event", at_least=False,
            ),
            Target("queries of a batch of 32", queries, 40, "queries", at_least=False),
        ],
        has_peer=True,
    )  # fmt: skip


def receive_and_delete(bench: Bench, moves: list[Event]) -> Sample:
    """The limit that the queue sets: plain signed requests, four at once, which do nothing with the messages."""
    bench.stack.empty_queues()
    queue = bench.stack.queue(moves[0].type.queue)
    queue.put_all([event.encode() for event in moves])
    meter = bench.stack.meter()
    began = time.perf_counter()
    taken = queue.receive_and_delete()
    seconds = time.perf_counter() - began
    cpu = meter.seconds()
    cpu["worker"] = cpu.pop("load")
    assert taken == len(moves)
    return Sample(taken, seconds, cpu)


def queries_of_a_batch(bench: Bench, moves: list[Event]) -> Spread:
    """Of three calls of ``manychat_apply`` with 32 events each, the first of which is not counted."""
    stack = bench.stack
    odoo = Odoo(stack.odoo_url, stack.database, "manychat_bridge", stack.bridge_key)
    batches = [moves[start : start + 32] for start in range(0, len(moves), 32)]
    counts = []
    with logged(stack):
        for number, batch in enumerate(batches):
            with counted(stack) as statements:
                results = odoo.apply([event.envelope() for event in batch])
            assert {each["status"] for each in results} <= {"moved", "created"}, results
            if number:
                counts.append(float(statements.queries_beside("manychat_event")))
    return Spread.of(counts)
