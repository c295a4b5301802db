"""``python -m bridge run``: build one bridge process out of its parts, start them, and stop them in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import sqlalchemy as sa
import structlog

from .. import __version__, connect, metrics
from ..circuit_breaker import CircuitBreaker
from ..contract.payloads import DEAD_LETTER_QUEUE, OUTBOUND_QUEUE, QUEUES
from ..errors import ConfigurationError, QueueUnavailable, StoreMisconfigured
from ..monitoring import exporter
from ..monitoring.probes import HealthChecks
from ..odoo import Odoo
from ..progress import Watch
from ..queue import Queue, require_rights
from ..settings import Settings, variable
from ..store import migrate
from ..store.refusal import check_writing
from . import dead_lettering, heartbeat, reconcile, reporter, watchdog
from .consumer import Consumer
from .delivery import BatchProcessor
from .handlers import RIGHTS, Handler, make_handlers, needs_odoo
from .lease_renewal import LeaseKeeper
from .pauses import Pauses
from .periodic import PeriodicThread
from .polling import Pace, Poller
from .receiving import Receiver, Undeliverable
from .write_back import outbound
from .write_back.pace import PacedManyChat
from .write_back.readiness import WriteBackReport

log = structlog.get_logger()

#: Threads that delete and hide messages. Azure has no batch delete: each message is one request of a few ms.
SETTLERS = 6
#: How much less often the queue of what goes to ManyChat is asked than another one for which no customer waits.
OUTBOUND_IDLE = 4


def run(settings: Settings, names: Sequence[str], stop: threading.Event) -> int:
    """Consume queues until ``stop`` is set.

    :param names: keys of :data:`bridge.contract.payloads.QUEUES`
    :param stop: set by the caller, from a signal or a test; the batches in hand are finished then
    :return: exit code: 0 if ``stop`` was set by the caller, 1 if a bug ended a consumer
    :raises ConfigurationError: a setting is missing or wrong, or the tables are older than this version
    """
    connect.account_of(settings)
    if any(needs_odoo(name) for name in names):
        settings.require("odoo_url", "odoo_database", "odoo_api_key")
    watch = Watch()
    # The stack closes in reverse order of what is opened here.
    with ExitStack() as stack:
        if signs := watchdog.make_thread(watch):
            stack.callback(signs.close)
            signs.start()
        engine = connect.open_engine(settings)
        stack.callback(engine.dispose)
        queues = {name: connect.open_queue(settings, QUEUES[name]) for name in names}
        dead_letter_queue = connect.open_queue(settings, DEAD_LETTER_QUEUE)
        for each in [*queues.values(), dead_letter_queue]:
            stack.callback(each.close)
        has_odoo = settings.odoo_url and settings.odoo_database and settings.odoo_api_key
        odoo = connect.open_odoo(settings) if has_odoo else None
        log.info("starting", version=__version__, queues=sorted(names), database=engine.dialect.name, pid=os.getpid())
        if settings.metrics_port:
            # First of all: while the bridge waits for a dependency, its metrics say so.
            checks = HealthChecks(lambda: engine, partial(connect.open_queue, settings), None)
            stack.callback(exporter.serve(checks, watch, settings.metrics_host, settings.metrics_port))

        sql = CircuitBreaker("SQL", partial(probe_sql, engine))
        queue = CircuitBreaker("queue", partial(probe_queues, list(queues.values()), dead_letter_queue))
        if not _wait_for_sql(sql, stop):
            return 0
        connect.require_schema(engine)
        if migrate.is_later(found := migrate.current(engine)):
            log.warning("tables_of_later_release", revision=found, known=migrate.head())
        handlers = make_handlers(engine, queues, sql, queue, odoo)
        pauses, manychat = Pauses(engine), None
        if settings.manychat_api_token:
            manychat = _start_outbound(stack, settings, engine, [sql, queue], pauses, odoo, stop)
        write_back = WriteBackReport(manychat)
        consumers = _start(stack, settings, engine, handlers, dead_letter_queue, pauses, odoo, write_back, watch, stop)
        stop.wait()
    crashed = any(consumer.crashed for consumer in consumers)
    log.info("stopped", code="crashed" if crashed else "asked")
    return 1 if crashed else 0


def _wait_for_sql(sql: CircuitBreaker, stop: threading.Event) -> bool:
    """Wait as long as the server may mend it: a wrong password too may become the right one there.

    :return: ``False`` if ``stop`` was set meanwhile
    :raises ConfigurationError: only another setting or an installation on this machine helps
    """
    try:
        return sql.wait_until_closed(stop, fatal=(StoreMisconfigured,))
    except StoreMisconfigured as error:
        raise ConfigurationError(f"{variable('database_url')}: {error}") from None


def _start(
    stack: ExitStack,
    settings: Settings,
    engine: sa.Engine,
    handlers: Sequence[Handler],
    dead_letter_queue: Queue,
    pauses: Pauses,
    odoo: Odoo | None,
    write_back: WriteBackReport,
    watch: Watch,
    stop: threading.Event,
) -> list[Consumer]:
    """Start all threads. ``stack`` ends them, the consumers first: they finish the batches in hand.

    Until then leases are renewed and messages deleted, or finished events would come again. Odoo gets heartbeats until
    then, because the bridge is alive, and hears of its end after that.
    """
    leases = LeaseKeeper(settings.visibility_timeout)
    reconciler = reconcile.Reconciler(
        engine,
        handlers,
        dead_letter_queue,
        odoo,
        pauses,
        stop,
        max_attempts=settings.max_attempts,
        visibility_timeout=settings.visibility_timeout,
    )
    renewal = PeriodicThread("lease_renewal", leases.renew_due, leases.interval)
    if odoo:
        beating, reporting = _reporters(engine, odoo, watch, write_back)
        stack.callback(heartbeat.sign_off, odoo, beating)
        for thread in (beating, reporting):
            stack.callback(thread.close)
            thread.start()
    pool = stack.enter_context(ThreadPoolExecutor(SETTLERS, thread_name_prefix="settle"))
    stack.callback(renewal.join)
    stack.callback(renewal.close)
    renewal.start()
    for thread in _until_stopped(settings, engine, reconciler, dead_letter_queue, stop):
        stack.callback(thread.join)
        thread.start()
    pace = Pace(settings.poll_interval)
    consumers = []
    for handler in handlers:
        name = handler.queue.name
        undeliverable = Undeliverable(engine, dead_letter_queue, name, settings.visibility_timeout)
        receiver = Receiver(handler.queue, settings.batch_size, settings.visibility_timeout, undeliverable)
        processor = BatchProcessor(handler, engine, dead_letter_queue, stop, max_attempts=settings.max_attempts)
        poller = Poller(
            receiver, processor, handler.breakers, pauses, pace, stop,
            queue=name, urgent=handler.is_urgent,
        )  # fmt: skip
        consumers += [
            Consumer(handler, poller, processor, leases, pool, stop, watch.add(name))
            for _ in range(settings.concurrent_batches)
        ]
        metrics.PROGRESS_AGE.labels(name).set_function(partial(watch.age, name))
    for consumer in consumers:
        consumer.start()
        # If a later step of the start fails, the consumers that run already must hear of it.
        stack.callback(_end, consumer, stop)
    return consumers


def _start_outbound(
    stack: ExitStack,
    settings: Settings,
    engine: sa.Engine,
    breakers: list[CircuitBreaker],
    pauses: Pauses,
    odoo: Odoo | None,
    stop: threading.Event,
) -> CircuitBreaker:
    """Start what writes decisions to ManyChat. It waits until an administrator switches that on in Odoo.

    :return: ManyChat's circuit breaker
    """
    client = connect.open_manychat(settings)
    stack.callback(client.close)
    outbound_queue = connect.open_queue(settings, OUTBOUND_QUEUE)
    stack.callback(outbound_queue.close)
    manychat = PacedManyChat(client, engine, settings.manychat_calls_per_second, stop)
    # Seldom: its messages are put there by this process, which then looks at once.
    pace = Pace(OUTBOUND_IDLE * settings.poll_interval)
    breaker = CircuitBreaker("ManyChat", partial(outbound.probe, engine, manychat))
    worker = outbound.Outbound(engine, outbound_queue, manychat, [*breakers, breaker], pauses, pace, stop)
    worker.start(stack, odoo)
    # Whatever ends this process, the threads must hear of it before they are waited for.
    stack.callback(stop.set)
    return breaker


def _until_stopped(
    settings: Settings,
    engine: sa.Engine,
    reconciler: reconcile.Reconciler,
    dead_letter_queue: Queue,
    stop: threading.Event,
) -> Iterator[PeriodicThread]:
    """The threads that no event waits for: they end at once when ``stop`` is set."""
    yield PeriodicThread(
        "notices",
        partial(dead_lettering.remove_outlived, engine, dead_letter_queue),
        dead_lettering.INTERVAL,
        jitter=dead_lettering.JITTER,
        closing=stop,
    )
    if settings.reconcile_interval:
        interval = settings.reconcile_interval
        yield PeriodicThread("reconcile", reconciler.reconcile, interval, jitter=reconcile.JITTER, closing=stop)


def _end(consumer: Consumer, stop: threading.Event) -> None:
    """Wait until ``consumer`` has finished the batch in hand, or stands still.

    The process then ends without it. As after a SIGKILL, its messages come again.
    """
    stop.set()
    while consumer.is_alive():
        consumer.join(1.0)
        if consumer.progress.stands_still():
            consumer.crashed = True
            log.critical("consumer_stuck", queue=consumer.name)
            return


def _reporters(
    engine: sa.Engine, odoo: Odoo, watch: Watch, write_back: WriteBackReport
) -> tuple[PeriodicThread, PeriodicThread]:
    """The threads that keep Odoo informed: of this process, and of the outcomes of events."""
    closing = threading.Event()
    return (
        PeriodicThread(
            "heartbeat",
            partial(heartbeat.send_heartbeat, odoo, watch, partial(reporter.take_over, engine, odoo), write_back),
            heartbeat.INTERVAL,
            failing_interval=heartbeat.FAILING_INTERVAL,
            at_once=True,
            closing=closing,
        ),
        PeriodicThread(
            "report",
            partial(reporter.report_outcomes, engine, odoo, closing),
            reporter.INTERVAL,
            failing_interval=reporter.FAILING_INTERVAL,
            jitter=reporter.JITTER,
            closing=closing,
        ),
    )


def probe_queues(queues: Sequence[Queue], dead_letter_queue: Queue) -> None:
    """Find out whether the account can be used. A single queue with a fault of its own has a breaker of its own.

    :param queues: of events
    :raises bridge.errors.Outage: none of ``queues`` can be used, or not the one that all others need
    """
    # At once: each is a connection and three or four requests, and no event is received before.
    with ThreadPoolExecutor(len(queues) + 1, thread_name_prefix="probe") as pool:
        probes = [pool.submit(require_rights, queue, *RIGHTS) for queue in queues]
        needed = pool.submit(require_rights, dead_letter_queue, "add")
    needed.result()
    faults = [fault for probe in probes if (fault := probe.exception())]
    own = [fault for fault in faults if isinstance(fault, QueueUnavailable) and fault.queue]
    for fault in faults:
        if fault not in own or len(own) == len(queues):
            raise fault


def probe_sql(engine: sa.Engine) -> None:
    """:raises bridge.errors.Outage: SQL cannot be written"""
    # Other tables are not written to: `require_schema` decides about them.
    try:
        migrate.require_fit(engine)
    except ConfigurationError:
        return
    check_writing(engine)
