"""The state of an opportunity in Odoo, as Odoo tells the bridge: in decisions, in answers, and when it is asked.

Odoo reads a state while it holds the opportunity's row, so a later state has a later ``as_of``: whichever way a state
takes to SQL, the latest one is the one to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from .fields import Amount, Id, Label, Mendable, Moment, NotKnown, required, to_datetime, to_id

Model = TypeVar("Model", bound=BaseModel)


class Status(str, Enum):
    """Whether the opportunity is being worked on."""

    OPEN = "open"
    #: In a won stage.
    WON = "won"
    #: Lost or archived.
    LOST = "lost"
    #: Deleted in Odoo. The person's next event creates another opportunity.
    DELETED = "deleted"

    __str__ = str.__str__


class Actor(str, Enum):
    """What made a change."""

    #: An event of the conversation.
    CHAT = "chat"
    #: A user of Odoo.
    PERSON = "person"
    #: A server action, an automation or a scheduled action of Odoo.
    AUTOMATION = "automation"
    #: A file that a user imported.
    IMPORT = "import"
    #: Odoo's assignment of opportunities to teams and salespersons.
    ASSIGNMENT = "assignment"
    #: Something else, that a newer addon knows.
    OTHER = "other"

    __str__ = str.__str__


def to_status(value: Any) -> Any:
    """A :class:`Status`; ``None`` if nothing is said.

    :raises NotKnown: a newer addon knows another one
    """
    try:
        return None if value is None else Status(value)
    except ValueError:
        raise NotKnown(Status, None) from None


def to_actor(value: Any) -> Any:
    """An :class:`Actor`.

    :raises NotKnown: a newer addon knows another one
    """
    try:
        return Actor.OTHER if value is None else Actor(value)
    except ValueError:
        raise NotKnown(Actor, Actor.OTHER) from None


class OpportunityState(BaseModel):
    """An opportunity as it is in Odoo, for one of the people whose conversation it follows. No data of the customer.

    :ivar lead_id: Odoo's id of the opportunity
    :ivar as_of: when Odoo read this state, by PostgreSQL's clock
    :ivar status: ``None``: one that this release does not know
    :ivar stage_id: Odoo's id of the stage
    :ivar stage: name of the stage in Odoo, in the language of the database
    :ivar manychat_stage_id: number of the ManyChat stage that is mapped to it
    :ivar manychat_stage: label of that stage
    :ivar lost_reason: only if it is lost
    :ivar salesperson_id: Odoo's id of the user
    :ivar medical_advisor_id: number of the medical adviser in the chat
    :ivar expected_revenue: in ``currency``
    :ivar currency: ISO 4217
    :ivar closed_at: when it was won or lost
    :ivar decided_at: when a person last changed it in Odoo, otherwise than by an answer to the customer
    :ivar first_answered_at: when a user first answered the customer, as far as Odoo knows
    :ivar merged_into: of a person whose own opportunity was merged into this one: Odoo's id of this one
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    lead_id: Annotated[int, BeforeValidator(required), BeforeValidator(to_id)]
    as_of: Annotated[datetime, BeforeValidator(to_datetime), BeforeValidator(required)]
    status: Annotated[Status | None, BeforeValidator(to_status)] = None
    stage_id: Id = None
    stage: Label = None
    manychat_stage_id: Id = None
    manychat_stage: Label = None
    lost_reason: Label = None
    salesperson_id: Id = None
    salesperson: Label = None
    team_id: Id = None
    team: Label = None
    medical_advisor_id: Id = None
    expected_revenue: Amount = None
    currency: Label = None
    closed_at: Moment = None
    decided_at: Moment = None
    first_answered_at: Moment = None
    merged_into: Id = None


def read_state(value: Any) -> OpportunityState | None:
    """The state that Odoo answers. What cannot be read of it is left out: the event that it comes with is applied.

    :param value: JSON; an older addon sends none
    :return: ``None`` if it is none, or does not say of what and of when it is
    """
    return read_answer(OpportunityState, value)


def read_answer(model: type[Model], value: Any) -> Model | None:
    """What can be read of an object that Odoo answers.

    :param value: JSON
    :return: ``None`` if a field is missing or cannot be read without which it means nothing
    """
    fields = dict(value) if isinstance(value, Mapping) else {}
    while True:
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            faults = {str(fault["loc"][0]): (fault.get("ctx") or {}).get("error") for fault in error.errors()}
        if not faults.keys() & fields.keys():
            return None
        for name, cause in faults.items():
            if isinstance(cause, Mendable):
                fields[name] = cause.rest
            else:
                fields.pop(name, None)
