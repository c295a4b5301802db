"""``python -m bridge run``: everything that one bridge process consists of, its start and its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import sqlalchemy as sa
import structlog

from .. import __version__, connect
from ..circuit_breaker import Dependency
from ..contract.payloads import DEAD_LETTER_QUEUE, QUEUES
from ..monitoring.exporter import serve
from ..monitoring.probes import Watch
from ..odoo import Odoo
from ..queue import Queue, create_all
from ..settings import Settings
from ..store.engine import in_transaction
from .consumer import Consumer, Handler
from .handlers import HANDLERS
from .heartbeat import Heartbeat
from .lease_renewal import LeaseKeeper
from .pauses import Pauses
from .reconcile import Reconciler
from .reporter import Reporter, close_discarded

log = structlog.get_logger()

#: Threads that delete messages: one delete is a request of some milliseconds, and there is none for many at once.
DISPOSERS = 6


def run(settings: Settings, names: Sequence[str], stop: threading.Event) -> int:
    """Consume the queues until ``stop`` is set.

    :param names: keys of :data:`bridge.contract.payloads.QUEUES`
    :param stop: set by the caller, from a signal handler or a test; what is in hand is finished then
    :return: exit code: 0 when it was told to stop, 1 when it stopped by an error of its own
    :raises ConfigurationError: it cannot start as it is set up
    """
    settings.require("queue_connection_string")
    if any(HANDLERS[QUEUES[name]].needs_odoo for name in names):
        settings.require("odoo_url", "odoo_database", "odoo_api_key")
    engine = connect.open_engine(settings)
    queues = {name: connect.open_queue(settings, QUEUES[name]) for name in names}
    dead_letter_queue = connect.open_queue(settings, DEAD_LETTER_QUEUE)
    odoo = (
        connect.open_odoo(settings) if settings.odoo_url and settings.odoo_database and settings.odoo_api_key else None
    )

    sql = Dependency("SQL", lambda: in_transaction(engine, lambda connection: connection.execute(sa.select(1))))
    queue = Dependency("queue", lambda: create_all([*queues.values(), dead_letter_queue]))
    log.info("starting", version=__version__, queues=sorted(names), database=engine.dialect.name, pid=os.getpid())
    # Before anything else: while the bridge waits for something, its metrics are what tells so.
    stop_serving = (
        serve(
            Watch(lambda: engine, lambda name: connect.open_queue(settings, name), None),
            settings.metrics_host,
            settings.metrics_port,
        )
        if settings.metrics_port
        else None
    )
    if not sql.wait_until_up(stop):
        return 0
    connect.require_schema(engine)

    leases = LeaseKeeper(settings.visibility_timeout)
    pauses = Pauses(engine)
    pool = ThreadPoolExecutor(DISPOSERS, thread_name_prefix="dispose")
    handlers = make_handlers(engine, queues, sql, queue, odoo)
    consumers = [
        Consumer(
            handler,
            engine,
            dead_letter_queue,
            leases,
            pool,
            stop,
            pauses,
            batch_size=settings.batch_size,
            visibility_timeout=settings.visibility_timeout,
            max_attempts=settings.max_attempts,
            poll_interval=settings.poll_interval,
        )
        for handler in handlers
    ]
    tellers: list[Heartbeat | Reporter] = []
    if odoo:
        tellers = [Heartbeat(odoo, partial(close_discarded, engine, odoo)), Reporter(engine, odoo)]
    reconciler = Reconciler(
        engine,
        handlers,
        dead_letter_queue,
        pauses,
        stop,
        interval=settings.reconcile_interval,
        max_attempts=settings.max_attempts,
        visibility_timeout=settings.visibility_timeout,
    )
    leases.start()
    for consumer in consumers:
        consumer.start()
    for teller in tellers:
        teller.start()
    reconciler.start()

    stop.wait()
    # The order matters. Consumers first: they take no more, finish what they have in hand, and wait for its deletes.
    # Until then leases must be kept and deletes made, or what was finished would come again; and Odoo should hear from
    # us, since we are alive.
    for consumer in consumers:
        consumer.join()
    reconciler.join()
    leases.close()
    pool.shutdown()
    for teller in tellers:
        teller.close()
    if stop_serving:
        stop_serving()
    for each in [*queues.values(), dead_letter_queue]:
        each.close()
    engine.dispose()
    crashed = any(consumer.crashed for consumer in consumers)
    log.info("stopped", code="crashed" if crashed else "asked")
    return 1 if crashed else 0


def make_handlers(
    engine: sa.Engine, queues: Mapping[str, Queue], sql: Dependency, queue: Dependency, odoo: Odoo | None
) -> list[Handler]:
    """What is done with the events of each queue.

    :param queues: by keys of :data:`bridge.contract.payloads.QUEUES`
    :param odoo: may be missing if no handler of these queues needs it
    """
    handlers = []
    for name, events_queue in queues.items():
        registered, needs = HANDLERS[QUEUES[name]], [sql, queue]
        if registered.needs_odoo:
            assert odoo is not None
            handle = partial(registered.handle, engine, odoo)
            needs.append(Dependency("Odoo", odoo.probe))
        else:
            handle = partial(registered.handle, engine)
        handlers.append(Handler(events_queue, handle, registered.record_failures, needs))
    return handlers
