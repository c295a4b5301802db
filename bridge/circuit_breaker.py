"""Outages: something the bridge depends on is away, which is nobody's event's fault.

Odoo, SQL and the queue each raise their own kind of :class:`Outage`. Whoever meets one reports it to the
:class:`Dependency`, stops taking messages and waits there. An outage never counts as an attempt and never makes a dead
letter, however long it lasts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_when_event_set, wait_random_exponential

from . import metrics
from .errors import Outage

log = structlog.get_logger()

#: Seconds between two probes: random, up to a limit that doubles from the first to the last value. Random, so that
#: several bridges do not knock together on a server that is just coming up.
PROBE_FIRST = 0.5
PROBE_LAST = 30.0
#: Seconds within which a failure after a successful probe means that the probe was too kind (a full disk answers
#: SELECT 1): then the next probe waits, and longer each time.
RELAPSE = 10.0


class Dependency:
    """One thing the bridge needs, whether it can be used, and since when.

    Shared by all threads of a process, so that a change of state is said once and one thread probes for all.
    """

    def __init__(self, name: str, probe: Callable[[], object]):
        """:param probe: asks the dependency for a sign of life; raises :class:`Outage` if there is none"""
        self.name = name
        self._probe = probe
        self._lock = threading.Lock()
        self._probing = threading.Lock()
        # Unknown at first: a bridge that starts while Odoo is down must find out before it takes messages.
        self._up: bool | None = None
        self._since = time.monotonic()
        self._relapses = 0

    def is_up(self) -> bool:
        return self._up is True

    def report(self, outage: Outage) -> None:
        """Someone met ``outage``: the dependency is down until a probe succeeds."""
        with self._lock:
            if self._up is False:
                return
            if self._up and time.monotonic() - self._since < RELAPSE:
                self._relapses += 1
            else:
                self._relapses = 0
            self._up = False
            self._since = time.monotonic()
        metrics.went_down(self.name)
        log.error("dependency_down", dependency=self.name, reason=str(outage))

    def wait_until_up(self, stop: threading.Event) -> bool:
        """Return at once if the dependency is up, else probe it until it is.

        :return: whether it is up; ``False`` only if ``stop`` was set meanwhile
        """
        if self.is_up():
            return True
        # The others wait here for the one that probes; it gives up when ``stop`` is set, so they never hang.
        with self._probing:
            if self.is_up():
                return True
            if self._relapses and stop.wait(min(PROBE_FIRST * 2**self._relapses, PROBE_LAST)):
                return False
            try:
                Retrying(
                    retry=retry_if_exception_type(Outage),
                    wait=wait_random_exponential(multiplier=PROBE_FIRST, max=PROBE_LAST),
                    sleep=sleep_using_event(stop),
                    stop=stop_when_event_set(stop),
                    reraise=True,
                )(self._probe_once)
            except Outage:
                return False
            self._recovered()
            return True

    def _probe_once(self) -> None:
        try:
            self._probe()
        except Outage as outage:
            self.report(outage)
            raise

    def _recovered(self) -> None:
        with self._lock:
            was_down = self._up is False
            seconds = time.monotonic() - self._since
            self._up = True
            self._since = time.monotonic()
        metrics.came_up(self.name, seconds if was_down else 0)
        if was_down:
            log.info("dependency_up", dependency=self.name, down_seconds=round(seconds, 1))
