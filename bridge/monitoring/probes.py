"""Checks of the bridge's dependencies, for `check`, `status`, the health report and the metrics.

Each dependency is checked in a thread of its own, so that the caller's timeout holds and not that of the dependency.
It is checked once at a time, so that a service that hangs does not gather threads.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from ..contract.payloads import DEAD_LETTER_QUEUE, QUEUES
from ..errors import (
    ConfigurationError,
    OdooRefused,
    Outage,
    PageUndelivered,
    QueueMissing,
    StoreRefused,
    StoreUnavailable,
)
from ..log import kind
from ..odoo import Odoo
from ..queue import PAGE, Queue
from ..settings import variable
from ..store import migrate, snapshot
from ..store.engine import in_transaction
from ..store.refusal import check_writing
from ..store.snapshot import StoreSnapshot

T = TypeVar("T")

OK, UNAVAILABLE, NOT_CONFIGURED = "ok", "unavailable", "not_configured"

#: The queues of events; and the one for notices of dead letters, which the operator empties.
PATHS = tuple(QUEUES.values())
ALL_QUEUES = (*PATHS, DEAD_LETTER_QUEUE)

QUEUE_ADVICE = (
    f"Is the storage account (or Azurite) running, and {variable('queue_connection_string')} or "
    f"{variable('queue_account_url')} its own?"
)
SQL_ADVICE = f"Is the server running, and do {variable('database_url')}'s host, user and password fit it?"
REFUSED_ADVICE = "The database answers, and refuses a statement that the bridge needs. Its own log says why."
ODOO_ADVICE = f"Is Odoo running at {variable('odoo_url')}?"


@dataclass(frozen=True)
class CheckResult(Generic[T]):
    """The result of checking one dependency.

    :ivar status: one of the words above
    :ivar reason: why it is not ok; safe to show and to log
    :ivar advice: what to do; empty if nothing
    :ivar seconds: how long the check took
    :ivar value: what the dependency answered, if it is ok
    """

    status: str
    reason: str = ""
    advice: str = ""
    seconds: float = 0.0
    value: T | None = None

    @property
    def ok(self) -> bool:
        return self.status == OK


@dataclass(frozen=True)
class QueueHealth:
    """
    :ivar depth: approximate number of messages, those that a bridge holds included
    :ivar first_at: since when the first in line waits; ``None`` if no message waits
    :ivar invisible: approximate number of messages that are under a lease, delayed, or cannot be delivered; ``None`` if
        unknown, because more messages wait than one look shows
    :ivar unreadable: the first messages in line cannot be read, as one of them cannot be delivered
    """

    depth: int
    first_at: datetime | None
    invisible: int | None = 0
    unreadable: bool = False


@dataclass(frozen=True)
class SqlHealth:
    """
    :ivar revision: of the tables; ``None``: no tables yet (``run`` makes those of an embedded database)
    :ivar store: ``None`` without tables
    """

    dialect: str
    revision: str | None
    store: StoreSnapshot | None


@dataclass(frozen=True)
class OdooHealth:
    """
    :ivar bridges: as :meth:`bridge.odoo.Odoo.get_active` returns them
    :ivar ended: as :meth:`bridge.odoo.Odoo.get_ended` returns them
    :ivar refusals: as :meth:`bridge.odoo.Odoo.get_refusals` returns them
    """

    version: int
    database: str
    login: str
    bridges: list[dict[str, Any]]
    ended: list[dict[str, Any]]
    refusals: dict[str, int] | None = None


def check(question: Callable[[], T], advice: str) -> CheckResult[T]:
    """Check in this thread, for as long as it takes.

    :param question: calls the dependency
    :param advice: what to do about an outage whose message has no advice
    """
    started = time.monotonic()
    try:
        value = question()
    except ConfigurationError as error:
        return CheckResult(NOT_CONFIGURED, "not set up", str(error))
    except Outage as outage:
        if isinstance(outage, StoreRefused):
            advice = REFUSED_ADVICE
        # The message has the form "what is wrong: what to do".
        reason, _, own_advice = str(outage).partition(": ")
        if isinstance(outage, StoreUnavailable):
            own_advice = own_advice.replace("the URL", variable("database_url"))
        return CheckResult(UNAVAILABLE, reason, own_advice or advice, time.monotonic() - started)
    except OdooRefused as refused:
        return CheckResult(UNAVAILABLE, f"it refuses ({refused.name})", advice, time.monotonic() - started)
    return CheckResult(OK, seconds=time.monotonic() - started, value=value)


class BackgroundCheck(Generic[T]):
    """One dependency, checked in the background."""

    def __init__(self, question: Callable[[], T], advice: str):
        self._question = question
        self._advice = advice
        self._lock = threading.Lock()
        self._running: Future[CheckResult[T]] | None = None
        self._started_at = 0.0

    def begin(self, max_age: float) -> Future[CheckResult[T]]:
        """The result to come, or the last one.

        :param max_age: seconds that the last one may be old
        """
        with self._lock:
            running = self._running
            if running is None or (running.done() and time.monotonic() - self._started_at >= max_age):
                self._running = running = Future()
                self._started_at = time.monotonic()
                # A daemon: a check that hangs must not keep the process from ending.
                threading.Thread(target=self._run, args=[running], name="check", daemon=True).start()
            return running

    def _run(self, running: Future[CheckResult[T]]) -> None:
        try:
            running.set_result(check(self._question, self._advice))
        except Exception as error:  # the caller waits for a result
            running.set_result(CheckResult(UNAVAILABLE, kind(error), self._advice))


@dataclass(frozen=True)
class HealthSnapshot:
    """The results of all checks at one moment. ``odoo`` is ``None`` if it was not checked."""

    queues: Mapping[str, CheckResult[QueueHealth]]
    sql: CheckResult[SqlHealth]
    odoo: CheckResult[OdooHealth] | None

    def lag(self, queue: str, now: datetime) -> float | None:
        """Age in seconds of the oldest event of ``queue`` that waits on it or is unfinished; 0.0 if there is none.

        ``None`` if neither the queue nor SQL answered.
        """
        messages, sql = self.queues[queue].value, self.sql.value
        if messages is None and sql is None:
            return None
        path = sql.store.paths.get(queue) if sql and sql.store else None
        return max(
            age(messages.first_at if messages else None, now), age(path.oldest_unfinished if path else None, now)
        )


class HealthChecks:
    """Checks all dependencies at once. May be used by several threads at once."""

    def __init__(
        self,
        engine: Callable[[], sa.Engine],
        queue: Callable[[str], Queue],
        odoo: Callable[[], Odoo] | None,
    ):
        """
        :param engine: opens the database at the first check; may raise :class:`ConfigurationError`
        :param queue: the same for the queue of that name
        :param odoo: the same; ``None``: Odoo is not checked
        """
        self._engine = functools.cache(engine)
        self._queues = {name: BackgroundCheck(_question(queue, check_queue, name), QUEUE_ADVICE) for name in ALL_QUEUES}
        self._sql = BackgroundCheck(lambda: check_sql(self._engine()), SQL_ADVICE)
        self._odoo = BackgroundCheck(_question(odoo, check_odoo), ODOO_ADVICE) if odoo else None

    def run(self, timeout: float, max_age: float = 0.0) -> HealthSnapshot:
        """Check all dependencies.

        :param timeout: seconds within which this returns; a dependency that has not answered by then is unavailable
        :param max_age: seconds that earlier results may be old
        """
        deadline = time.monotonic() + timeout
        queues = {name: check.begin(max_age) for name, check in self._queues.items()}
        sql = self._sql.begin(max_age)
        odoo = self._odoo.begin(max_age) if self._odoo else None

        def wait(running: Future[CheckResult[T]], advice: str) -> CheckResult[T]:
            try:
                return running.result(max(deadline - time.monotonic(), 0))
            except FutureTimeout:
                return CheckResult(UNAVAILABLE, f"no answer within {timeout:g} seconds", advice, timeout)

        return HealthSnapshot(
            queues={name: wait(running, QUEUE_ADVICE) for name, running in queues.items()},
            sql=wait(sql, SQL_ADVICE),
            odoo=wait(odoo, ODOO_ADVICE) if odoo else None,
        )


def _question(opening: Callable[..., Any], ask: Callable[[Any], T], *arguments: str) -> Callable[[], T]:
    opened = functools.cache(opening)
    return lambda: ask(opened(*arguments))


def age(since: datetime | None, now: datetime) -> float:
    """Seconds since then; 0.0 for ``None``, and for a time that lies ahead because two machines' clocks differ."""
    return max((now - since).total_seconds(), 0.0) if since else 0.0


