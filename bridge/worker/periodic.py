"""One thread class for all work that repeats beside the consumers: lease renewal, heartbeat, report, reconcile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import structlog

from ..errors import OdooRefused, Outage
from ..log import kind

log = structlog.get_logger()


class PeriodicWork:
    """A function that is called again and again, and whose exceptions end nothing.

    The first failure of a series is logged as ``NAME_failing`` and the first success after it as ``NAME_resumed``. An
    exception that is a bug is logged as ``NAME_failed`` with its place.

    :ivar failing: the last call failed
    """

    def __init__(self, name: str, work: Callable[[], object]):
        self._work = work
        self.failing = False
        self._event_failing, self._event_failed, self._event_resumed = (
            f"{name}_{suffix}" for suffix in ("failing", "failed", "resumed")
        )

    def call(self) -> None:
        try:
            self._work()
        except (Outage, OdooRefused) as error:
            if not self.failing:
                # An exception of Odoo's may quote personal data; the text of an outage does not.
                reason = str(error) if isinstance(error, Outage) else None
                log.warning(self._event_failing, error=kind(error), reason=reason)
            self.failing = True
        except Exception:
            log.exception(self._event_failed)
            self.failing = True
        else:
            if self.failing:
                log.info(self._event_resumed)
            self.failing = False


class PeriodicThread(threading.Thread):
    """Calls a function every so many seconds until closed, as :class:`PeriodicWork`."""

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        interval: float,
        *,
        failing_interval: float | None = None,
        jitter: float = 0.0,
        at_once: bool = False,
        closing: threading.Event | None = None,
    ):
        """
        :param interval: seconds between the end of one call and the begin of the next
        :param failing_interval: the same while calls fail; default: no difference
        :param jitter: share of the interval that is random, so that several bridges do not call at the same moment
        :param at_once: make the first call without waiting
        :param closing: ends the thread when set; default: one that :meth:`close` sets
        """
        super().__init__(name=name, daemon=True)
        self._work = PeriodicWork(name, work)
        self._interval = interval
        self._failing_interval = interval if failing_interval is None else failing_interval
        self._jitter = jitter
        self._at_once = at_once
        self._closing = closing or threading.Event()

    def close(self) -> None:
        """Make no further call. A call under way is not waited for: :meth:`join` does."""
        self._closing.set()

    def run(self) -> None:
        pause = 0.0 if self._at_once else self._pause()
        while not self._closing.wait(pause):
            self._work.call()
            pause = self._pause()

    def _pause(self) -> float:
        interval = self._failing_interval if self._work.failing else self._interval
        return interval * random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311 (not for security)
