"""Azure Storage Queues, as the bridge and the addon use them. Start at :mod:`bridge.queue.client`."""

from __future__ import annotations

from .client import PAGE, Queue, require_rights
from .messages import Message, Peeked

__all__ = ["PAGE", "Message", "Peeked", "Queue", "require_rights"]
