"""Looking at what the bridge depends on: shared by `check`, `status`, the health report and the metrics.

Each dependency is asked in a thread of its own, so that an answer comes within the time that whoever asks will wait,
whatever the dependency's own timeouts are; and it is asked once at a time, so that a service that hangs does not gather
threads.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from ..contract.payloads import DEAD_LETTER_QUEUE, QUEUES
from ..errors import ConfigurationError, OdooRefused, Outage
from ..log import kind
from ..odoo import Odoo
from ..queue import Queue
from ..settings import variable
from ..store import migrate, watch
from ..store.engine import in_transaction
from ..store.watch import StoreSeen

T = TypeVar("T")

OK, UNAVAILABLE, NOT_CONFIGURED = "ok", "unavailable", "not_configured"

#: The queues that events wait on; and the one for notices of dead letters, which somebody else empties.
PATHS = tuple(QUEUES.values())
ALL_QUEUES = (*PATHS, DEAD_LETTER_QUEUE)

QUEUE_ADVICE = f"Is the storage account (or Azurite) running, and {variable('queue_connection_string')} its own?"
SQL_ADVICE = f"Is the server running, and do {variable('database_url')}'s host, user and password fit it?"
ODOO_ADVICE = f"Is Odoo running at {variable('odoo_url')}?"


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of asking one dependency.

    :ivar status: one of the words above
    :ivar reason: why it is not ok; safe to show and to log
    :ivar advice: what to do; empty if nothing
    :ivar seconds: how long it took
    :ivar seen: what it told, if it is ok
    """

    status: str
    reason: str = ""
    advice: str = ""
    seconds: float = 0.0
    seen: T | None = None

    @property
    def ok(self) -> bool:
        return self.status == OK


@dataclass(frozen=True)
class QueueSeen:
    """
    :ivar depth: messages there, about, those in somebody's hands included
    :ivar first_at: since when the first in line waits; ``None`` if nobody does
    """

    depth: int
    first_at: datetime | None


@dataclass(frozen=True)
class SqlSeen:
    """
    :ivar revision: of the tables; ``None``: none yet (an embedded database gets them from ``run``)
    :ivar store: ``None`` without tables
    """

    dialect: str
    revision: str | None
    store: StoreSeen | None


@dataclass(frozen=True)
class OdooSeen:
    """:ivar bridges: as :meth:`bridge.odoo.Odoo.alive` tells of them"""

    version: int
    database: str
    login: str
    bridges: list[dict[str, Any]]


def ask(question: Callable[[], T], advice: str) -> Answer[T]:
    """Ask now, here, for as long as it takes.

    :param advice: what to do about an outage that brings no advice of its own
    """
    started = time.monotonic()
    try:
        seen = question()
    except ConfigurationError as error:
        return Answer(NOT_CONFIGURED, "not set up", str(error))
    except Outage as outage:
        # "what is wrong: what to do"
        reason, _, own_advice = str(outage).partition(": ")
        return Answer(UNAVAILABLE, reason, own_advice or advice, time.monotonic() - started)
    except OdooRefused as refused:
        return Answer(UNAVAILABLE, f"it refuses ({refused.name})", advice, time.monotonic() - started)
    return Answer(OK, seconds=time.monotonic() - started, seen=seen)


class Probe(Generic[T]):
    """One dependency, asked in the background."""

    def __init__(self, question: Callable[[], T], advice: str):
        self._question = question
        self._advice = advice
        self._lock = threading.Lock()
        self._asking: Future[Answer[T]] | None = None
        self._asked_at = 0.0

    def begin(self, good_for: float) -> Future[Answer[T]]:
        """The answer to come; the last one, if it is no older than ``good_for`` seconds."""
        with self._lock:
            asking = self._asking
            if asking is None or (asking.done() and time.monotonic() - self._asked_at >= good_for):
                self._asking = asking = Future()
                self._asked_at = time.monotonic()
                # A daemon: a question that hangs must not keep the process from ending.
                threading.Thread(target=self._ask, args=[asking], name="probe", daemon=True).start()
            return asking

    def _ask(self, asking: Future[Answer[T]]) -> None:
        try:
            asking.set_result(ask(self._question, self._advice))
        except Exception as error:  # whoever waits must hear of it
            asking.set_result(Answer(UNAVAILABLE, kind(error), self._advice))


