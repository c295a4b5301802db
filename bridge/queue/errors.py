"""What the queue service's errors mean: whether it is down, refuses the login, or lacks the queue; and what to do.

Never with the text of an error: it may quote the request with its signature.
"""

from __future__ import annotations

from ..contract.sentences import sentence
from ..errors import PageUndelivered, QueueDenied, QueueMissing, QueueRightMissing, QueueUnavailable
from ..identity import Identity
from .requests import Failure, NoAnswer, Refused

#: Answers of the service when another receiver has the message, or it is gone.
_LEASE_LOST = {"PopReceiptMismatch", "MessageNotFound"}
#: HTTP statuses that are about one message and not about the queue: malformed, too large.
#: https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
MESSAGE_REFUSED = {400, 413}
#: Failures of a request for messages that may be the fault of a message: the service's own error, or an answer that
#: cannot be read.
_UNDELIVERED = {200, 500}
#: Answers of the service to a shared access signature (SAS) that lacks a permission, a resource type or the service;
#: the first one also to an identity that lacks a role.
_RIGHT_MISSING = {
    "AuthorizationPermissionMismatch",
    "AuthorizationResourceTypeMismatch",
    "AuthorizationServiceMismatch",
}
#: What a SAS must allow for each right: the URL parameters ``ss``, ``srt`` and ``sp``.
SAS_ADVICE = sentence(
    "Give the SAS the service queue (ss=q), the resource types container and object (srt=co) and the rights read, add, "
    "update and process (sp=raup); also create (c), unless all queues exist. Odoo needs read and add only."
)
#: The roles that have each right. Only Contributor may update a message (messages/write), which renews a lease, and
#: create a queue (queues/write); Sender may add only, and Reader read only.
#: https://learn.microsoft.com/azure/storage/queues/queues-auth-abac-attributes
ROLE_ADVICE = sentence(
    "On the storage account, assign it the role “Storage Queue Data Contributor” for the bridge; for Odoo, “Storage "
    "Queue Data Message Sender” and “Storage Queue Data Reader” are enough if all queues exist. A new role takes up to "
    "30 minutes."
)
_DENIED_ADVICE = sentence(
    "Is the connection string's key or SAS of this account? A SAS may have expired, or not begun."
)
_NO_HOST = sentence("there is no host of its name")
_NO_HOST_ADVICE = sentence("Is the storage account's name right?")
_IDENTITY_DENIED_ADVICE = sentence(
    "The service does not accept its token. Is the storage account in the tenant of this identity, and this machine's "
    "clock right?"
)
#: Seconds. The service takes no signature that is further from its own clock.
#: https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key#specifying-the-date-header
_MOST_APART = 15 * 60
#: Answers of the service that say more than “refused”, for a key and for an identity.
_WORDS = {
    "KeyBasedAuthenticationNotPermitted": (
        sentence("the storage account takes no keys"),
        sentence("Set the URL of the account in place of the connection string, so that an identity logs in."),
    ),
    "AuthorizationFailure": (
        sentence("the storage account's network rules refuse this machine"),
        sentence("Allow it under Networking of the storage account."),
    ),
    "AuthorizationSourceIPMismatch": (
        sentence("the SAS is for other addresses"),
        sentence("Make a SAS for this machine's address."),
    ),
    "AccountIsDisabled": (
        sentence("the storage account is disabled"),
        sentence("Is its subscription active?"),
    ),
}


def unavailable(error: Failure, identity: Identity | None = None) -> QueueUnavailable:
    """The outage that ``error`` stands for.

    :param identity: that has logged in; ``None`` for a connection string
    """
    if not isinstance(error, Refused):
        if isinstance(error, NoAnswer) and error.is_name_unknown:
            return QueueUnavailable(f"{_NO_HOST}: {_NO_HOST_ADVICE}")
        return QueueUnavailable(sentence("no answer"))
    if error.code in _RIGHT_MISSING:
        return right_missing(sentence("a right (%(code)s)", code=error.code), identity)
    if words := _WORDS.get(error.code):
        return QueueDenied(f"{words[0]} ({_status(error)}): {words[1]}")
    if error.status == 404:
        return QueueMissing(error.code or "not found")
    if error.status in (401, 403):
        if error.seconds_apart > _MOST_APART:
            minutes = round(error.seconds_apart / 60)
            advice = sentence("This machine's clock is wrong by %(minutes)s minutes: set it right.", minutes=minutes)
            return QueueDenied(f"{answer(error)}: {advice}")
        if identity is None:
            return QueueDenied(f"{answer(error)}: {_DENIED_ADVICE}")
        what = sentence("it answered %(status)s to the identity %(name)s", status=_status(error), name=identity)
        return QueueDenied(f"{what}: {_IDENTITY_DENIED_ADVICE}")
    return QueueUnavailable(answer(error))


def undelivered(error: Failure, identity: Identity | None) -> QueueUnavailable:
    """The same for a request for messages."""
    if isinstance(error, Refused) and error.status in _UNDELIVERED:
        return PageUndelivered(answer(error))
    return unavailable(error, identity)


def right_missing(what: str, identity: Identity | None) -> QueueRightMissing:
    """:param what: is missing, and on which queue"""
    if identity is None:
        return QueueRightMissing(f"{sentence('the SAS lacks %(what)s', what=what)}: {SAS_ADVICE}")
    return QueueRightMissing(
        f"{sentence('the identity %(name)s lacks %(what)s', name=identity, what=what)}: {ROLE_ADVICE}"
    )


def may_not_create(queue: str, identity: Identity | None) -> QueueRightMissing:
    """:param queue: that does not exist"""
    if identity is None:
        text = sentence(
            "%(queue)s does not exist, and the SAS may not create it: Create the queue, or give the SAS the right to "
            "create (sp=c).",
            queue=queue,
        )
    else:
        text = sentence(
            "%(queue)s does not exist, and the identity %(name)s may not create it: Create the queue, or assign the "
            "role “Storage Queue Data Contributor”.",
            queue=queue,
            name=identity,
        )
    return QueueRightMissing(text)


def is_lease_lost(error: Failure) -> bool:
    """Whether another receiver has the message now, or it is gone."""
    return isinstance(error, Refused) and error.code in _LEASE_LOST


def answer(error: Refused) -> str:
    """The status and the service's word."""
    return sentence("it answered %(status)s", status=_status(error))


def _status(error: Refused) -> str:
    return f"{error.status} {error.code}".strip()
