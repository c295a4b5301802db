"""Microsoft's own client of a queue, for tests: does what ours does not, and judges what it does."""

from __future__ import annotations

from azure.storage.queue import QueueClient

from bridge.queue import Queue


def sdk(queue: Queue) -> QueueClient:
    """A client of the same queue."""
    return QueueClient.from_connection_string(queue._account, queue.name)
