"""Opportunity events of unknown people are drained: each creates one opportunity."""

from __future__ import annotations

from datetime import datetime, timezone

from bridge.contract.event import Event
from bridge.contract.payloads import OPPORTUNITY_QUEUE

from .. import drain, events
from ..case import Bench
from ..measure import OURS, Result, Row, Sample, Target, cpu_row, rate_row, ratio
from ..peers import inside_odoo
from ..peers.document_worker import DocumentWorker
from .move import DOCUMENT, INSIDE, QUEUE, WARM_UP, queries_of_a_batch, receive_and_delete


def run(bench: Bench) -> Result:
    stack = bench.stack

    def entries(count: int) -> list[Event]:
        return events.entries(stack, events.new_run("CREATE"), count)

    def ours(_round: int) -> Sample:
        since, created = datetime.now(timezone.utc), entries(bench.sizes.fewer_events)
        sample = drain.drain(stack, created, entries(WARM_UP))
        drain.require_applied(stack, created, "created")
        drain.require_stages(stack, created, since, moved=False)
        return sample

    def document(_round: int) -> Sample:
        since, created = datetime.now(timezone.utc), entries(bench.sizes.peer_events)
        stack.empty_queues()
        worker = DocumentWorker(stack, OPPORTUNITY_QUEUE)
        try:
            worker.work_off(entries(8))
            sample = worker.work_off(created)
        finally:
            worker.close()
        drain.require_stages(stack, created, since, moved=False)
        return sample

    def inside(_round: int) -> Sample:
        since, created = datetime.now(timezone.utc), entries(bench.sizes.fewer_events)
        sample = inside_odoo.run(stack, "create", created, entries(WARM_UP))
        drain.require_stages(stack, created, since, moved=False)
        return sample

    def queue_alone(_round: int) -> Sample:
        return receive_and_delete(bench, entries(bench.sizes.fewer_events))

    samples = bench.interleave({OURS: ours, DOCUMENT: document, INSIDE: inside, QUEUE: queue_alone})
    limits = [min(one, other, key=lambda s: s.rate) for one, other in zip(samples[INSIDE], samples[QUEUE], strict=True)]
    queries = queries_of_a_batch(bench, entries(3 * WARM_UP))
    return Result(
        "Opportunities created for unknown people",
        [
            *(rate_row(name, each) for name, each in samples.items()),
            cpu_row(samples[OURS], samples[DOCUMENT], DOCUMENT),
            Row("queries of a batch of 32", "queries", queries),
        ],
        [
            Target(f"times {DOCUMENT}", ratio(samples[OURS], samples[DOCUMENT]), 7, "×", at_least=True),
            Target("part of the limit", ratio(samples[OURS], limits), 0.6, "×", at_least=True),
        ],
        has_peer=True,
    )
