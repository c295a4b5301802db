"""Contact events are drained into SQL."""

from __future__ import annotations

from bridge.contract.event import Event
from bridge.contract.payloads import CONTACT_QUEUE

from .. import drain, events
from ..case import Bench
from ..measure import OURS, Result, Sample, Target, rate_row, ratio
from ..peers.document_worker import DocumentWorker
from .move import QUEUE, WARM_UP, receive_and_delete

ONE_BY_ONE = "one at a time"


def run(bench: Bench) -> Result:
    stack = bench.stack

    def contacts(count: int) -> list[Event]:
        return events.contacts(events.new_run("CONTACT"), count)

    def ours(_round: int) -> Sample:
        sent = contacts(bench.sizes.events)
        sample = drain.drain(stack, sent, contacts(WARM_UP))
        drain.require_applied(stack, sent, "stored")
        drain.require_contacts(stack, sent)
        return sample

    def one_by_one(_round: int) -> Sample:
        stack.empty_queues()
        worker = DocumentWorker(stack, CONTACT_QUEUE)
        try:
            worker.work_off(contacts(8))
            return worker.work_off(contacts(bench.sizes.events // 2))
        finally:
            worker.close()

    def queue_alone(_round: int) -> Sample:
        return receive_and_delete(bench, contacts(bench.sizes.events))

    samples = bench.interleave({OURS: ours, ONE_BY_ONE: one_by_one, QUEUE: queue_alone})
    return Result(
        "Contacts stored in SQL",
        [rate_row(name, each) for name, each in samples.items()],
        [
            Target(f"part of {QUEUE}", ratio(samples[OURS], samples[QUEUE]), 0.9, "×", at_least=True),
            Target(ONE_BY_ONE, ratio(samples[OURS], samples[ONE_BY_ONE]), 1.9, "×", at_least=True),
        ],
        has_peer=True,
    )