@dataclass(frozen=True)
class Seen:
    """All of it, as of one moment. ``odoo`` is ``None`` if it was not asked."""

    queues: Mapping[str, Answer[QueueSeen]]
    sql: Answer[SqlSeen]
    odoo: Answer[OdooSeen] | None

    def lag(self, queue: str, now: datetime) -> float | None:
        """Age in seconds of the oldest event of ``queue`` that waits on it or is unfinished; 0.0 if there is none.

        ``None`` if neither the queue nor SQL says.
        """
        messages, sql = self.queues[queue].seen, self.sql.seen
        if messages is None and sql is None:
            return None
        path = sql.store.paths.get(queue) if sql and sql.store else None
        return max(
            age(messages.first_at if messages else None, now), age(path.oldest_unfinished if path else None, now)
        )


class Watch:
    """Looks at everything at once. May be used by several threads at once."""

    def __init__(
        self,
        engine: Callable[[], sa.Engine],
        queue: Callable[[str], Queue],
        odoo: Callable[[], Odoo] | None,
    ):
        """
        :param engine: opens what is asked, at the first question; may raise :class:`ConfigurationError`
        :param queue: the same, by the queue's name
        :param odoo: the same; ``None``: Odoo is not asked
        """
        self._engine = functools.cache(engine)
        self._queues = {name: Probe(_question(queue, queue_seen, name), QUEUE_ADVICE) for name in ALL_QUEUES}
        self._sql = Probe(lambda: sql_seen(self._engine()), SQL_ADVICE)
        self._odoo = Probe(_question(odoo, odoo_seen), ODOO_ADVICE) if odoo else None

    def look(self, timeout: float, good_for: float = 0.0) -> Seen:
        """
        :param timeout: seconds within which this returns; what has not answered by then counts as unavailable
        :param good_for: seconds that earlier answers may be old
        """
        deadline = time.monotonic() + timeout
        queues = {name: probe.begin(good_for) for name, probe in self._queues.items()}
        sql = self._sql.begin(good_for)
        odoo = self._odoo.begin(good_for) if self._odoo else None

        def wait(asking: Future[Answer[T]], advice: str) -> Answer[T]:
            try:
                return asking.result(max(deadline - time.monotonic(), 0))
            except NotInTime:
                return Answer(UNAVAILABLE, f"no answer within {timeout:g} seconds", advice, timeout)

        return Seen(
            queues={name: wait(asking, QUEUE_ADVICE) for name, asking in queues.items()},
            sql=wait(sql, SQL_ADVICE),
            odoo=wait(odoo, ODOO_ADVICE) if odoo else None,
        )


def _question(opening: Callable[..., Any], seen: Callable[[Any], T], *arguments: str) -> Callable[[], T]:
    opened = functools.cache(opening)
    return lambda: seen(opened(*arguments))


def age(since: datetime | None, now: datetime) -> float:
    """Seconds; 0.0 for ``None``, and for a moment that lies ahead by some other machine's clock."""
    return max((now - since).total_seconds(), 0.0) if since else 0.0


def queue_seen(queue: Queue) -> QueueSeen:
    """:raises Outage:"""
    return QueueSeen(*queue.look())


def sql_seen(engine: sa.Engine) -> SqlSeen:
    """
    :raises Outage:
    :raises ConfigurationError: the tables are another version's
    """
    current, needed = migrate.current(engine), _head()
    if current is None and engine.dialect.name == "sqlite":
        return SqlSeen(engine.dialect.name, None, None)
    if current != needed:
        raise ConfigurationError(
            f"Its tables are at revision {current}, not {needed}. Run: python -m bridge db upgrade"
        )
    return SqlSeen(engine.dialect.name, current, in_transaction(engine, watch.look))


_head = functools.cache(migrate.head)


def odoo_seen(odoo: Odoo) -> OdooSeen:
    """:raises Outage:"""
    odoo.probe()
    return OdooSeen(odoo.version(), odoo.database, odoo.login, odoo.alive())
