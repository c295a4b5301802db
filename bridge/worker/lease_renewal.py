"""Renew the leases of messages whose batch takes longer than the visibility timeout.

Otherwise the messages of a slow batch would come again, to this bridge or to another one, while the batch is processed.
That would be harmless (effects are idempotent), but it would double the load just when things are slow.
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
class _HeldBatch:
    queue: Queue
    messages: Sequence[Message]
    renewing: threading.Lock = field(default_factory=threading.Lock)
    is_new: bool = True
    ended: bool = False


class LeaseKeeper:
    """The batches in hand of all consumers of a process."""

    def __init__(self, visibility_timeout: int):
        """:param visibility_timeout: seconds"""
        self._visibility_timeout = visibility_timeout
        self._lock = threading.Lock()
        self._batches: list[_HeldBatch] = []

    @property
    def interval(self) -> float:
        """Seconds between two renewals: a third of the timeout, so that one may fail before a lease is lost."""
        return self._visibility_timeout / 3

    @contextmanager
    def renew_while(self, queue: Queue, messages: Sequence[Message]) -> Iterator[None]:
        """Keep the leases of ``messages`` until the block ends. After that their pop receipts do not change."""
        batch = _HeldBatch(queue, messages)
        with self._lock:
            self._batches.append(batch)
        try:
            yield
        finally:
            with self._lock:
                self._batches.remove(batch)
            # Waits for a renewal under way, and lets no further one begin.
            with batch.renewing:
                batch.ended = True

    def renew_due(self) -> None:
        """Renew the leases of all batches that were there at the last call too: most batches end before."""
        with self._lock:
            due = [batch for batch in self._batches if not batch.is_new]
            for batch in self._batches:
                batch.is_new = False
        for batch in due:
            for message in batch.messages:
                with batch.renewing:
                    if batch.ended:
                        break
                    self._renew(batch.queue, message)

    def _renew(self, queue: Queue, message: Message) -> None:
        try:
            if not queue.hide(message, self._visibility_timeout):
                log.warning("lease_lost", queue=queue.name, message_id=message.id)
        except Outage:
            # The consumer meets the outage too, and logs it.
            log.debug("lease_not_renewed", queue=queue.name, message_id=message.id)
