"""Thousands of webhooks at once, while a bridge runs: all are accepted, and soon all are in their stages."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from urllib.parse import urlsplit

from .. import drain, events, people, webhook_load
from ..case import Bench
from ..cpu import peak_memory
from ..measure import Result, Row, Sample, Spread, Target, WrongAnswer
from .webhook import PATH

CLIENTS = 16
#: Seconds for 5,000 jobs that OCA's queue_job has published, on another machine: only to be put beside.
QUEUE_JOB_SECONDS = 91


def run(bench: Bench) -> Result:
    rows: list[Row] = []
    targets: list[Target] = []
    for count in sorted(bench.sizes.bursts, reverse=True):
        sample = _burst(bench, count)
        bench.say(f"  {count}: {sample.seconds:.1f} s")
        figures = {name: Spread.of([value]) for name, value in sample.figures.items()}
        drained = Spread.of([sample.seconds])
        rows += [
            Row(f"{count} webhooks, until all are in their stages", "s", drained, sample.cpu_ms),
            Row(f"{count} webhooks, until all are accepted", "s", figures["accepted"]),
            Row(f"{count} webhooks, a bridge's memory at most", "MB", figures["memory"]),
        ]
        if count == max(bench.sizes.bursts):
            targets.append(Target(f"{count} webhooks drained", drained, 25, "s", at_least=False))
        targets.append(Target(f"{count} webhooks, a bridge's memory", figures["memory"], 105, "MB", at_least=False))
    return Result("Webhooks at once, then drained", rows, targets)


def _burst(bench: Bench, count: int) -> Sample:
    """From the first request on. Each is about a person of their own."""
    stack = bench.stack
    stack.empty_queues()
    persons = people.add(stack, events.new_run("BURST"), count)
    port, headers = urlsplit(stack.odoo_url).port or 0, {"X-API-KEY": stack.webhook_key}
    sent = events.moves(stack, persons)
    now = datetime.now(timezone.utc)
    requests = []
    for event in sent:
        body = events.opportunity_payload(event.manychat_id, events.stage_of(event), now)
        requests.append(webhook_load.request(stack.odoo_url + PATH, body, headers))
    moved = "SELECT count(*) FROM manychat_event WHERE state = 'done' AND outcome = 'moved' AND id > %s"
    [(last,)] = stack.query("SELECT coalesce(max(id), 0) FROM manychat_event")
    with drain.bridges(stack) as running:
        meter = stack.meter()
        began = time.perf_counter()
        load = webhook_load.send(port, CLIENTS, lambda number: (number, requests[number]), count=count)
        accepted = time.perf_counter() - began
        drain.wait_until(lambda: stack.query(moved, last) == [(count,)], f"{count} events are applied", 0.1)
        seconds = time.perf_counter() - began
        cpu = meter.seconds()
        memory = max(peak_memory(process.pid) for process in running.processes)
    if load.refused:
        raise WrongAnswer(f"{len(load.refused)} of {count} webhooks failed: {load.refused[0]}")
    drain.require_stages(stack, sent, now)
    return Sample(count, seconds, cpu, {"accepted": accepted, "memory": memory})
