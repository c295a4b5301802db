"""The client of Azure Storage Queues, for the bridge and for the addon.

Each message is a few requests of our own (:mod:`.requests`), at a fourth of the SDK's cost. The SDK does what is
rare: it creates queues.

It imports next to nothing else of ours, because it is loaded into Odoo too.

Messages come undecoded: one that is not Base64 must not keep its neighbours from being delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote

from ..errors import MessageRefused, PageUndelivered, QueueDenied, QueueMissing, QueueRightMissing, QueueUnavailable
from ..identity import Identity
from . import creation, errors, messages
from .login import login_of
from .messages import Message, Peeked
from .requests import Answer, Failure, Refused, Sender

__all__ = ["PAGE", "Message", "Peeked", "Queue", "require_rights"]

T = TypeVar("T")
Unavailable = TypeVar("Unavailable", bound=QueueUnavailable)

#: Seconds for connecting, and for an answer to one request.
CONNECT_SECONDS = 3
READ_SECONDS = 10
#: A request that failed is repeated this often. To wait for the end of an outage is the caller's work.
RETRIES = 1

#: A message that never was, and a delay beyond Azure's limit of seven days: requests that need a right, do nothing.
_NO_MESSAGE = "/messages/00000000-0000-0000-0000-000000000000"
_NO_RECEIPT = {"popreceipt": "AAAA"}
_TOO_LONG = str(8 * 24 * 3600)
#: Most messages in one answer.
PAGE = 32


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

        :param account: a connection string, or a whole URL (see :mod:`bridge.queue.account`), for which the process's
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
        url, login = login_of(account)
        self._account = account
        self._sender = Sender(
            f"{url}/{quote(self.name, safe='')}",
            login,
            connect_seconds=CONNECT_SECONDS,
            read_seconds=self._read_seconds,
            retries=self._retries,
        )

    @property
    def _identity(self) -> Identity | None:
        return self._sender.login.identity

    def _ask(
        self,
        method: str,
        path: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        repeatable: bool = True,
    ) -> Answer:
        """:raises Failure:"""
        return self._with_account_of_now(lambda: self._sender.send(method, path, query, body, repeatable=repeatable))

    def _with_account_of_now(self, request: Callable[[], T]) -> T:
        """Make a request; once more if the account is refused and the settings have another one now.

        :raises Failure:
        """
        sender = self._sender
        try:
            return request()
        except Failure as error:
            if not isinstance(errors.unavailable(error), QueueDenied) or not self._renew(sender):
                raise
        return request()

    def _renew(self, refused: Sender) -> bool:
        """Whether there is another account now than the ``refused`` one, because the settings have changed."""
        if not self._reread:
            return False
        with self._lock:
            if self._sender is refused:
                # Wrong settings are no better than the old ones.
                with suppress(Exception):
                    account = self._reread()
                    if account and account != self._account:
                        self._open(account)
            return self._sender is not refused

    @property
    def url(self) -> str:
        """Where the queue is, without credentials."""
        return self._sender.url

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
            raise self._named(errors.may_not_create(self.name, self._identity)) from None

    def _create(self) -> None:
        try:
            self._with_account_of_now(
                lambda: creation.create(self._account, self.name, CONNECT_SECONDS, self._read_seconds)
            )
        except Failure as error:
            exists = isinstance(error, Refused) and error.status == 409 and error.code != "QueueBeingDeleted"
            if not exists:
                raise self._failure(error) from None

    def missing_rights(self, *rights: str) -> list[str]:
        """Those of ``rights`` that the key, SAS or identity lacks. Each is tried by a request that changes nothing.

        :param rights: of ``read``, ``add``, ``update``, ``process``: Azure's words
        :raises QueueUnavailable:
        """
        return [right for right in rights if not self._allows(right)]

    def _allows(self, right: str) -> bool:
        """Whether the trial of ``right`` fails, as it must, for another reason than a missing right."""
        trials: dict[str, Callable[[], object]] = {
            "read": self._properties,
            "add": lambda: self._put("", {"visibilitytimeout": _TOO_LONG, "messagettl": "-1"}),
            "update": lambda: self._ask("PUT", _NO_MESSAGE, {**_NO_RECEIPT, "visibilitytimeout": "0"}),
            "process": lambda: self._ask("DELETE", _NO_MESSAGE, _NO_RECEIPT),
        }
        try:
            trials[right]()
        except Failure as error:
            unavailable = self._failure(error)
            if isinstance(unavailable, QueueRightMissing):
                return False
            if not isinstance(error, Refused) or error.status not in (400, 404):
                raise unavailable from None
        return True

    def _properties(self) -> Answer:
        return self._ask("GET", query={"comp": "metadata"})

    def depth(self) -> int:
        """The approximate number of messages, invisible ones included.

        :raises QueueUnavailable:
        """
        try:
            return int(self._properties().headers.get("x-ms-approximate-messages-count") or 0)
        except Failure as error:
            raise self._failure(error) from None

    def peek(self, count: int = 1) -> list[Peeked]:
        """Read the first visible messages without receiving them: not those under a lease or delayed for a retry.

        :param count: at most 32
        :raises PageUndelivered: one of them may be undeliverable
        :raises QueueUnavailable:
        """
        found = self._messages({"peekonly": "true", "numofmessages": str(count)})
        return [Peeked(each.id, each.content, each.inserted_at, each.dequeue_count) for each in found]

    def receive(self, count: int, visibility_timeout: int) -> list[Message]:
        """Receive messages, and hide them from other receivers.

        :param count: at most this many, 32 at most
        :param visibility_timeout: seconds until they become visible again
        :return: empty if there are none
        :raises PageUndelivered: one of them may be undeliverable
        :raises QueueUnavailable:
        """
        return self._messages({"numofmessages": str(count), "visibilitytimeout": str(visibility_timeout)})

    def _messages(self, query: Mapping[str, str]) -> list[Message]:
        try:
            # A page that was taken and not delivered is hidden: a second try would get nothing, and call it empty.
            return messages.read(self._ask("GET", "/messages", query, repeatable="peekonly" in query).body)
        except Failure as error:
            raise self._named(errors.undelivered(error, self._identity)) from None
        except ValueError:
            raise PageUndelivered(errors.answer(Refused(200))) from None

    def send(self, content: str, *, time_to_live: int = -1) -> Message:
        """Put a message on the queue.

        :param content: at most 65,536 characters that XML can carry (Base64, say)
        :param time_to_live: seconds after which the queue deletes it; -1: never
        :return: the message, which the sender can delete as long as no program receives it
        :raises MessageRefused: the queue works, but takes no message like this
        :raises QueueUnavailable:
        """
        try:
            [sent] = messages.read(self._put(content, {"messagettl": str(time_to_live)}).body)
        except Failure as error:
            if isinstance(error, Refused) and error.status in errors.MESSAGE_REFUSED:
                raise MessageRefused(errors.answer(error)) from None
            raise self._failure(error) from None
        except ValueError:
            raise self._failure(Refused(200)) from None
        sent.content = content
        return sent

    def _put(self, content: str, query: Mapping[str, str]) -> Answer:
        return self._ask("POST", "/messages", query, messages.written(content))

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
        return self._settle("DELETE", message, {}) is not None

    def hide(self, message: Message, seconds: int) -> bool:
        """Make the message visible again ``seconds`` from now: to renew a lease, delay a retry, or release it (0).

        :return: ``False`` if the lease was lost
        :raises QueueUnavailable:
        """
        answer = self._settle("PUT", message, {"visibilitytimeout": str(seconds)})
        if answer is None:
            return False
        # The old receipt is no longer valid.
        message.pop_receipt = answer.headers.get("x-ms-popreceipt", "")
        return True

    def _settle(self, method: str, message: Message, query: Mapping[str, str]) -> Answer | None:
        """``None`` if the lease was lost."""
        path = f"/messages/{quote(message.id, safe='')}"
        try:
            return self._ask(method, path, {"popreceipt": message.pop_receipt, **query})
        except Failure as error:
            if errors.is_lease_lost(error):
                return None
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the connections. The next request opens others."""
        self._sender.close()

    def _failure(self, error: Failure) -> QueueUnavailable:
        return self._named(errors.unavailable(error, self._identity))

    def _named(self, outage: Unavailable) -> Unavailable:
        """Name this queue in an outage that another queue of the account need not have."""
        if isinstance(outage, QueueMissing | QueueRightMissing):
            outage.queue = self.name
        return outage

    def right_missing(self, rights: Sequence[str]) -> QueueRightMissing:
        """The error that says that these rights are missing, and what to do."""
        return self._named(errors.right_missing(f"{' and '.join(rights)} on {self.name}", self._identity))


def require_rights(queue: Queue, *rights: str) -> None:
    """Ensure that the queue exists and may be used.

    :param rights: as in :meth:`Queue.missing_rights`
    :raises QueueRightMissing: names the missing ones, and what to do
    :raises QueueUnavailable:
    """
    queue.ensure()
    if missing := queue.missing_rights(*rights):
        raise queue.right_missing(missing)
