"""The payloads, and the registry of event types: what each event carries and where it goes.

:class:`EventType` is the one list of events. Routes, queues, command line, monitoring, the addon's fields and routes,
and the example proxy iterate over it. A new type is a payload model, an example and an :class:`EventSpec`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from . import examples
from .errors import ContractError
from .fields import Email, Id, Label, ManyChatId, Moment, Name, NotKnown, Phone, Summary, format_datetime
from .opportunity_state import Actor, OpportunityState, to_actor
from .outcomes import ErrorCode
from .sentences import sentence


class EventQueue(str, Enum):
    """The queues that carry events. The value is the name that the command line uses.

    :ivar azure_name: name of the Azure Storage Queue
    """

    _value_: str
    azure_name: str

    def __new__(cls, name: str, azure_name: str = "") -> EventQueue:
        member = str.__new__(cls, name)
        member._value_ = name
        member.azure_name = azure_name
        return member

    CONTACT = "contact", "manychat-contact-queue"
    CAMPAIGN = "campaign", "manychat-campaign-queue"
    OPPORTUNITY = "opportunity", "manychat-crm-opportunities-queue"
    DECISION = "decision", "odoo-decision-queue"


#: Names in Azure, by the names that the command line uses.
QUEUES: dict[str, str] = {each.value: each.azure_name for each in EventQueue}
CONTACT_QUEUE = EventQueue.CONTACT.azure_name
CAMPAIGN_QUEUE = EventQueue.CAMPAIGN.azure_name
OPPORTUNITY_QUEUE = EventQueue.OPPORTUNITY.azure_name
DECISION_QUEUE = EventQueue.DECISION.azure_name
#: Takes a notice of each dead letter. It carries no events.
DEAD_LETTER_QUEUE = "dead-letter-queue"
#: Of people of whom ManyChat must get something, which is no event.
OUTBOUND_QUEUE = "manychat-outbound-queue"


class Payload(BaseModel):
    """Base of the payloads. :func:`.reading.read` keeps the fields that a payload does not know.

    :cvar date_field: name of the field that :attr:`date` comes from
    """

    # frozen: an event's id is computed from its payload, so the payload must not change afterwards.
    model_config = ConfigDict(extra="ignore", frozen=True)

    date_field: ClassVar[str] = ""

    manychat_id: ManyChatId

    @property
    def date(self) -> datetime | None:
        """When it happened, by the sender's clock, in UTC; ``None`` if the payload has no date."""
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
        elif isinstance(value, Enum):
            canonical[name] = value.value
        elif isinstance(value, tuple):
            canonical[name] = [each.value if isinstance(each, Enum) else each for each in value]
        elif value is not None:
            canonical[name] = value
    return canonical


class Contact(Payload):
    """A person subscribed, or their data changed. Stored in SQL only, never in Odoo."""

    date_field = "datetime_actual"

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

    date_field = "datetime_actual"

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
            raise ValueError(f"campaign_id: {sentence('must not be empty')}")
        return self


class CampaignContact(Payload):
    """An update of a contact's campaign assignment; without ``campaign_id``, of the most recent one."""

    date_field = "datetime_actual"

    campaign_id: Id = None
    medical_advisor_id: Id = None
    medical_assignment_date: Moment = None
    commercial_advisor_id: Id = None
    commercial_assignment_date: Moment = None
    datetime_actual: Moment = None
    last_state: Label = None
    summary: Summary = None

    @property
    def has_news(self) -> bool:
        """Whether it says anything besides whom and which campaign it is about."""
        return bool(self.canonical().keys() - {"manychat_id", "campaign_id", "datetime_actual"})

    @property
    def date(self) -> datetime | None:
        # The assignment dates say when an adviser was assigned, not when this update was made.
        return self.datetime_actual


class State(BaseModel):
    """Stage of a conversation: a ManyChat stage by number or by label, its date, and a summary so far."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stage_id: Id = None
    stage: Label = None
    summary: Summary = None
    date: Moment = None

    @model_validator(mode="after")
    def _needs_stage(self) -> State:
        if self.stage_id is None and self.stage is None:
            text = sentence("give the ManyChat stage as stage_id (a number) or as stage (its label)")
            raise ValueError(f"stage_id: {text}")
        return self


class Opportunity(Payload):
    """A conversation entered a stage. Creates the person's opportunity in Odoo, or moves it."""

    date_field = "state.date"

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


