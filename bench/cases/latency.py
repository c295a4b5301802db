"""Five webhooks a second: from the answer to the opportunity in its stage. And what waiting costs: requests an hour."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from urllib.parse import urlsplit

import psycopg

from tests.faults.proxy import PASS, Passing, Proxy

from .. import drain, events, people, webhook_load
from ..case import Bench
from ..measure import Result, Row, Sample, Spread, Target, WrongAnswer
from ..system import BenchStack
from .webhook import PATH

PER_SECOND = 5
#: US dollars for 10,000 operations of a queue. Azure's list price in the storage account type that Azure creates today
#: (general purpose v2, locally redundant, US regions): https://azure.microsoft.com/pricing/details/storage/queues/
PRICE, PRICED = 0.004, 10_000
HOURS_OF_A_MONTH = 730
#: Seconds until an idle bridge asks as seldom as it ever does.
COME_TO_REST = 5.0
_CHANNEL = "bench_moved"
#: Tells when a transaction that moved an opportunity is committed: a notification is delivered then, and not before.
_TRIGGER = f"""
CREATE OR REPLACE FUNCTION {_CHANNEL}() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('{_CHANNEL}', NEW.x_manychat_id); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER {_CHANNEL} AFTER UPDATE OF stage_id ON crm_lead FOR EACH ROW
    WHEN (OLD.stage_id IS DISTINCT FROM NEW.stage_id) EXECUTE FUNCTION {_CHANNEL}();
"""


def run(bench: Bench) -> Result:
    stack = bench.stack
    stack.empty_queues()
    with drain.bridges(stack, only=None):
        _send(bench, 2.0)  # what is loaded once
        send = {"five a second": lambda _round: _send(bench, bench.sizes.latency_seconds)}
        [samples] = bench.interleave(send).values()
    requests = Spread.of([_idle_requests_an_hour(bench)])
    price = requests.median * HOURS_OF_A_MONTH / PRICED * PRICE
    p50, p99 = (Spread.of([sample.figures[name] for sample in samples]) for name in ("p50", "p99"))
    return Result(
        f"{PER_SECOND} webhooks a second: from the answer to the stage",
        [
            Row("p50", "ms", p50, samples[0].cpu_ms),
            Row("p99", "ms", p99),
            Row("idle bridge", "requests/h", requests),
            Row("idle bridge, at Azure's list price", "US$/month", Spread.of([price])),
        ],
        [
            Target("p50", p50, 70, "ms", at_least=False),
            Target("p99", p99, 200, "ms", at_least=False),
            Target("requests of an idle bridge in an hour", requests, 8000, "requests", at_least=False),
        ],
    )


def _send(bench: Bench, seconds: float) -> Sample:
    """At even distances, each about a person of their own."""
    stack = bench.stack
    count = int(seconds * PER_SECOND)
    persons = people.add(stack, events.new_run("LATENCY"), count)
    port, headers = urlsplit(stack.odoo_url).port or 0, {"X-API-KEY": stack.webhook_key}
    answered: dict[str, float] = {}
    sent: list[events.Event] = []

    def post(person: str, number: int) -> None:
        stage = stack.open_stages[1 + number % 7]
        body = events.opportunity_payload(person, stage, datetime.now(timezone.utc))
        sent.append(events.opportunity(person, stage))
        if webhook_load.is_ok(webhook_load.post(port, webhook_load.request(stack.odoo_url + PATH, body, headers))):
            answered[person] = time.perf_counter()

    since = datetime.now(timezone.utc)
    with _moved(stack) as moved:
        meter = stack.meter()
        began, threads = time.perf_counter(), []
        for number, person in enumerate(persons):
            time.sleep(max(0.0, began + number / PER_SECOND - time.perf_counter()))
            threads.append(threading.Thread(target=post, args=[person, number]))
            threads[-1].start()
        for thread in threads:
            thread.join()
        drain.wait_until(lambda: moved.keys() >= set(persons), "all opportunities move")
        taken, cpu = time.perf_counter() - began, meter.seconds()
    if len(answered) != count:
        raise WrongAnswer(f"{count - len(answered)} of {count} webhooks failed")
    drain.require_stages(stack, sent, since)
    # The commit of the answer is before it: an opportunity may move before the client has read the answer.
    waits = sorted(max(0.0, moved[person] - answered[person]) for person in persons)
    p99 = waits[min(int(0.99 * count), count - 1)]
    return Sample(count, taken, cpu, {"p50": 1000 * statistics.median(waits), "p99": 1000 * p99})


@contextmanager
def _moved(stack: BenchStack) -> Iterator[dict[str, float]]:
    """When each person's opportunity was in another stage, by ManyChat id; filled while the block lasts."""
    moved: dict[str, float] = {}
    url = stack.odoo.cluster.url(stack.database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TRIGGER)
        connection.execute(f"LISTEN {_CHANNEL}")
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                for notice in connection.notifies(timeout=0.5):
                    moved.setdefault(notice.payload, time.perf_counter())

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield moved
        finally:
            ended.set()
            listener.join()
            connection.execute(f"DROP TRIGGER {_CHANNEL} ON crm_lead; DROP FUNCTION {_CHANNEL}()")


def _idle_requests_an_hour(bench: Bench) -> float:
    """Of one bridge on all queues, counted on the way to Azurite."""
    stack = bench.stack
    count = 0

    def see(passing: Passing) -> str:
        nonlocal count
        count += passing.answer is None
        return PASS

    proxy = Proxy(lambda: stack.queue_port)
    try:
        with (
            proxy.under(see),
            drain.bridges(stack, only=None, BRIDGE_QUEUE_CONNECTION_STRING=stack.queue_through(proxy.port)),
        ):
            time.sleep(COME_TO_REST)
            before = count
            time.sleep(bench.sizes.idle_seconds)
            return (count - before) * 3600 / bench.sizes.idle_seconds
    finally:
        proxy.close()
