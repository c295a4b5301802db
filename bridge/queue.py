"""The client of Azure Storage Queues, for the bridge and for the addon: a thin layer over azure-storage-queue.

It imports next to nothing else of ours, because it is loaded into Odoo too.

Messages come undecoded. The SDK's own decoding fails for a whole page if one message in it is not Base64, and then
leaves the page leased and undelivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.storage.queue import LinearRetry, QueueClient, QueueMessage

from . import connection_string, identity, queue_account, queue_errors
from .contract.sentences import sentence
from .errors import BadQueueAccount, MessageRefused, QueueDenied, QueueMissing, QueueRightMissing, QueueUnavailable
from .identity import Identity
from .setting_value import fault_of

T = TypeVar("T")

#: Seconds for connecting, and for an answer to one request.
CONNECT_SECONDS = 3
READ_SECONDS = 10
#: The SDK repeats a request this often, after about this many seconds. Its defaults would block for 85 s while the
#: service is down; to wait for the end of an outage is the caller's work.
RETRIES = 1
RETRY_SECONDS = 0.2

#: A message that never was, and a delay beyond Azure's limit of seven days: requests that need a right, do nothing.
_NO_MESSAGE, _NO_RECEIPT = "00000000-0000-0000-0000-000000000000", "AAAA"
_TOO_LONG = 8 * 24 * 3600
#: Most messages in one answer.
PAGE = 32


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
        self,
        account: str,
        name: str,
        *,
        read_seconds: float = READ_SECONDS,
        retries: int = RETRIES,
        reread: Callable[[], str] | None = None,
    ):
        """Open no connection yet.

        :param account: a connection string, or a whole URL (see :mod:`bridge.queue_account`), for which the process's
            identity logs in
        :param read_seconds: how long an answer to one request may take
        :param retries: how often a failed request is repeated
        :param reread: the account as the settings have it now, asked when the service refuses ``account``: a key that
            was changed needs no restart
        :raises BadQueueAccount: ``account`` is neither
        """
        self.name = name
        self._read_seconds, self._retries = read_seconds, retries
        self._reread = reread
        self._lock = threading.Lock()
        self._open(account)

    def _open(self, account: str) -> None:
        if fault := fault_of(account):
            raise BadQueueAccount(fault)
        self._account = account
        self._identity: Identity | None = None
        options: dict[str, Any] = {
            "retry_policy": LinearRetry(backoff=RETRY_SECONDS, retry_total=self._retries, random_jitter_range=0),  # type: ignore[arg-type]
            "connection_timeout": CONNECT_SECONDS,
            "read_timeout": self._read_seconds,
        }
        try:
            if queue_account.is_url(account):
                self._identity = identity.of_process()
                self._client = QueueClient(account, self.name, credential=self._identity, **options)
            elif fault := connection_string.fault_in(account):
                raise BadQueueAccount(fault)
            else:
                self._client = QueueClient.from_connection_string(account, self.name, **options)
        except BadQueueAccount:
            raise
        except ValueError:
            raise BadQueueAccount(sentence("not an Azure Storage connection string")) from None

    def _ask(self, request: Callable[[QueueClient], T]) -> T:
        """Send one request; once more if the account is refused and the settings have another one now.

        :raises AzureError:
        """
        client = self._client
        try:
            return request(client)
        except AzureError as error:
            if not isinstance(queue_errors.unavailable(error), QueueDenied) or not self._renew(client):
                raise
        return request(self._client)

    def _renew(self, refused: QueueClient) -> bool:
        """Whether there is another client now than the ``refused`` one, because the settings have changed."""
        if not self._reread:
            return False
        with self._lock:
            if self._client is refused:
                # Wrong settings are no better than the old ones.
                with suppress(Exception):
                    account = self._reread()
                    if account and account != self._account:
                        self._open(account)
            return self._client is not refused

    @property
    def url(self) -> str:
        """Where the queue is, without credentials."""
        return str(self._client.url).split("?", 1)[0]

    def ensure(self) -> None:
        """Create the queue if the service says that it does not exist.

        A SAS or a role without the right to create queues can use those that exist.

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

        :raises QueueRightMissing: the SAS or the role may not create queues
        :raises QueueUnavailable:
        """
        try:
            self._create()
        except QueueRightMissing:
            raise queue_errors.may_not_create(self.name, self._identity) from None

    def _create(self) -> None:
        try:
            self._ask(lambda client: client.create_queue())
        except ResourceExistsError as error:
            if queue_errors.code(error) == "QueueBeingDeleted":
                raise self._failure(error) from None
        except AzureError as error:
            raise self._failure(error) from None

    def missing_rights(self, *rights: str) -> list[str]:
        """Those of ``rights`` that the key, SAS or identity lacks. Each is tried by a request that changes nothing.

        :param rights: of ``read``, ``add``, ``update``, ``process``: Azure's words
        :raises QueueUnavailable:
        """
        return [right for right in rights if not self._allows(right)]

    @staticmethod
    def _trials(client: QueueClient) -> dict[str, Callable[[], object]]:
        return {
            "read": client.get_queue_properties,
            "add": lambda: client.send_message("", visibility_timeout=_TOO_LONG, time_to_live=-1),
            "update": lambda: client.update_message(_NO_MESSAGE, _NO_RECEIPT, visibility_timeout=0),
            "process": lambda: client.delete_message(_NO_MESSAGE, _NO_RECEIPT),
        }

    def _allows(self, right: str) -> bool:
        """Whether the trial of ``right`` fails, as it must, for another reason than a missing right."""
        try:
            self._ask(lambda client: self._trials(client)[right]())
        except AzureError as error:
            unavailable = self._failure(error)
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
            return self._ask(lambda client: client.get_queue_properties()).approximate_message_count or 0
        except AzureError as error:
            raise self._failure(error) from None

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
                for message in self._ask(lambda client: client.peek_messages(count))
            ]
        except AzureError as error:
            raise queue_errors.undelivered(error, self._identity) from None

    def receive(self, count: int, visibility_timeout: int) -> list[Message]:
        """Receive messages, and hide them from other receivers.

        :param count: at most this many, 32 at most
        :param visibility_timeout: seconds until they become visible again
        :return: empty if there are none
        :raises PageUndelivered: one of them may be undeliverable
        :raises QueueUnavailable:
        """
        try:
            page = self._ask(lambda client: _first_page(client, count, visibility_timeout))
            return [
                Message(
                    message.id,
                    str(message.content or ""),
                    message.inserted_on or datetime.now(timezone.utc),
                    str(message.pop_receipt),
                    message.dequeue_count or 1,
                )
                for message in page
            ]
        except AzureError as error:
            raise queue_errors.undelivered(error, self._identity) from None

    def send(self, content: str, *, time_to_live: int = -1) -> Message:
        """Put a message on the queue.

        :param content: at most 65,536 characters that XML can carry (Base64, say)
        :param time_to_live: seconds after which the queue deletes it; -1: never
        :return: the message, which the sender can delete as long as no program receives it
        :raises MessageRefused: the queue works, but takes no message like this
        :raises QueueUnavailable:
        """
        try:
            sent = self._ask(lambda client: client.send_message(content, time_to_live=time_to_live))
        except AzureError as error:
            if isinstance(error, HttpResponseError) and error.status_code in queue_errors.MESSAGE_REFUSED:
                raise MessageRefused(queue_errors.answer(error)) from None
            raise self._failure(error) from None
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
            self._ask(lambda client: client.delete_message(message.id, message.pop_receipt))
        except AzureError as error:
            if queue_errors.is_lease_lost(error):
                return False
            raise self._failure(error) from None
        return True

    def hide(self, message: Message, seconds: int) -> bool:
        """Make the message visible again ``seconds`` from now: to renew a lease, delay a retry, or release it (0).

        :return: ``False`` if the lease was lost
        :raises QueueUnavailable:
        """
        try:
            updated = self._ask(
                lambda client: client.update_message(message.id, message.pop_receipt, visibility_timeout=seconds)
            )
        except AzureError as error:
            if queue_errors.is_lease_lost(error):
                return False
            raise self._failure(error) from None
        # The old receipt is no longer valid.
        message.pop_receipt = str(updated.pop_receipt)
        return True

    def close(self) -> None:
        self._client.close()

    def _failure(self, error: AzureError) -> QueueUnavailable:
        return queue_errors.unavailable(error, self._identity)

    def right_missing(self, rights: Sequence[str]) -> QueueRightMissing:
        """The error that says that these rights are missing, and what to do."""
        return queue_errors.right_missing(f"{' and '.join(rights)} on {self.name}", self._identity)


def _first_page(client: QueueClient, count: int, visibility_timeout: int) -> list[QueueMessage]:
    pages = client.receive_messages(
        messages_per_page=count,
        max_messages=count,
        visibility_timeout=visibility_timeout,
        # A page that was taken and not delivered is hidden: a second try would get nothing, and call it empty.
        retry_status=0,
    ).by_page()
    return list(next(pages, []))


def require_rights(queue: Queue, *rights: str) -> None:
    """Ensure that the queue exists and may be used.

    :param rights: as in :meth:`Queue.missing_rights`
    :raises QueueRightMissing: names the missing ones, and what to do
    :raises QueueUnavailable:
    """
    queue.ensure()
    if missing := queue.missing_rights(*rights):
        raise queue.right_missing(missing)
