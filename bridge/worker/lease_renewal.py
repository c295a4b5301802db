"""Keeping the leases of messages whose batch takes longer than the visibility timeout.

Without this a slow batch would come again, to us or to another bridge, while still being worked on. That would be
harmless (effects are idempotent) but would double the load just when things are slow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from ..errors import Outage
from ..queue import Message, Queue

log = structlog.get_logger()


@dataclass(eq=False)
class _Held:
    queue: Queue
    messages: Sequence[Message]
    renewing: threading.Lock = field(default_factory=threading.Lock)
    young: bool = True
    ended: bool = False


class LeaseKeeper(threading.Thread):
    """Renews held messages each third of the visibility timeout: one renewal may fail before a lease is lost."""

    def __init__(self, visibility_timeout: int):
        """:param visibility_timeout: seconds"""
        super().__init__(name="leases", daemon=True)
        self._timeout = visibility_timeout
        self._lock = threading.Lock()
        self._batches: list[_Held] = []
        self._closing = threading.Event()

    @contextmanager
    def holding(self, queue: Queue, messages: Sequence[Message]) -> Iterator[None]:
        """Keep the leases of ``messages`` until the block ends; from then on their pop receipts change no more."""
        held = _Held(queue, messages)
        with self._lock:
            self._batches.append(held)
        try:
            yield
        finally:
            with self._lock:
                self._batches.remove(held)
            # Waits for a renewal that is under way, and lets no further one begin.
            with held.renewing:
                held.ended = True

    def close(self) -> None:
        """Stop renewing, and wait for the thread."""
        self._closing.set()
        self.join()

    def run(self) -> None:
        while not self._closing.wait(self._timeout / 3):
            with self._lock:
                due = [held for held in self._batches if not held.young]
                # Most batches end before they are due: those that came since the last round can wait for the next.
                for held in self._batches:
                    held.young = False
            for held in due:
                for message in held.messages:
                    with held.renewing:
                        if held.ended:
                            break
                        self._renew(held.queue, message)

    def _renew(self, queue: Queue, message: Message) -> None:
        try:
            if not queue.hide(message, self._timeout):
                log.warning("lease_lost", queue=queue.name, message_id=message.id)
        except Outage:
            # The consumer meets the outage too, and says so.
            log.debug("lease_not_renewed", queue=queue.name, message_id=message.id)
