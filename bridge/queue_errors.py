"""What the queue service's errors mean: whether it is down, refuses the login, or lacks the queue; and what to do.

Never with the text of an error: it may quote the request with its signature.
"""

from __future__ import annotations

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from .errors import PageUndelivered, QueueDenied, QueueMissing, QueueRightMissing, QueueUnavailable
from .identity import Identity

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
SAS_ADVICE = (
    "Give the SAS the service queue (ss=q), the resource types container and object (srt=co) and the rights read, add, "
    "update and process (sp=raup); also create (c), unless all queues exist. Odoo needs read and add only."
)
#: The roles that have each right. Only Contributor may update a message (messages/write), which renews a lease, and
#: create a queue (queues/write); Sender may add only, and Reader read only.
#: https://learn.microsoft.com/azure/storage/queues/queues-auth-abac-attributes
ROLE_ADVICE = (
    "On the storage account, assign it the role “Storage Queue Data Contributor” for the bridge; for Odoo, “Storage "
    "Queue Data Message Sender” and “Storage Queue Data Reader” are enough if all queues exist. A new role takes up to "
    "30 minutes."
)
_DENIED_ADVICE = "Is the connection string's key or SAS of this account? A SAS may have expired, or not begun."
_IDENTITY_DENIED_ADVICE = (
    "The service does not accept its token. Is the storage account in the tenant of this identity, and this machine's "
    "clock right?"
)
#: Answers of the service that say more than “refused”, for a key and for an identity.
_WORDS = {
    "KeyBasedAuthenticationNotPermitted": (
        "the storage account takes no keys",
        "Set the URL of the account in place of the connection string, so that an identity logs in.",
    ),
    "AuthorizationFailure": (
        "the storage account's network rules refuse this machine",
        "Allow it under Networking of the storage account.",
    ),
    "AuthorizationSourceIPMismatch": ("the SAS is for other addresses", "Make a SAS for this machine's address."),
    "AccountIsDisabled": ("the storage account is disabled", "Is its subscription active?"),
}


def unavailable(error: AzureError, identity: Identity | None = None) -> QueueUnavailable:
    """The outage that ``error`` stands for.

    :param identity: that has logged in; ``None`` for a connection string
    """
    if isinstance(error, (ServiceRequestError, ServiceResponseError)):
        if _is_name_unknown(error):
            return QueueUnavailable("there is no host of its name: Is the storage account's name right?")
        return QueueUnavailable("no answer")
    if not isinstance(error, HttpResponseError):
        return QueueUnavailable(type(error).__name__)
    if code(error) in _RIGHT_MISSING:
        return right_missing(f"a right ({code(error)})", identity)
    if words := _WORDS.get(code(error) or ""):
        return QueueDenied(f"{words[0]} ({answer(error).removeprefix('it answered ')}): {words[1]}")
    if isinstance(error, ResourceNotFoundError):
        return QueueMissing(code(error) or "not found")
    if isinstance(error, ClientAuthenticationError) or error.status_code in (401, 403):
        if identity is None:
            return QueueDenied(f"{answer(error)}: {_DENIED_ADVICE}")
        return QueueDenied(f"{answer(error)} to {identity}: {_IDENTITY_DENIED_ADVICE}")
    return QueueUnavailable(answer(error))


def undelivered(error: AzureError, identity: Identity | None) -> QueueUnavailable:
    """The same for a request for messages."""
    if isinstance(error, HttpResponseError) and error.status_code in _UNDELIVERED:
        return PageUndelivered(answer(error))
    return unavailable(error, identity)


def right_missing(what: str, identity: Identity | None) -> QueueRightMissing:
    """:param what: is missing, and on which queue"""
    if identity is None:
        return QueueRightMissing(f"the SAS lacks {what}: {SAS_ADVICE}")
    return QueueRightMissing(f"{identity} lacks {what}: {ROLE_ADVICE}")


def may_not_create(queue: str, identity: Identity | None) -> QueueRightMissing:
    """:param queue: that does not exist"""
    if identity is None:
        advice = "the SAS may not create it: Create the queue, or give the SAS the right to create (sp=c)."
    else:
        advice = f"{identity} may not create it: Create the queue, or assign the role “Storage Queue Data Contributor”."
    return QueueRightMissing(f"{queue} does not exist, and {advice}")


def is_lease_lost(error: AzureError) -> bool:
    """Whether another receiver has the message now, or it is gone."""
    return isinstance(error, HttpResponseError) and code(error) in _LEASE_LOST


def code(error: HttpResponseError) -> str | None:
    """The service's own word for the error."""
    found = getattr(error, "error_code", None)
    return getattr(found, "value", found)


def answer(error: HttpResponseError) -> str:
    """The status and the service's word."""
    if error.status_code is None:
        return "the request could not be signed"
    return f"it answered {error.status_code} {code(error) or ''}".strip()


def _is_name_unknown(error: BaseException) -> bool:
    return any(word in str(error) for word in ("NameResolutionError", "Name or service not known", "Failed to resolve"))