def check_queue(queue: Queue) -> QueueHealth:
    """A queue that does not exist yet is an empty one.

    :raises Outage:
    """
    try:
        depth = queue.depth()
        visible = queue.peek(PAGE) if depth else []
    except QueueMissing:
        return QueueHealth(0, None)
    except PageUndelivered:
        return QueueHealth(depth, None, None, unreadable=True)
    invisible = max(depth - len(visible), 0) if len(visible) < PAGE else None
    return QueueHealth(depth, visible[0].inserted_at if visible else None, invisible)


def check_sql(engine: sa.Engine) -> SqlHealth:
    """
    :raises Outage:
    :raises ConfigurationError: the tables are older than this version, or another program's
    """
    current = migrate.current(engine)
    if current is None and engine.dialect.name == "sqlite":
        return SqlHealth(engine.dialect.name, None, None)
    if current != _head():
        migrate.require_fit(engine)
    check_writing(engine)
    return SqlHealth(engine.dialect.name, current, in_transaction(engine, snapshot.take))


_head = functools.cache(migrate.head)


def check_odoo(odoo: Odoo) -> OdooHealth:
    """:raises Outage:"""
    odoo.probe()
    active, ended, refusals = odoo.get_active(), odoo.get_ended(), odoo.get_refusals()
    return OdooHealth(odoo.version(), odoo.database, odoo.login, active, ended, refusals)
