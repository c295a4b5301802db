"""A thin layer over azure-storage-queue: take messages, and give each back in one of the ways there are.

Messages come undecoded. The SDK's own decoding fails for a whole page if one message in it is not Base64, and then
leaves the page leased and undelivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.queue import LinearRetry, QueueClient

from .errors import BadConnectionString, QueueMissing, QueueUnavailable

#: Seconds for connecting, and for an answer to one request.
CONNECT_SECONDS = 3
READ_SECONDS = 10
#: Within one request, the SDK tries this often again, after about this many seconds. Its defaults would block for 85 s
#: while the service is down; waiting out an outage is bridge.circuit_breaker's work.
RETRIES = 1
RETRY_SECONDS = 0.2

#: What the service answers to whoever no longer holds a message's lease.
_LEASE_LOST = {"PopReceiptMismatch", "MessageNotFound"}


@dataclass(frozen=True)
class Peeked:
    """A message that somebody could take now, looked at without taking it.

    :ivar dequeue_count: how often it was taken
    """

    id: str
    content: str
    inserted_at: datetime
    dequeue_count: int


@dataclass
class Message:
    """A message that we hold until its visibility timeout ends.

    :ivar content: as the queue delivered it
    :ivar inserted_at: when it was put on the queue (whole seconds)
    :ivar pop_receipt: proof that we hold it; a new one comes with each renewal
    """

    id: str
    content: str
    inserted_at: datetime
    pop_receipt: str


class Queue:
    """One queue. May be used by several threads at once."""

    def __init__(self, connection_string: str, name: str, *, read_seconds: float = READ_SECONDS):
        """
        :param read_seconds: how long an answer to one request may take
        :raises BadConnectionString: ``connection_string`` is none
        """
        self.name = name
        try:
            self._client = QueueClient.from_connection_string(
                connection_string,
                name,
                retry_policy=LinearRetry(backoff=RETRY_SECONDS, retry_total=RETRIES, random_jitter_range=0),  # type: ignore[arg-type]
                connection_timeout=CONNECT_SECONDS,
                read_timeout=read_seconds,
            )
        except ValueError:
            raise BadConnectionString("not an Azure Storage connection string") from None

    @property
    def url(self) -> str:
        """Where the queue is, without credentials."""
        return str(self._client.url).split("?", 1)[0]

    def create(self) -> None:
        """Create the queue if it does not exist.

        :raises QueueUnavailable:
        """
        try:
            self._client.create_queue()
        except ResourceExistsError as error:
            if _code(error) == "QueueBeingDeleted":
                raise _unavailable(error) from None
        except AzureError as error:
            raise _unavailable(error) from None

    def depth(self) -> int:
        """How many messages are there, about.

        :raises QueueUnavailable:
        """
        try:
            return self._client.get_queue_properties().approximate_message_count or 0
        except AzureError as error:
            raise _unavailable(error) from None

    def peek(self, count: int = 1) -> list[Peeked]:
        """The first messages (at most 32) in line, left there. What somebody holds, or waits for a retry, is unseen.

        :raises QueueUnavailable:
        """
        try:
            return [
                Peeked(
                    message.id,
                    str(message.content or ""),
                    message.inserted_on or datetime.now(timezone.utc),
                    message.dequeue_count or 0,
                )
                for message in self._client.peek_messages(count)
            ]
        except AzureError as error:
            raise _unavailable(error) from None

    def look(self) -> tuple[int, datetime | None]:
        """How many messages are there, about, and since when the first in line is; 0 if there is no such queue yet.

        :raises QueueUnavailable:
        """
        try:
            depth = self.depth()
            first = self.peek()
        except QueueMissing:
            return 0, None
        return depth, first[0].inserted_at if first else None

    def receive(self, count: int, visibility_timeout: int) -> list[Message]:
        """Take up to ``count`` messages (at most 32) for ``visibility_timeout`` seconds; empty if there are none.

        :raises QueueUnavailable:
        """
        try:
            pages = self._client.receive_messages(
                messages_per_page=count, max_messages=count, visibility_timeout=visibility_timeout
            ).by_page()
            return [
                Message(
                    message.id,
                    str(message.content or ""),
                    message.inserted_on or datetime.now(timezone.utc),
                    str(message.pop_receipt),
                )
                for message in next(pages, [])
            ]
        except AzureError as error:
            raise _unavailable(error) from None

    def send(self, content: str) -> None:
        """Put a message on the queue that never expires.

        :param content: at most 65,536 characters that XML can carry (Base64, say)
        :raises QueueUnavailable:
        """
        try:
            self._client.send_message(content, time_to_live=-1)
        except AzureError as error:
            raise _unavailable(error) from None

    def send_or_create(self, content: str) -> None:
        """As :meth:`send`, making the queue if it does not exist.

        :raises QueueUnavailable:
        """
        try:
            self._client.send_message(content, time_to_live=-1)
        except ResourceNotFoundError:
            self.create()
            self.send(content)
        except AzureError as error:
            raise _unavailable(error) from None

    def delete(self, message: Message) -> bool:
        """
        :return: ``False`` if the lease was lost, so that the message may come again: harmless, effects are idempotent
        :raises QueueUnavailable:
        """
        try:
            self._client.delete_message(message.id, message.pop_receipt)
        except AzureError as error:
            return _lease_lost(error)
        return True

    def hide(self, message: Message, seconds: int) -> bool:
        """Let the message come again in ``seconds`` from now: renews a lease, delays a retry, or (0) gives it back.

        :return: ``False`` if the lease was lost
        :raises QueueUnavailable:
        """
        try:
            updated = self._client.update_message(message.id, message.pop_receipt, visibility_timeout=seconds)
        except AzureError as error:
            return _lease_lost(error)
        # The old receipt is void from here on.
        message.pop_receipt = str(updated.pop_receipt)
        return True

    def close(self) -> None:
        self._client.close()


def create_all(queues: Sequence[Queue]) -> None:
    """Create the queues that do not exist.

    :raises QueueUnavailable:
    """
    for queue in queues:
        queue.create()


def _lease_lost(error: AzureError) -> bool:
    """``False`` if ``error`` says that somebody else has the message now, else an outage."""
    if isinstance(error, HttpResponseError) and _code(error) in _LEASE_LOST:
        return False
    raise _unavailable(error) from None


def _code(error: HttpResponseError) -> str | None:
    code = getattr(error, "error_code", None)
    return getattr(code, "value", code)


def _unavailable(error: AzureError) -> QueueUnavailable:
    # Never the error's own text: it may quote the request with its signature.
    if isinstance(error, (ServiceRequestError, ServiceResponseError)):
        return QueueUnavailable("no answer")
    if isinstance(error, ResourceNotFoundError):
        return QueueMissing(f"{_code(error) or 'not found'}")
    if isinstance(error, HttpResponseError):
        return QueueUnavailable(f"it answered {error.status_code} {_code(error) or ''}".strip())
    return QueueUnavailable(type(error).__name__)