class Decided(str, Enum):
    """What a decision changed of an opportunity."""

    STAGE = "stage"
    WON = "won"
    LOST = "lost"
    RESTORED = "restored"
    SALESPERSON = "salesperson"
    TEAM = "team"
    #: The medical adviser.
    ADVISOR = "advisor"
    REVENUE = "revenue"
    ANSWERED = "answered"
    MERGED = "merged"
    DELETED = "deleted"
    #: Something else that the state says: the currency, when it was closed, that it is no longer a merged one.
    DETAIL = "detail"

    __str__ = str.__str__


def _to_decided(value: Any) -> Any:
    """What a decision changed: those that this release knows.

    :raises NotKnown: a newer addon knows more
    """
    words = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else []
    known = [Decided(word) for word in words if word in [each.value for each in Decided]]
    if len(known) < len(words):
        raise NotKnown(Decided, known)
    return tuple(known)


class Decision(Payload):
    """One transaction of Odoo changed an opportunity that follows a conversation, and not because of an event.

    It has one message for each person whose conversation the opportunity follows.

    :ivar decided: what changed; empty if a newer addon tells only of what this release does not know
    :ivar by: what changed it
    :ivar user_id: Odoo's id of the user; ``None`` if no user did
    :ivar stage_before: name of the stage before; ``None`` if the opportunity was in none: it was lost
    :ivar state: of the opportunity after the change
    """

    decided: Annotated[tuple[Decided, ...], BeforeValidator(_to_decided)] = ()
    by: Annotated[Actor, BeforeValidator(to_actor)] = Actor.OTHER
    user_id: Id = None
    stage_before_id: Id = None
    stage_before: Label = None
    state: OpportunityState

    date_field = "state.as_of"

    @property
    def date(self) -> datetime | None:
        return self.state.as_of


Model = type[Payload]


@dataclass(frozen=True)
class EventSpec:
    """Everything that other modules need to know about one type of event.

    :ivar type: value of ``type`` in the envelope
    :ivar model: of its payload
    :ivar method: HTTP method of its webhook; empty if it has none
    :ivar path: path of its webhook; empty if it has none: Odoo makes such events itself
    :ivar title: one line for API descriptions
    :ivar label: name of the type in Odoo
    :ivar example: a payload, for API descriptions and tests
    :ivar telling: fields by which one sees that a body is of this type, and not of one with other queues
    :ivar aliases: other names that its webhook takes for a field, by the field
    :ivar contact_data: the names in ManyChat's *Full Contact Data* that mean a field, the best first, by the field.
        ``custom_fields.x`` is the custom field x
    """

    type: str
    queue: EventQueue
    model: Model
    method: str
    path: str
    title: str
    label: str
    example: Mapping[str, Any]
    telling: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    contact_data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class EventType(str, Enum):
    """What happened in the chat: the registry. The value is the ``type`` of the envelope.

    Among types that share a queue, the last one is assumed for a bare payload whose fields do not say its type.
    """

    _value_: str
    spec: EventSpec

    # spec: EventSpec. Any, because mypy checks EventType("contact") against this signature too.
    def __new__(cls, spec: Any) -> EventType:
        member = str.__new__(cls, spec.type)
        member._value_ = spec.type
        member.spec = spec
        return member

    CONTACT = EventSpec(
        type="contact",
        queue=EventQueue.CONTACT,
        model=Contact,
        method="POST",
        path="/api/v1/manychat/webhook/contact",
        title="A person subscribed, or their data changed",
        label="Contact",
        example=examples.CONTACT,
        telling=(
            *("nombre_lead", "apellido_lead", "whatsapp", "email_lead", "datetime_suscripcion"),
            *("canal_entrada", "estado_inicial"),
        ),
        contact_data={
            "manychat_id": ("id",),
            "nombre_lead": ("first_name", "name"),
            "apellido_lead": ("last_name",),
            "whatsapp": ("whatsapp_phone", "phone"),
            "email_lead": ("email",),
            "datetime_suscripcion": ("subscribed",),
        },
    )
    CAMPAIGN_ASSIGNMENT = EventSpec(
        type="campaign_assignment",
        queue=EventQueue.CAMPAIGN,
        model=CampaignAssignment,
        method="POST",
        path="/api/v1/manychat/webhook/campaign-assignment",
        title="A person was assigned to a campaign",
        label="Campaign Assignment",
        example=examples.CAMPAIGN_ASSIGNMENT,
        telling=("campaign_id", "comercial_id", "medico_id", "tipo_asignacion"),
        aliases={
            "comercial_id": "commercial_advisor_id",
            "medico_id": "medical_advisor_id",
            "ultimo_estado": "last_state",
        },
        contact_data={"manychat_id": ("id",)},
    )
    CAMPAIGN_CONTACT = EventSpec(
        type="campaign_contact",
        queue=EventQueue.CAMPAIGN,
        model=CampaignContact,
        method="PUT",
        path="/api/v1/manychat/campaign-contacts/update-by-manychat-id",
        title="An update of that assignment",
        label="Campaign Contact Update",
        example=examples.CAMPAIGN_CONTACT,
        telling=("campaign_id", "last_state", "medical_assignment_date", "commercial_assignment_date"),
        aliases={
            "commercial_advisor_id": "comercial_id",
            "medical_advisor_id": "medico_id",
            "last_state": "ultimo_estado",
        },
        contact_data={"manychat_id": ("id",)},
    )
    OPPORTUNITY = EventSpec(
        type="opportunity",
        queue=EventQueue.OPPORTUNITY,
        model=Opportunity,
        method="POST",
        path="/api/v1/manychat/webhook/crm-opportunity",
        title="A conversation entered a stage",
        label="Opportunity",
        example=examples.OPPORTUNITY,
        telling=("state",),
        contact_data={
            "manychat_id": ("id",),
            "first_name": ("name",),
            "phone": ("whatsapp_phone",),
            "channel": ("custom_fields.canal", "custom_fields.canal_entrada"),
            "entry_date": ("custom_fields.fecha_entrada",),
            "medical_advisor_id": ("custom_fields.medico_id",),
            "commercial_advisor_id": ("custom_fields.comercial_id",),
            # A number in one of the last two is an id too; a text is a label.
            "state.stage_id": tuple(
                f"custom_fields.{name}"
                for name in ("stage_id", "manychat_stage_id", "etapa_id", "id_etapa", "stage", "etapa")
            ),
            "state.stage": ("custom_fields.stage", "custom_fields.etapa"),
            "state.summary": ("custom_fields.summary", "custom_fields.resumen", "last_input_text"),
            "state.date": ("custom_fields.stage_date", "custom_fields.fecha_etapa"),
        },
    )
    DECISION = EventSpec(
        type="decision",
        queue=EventQueue.DECISION,
        model=Decision,
        method="",
        path="",
        title="A user of Odoo changed an opportunity",
        label="Decision in Odoo",
        example=examples.DECISION,
    )

    @property
    def queue(self) -> str:
        """Name of the Azure Storage Queue that carries this type."""
        return self.spec.queue.azure_name

    @property
    def model(self) -> Model:
        """The payload model of this type."""
        return self.spec.model

    @property
    def route(self) -> tuple[str, str]:
        """Method and path of this type's webhook."""
        return self.spec.method, self.spec.path


