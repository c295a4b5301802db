"""What both webhooks decide alike: Odoo's, and the bridge's standby.

Both must give the same answer to the same request, because a proxy may send a bot to either. Every decision that needs
no database is here. Each server adds how it reads a request, checks keys and stores an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone, tzinfo
from typing import Any
from urllib.parse import unquote_to_bytes

from . import keys
from .errors import ContractError
from .event import Event, accept
from .fields import MAX_BODY_BYTES
from .outcomes import ErrorCode
from .payloads import EventType
from .request_headers import RequestHeaders
from .sentences import sentence
from .strict_json import parse_json

#: Seconds after which a sender should try again what could not be stored.
RETRY_AFTER = 5


class WebhookError(Exception):
    """An error answer, in the format that all errors of this product have.

    :ivar status: HTTP status
    :ivar code: for machines
    :ivar message: for the bot builder
    :ivar errors: the fields at fault, see :class:`.errors.ContractError`
    :ivar headers: further headers of the answer, as (name, value)
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        errors: Iterable[Mapping[str, str]] = (),
        headers: Iterable[tuple[str, str]] = (),
    ):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = [dict(error) for error in errors]
        self.headers = list(headers)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        return {"status": "error", "code": self.code, "message": self.message, "errors": self.errors}


def wrong_method(allowed: str) -> WebhookError:
    """The 405."""
    return WebhookError(
        405, "method_not_allowed", sentence("Use %(allowed)s here.", allowed=allowed), headers=[("Allow", allowed)]
    )


def no_valid_key() -> WebhookError:
    """The 401 for a missing or wrong key. It does not say how the key is wrong."""
    message = sentence("The header X-API-KEY is missing, or the key in it is not valid.")
    return WebhookError(401, "unauthorized", message)


def wrong_scope(scope: str, needed: str) -> WebhookError:
    """The 403 for a valid key that opens something else."""
    message = sentence(
        "The scope of this key is “%(scope)s”. This request needs “%(needed)s”.", scope=scope, needed=needed
    )
    return WebhookError(403, "forbidden", message)


def key_in_address() -> WebhookError:
    """The 401 for a key in the query string."""
    message = sentence(
        "The address contains a key, and logs keep addresses. "
        "Revoke the key and send a new one in the header X-API-KEY."
    )
    return WebhookError(401, "key_in_address", message)


def too_many_wrong_keys(seconds: int) -> WebhookError:
    """The 429.

    :param seconds: until the address may try again
    """
    message = sentence(
        "Too many requests without a valid key. Seconds until you may try again: %(seconds)s.", seconds=seconds
    )
    return WebhookError(429, "too_many_wrong_keys", message, headers=[("Retry-After", str(seconds))])


def too_large() -> WebhookError:
    """The 413."""
    return WebhookError(413, "too_large", sentence("The body has more than %(limit)s bytes.", limit=MAX_BODY_BYTES))


def unavailable() -> WebhookError:
    """The 503: a dependency is down."""
    message = sentence("The service is not available at the moment. Please send the request again.")
    return WebhookError(503, "unavailable", message, headers=[("Retry-After", str(RETRY_AFTER))])


def malformed() -> WebhookError:
    """The 400 for what is no HTTP request."""
    return WebhookError(400, "invalid", sentence("The request is malformed."))


def incomplete() -> WebhookError:
    """The 400 for a body that is shorter than its ``Content-Length``, or whose last chunk is missing."""
    return WebhookError(400, ErrorCode.NOT_JSON.value, sentence("The body is incomplete."))


def of_contract(error: ContractError) -> WebhookError:
    """The 400 or 422 for an event that breaks the contract."""
    return WebhookError(400 if error.code == ErrorCode.NOT_JSON else 422, error.code, error.message, error.errors)


def check_address(query: bytes) -> None:
    """Refuse a key in the address, also one that is written with ``%``.

    :param query: what follows the ``?``, as it was sent
    :raises WebhookError: 401
    """
    for _ in range(keys.DECODED):
        if keys.TAG.encode() in query:
            raise key_in_address()
        query = unquote_to_bytes(query)


def check_headers(content_length: int | None, content_type: str) -> None:
    """Refuse a request by its headers, before its body is read.

    :param content_length: value of the header; ``None`` without one
    :param content_type: value of the header; of several, the last one, which is all that Odoo gets
    :raises WebhookError: 413 or 415
    """
    if (content_length or 0) > MAX_BODY_BYTES:
        raise too_large()
    # The parameters do not matter: JSON has one encoding (RFC 8259, 8.1), and the body shows whether it is JSON.
    media_types = {each.partition(";")[0].strip().lower() for each in content_type.split(",")}
    if media_types != {"application/json"}:
        raise WebhookError(415, "unsupported_media_type", sentence("Send the header Content-Type: application/json."))


def read_event(
    event_type: EventType,
    body: bytes,
    headers: RequestHeaders,
    *,
    received_at: datetime,
    source: str,
    zone: tzinfo = timezone.utc,
) -> Event:
    """The event in ``body``.

    :param received_at: when the request arrived here, with time zone. A stamp of the proxy takes its place.
    :param source: which server received it, see :class:`.event.Event`
    :param zone: the zone of dates without an offset: that of the request's key
    :raises WebhookError: 413, 400 or 422
    """
    if len(body) > MAX_BODY_BYTES:  # sent in chunks, without a length
        raise too_large()
    stamp = headers.stamp(received_at)
    try:
        return accept(
            event_type,
            parse_json(body),
            received_at=stamp.at if stamp else received_at,
            source=source,
            idempotency_key=headers.idempotency_key,
            request_id=stamp.request_id if stamp else None,
            zone=zone,
            trace=headers.traceparent,
        )
    except ContractError as error:
        raise of_contract(error) from None


def accepted(event: Event) -> dict[str, Any]:
    """The body of the 200.

    It is flat, and the status is 200 and not 202: ManyChat takes a bot's fallback branch at any other status, and maps
    only what a JSONPath such as ``$.event_id`` finds.
    """
    return {"status": "accepted", "event_id": event.id, "warnings": list(event.warnings)}


def forecast(event: Event, duplicate: bool | None) -> dict[str, Any]:
    """The body of the answer to a dry run, without what depends on the stage map.

    :param duplicate: whether the event was accepted before; ``None`` if that is unknown at the moment
    """
    return {
        "status": "valid",
        "event_id": event.id,
        "warnings": list(event.warnings),
        "duplicate": duplicate,
        "queue": event.type.queue,
        "payload": event.payload.canonical(),
        "extra": dict(event.extra),
    }
