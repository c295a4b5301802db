"""The client of Azure Storage Queues, for the bridge and for the addon: a thin layer over azure-storage-queue.

It imports next to nothing else of ours, because it is loaded into Odoo too.

Messages come undecoded. The SDK's own decoding fails for a whole page if one message in it is not Base64, and then
leaves the page leased and undelivered.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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

from .errors import (
    BadConnectionString,
    MessageRefused,
    PageUndelivered,
    QueueDenied,
    QueueMissing,
    QueueRightMissing,
    QueueUnavailable,
)
from .setting_value import fault_of

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
#: Answers of the service to a shared access signature (SAS) that lacks a permission, a resource type or the service.
_RIGHT_MISSING = {
    "AuthorizationPermissionMismatch",
    "AuthorizationResourceTypeMismatch",
    "AuthorizationServiceMismatch",
}
#: What a SAS must allow for each right: the URL parameters ``ss``, ``srt`` and ``sp``.
SAS_ADVICE = (
    "Give the SAS the service queue (ss=q), the resource types container and object (srt=co) and the rights read, add, "
    "update and process (sp=raup); also create (c), unless all queues exist. Odoo needs read and add only."
)
_DENIED_ADVICE = "Is the connection string's key or SAS of this account? A SAS may have expired, or not begun."
#: A message that never was, and a delay beyond Azure's limit of seven days: requests that need a right, do nothing.
_NO_MESSAGE, _NO_RECEIPT = "00000000-0000-0000-0000-000000000000", "AAAA"
_TOO_LONG = 8 * 24 * 3600
#: Most messages in one answer.
PAGE = 32
#: Failures of a request for messages that may be the fault of a message: the service's own error, or an answer that
#: cannot be read.
_UNDELIVERED = {200, 500}


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
        if fault := fault_of(connection_string):
            raise BadConnectionString(fault)
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

    def ensure(self) -> None:
        """Create the queue if the service says that it does not exist.

        A SAS without the right to create queues can use those that exist.

        :raises QueueUnavailable:
        """
        try:
            # Without the right to read, the first use of the queue says whether it exists.
            with suppress(QueueRightMissing):
                self.depth()
        except QueueMissing:
            self.create()

    def create(self) -> None:
        """Create the queue, which may exist.

        :raises QueueRightMissing: the SAS may not create queues
        :raises QueueUnavailable:
        """
        try:
            self._create()
        except QueueRightMissing:
            raise QueueRightMissing(
                f"{self.name} does not exist, and the SAS may not create it: Create the queue, or give the SAS the "
                "right to create (sp=c)."
            ) from None

    def _create(self) -> None:
        try:
            self._client.create_queue()
        except ResourceExistsError as error:
            if _code(error) == "QueueBeingDeleted":
                raise _unavailable(error) from None
        except AzureError as error:
            raise _unavailable(error) from None

    def missing_rights(self, *rights: str) -> list[str]:
        """Those of ``rights`` that the key or SAS lacks. Each is tried by a request that changes nothing.

        :param rights: of ``read``, ``add``, ``update``, ``process``: Azure's words
        :raises QueueUnavailable:
        """
        return [right for right in rights if not self._allows(self._trials()[right])]

    def _trials(self) -> dict[str, Callable[[], object]]:
        client = self._client
        return {
            "read": client.get_queue_properties,
            "add": lambda: client.send_message("", visibility_timeout=_TOO_LONG, time_to_live=-1),
            "update": lambda: client.update_message(_NO_MESSAGE, _NO_RECEIPT, visibility_timeout=0),
            "process": lambda: client.delete_message(_NO_MESSAGE, _NO_RECEIPT),
        }

    def _allows(self, trial: Callable[[], object]) -> bool:
        """Whether ``trial`` fails, as it must, for another reason than a missing right."""
        try:
            trial()
        except AzureError as error:
            unavailable = _unavailable(error)
            if isinstance(unavailable, QueueRightMissing):
                return False
            if not isinstance(error, HttpResponseError) or error.status_code not in (400, 404):
                raise unavailable from None
        return True

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
        :raises PageUndelivered: one of them may be undeliverable
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
            raise _undelivered(error) from None

    def receive(self, count: int, visibility_timeout: int) -> list[Message]:
        """Receive messages, and hide them from other receivers.

        :param count: at most this many, 32 at most
        :param visibility_timeout: seconds until they become visible again
        :return: empty if there are none
        :raises PageUndelivered: one of them may be undeliverable
        :raises QueueUnavailable:
        """
        try:
            pages = self._client.receive_messages(
                messages_per_page=count,
                max_messages=count,
                visibility_timeout=visibility_timeout,
                # A page that was taken and not delivered is hidden: a second try would get nothing, and call it empty.
                retry_status=0,
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
            raise _undelivered(error) from None

    def send(self, content: str, *, time_to_live: int = -1) -> Message:
        """Put a message on the queue.

        :param content: at most 65,536 characters that XML can carry (Base64, say)
        :param time_to_live: seconds after which the queue deletes it; -1: never
        :return: the message, which the sender can delete as long as no program receives it
        :raises MessageRefused: the queue works, but takes no message like this
        :raises QueueUnavailable:
        """
        try:
            sent = self._client.send_message(content, time_to_live=time_to_live)
        except AzureError as error:
            if isinstance(error, HttpResponseError) and error.status_code in _MESSAGE_REFUSED:
                raise MessageRefused(_answer(error)) from None
            raise _unavailable(error) from None
        return Message(sent.id, content, sent.inserted_on or datetime.now(timezone.utc), str(sent.pop_receipt), 0)

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


def require_rights(queue: Queue, *rights: str) -> None:
    """Ensure that the queue exists and may be used.

    :param rights: as in :meth:`Queue.missing_rights`
    :raises QueueRightMissing: names the missing ones, and what to do
    :raises QueueUnavailable:
    """
    queue.ensure()
    if missing := queue.missing_rights(*rights):
        raise QueueRightMissing(f"the SAS lacks {' and '.join(missing)} on {queue.name}: {SAS_ADVICE}")


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
    if isinstance(error, HttpResponseError) and _code(error) in _RIGHT_MISSING:
        return QueueRightMissing(f"the SAS lacks a right ({_code(error)}): {SAS_ADVICE}")
    if isinstance(error, ResourceNotFoundError):
        return QueueMissing(f"{_code(error) or 'not found'}")
    if isinstance(error, ClientAuthenticationError):
        return QueueDenied(f"{_answer(error)}: {_DENIED_ADVICE}")
    if isinstance(error, HttpResponseError):
        return QueueUnavailable(_answer(error))
    return QueueUnavailable(type(error).__name__)


def _undelivered(error: AzureError) -> QueueUnavailable:
    if isinstance(error, HttpResponseError) and error.status_code in _UNDELIVERED:
        return PageUndelivered(_answer(error))
    return _unavailable(error)


def _answer(error: HttpResponseError) -> str:
    return f"it answered {error.status_code} {_code(error) or ''}".strip()