#: The types that bots send.
WEBHOOKS: tuple[EventType, ...] = tuple(each for each in EventType if each.spec.path)


def type_of(payload: Mapping[str, Any], queue: str) -> EventType:
    """The type of a bare payload on ``queue``, by the fields that only one of the queue's types has.

    :raises ContractError: ``invalid``: the queue carries no events
    """
    candidates = [each for each in EventType if each.queue == queue]
    if not candidates:
        raise ContractError(ErrorCode.INVALID, sentence("The queue %(queue)s carries no events.", queue=queue))
    *others, assumed = candidates
    for event_type in others:
        if own_fields(event_type, candidates) & payload.keys():
            return event_type
        # The old producers' updates have no date of their own.
        if event_type.model.date_field in payload and not own_fields(assumed, candidates) & payload.keys():
            return event_type
    return assumed


def own_fields(event_type: EventType, among: Iterable[EventType]) -> set[str]:
    """The payload fields that ``event_type`` has and no other type of ``among`` has."""
    shared = {name for other in among if other is not event_type for name in other.model.model_fields}
    return event_type.model.model_fields.keys() - shared


def field_errors(error: ValidationError) -> list[dict[str, str]]:
    """The errors of ``error`` as ``{"field", "message"}``, without the rejected values: they may be personal data."""
    return [field_error(item) for item in error.errors(include_url=False, include_input=False)]


def field_error(item: Any) -> dict[str, str]:
    """One of pydantic's errors as ``{"field", "message"}``."""
    path = [str(part) for part in item["loc"]]
    message = item["msg"].removeprefix("Value error, ")
    # A rule on several fields names the one to fill in: "stage_id: give …".
    named = re.match(r"^([a-z_]+): (.*)$", message)
    if named:
        path.append(named[1])
        message = named[2]
    elif item["type"] == "missing":
        message = sentence("must not be empty")
    elif item["type"] == "extra_forbidden":
        message = sentence("is not known here")
    elif item["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = sentence("must be an object: {…}")
    return {"field": ".".join(path), "message": message}
