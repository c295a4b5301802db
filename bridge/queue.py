"""The client of Azure Storage Queues, for the bridge and for the addon: a thin layer over azure-storage-queue.

It imports nothing else of ours than the errors, because it is loaded into Odoo too.

Messages come undecoded. The SDK's own decoding fails for a whole page if one message in it is not Base64, and then
leaves the page leased and undelivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.queue import LinearRetry, QueueClient

from .errors import BadConnectionString, MessageRefused, QueueDenied, QueueMissing, QueueUnavailable

#: Seconds for connecting, and for an answer to one request.
CONNECT_SECONDS = 3
READ_SECONDS = 10
#: The SDK repeats a request this often, after about this many seconds. Its defaults would block for 85 s while the
#: service is down; to wait for the end of an outage is the caller's work.
RETRIES = 1
RETRY_SECONDS = 0.2

#: Answers of the service when another receiver has the message, or it is gone.
_LEASE_LOST = {"PopReceiptMismatch", "MessageNotFound"}
#: HTTP statuses that are about one message and not about the queue: malformed, too large.
#: https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
_MESSAGE_REFUSED = {400, 413}


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


class Queue:
    """One queue. May be used by several threads at once."""

    def __init__(
        self, connection_string: str, name: str, *, read_seconds: float = READ_SECONDS, retries: int = RETRIES
    ):
        """Open no connection yet.

        :param read_seconds: how long an answer to one request may take
        :param retries: how often a failed request is repeated
        :raises BadConnectionString: ``connection_string`` is not a connection string
        """
        self.name = name
        try:
            self._client = QueueClient.from_connection_string(
                connection_string,
                name,
                retry_policy=LinearRetry(backoff=RETRY_SECONDS, retry_total=retries, random_jitter_range=0),  # type: ignore[arg-type]
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
        """The approximate number of messages, invisible ones included.

        :raises QueueUnavailable:
        """
        try:
            return self._client.get_queue_properties().approximate_message_count or 0
        except AzureError as error:
            raise _unavailable(error) from None

    def peek(self, count: int = 1) -> list[Peeked]:
        """Read the first visible messages without receiving them: not those under a lease or delayed for a retry.

        :param count: at most 32

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

    def depth_and_oldest(self) -> tuple[int, datetime | None]:
        """The approximate number of messages, and when the first visible one was inserted.

        A queue that does not exist yet is an empty one.

        :raises QueueUnavailable:
        """
        try:
            depth = self.depth()
            first = self.peek()
        except QueueMissing:
            return 0, None
        return depth, first[0].inserted_at if first else None

    def receive(self, count: int, visibility_timeout: int) -> list[Message]:
        """Receive messages, and hide them from other receivers.

        :param count: at most this many, 32 at most
        :param visibility_timeout: seconds until they become visible again
        :return: empty if there are none
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
                    message.dequeue_count or 1,
                )
                for message in next(pages, [])
            ]
        except AzureError as error:
            raise _unavailable(error) from None

    def send(self, content: str) -> None:
        """Put a message on the queue that never expires.

        :param content: at most 65,536 characters that XML can carry (Base64, say)
        :raises MessageRefused: the queue works, but takes no message like this
        :raises QueueUnavailable:
        """
        try:
            self._client.send_message(content, time_to_live=-1)
        except AzureError as error:
            if isinstance(error, HttpResponseError) and error.status_code in _MESSAGE_REFUSED:
                raise MessageRefused(_answer(error)) from None
            raise _unavailable(error) from None

    def send_or_create(self, content: str) -> None:
        """Put a message on the queue as :meth:`send` does, and create the queue if it does not exist.

        :raises MessageRefused: the queue works, but takes no message like this
        :raises QueueUnavailable:
        """
        try:
            self.send(content)
        except QueueMissing:
            self.create()
            self.send(content)

    def delete(self, message: Message) -> bool:
        """Delete a received message.

        :return: ``False`` if the lease was lost. The message may then come again, which is harmless: effects are
            idempotent.
        :raises QueueUnavailable:
        """
        try:
            self._client.delete_message(message.id, message.pop_receipt)
        except AzureError as error:
            return _lease_lost(error)
        return True

    def hide(self, message: Message, seconds: int) -> bool:
        """Make the message visible again ``seconds`` from now: to renew a lease, delay a retry, or release it (0).

        :return: ``False`` if the lease was lost
        :raises QueueUnavailable:
        """
        try:
            updated = self._client.update_message(message.id, message.pop_receipt, visibility_timeout=seconds)
        except AzureError as error:
            return _lease_lost(error)
        # The old receipt is no longer valid.
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
    """``False`` if ``error`` says that another receiver has the message now.

    :raises QueueUnavailable: ``error`` says something else
    """
    if isinstance(error, HttpResponseError) and _code(error) in _LEASE_LOST:
        return False
    raise _unavailable(error) from None


def _code(error: HttpResponseError) -> str | None:
    code = getattr(error, "error_code", None)
    return getattr(code, "value", code)


def _unavailable(error: AzureError) -> QueueUnavailable:
    # Without the error's own text: it may quote the request with its signature.
    if isinstance(error, (ServiceRequestError, ServiceResponseError)):
        return QueueUnavailable("no answer")
    if isinstance(error, ResourceNotFoundError):
        return QueueMissing(f"{_code(error) or 'not found'}")
    if isinstance(error, ClientAuthenticationError):
        return QueueDenied(_answer(error))
    if isinstance(error, HttpResponseError):
        return QueueUnavailable(_answer(error))
    return QueueUnavailable(type(error).__name__)


def _answer(error: HttpResponseError) -> str:
    return f"it answered {error.status_code} {_code(error) or ''}".strip()
