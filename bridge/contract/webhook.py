"""Taking in an event over HTTP: what Odoo's webhook and the bridge's standby webhook share.

Both must give the same answer to the same request, since a proxy may send a bot to either. So everything that decides
an answer without a database is here; each server adds how it reads a request, knows its keys and stores an event. Like
:mod:`bridge.contract.event` it is installed beside Odoo, and imports nothing else than that.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from .event import MAX_BODY_BYTES, ContractError, Event, EventType, accept, parse_json

#: Method and path of each type's webhook.
ROUTES = {
    EventType.CONTACT: ("POST", "/api/v1/manychat/webhook/contact"),
    EventType.CAMPAIGN_ASSIGNMENT: ("POST", "/api/v1/manychat/webhook/campaign-assignment"),
    EventType.CAMPAIGN_CONTACT: ("PUT", "/api/v1/manychat/campaign-contacts/update-by-manychat-id"),
    EventType.OPPORTUNITY: ("POST", "/api/v1/manychat/webhook/crm-opportunity"),
}
#: How a key of either server begins: tells a leaked key's kind to whoever finds it, also to secret scanners.
KEY_TAG = "mck_"
#: Long enough to recognise a key by, far too short to guess the rest from.
KEY_PREFIX_LENGTH = len(KEY_TAG) + 8
#: Seconds after which a sender should try again what could not be stored.
RETRY_AFTER = 5


class Refusal(Exception):
    """An answer other than success, in the shape that all our errors have.

    :ivar status: of HTTP
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
        return {"status": "error", "code": self.code, "message": self.message, "errors": self.errors}


def wrong_method(allowed: str) -> Refusal:
    return Refusal(405, "method_not_allowed", f"Use {allowed} here.", headers=[("Allow", allowed)])


def no_valid_key() -> Refusal:
    """The answer does not say how the key is wrong."""
    return Refusal(401, "unauthorized", "The header X-API-KEY is missing, or the key in it is not valid.")


def key_in_address() -> Refusal:
    message = (
        "A key stands in the address, where logs keep it. Revoke it, and send the new one in the header X-API-KEY."
    )
    return Refusal(401, "key_in_address", message)


def too_many_wrong_keys(seconds: int) -> Refusal:
    message = f"Too many requests without a valid key. Try again in {seconds} seconds."
    return Refusal(429, "too_many_wrong_keys", message, headers=[("Retry-After", str(seconds))])


def too_large() -> Refusal:
    return Refusal(413, "too_large", f"The body has more than {MAX_BODY_BYTES} bytes.")


def unavailable() -> Refusal:
    message = "The request could not be stored. Nothing of it was kept; please send it again."
    return Refusal(503, "unavailable", message, headers=[("Retry-After", str(RETRY_AFTER))])


def of_contract(error: ContractError) -> Refusal:
    return Refusal(400 if error.code == "not_json" else 422, error.code, error.message, error.errors)


def check_headers(content_length: int | None, media_type: str) -> None:
    """What can be refused before the body is read.

    :param content_length: as the header says; ``None`` if it does not
    :param media_type: of ``Content-Type``, without parameters
    :raises Refusal: 413 or 415
    """
    if (content_length or 0) > MAX_BODY_BYTES:
        raise too_large()
    if media_type.strip().lower() != "application/json":
        raise Refusal(415, "unsupported_media_type", "Send the header Content-Type: application/json.")


def read_event(
    event_type: EventType, body: bytes, *, received_at: datetime, source: str, idempotency_key: str | None
) -> Event:
    """The event in ``body``.

    :param received_at: when the request arrived, with time zone
    :param source: which server it is
    :param idempotency_key: the header ``Idempotency-Key``
    :raises Refusal: 413, 400 or 422
    """
    if len(body) > MAX_BODY_BYTES:  # sent in chunks, without a length
        raise too_large()
    try:
        return accept(
            event_type, parse_json(body), received_at=received_at, source=source, idempotency_key=idempotency_key
        )
    except ContractError as error:
        raise of_contract(error) from None


def is_dry_run(header: str | None) -> bool:
    """Whether the header ``X-Dry-Run`` asks to store nothing."""
    return (header or "").strip().lower() in ("1", "true", "yes")


def accepted(event: Event) -> dict[str, Any]:
    """The body of the 202."""
    return {"status": "accepted", "event_id": event.id}


def forecast(event: Event, duplicate: bool | None) -> dict[str, Any]:
    """The body of the answer to a dry run, as far as it does not depend on the stage map.

    :param duplicate: whether the event was taken in before; ``None`` if that cannot be told just now
    """
    return {
        "status": "valid",
        "event_id": event.id,
        "duplicate": duplicate,
        "queue": event.type.queue,
        "payload": event.payload.canonical(),
    }


class Throttle:
    """Slows down callers who guess keys. Whoever has a valid key never comes here: a refused event is a patient lost.

    In memory and not in a database: an attacker's requests must not become writes. A library would be one more package
    beside Odoo's pinned ones, for these few lines.
    """

    #: Wrong keys that an address may try within :data:`WINDOW` seconds, in each process.
    TRIES = 10
    WINDOW = 60
    #: Addresses remembered; of more than that the longest silent are forgotten, so that memory stays small.
    ADDRESSES = 10_000

    def __init__(self) -> None:
        # address → moments (monotonic seconds) of its latest wrong keys
        self._wrong_keys: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wrong_key(self, address: str) -> int:
        """Count one wrong key of ``address``.

        :return: 0, or the seconds after which the address may try again
        """
        now = time.monotonic()
        with self._lock:
            moments = self._wrong_keys.setdefault(address, deque(maxlen=self.TRIES))
            self._wrong_keys.move_to_end(address)
            if len(self._wrong_keys) > self.ADDRESSES:
                self._wrong_keys.popitem(last=False)
            if len(moments) == self.TRIES and now - moments[0] < self.WINDOW:
                return math.ceil(self.WINDOW - (now - moments[0]))
            moments.append(now)
            return 0

    def forget(self) -> None:
        """Start anew, for tests."""
        with self._lock:
            self._wrong_keys.clear()
