"""Keeping the leases of messages whose batch takes longer than the visibility timeout.

Without this a slow batch would come again, to us or to another bridge, while still being worked on. That would be
harmless (effects are idempotent) but would double the load just when things are slow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from .outage import Outage
from .queue import Message, Queue

log = structlog.get_logger()


class LeaseKeeper(threading.Thread):
    """Renews every held message each third of the visibility timeout: two renewals may fail before a lease is lost."""

    def __init__(self, visibility_timeout: int):
        """:param visibility_timeout: seconds"""
        super().__init__(name="leases", daemon=True)
        self._timeout = visibility_timeout
        self._lock = threading.Lock()
        self._held: dict[int, tuple[Queue, list[Message]]] = {}
        self._fresh: set[int] = set()
        self._closing = threading.Event()

    @contextmanager
    def holding(self, queue: Queue, messages: Sequence[Message]) -> Iterator[None]:
        """Keep the leases of ``messages`` until the block ends; then their pop receipts change no more."""
        key = id(messages)
        with self._lock:
            self._held[key] = (queue, list(messages))
            self._fresh.add(key)
        try:
            yield
        finally:
            # The lock makes this wait for a renewal that is under way.
            with self._lock:
                del self._held[key]
                self._fresh.discard(key)

    def close(self) -> None:
        """Stop renewing, and wait for the thread."""
        self._closing.set()
        self.join()

    def run(self) -> None:
        while not self._closing.wait(self._timeout / 3):
            with self._lock:
                batches = [batch for key, batch in self._held.items() if key not in self._fresh]
                # A batch that came since the last round is young: most are done before the next.
                self._fresh.clear()
            for queue, messages in batches:
                for message in messages:
                    with self._lock:
                        if not any(message in held for _, held in self._held.values()):
                            break
                        self._renew(queue, message)

    def _renew(self, queue: Queue, message: Message) -> None:
        try:
            if not queue.hide(message, self._timeout):
                log.warning("lease_lost", queue=queue.name, message_id=message.id)
        except Outage:
            # The consumer meets it too, and says so.
            log.debug("lease_not_renewed", queue=queue.name, message_id=message.id)
