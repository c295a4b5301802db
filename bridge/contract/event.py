"""The event: how one accepted payload gets its id, travels on a queue, and is read again.

The Odoo addon, the bridge's API and its workers all import this package, so an event means the same in each of them.
The package is installed beside Odoo: it imports pydantic and the standard library, nothing else.

Three layers, from the outside in:

* :func:`.strict_json.parse_json` turns bytes into a JSON object;
* :func:`.reading.read` makes it a payload, one of the models of :mod:`.payloads`, and says what it left out;
* :class:`Event` is one accepted event, with an id that never changes; :meth:`Event.encode` and :func:`decode` are its
  form on the queue.

Failures raise :class:`.errors.ContractError`, whose ``errors`` name the fields for the bot builder.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from . import traceparent
from .dates import MAX_CLOCK_SKEW
from .errors import ContractError
from .extra import MAX_EXTRA_BYTES, keep
from .fields import MAX_INT, format_datetime, is_nobody, to_datetime
from .outcomes import ErrorCode
from .payloads import EventType, Payload, field_errors, type_of
from .reading import MAX_WARNINGS, read, read_sent
from .sentences import sentence
from .strict_json import parse_json


@dataclass(frozen=True)
class Event:
    """One accepted event.

    :ivar id: SHA-256 in hex. The same event sent again has the same id.
    :ivar received_at: when it was received, in UTC
    :ivar source: which program received it: ``odoo``, ``api``, ``queue`` (a bare payload found on a queue) or ``cli``
    :ivar retries: how often Odoo sent it again for a user. Each time, earlier decisions about the event are void.
    :ivar warnings: what was left out, cut or not understood, as ``{"field", "message"}``. Not part of the identity.
    :ivar extra: the fields that the contract does not know, as they were sent. Not part of the identity.
    :ivar traceparent: the trace that the event belongs to, see :mod:`.traceparent`. Not part of the identity.
    :ivar echo_of: it only says what we wrote to ManyChat: the moment of the state that was written. Not part of the
        identity.
    :ivar may_echo: it says what we wrote to ManyChat lately, and so may a customer. Not part of the identity.
    """

    id: str
    type: EventType
    received_at: datetime
    source: str
    payload: Payload
    retries: int = 0
    warnings: tuple[Mapping[str, str], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str = ""
    echo_of: datetime | None = None
    may_echo: bool = False

    def __post_init__(self) -> None:
        if not self.traceparent:
            object.__setattr__(self, "traceparent", traceparent.of_event(self.id))

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to: 32 hexadecimal digits."""
        return traceparent.trace_id(self.traceparent)

    @property
    def manychat_id(self) -> str:
        return self.payload.manychat_id

    @property
    def occurred_at(self) -> datetime:
        """When it happened, for ordering: the sender's date, or the receipt if that is missing or far in the future.

        An echo happened when the state was read that it repeats: a later decision of a person is newer.
        """
        if self.echo_of:
            return self.echo_of
        date = self.payload.date
        return date if date and _is_believed(date, self.received_at) else self.received_at

    @property
    def clock_is_wrong(self) -> bool:
        """Whether the sender's date is so far ahead that :attr:`occurred_at` ignores it."""
        return self.payload.date is not None and not _is_believed(self.payload.date, self.received_at)

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Sort key for the events of one person: time of the event, then receipt, then id."""
        return (self.occurred_at, self.received_at, self.id)

    def envelope(self) -> dict[str, Any]:
        """The JSON object that travels on the queue and to ``crm.lead.manychat_apply``."""
        envelope = {
            "v": 1,
            "id": self.id,
            "type": self.type.value,
            "received_at": format_datetime(self.received_at),
            "source": self.source,
            "payload": self.payload.canonical(),
            "traceparent": self.traceparent,
        }
        rare: dict[str, Any] = {"retries": self.retries, "warnings": list(self.warnings), "extra": dict(self.extra)}
        if self.echo_of:
            rare["echo_of"] = format_datetime(self.echo_of)
        if self.may_echo:
            rare["may_echo"] = True
        return envelope | {name: value for name, value in rare.items() if value}

    def encode(self) -> str:
        """The text of the queue message: the envelope as JSON in Base64.

        Base64, because the queue's API uses XML: a raw control character would make the message undeliverable.
        """
        return base64.b64encode(_dumps(self.envelope())).decode("ascii")


def accept(
    event_type: EventType,
    payload: Mapping[str, Any],
    *,
    received_at: datetime,
    source: str,
    idempotency_key: str | None = None,
    request_id: str | None = None,
    zone: tzinfo = timezone.utc,
    trace: str = "",
) -> Event:
    """Validate ``payload`` and make it an :class:`Event`.

    The id is a hash of the type, the payload and what makes it this one event: its own date, if that is believed; else
    the ``Idempotency-Key``; else the proxy's stamp of the request; else its receipt. The key of a dated event is part
    of the id too.

    :param received_at: when the request or message arrived, with time zone; by the proxy's stamp if there is one
    :param idempotency_key: the request's ``Idempotency-Key`` header. It distinguishes events with equal payloads, and
        is not the whole id: a constant pasted into a bot would then suppress every later event.
    :param request_id: of the proxy's stamp, see :class:`.request_headers.Stamp`
    :param zone: the zone of dates without an offset: that of the sender's key, see :func:`.dates.zone_named`
    :param trace: the sender's traceparent, valid; empty if it named no trace
    :raises ContractError: ``invalid``: it cannot be applied to anything, see :func:`.reading.read`;
        ``wrong_endpoint``: its fields are those of another webhook
    """
    found = read_sent(event_type, payload, zone, received_at)
    parsed = found.payload
    identity: list[Any] = [idempotency_key or "", event_type.value, parsed.canonical()]
    if not (_is_believed(parsed.date, received_at) or _says_which(idempotency_key)):
        # Neither says which event this is, and the same content can be a new event: A → B → A are three events.
        identity.append(f"request {request_id}" if request_id else format_datetime(received_at))
    return Event(
        hashlib.sha256(_dumps(identity)).hexdigest(),
        event_type,
        received_at,
        source,
        parsed,
        warnings=found.warnings,
        extra=found.extra,
        traceparent=trace,
    )


def _is_believed(date: datetime | None, received_at: datetime) -> bool:
    """Whether ``date`` may order an event, and make it this one event: a constant date of a wrong clock may not."""
    return date is not None and date - received_at <= MAX_CLOCK_SKEW


def _says_which(idempotency_key: str | None) -> bool:
    """Whether the key may make an event this one: what a bot or program writes for no value is the same in all."""
    return bool(idempotency_key) and "{{" not in str(idempotency_key) and not is_nobody(idempotency_key)


# It must never be what refuses an event: a damaged one counts as missing, as in envelopes of earlier releases.
_Traceparent = Annotated[str, BeforeValidator(traceparent.parse)]


class _Envelope(BaseModel):
    v: Literal[1]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    type: EventType
    received_at: Annotated[datetime, BeforeValidator(to_datetime)]
    source: Annotated[str, Field(min_length=1, max_length=32)]
    payload: dict[str, Any]
    retries: Annotated[int, Field(ge=0, le=MAX_INT)] = 0
    warnings: tuple[dict[str, str], ...] = ()
    extra: dict[str, Any] = {}
    traceparent: _Traceparent = ""
    echo_of: Annotated[datetime | None, BeforeValidator(to_datetime)] = None
    may_echo: bool = False


def from_envelope(envelope: Mapping[str, Any]) -> Event:
    """The event in ``envelope``, validated again: write access to a queue is no proof of validity.

    :raises ContractError: ``invalid``
    """
    try:
        checked = _Envelope.model_validate(envelope)
    except ValidationError as error:
        errors = field_errors(error)
        fields = ", ".join(item["field"] for item in errors)
        raise ContractError(
            ErrorCode.INVALID, sentence("The envelope is damaged: %(fields)s.", fields=fields), errors
        ) from None
    if checked.received_at - datetime.now(timezone.utc) > MAX_CLOCK_SKEW:
        # The product's own clocks are never off by a day. This event would count as newer than all others for ever.
        message = sentence("must not be in the future")
        raise ContractError(
            ErrorCode.INVALID,
            sentence("The envelope is damaged: %(fields)s.", fields=f"received_at {message}"),
            [{"field": "received_at", "message": message}],
        )
    # An old envelope may hold what is left out now. One that was written since gives back what it holds.
    found = read(checked.type, checked.payload, received_at=checked.received_at)
    warnings = [*checked.warnings, *(dict(each) for each in found.warnings if each not in checked.warnings)]
    extra = keep({**found.extra, **checked.extra}, MAX_EXTRA_BYTES, warnings)
    return Event(
        checked.id,
        checked.type,
        checked.received_at,
        checked.source,
        found.payload,
        checked.retries,
        tuple(warnings[:MAX_WARNINGS]),
        extra,
        checked.traceparent,
        checked.echo_of,
        checked.may_echo,
    )


def decode(content: str, *, queue: str, inserted_at: datetime) -> Event:
    """The event in a queue message.

    Besides the envelope this accepts the form of the old producers: a bare payload, in Base64 or as plain JSON. Queue
    and fields give its type. It counts as received when it was inserted, so that a redelivery has the same id.

    :param content: the message's text, as the queue delivered it
    :param queue: name of the queue it came from
    :param inserted_at: when the message was put on the queue, with time zone
    :raises ContractError: ``not_json`` or ``invalid``; ``wrong_queue``: a bare payload has the fields of an event of
        another queue, which the error names
    """
    text = content.strip()
    # A byte order mark may stand before plain JSON: as text, or as bytes that were read as Latin-1.
    plain = text.removeprefix("\ufeff").removeprefix("ï»¿").lstrip()
    body = plain if plain[:1] == "{" else _from_base64(text)
    message = parse_json(body)
    if "v" in message and "payload" in message:
        return from_envelope(message)
    try:
        return accept(type_of(message, queue), message, received_at=inserted_at, source="queue")
    except ContractError as error:
        if error.queue:
            text = sentence("It has the fields of an event of %(queue)s.", queue=error.queue)
            raise ContractError(ErrorCode.WRONG_QUEUE, text, queue=error.queue) from None
        raise


# The URL-safe alphabet's own characters in the standard one (RFC 4648, 5), and what is no content: line breaks, which
# MIME's Base64 has (RFC 2045, 6.8), padding, which follows from the length, a byte order mark, and quotation marks, in
# which a producer that makes JSON of everything puts it.
_STANDARD = str.maketrans("-_", "+/", ' \t\r\n\f\v="\ufeff')


def _from_base64(text: str) -> bytes | str:
    """The content of a Base64 text as old producers write it: in lines, without padding, or in the URL-safe alphabet.

    :return: text if it says that it is UTF-16, in which .NET programs may write
    :raises ContractError: ``not_json``
    """
    letters = text.translate(_STANDARD)
    try:
        content = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
        return content.decode("utf-16") if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else content
    except ValueError as error:  # of a character that Base64 has not, of a length that it cannot have, of UTF-16
        raise ContractError(ErrorCode.NOT_JSON, sentence("The message is neither Base64 nor a JSON object.")) from error


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
