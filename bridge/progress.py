"""Signs of progress: a thread that must come round again and again, and does not, stands still.

A thread that ticks proves nothing about the threads that do the work. So each watched thread marks that it is about to
begin a step, and each step ends in bounded time: a request to Odoo or to the queue, a SQL statement, a pause. The
modules that make these steps call :func:`mark`, which does nothing in a thread without a watch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds without a mark after which a thread stands still: twice the longest step, which is a request to Odoo or the
#: longest poll interval (60 seconds each).
STANDSTILL_SECONDS = 120.0

_thread = threading.local()


class Progress:
    """The marks of one thread."""

    def __init__(self, name: str):
        self.name = name
        self._marked_at = time.monotonic()
        self._ended = False

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """:func:`mark` in this thread means this object until the block ends; then the thread cannot stand still."""
        _thread.progress = self
        self.mark()
        try:
            yield
        finally:
            self._ended = True
            del _thread.progress

    def mark(self) -> None:
        self._marked_at = time.monotonic()

    def age(self) -> float:
        """Seconds since the last mark; 0.0 if the thread has ended."""
        return 0.0 if self._ended else time.monotonic() - self._marked_at

    def stands_still(self) -> bool:
        return self.age() > STANDSTILL_SECONDS


class Watch:
    """The watched threads of a process. May be used by several threads at once."""

    def __init__(self) -> None:
        self._watched: list[Progress] = []

    def add(self, name: str) -> Progress:
        """Watch one more thread, from now on.

        :param name: several threads may have the same
        """
        progress = Progress(name)
        self._watched.append(progress)
        return progress

    def age(self, name: str) -> float:
        """Seconds since the last mark of that one of the threads called ``name`` which has gone longest without one."""
        return max(each.age() for each in self._watched if each.name == name)

    def standing_still(self) -> dict[str, float]:
        """Names under which a thread stands still, and for how many seconds."""
        return {each.name: self.age(each.name) for each in self._watched if each.stands_still()}


def mark() -> None:
    """Note that this thread is about to begin a step that ends in bounded time."""
    progress: Progress | None = getattr(_thread, "progress", None)
    if progress is not None:
        progress.mark()


@contextmanager
def holding(lock: threading.Lock) -> Iterator[None]:
    """Hold ``lock``. To wait for it is no standstill of this thread: the thread that holds it is watched itself."""
    while not lock.acquire(timeout=1.0):
        mark()
    try:
        yield
    finally:
        lock.release()
