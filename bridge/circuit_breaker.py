"""Waiting out an outage: a dependency of the bridge is down, which is not the fault of any event.

Odoo, SQL and the queue each raise their own kind of :class:`Outage`. The thread that meets one trips the
:class:`CircuitBreaker`, stops receiving messages and waits there. An outage never counts as an attempt and never makes
a dead letter, however long it lasts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import structlog
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    sleep_using_event,
    stop_when_event_set,
)

from . import metrics, progress, retry
from .errors import Outage, QueueUnavailable

log = structlog.get_logger()

#: Seconds. A failure this soon after a successful probe means that the probe does not notice the fault. The next probe
#: then waits, and longer each time.
RELAPSE_SECONDS = 10.0
#: Seconds between two probes by callers that do not wait, see :meth:`CircuitBreaker.require_closed`.
PROBE_SECONDS = 5.0


class CircuitBreaker:
    """One dependency: whether it can be used, and since when.

    All threads of a process share it, so that a change of state is logged once and one thread probes for all.
    """

    def __init__(self, name: str, probe: Callable[[], object]):
        """
        :param name: of the dependency, as in :attr:`Outage.dependency`; or of one queue
        :param probe: calls the dependency; raises :class:`Outage` if it is down
        """
        self.name = name
        self._probe = probe
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        # Unknown at first: a bridge that starts while Odoo is down must find out before it receives messages.
        self._closed: bool | None = None
        self._since = time.monotonic()
        self._relapses = 0
        self._reason = ""
        self._outage: Outage | None = None
        self._probed_at = 0.0

    def is_closed(self) -> bool:
        """Whether the dependency can be used, as far as is known."""
        return self._closed is True

    @property
    def outage(self) -> Outage | None:
        """Why the dependency is down; ``None`` if it is up, or not known yet."""
        return self._outage if self._closed is False else None

    def trip(self, outage: Outage) -> None:
        """Count the dependency as down until a probe succeeds."""
        with self._lock:
            was_down, is_news = self._closed is False, str(outage) != self._reason
            self._reason, self._outage = str(outage), outage
            if was_down:
                # A key that is refused once the service is back, say: the operator must do something else now.
                if is_news:
                    log.warning("dependency_still_down", dependency=self.name, reason=self._reason)
                return
            if self._closed and time.monotonic() - self._since < RELAPSE_SECONDS:
                self._relapses += 1
            else:
                self._relapses = 0
            self._closed = False
            self._since = time.monotonic()
        metrics.UP.labels(self.name.lower()).set(0)
        metrics.OUTAGES.labels(self.name.lower()).inc()
        log.error("dependency_down", dependency=self.name, reason=str(outage))

    def wait_until_closed(self, stop: threading.Event, *, fatal: tuple[type[Outage], ...] = ()) -> bool:
        """Return at once if the dependency is up, else probe it until it is.

        :param fatal: outages that are raised, because to wait for their end is in vain
        :return: whether it is up; ``False`` only if ``stop`` was set meanwhile
        """
        if self.is_closed():
            return True
        # One thread probes, the others wait for it here. It gives up when ``stop`` is set, so they never hang.
        with progress.holding(self._probing):
            if self.is_closed():
                return True
            # Each thread's probe may take as long as a time-out: together too long for a stop.
            if stop.is_set():
                return False
            if self._relapses and stop.wait(retry.seconds(retry.RELAPSE, self._relapses)):
                return False
            try:
                Retrying(
                    retry=retry_if_exception_type(Outage) & retry_if_not_exception_type(fatal),
                    wait=retry.PROBE,
                    sleep=sleep_using_event(stop),
                    stop=stop_when_event_set(stop),
                    reraise=True,
                )(self._probe_once)
            except Outage as outage:
                if isinstance(outage, fatal):
                    raise
                return False
            self._close()
            return True

    def require_closed(self) -> None:
        """Return at once if the dependency is up, else probe it once, or refuse soon after another probe.

        For callers that must not wait for the end of an outage.

        :raises Outage: the dependency is down
        """
        if self.is_closed():
            return
        with progress.holding(self._probing):
            if self.is_closed():
                return
            if self._outage and time.monotonic() - self._probed_at < PROBE_SECONDS:
                raise self._outage
            try:
                self._probe_once()
            except Outage as outage:
                self._outage, self._probed_at = outage, time.monotonic()
                raise
            self._close()

    def _probe_once(self) -> None:
        progress.mark()
        try:
            self._probe()
        except Outage as outage:
            self.trip(outage)
            raise

    def _close(self) -> None:
        with self._lock:
            was_down = self._closed is False
            down_seconds = time.monotonic() - self._since if was_down else 0.0
            self._closed = True
            self._since = time.monotonic()
        metrics.UP.labels(self.name.lower()).set(1)
        metrics.OUTAGE_SECONDS.labels(self.name.lower()).inc(down_seconds)
        if was_down:
            log.info("dependency_up", dependency=self.name, down_seconds=round(down_seconds, 1))


def trip_breaker(breakers: Iterable[CircuitBreaker], outage: Outage) -> None:
    """Trip the breaker of what is down: of one queue, if only that one has the fault, else of the dependency."""
    candidates = list(breakers)
    queue = outage.queue if isinstance(outage, QueueUnavailable) else ""
    concerned = [each for each in candidates if each.name == queue]
    for breaker in concerned or [each for each in candidates if each.name == outage.dependency]:
        breaker.trip(outage)
