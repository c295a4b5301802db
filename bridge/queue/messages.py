"""Messages as the queue service writes them: XML. Loaded into Odoo too."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Peeked:
    """A visible message, read without receiving it.

    :ivar dequeue_count: how often it was received
    """

    id: str
    content: str
    inserted_at: datetime
    dequeue_count: int


@dataclass
class Message:
    """A received message, invisible to other receivers until its visibility timeout ends.

    :ivar content: as the queue delivered it
    :ivar inserted_at: when it was put on the queue (whole seconds)
    :ivar pop_receipt: proof of the lease; each renewal returns a new one
    :ivar dequeue_count: how often it was received, outages included
    """

    id: str
    content: str
    inserted_at: datetime
    pop_receipt: str
    dequeue_count: int = 1


def written(content: str) -> bytes:
    """The body of a request that puts ``content`` on a queue."""
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        content = content.replace(character, escaped)
    return f"<QueueMessage><MessageText>{content}</MessageText></QueueMessage>".encode()


def read(body: bytes) -> list[Message]:
    """The messages in an answer; those that were only peeked at have no receipt.

    :raises ValueError: it is no such answer
    """
    if b"<!" in body and b"<!DOCTYPE" in body:
        # Its entities could make a small answer large. The service sends none, and text has no raw < in XML.
        raise ValueError("a document type")
    try:
        return [_message({part.tag: part.text or "" for part in each}) for each in ET.fromstring(body)]  # noqa: S314
    except (ET.ParseError, KeyError) as error:
        raise ValueError(type(error).__name__) from None


def _message(parts: dict[str, str]) -> Message:
    inserted = parts.get("InsertionTime")
    return Message(
        parts["MessageId"],
        parts.get("MessageText", ""),
        parsedate_to_datetime(inserted) if inserted else datetime.now(timezone.utc),
        parts.get("PopReceipt", ""),
        int(parts.get("DequeueCount") or 0),
    )
