"""The event contract: what ManyChat may send, and how an event travels on a queue.

The Odoo addon, the bridge's API and its workers all import this module, so that an event means the same in each of
them. It imports nothing of ours and nothing but pydantic, because it is installed beside Odoo.

Three layers, from the outside in:

* :func:`parse_json` turns bytes into a JSON object, strictly;
* the payload models (:class:`Contact`, :class:`CampaignAssignment`, :class:`CampaignContact`, :class:`Opportunity`)
  say what each event carries, and forgive what real ManyChat bots send;
* :class:`Event` is one accepted event, with the id that makes it recognisable for ever; :meth:`Event.encode` and
  :func:`decode` are its form on the queue.

Everything that fails raises :class:`ContractError`, whose ``errors`` name the fields for the person who builds the bot.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

CONTACT_QUEUE = "manychat-contact-queue"
CAMPAIGN_QUEUE = "manychat-campaign-queue"
OPPORTUNITY_QUEUE = "manychat-crm-opportunities-queue"
DEAD_LETTER_QUEUE = "dead-letter-queue"

#: Largest request body, in bytes. It still fits on a queue after normalising, enveloping and Base64.
MAX_BODY_BYTES = 32 * 1024
#: Azure Storage Queue's own limit for one message, in characters of its (Base64) text.
#: https://learn.microsoft.com/rest/api/storageservices/put-message
MAX_MESSAGE_CHARS = 65_536
#: Deepest nesting of a body. Ours is two levels; a bot's own extra fields get some room.
MAX_JSON_DEPTH = 16
#: How far ahead of its receipt an event may be dated before it is ordered by its receipt instead:
#: one wrong clock must not freeze an opportunity for ever.
MAX_CLOCK_SKEW = timedelta(hours=24)
#: Odoo's and SQL's 32-bit integers.
MAX_INT = 2**31 - 1


class EventType(str, Enum):
    """What happened in the chat. The value is the ``type`` of the envelope."""

    CONTACT = "contact"
    CAMPAIGN_ASSIGNMENT = "campaign_assignment"
    CAMPAIGN_CONTACT = "campaign_contact"
    OPPORTUNITY = "opportunity"

    @property
    def queue(self) -> str:
        """Name of the Azure Storage Queue that carries this type."""
        return _QUEUES[self]

    @property
    def model(self) -> type[Payload]:
        """The payload model of this type."""
        return _MODELS[self]


class ContractError(ValueError):
    """An event that does not keep the contract, in words for whoever sends it.

    :ivar code: ``not_json`` (the body is no JSON object) or ``invalid`` (a field breaks a rule)
    :ivar errors: ``[{"field": "state.stage_id", "message": "…"}]``, empty for ``not_json``
    """

    def __init__(self, code: str, message: str, errors: list[dict[str, str]] | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = errors or []


# --- JSON ------------------------------------------------------------------------------------------------------------


def parse_json(body: bytes | str) -> dict[str, Any]:
    """Parse ``body`` as one JSON object in UTF-8, refusing what parsers disagree about.

    Two slips of bots that leave no doubt are forgiven: a placeholder that was not resolved and stands without quotation
    marks, which is an empty field, and a line break within a text.

    :raises ContractError: ``not_json``: not UTF-8, not JSON (``NaN`` is not), not an object, a name twice in one object
        (which of the two would count?), or nested deeper than :data:`MAX_JSON_DEPTH`
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        value = _loads(text)
    except UnicodeDecodeError as error:
        raise ContractError("not_json", "The body is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        raise ContractError(
            "not_json", f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from error
    except RecursionError as error:
        raise ContractError("not_json", "The body is nested too deeply.") from error
    except ContractError:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise ContractError("not_json", "The body holds a number that is too long.") from error
    if not isinstance(value, dict):
        raise ContractError("not_json", "The body must be a JSON object: {…}.")
    if _depth(value) > MAX_JSON_DEPTH:
        raise ContractError("not_json", "The body is nested too deeply.")
    return value


# A text, or what a bot left of a placeholder beside one: {{first_name|fallback:""|to_json:true}}.
_TEXT_OR_PLACEHOLDER = re.compile(r'"(?:\\.|[^"\\])*"|\{\{[^{}]*\}\}', re.DOTALL)


def _loads(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        mended = _TEXT_OR_PLACEHOLDER.sub(lambda found: found[0] if found[0].startswith('"') else "null", text)
        try:
            return json.loads(mended, strict=False, object_pairs_hook=_object, parse_constant=_refuse_constant)
        except json.JSONDecodeError:
            raise error from None  # which names the place in the text as it came


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ContractError("not_json", f"The field “{_clean(twice)[:64]}” stands twice in the body.")
    return value


def _refuse_constant(name: str) -> Any:
    raise ContractError("not_json", f"The body is not JSON: {name} is not a JSON value.")


def _depth(value: Any) -> int:
    """Nesting of ``value``, counted without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return deepest


# --- What ManyChat really sends --------------------------------------------------------------------------------------

# A field that the bot could not fill arrives as its own placeholder: "{{first_name}}", "{{cuf_12345}}".
_PLACEHOLDER = re.compile(r"^\{\{[^{}]*\}\}$")
# Control characters carry no meaning in a name or a summary, and PostgreSQL refuses NUL. Tab and newline may stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _clean(text: str) -> str:
    """``text`` in NFC, without control characters, and without half an emoji (a lone surrogate) left over by a cut."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize("NFC", _CONTROL.sub("", text))


def _empty_to_none(value: Any) -> Any:
    """The ways in which a bot says “nothing”: ``""``, blanks, ``null``, an unresolved placeholder."""
    if isinstance(value, str):
        value = _clean(value).strip()
        if not value or _PLACEHOLDER.match(value):
            return None
    return value


def _to_text(value: Any) -> Any:
    """Text; a number becomes its digits, since ManyChat turns numeric-looking fields into numbers."""
    value = _empty_to_none(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be text")
    if isinstance(value, float):
        if not math.isfinite(value):  # 1e400 is JSON; as text it would be a person called "inf"
            raise ValueError("must be text, or a number of a size that there is")
        if value.is_integer():
            value = int(value)
    return str(value)


def _to_person(value: Any) -> Any:
    """A ManyChat id as text. ``0`` is none: taken for an id, it would make one person of all who have none."""
    value = _to_text(value)
    return None if value == "0" else value


def _to_id(value: Any) -> Any:
    """A positive whole number, also as text; ``0`` means “none” (the user's own example sends it for “no adviser”)."""
    value = _empty_to_none(value)
    if value is None:
        return None
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    if isinstance(value, str):
        # int() would also take "1_000" and other alphabets' digits.
        if not re.fullmatch(r"\+?[0-9]{1,20}(\.0*)?", value):
            raise ValueError("must be a whole number")
        value = int(value.split(".")[0])
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("must be a whole number")
        value = int(value)
    if not isinstance(value, int):
        raise ValueError("must be a whole number")
    if not 0 <= value <= MAX_INT:
        raise ValueError(f"must be between 0 and {MAX_INT}")
    return value or None


def _to_datetime(value: Any) -> Any:
    """An ISO 8601 date and time in UTC; one without an offset already is UTC; a date alone is its midnight."""
    value = _empty_to_none(value)
    if value is None:
        return None
    message = "must be a date and time such as 2025-07-11T17:14:31Z"
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = _parse_iso(value, message)
    else:
        raise ValueError(message)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        moment = moment.astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError(message) from error
    if moment.year < 1970:
        raise ValueError("must be after 1970")
    return moment


# Date, then optionally time with optional seconds and fraction, then optionally an offset.
_ISO = re.compile(
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:[.,](\d{1,9}))?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?$",
    re.IGNORECASE | re.ASCII,
)


def _parse_iso(text: str, message: str) -> datetime:
    # Python 3.10's fromisoformat knows neither “Z” nor fractions of other than 3 or 6 digits.
    match = _ISO.match(text)
    if not match:
        raise ValueError(message)
    date, clock, seconds, fraction, offset = match.groups()
    offset = (offset or "").upper().replace(":", "")
    if offset == "Z":
        offset = "+0000"
    elif len(offset) == 3:
        offset += "00"
    try:
        return datetime.fromisoformat(
            f"{date}T{clock or '00:00'}{seconds or ':00'}.{(fraction or '').ljust(6, '0')[:6]}"
            + (f"{offset[:3]}:{offset[3:]}" if offset else "")
        )
    except ValueError as error:
        raise ValueError(message) from error


def _required(value: Any) -> Any:
    if value is None:
        raise ValueError("must not be empty")
    return value


def _at_most(limit: int) -> AfterValidator:
    def check(value: str | None) -> str | None:
        # Counted as SQL Server counts what fits into a column: an emoji is two.
        if value is not None and len(value.encode("utf-16-le", "surrogatepass")) > 2 * limit:
            raise ValueError(f"must have at most {limit} characters")
        return value

    return AfterValidator(check)


ManyChatId = Annotated[str, BeforeValidator(_required), BeforeValidator(_to_person), _at_most(64)]
Name = Annotated[str | None, BeforeValidator(_to_text), _at_most(256)]
Phone = Annotated[str | None, BeforeValidator(_to_text), _at_most(64)]
Email = Annotated[str | None, BeforeValidator(_to_text), _at_most(320)]
Label = Annotated[str | None, BeforeValidator(_to_text), _at_most(256)]
Summary = Annotated[str | None, BeforeValidator(_to_text), _at_most(MAX_BODY_BYTES)]
Id = Annotated[int | None, BeforeValidator(_to_id)]
Moment = Annotated[datetime | None, BeforeValidator(_to_datetime)]


def normalize_label(label: str) -> str:
    """The form in which two stage labels are compared: NFC, trimmed, inner spaces collapsed, case folded."""
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", label).split()).casefold())


# --- Payloads --------------------------------------------------------------------------------------------------------


class Payload(BaseModel):
    """Base of the four payloads. Fields the contract does not know are accepted and dropped."""

    # frozen: an event's id is computed from its payload, so the payload must not change afterwards.
    model_config = ConfigDict(extra="ignore", frozen=True)

    manychat_id: ManyChatId

    @property
    def date(self) -> datetime | None:
        """When it happened, by the sender's clock, in UTC; ``None`` if the event does not say."""
        raise NotImplementedError

    def canonical(self) -> dict[str, Any]:
        """JSON form, normalised: dates in UTC with microseconds, empty fields left out."""
        return _canonical(self.model_dump())


def _canonical(fields: dict[str, Any]) -> dict[str, Any]:
    canonical: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            canonical[name] = _canonical(value)
        elif isinstance(value, datetime):
            canonical[name] = format_datetime(value)
        elif value is not None:
            canonical[name] = value
    return canonical


class Contact(Payload):
    """A person subscribed, or what is known of them changed. Stored in SQL only, never in Odoo."""

    nombre_lead: Name = None
    apellido_lead: Name = None
    whatsapp: Phone = None
    email_lead: Email = None
    datetime_suscripcion: Moment = None
    datetime_actual: Moment = None
    ultimo_estado: Label = None
    canal_entrada: Label = None
    estado_inicial: Label = None

    @property
    def date(self) -> datetime | None:
        return self.datetime_actual


class CampaignAssignment(Payload):
    """A contact was assigned to a campaign, with a commercial or medical adviser."""

    campaign_id: Id = None
    comercial_id: Id = None
    medico_id: Id = None
    datetime_actual: Moment = None
    ultimo_estado: Label = None
    tipo_asignacion: Label = None
    summary: Summary = None

    @property
    def date(self) -> datetime | None:
        return self.datetime_actual

    @model_validator(mode="after")
    def _needs_campaign(self) -> CampaignAssignment:
        if self.campaign_id is None:
            raise ValueError("campaign_id: must not be empty")
        return self


class CampaignContact(Payload):
    """An update of a contact's campaign assignment; without ``campaign_id``, of the most recent one."""

    campaign_id: Id = None
    medical_advisor_id: Id = None
    medical_assignment_date: Moment = None
    commercial_advisor_id: Id = None
    commercial_assignment_date: Moment = None
    last_state: Label = None
    summary: Summary = None

    @property
    def date(self) -> datetime | None:
        # The assignment dates say when an adviser was assigned, not when this update was made.
        return None


class State(BaseModel):
    """Where the conversation stands: a ManyChat stage by number or by label, when, and a summary so far."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stage_id: Id = None
    stage: Label = None
    summary: Summary = None
    date: Moment = None

    @model_validator(mode="after")
    def _needs_stage(self) -> State:
        if self.stage_id is None and self.stage is None:
            raise ValueError("stage_id: give the ManyChat stage as stage_id (a number) or as stage (its label)")
        return self


class Opportunity(Payload):
    """A conversation entered a stage: creates the person's opportunity in Odoo, or moves it."""

    first_name: Name = None
    last_name: Name = None
    phone: Phone = None
    channel: Label = None
    entry_date: Moment = None
    medical_advisor_id: Id = None
    commercial_advisor_id: Id = None
    state: State

    @property
    def date(self) -> datetime | None:
        return self.state.date


_QUEUES = {
    EventType.CONTACT: CONTACT_QUEUE,
    EventType.CAMPAIGN_ASSIGNMENT: CAMPAIGN_QUEUE,
    EventType.CAMPAIGN_CONTACT: CAMPAIGN_QUEUE,
    EventType.OPPORTUNITY: OPPORTUNITY_QUEUE,
}
_MODELS: dict[EventType, type[Payload]] = {
    EventType.CONTACT: Contact,
    EventType.CAMPAIGN_ASSIGNMENT: CampaignAssignment,
    EventType.CAMPAIGN_CONTACT: CampaignContact,
    EventType.OPPORTUNITY: Opportunity,
}


def parse_payload(event_type: EventType, payload: Mapping[str, Any]) -> Payload:
    """Validate ``payload`` as an event of ``event_type``.

    :raises ContractError: ``invalid``, with one entry in ``errors`` for each field that breaks a rule
    """
    try:
        return event_type.model.model_validate(payload)
    except ValidationError as error:
        errors = [_field_error(item) for item in error.errors(include_url=False, include_input=False)]
        message = "; ".join(f"{item['field']}: {item['message']}" for item in errors)
        raise ContractError("invalid", message, errors) from None


def _field_error(item: Any) -> dict[str, str]:
    """One pydantic error as ``{"field", "message"}``; never the value itself, which may be a person's data."""
    path = [str(part) for part in item["loc"]]
    message = item["msg"].removeprefix("Value error, ")
    # A rule on several fields names the one to fill in: "stage_id: give …".
    named = re.match(r"^([a-z_]+): (.*)$", message)
    if named:
        path.append(named[1])
        message = named[2]
    elif item["type"] == "missing":
        message = "must not be empty"
    elif item["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be an object: {…}"
    return {"field": ".".join(path), "message": message}


# --- The event and its envelope --------------------------------------------------------------------------------------


def format_datetime(moment: datetime) -> str:
    """``moment`` as ISO 8601 in UTC with microseconds and ``Z``, so that text sorts as time does.

    :raises ValueError: ``moment`` has no time zone
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    # strftime's %Y does not pad years on every platform.
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@dataclass(frozen=True)
class Event:
    """One accepted event.

    :ivar id: SHA-256 in hex: the same event sent again has the same id
    :ivar received_at: when we took it in, UTC
    :ivar source: who took it in: ``odoo``, ``api``, ``queue`` (a bare payload found on a queue) or ``cli``
    :ivar retries: how often a person had Odoo send it again; what was decided about it before holds no longer
    """

    id: str
    type: EventType
    received_at: datetime
    source: str
    payload: Payload
    retries: int = 0

    @property
    def manychat_id(self) -> str:
        return self.payload.manychat_id

    @property
    def occurred_at(self) -> datetime:
        """When it happened, for ordering: the sender's date; the receipt if there is none, or one far in the future."""
        date = self.payload.date
        if date is None or date - self.received_at > MAX_CLOCK_SKEW:
            return self.received_at
        return date

    @property
    def clock_is_wrong(self) -> bool:
        """Whether the sender's date lay so far ahead that :attr:`occurred_at` ignores it."""
        return self.payload.date is not None and self.occurred_at != self.payload.date

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Sorts events of one person: by when they happened, then by receipt, then by id."""
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
        }
        return {**envelope, "retries": self.retries} if self.retries else envelope

    def encode(self) -> str:
        """The text of the queue message: the envelope as JSON in Base64.

        Base64, since a raw control character would make a message undeliverable (the queue's API speaks XML).
        """
        return base64.b64encode(_dumps(self.envelope())).decode("ascii")


def accept(
    event_type: EventType,
    payload: Mapping[str, Any],
    *,
    received_at: datetime,
    source: str,
    idempotency_key: str | None = None,
) -> Event:
    """Validate ``payload`` and make it an :class:`Event`.

    :param received_at: when the request or message arrived, with time zone
    :param idempotency_key: the request's ``Idempotency-Key`` header. It only tells events with equal payloads apart:
        alone it would let a constant pasted into a bot swallow every later event.
    :raises ContractError: ``invalid``: a field breaks a rule, or the event as a whole is too long for its queue
    """
    parsed = parse_payload(event_type, payload)
    identity: list[Any] = [idempotency_key or "", event_type.value, parsed.canonical()]
    if parsed.date is None:
        # Without a date of its own the same content may rightly come again later: A → B → A are three events.
        identity.append(format_datetime(received_at))
    event = Event(hashlib.sha256(_dumps(identity)).hexdigest(), event_type, received_at, source, parsed)
    if len(event.encode()) > MAX_MESSAGE_CHARS:
        # A body within the limit may still be too long: normalising makes a few rare characters three times as long.
        raise ContractError("invalid", "The event is too long for the queue.", [])
    return event


class _Envelope(BaseModel):
    v: Literal[1]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    type: EventType
    received_at: Annotated[datetime, BeforeValidator(_to_datetime)]
    source: Annotated[str, Field(min_length=1, max_length=32)]
    payload: dict[str, Any]
    retries: Annotated[int, Field(ge=0, le=MAX_INT)] = 0


def from_envelope(envelope: Mapping[str, Any]) -> Event:
    """The event in ``envelope``, validated again: whoever can write to a queue is not thereby trusted.

    :raises ContractError: ``invalid``
    """
    try:
        checked = _Envelope.model_validate(envelope)
    except ValidationError as error:
        errors = [_field_error(item) for item in error.errors(include_url=False, include_input=False)]
        fields = ", ".join(item["field"] for item in errors)
        raise ContractError("invalid", f"The envelope is damaged: {fields}.", errors) from None
    if checked.received_at - datetime.now(timezone.utc) > MAX_CLOCK_SKEW:
        # Our own clocks do not err by a day. Believed, it would put this event after all others for ever.
        message = "must not lie in the future"
        raise ContractError(
            "invalid",
            f"The envelope is damaged: received_at {message}.",
            [{"field": "received_at", "message": message}],
        )
    payload = parse_payload(checked.type, checked.payload)
    return Event(checked.id, checked.type, checked.received_at, checked.source, payload, checked.retries)


def decode(content: str, *, queue: str, inserted_at: datetime) -> Event:
    """The event in a queue message.

    Besides our envelope this accepts the old producers' form, a bare payload, in Base64 or as plain JSON; its type
    follows from the queue, and it counts as received when it was put there, so that a redelivery has the same id.

    :param content: the message's text, as the queue delivered it
    :param queue: name of the queue it came from
    :param inserted_at: when the message was put on the queue, with time zone
    :raises ContractError: ``not_json`` or ``invalid``
    """
    if content.lstrip()[:1] == "{":
        body: bytes | str = content
    else:
        try:
            body = base64.b64decode(content.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ContractError("not_json", "The message is neither Base64 nor a JSON object.") from error
    message = parse_json(body)
    if "v" in message and "payload" in message:
        return from_envelope(message)
    return accept(_bare_type(queue, message), message, received_at=inserted_at, source="queue")


def _bare_type(queue: str, message: Mapping[str, Any]) -> EventType:
    if queue == CONTACT_QUEUE:
        return EventType.CONTACT
    if queue == OPPORTUNITY_QUEUE:
        return EventType.OPPORTUNITY
    assignment_only = CampaignAssignment.model_fields.keys() - CampaignContact.model_fields.keys()
    return EventType.CAMPAIGN_ASSIGNMENT if assignment_only & message.keys() else EventType.CAMPAIGN_CONTACT


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
