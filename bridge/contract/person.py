"""What a bot may ask about one person, and the answer: the same from Odoo and from the bridge's API.

Odoo answers from its own tables, the API from SQL: a proxy may send a bot to either. Everything but the look-up itself
is here. The answer tells how far the person's opportunity is and who works on it, and nothing else about the person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from pydantic import BaseModel, TypeAdapter, ValidationError

from . import stage_text
from .errors import ContractError
from .fields import Label, ManyChatId, format_datetime
from .opportunity_state import Status, read_answer
from .outcomes import ErrorCode
from .payloads import field_errors
from .sentences import sentence
from .stage_text import Placeholder
from .webhook import of_contract

#: What the address begins with. The person's ManyChat id follows.
PATH = "/api/v1/manychat/people/"
METHOD = "GET"
#: An answer takes this long at most (seconds). The proxy waits four for each of two servers, and ManyChat ten for both.
SECONDS = 3.5
#: How a day is written where the company's language has no form in digits.
DATE_FORMAT = "%d/%m/%Y"

_ID = TypeAdapter(ManyChatId)
# The four parts of PATH, however they are written; a proxy may send a whole URL.
_AFTER_PATH = re.compile(rb"(?:https?://[^/?#]*)?(?:/+[^/?#]+){4}/+([^?#]*)")

_IN_DIGITS = re.compile(r"(%-?[dmyY]|[-/. ])+")


class AnswerFormat(str, Enum):
    """The parameter ``format``."""

    #: Each value under a name, for ManyChat's *Response mapping*.
    FLAT = "flat"
    #: ManyChat's Dynamic Block: the messages themselves.
    DYNAMIC = "dynamic"

    __str__ = str.__str__


class Channel(str, Enum):
    """The parameter ``channel`` of a Dynamic Block: where the conversation is.

    Source: https://manychat.github.io/dynamic_block_docs/ (Messenger has no type there) and …/channels/.
    """

    MESSENGER = "messenger"
    WHATSAPP = "whatsapp"
    INSTAGRAM = "instagram"
    TELEGRAM = "telegram"

    __str__ = str.__str__


@dataclass(frozen=True)
class Question:
    """One request.

    :ivar manychat_id: as an event would name the person
    """

    manychat_id: str
    format: AnswerFormat
    channel: Channel


@dataclass(frozen=True)
class Person:
    """How far a person's opportunity is.

    :ivar stage: label of the ManyChat stage that is mapped to the opportunity's; ``None``: none is
    :ivar stage_id: number of that ManyChat stage
    :ivar odoo_stage: name of the stage in Odoo
    :ivar status: open, won or lost; ``None``: not known yet
    :ivar decided_at: when a person in Odoo last changed the opportunity; ``None``: never
    :ivar as_of: when Odoo had it so; ``None``: not known
    :ivar text: what a sales manager wrote for the stage
    :ivar date_format: how the company's language writes days, as in ``strftime``
    """

    stage: str | None
    stage_id: int | None
    odoo_stage: str | None
    status: Status | None
    salesperson: str | None
    medical_advisor: str | None
    decided_at: datetime | None
    as_of: datetime | None
    text: str | None = None
    date_format: str | None = None


def read_question(target: bytes, query: bytes) -> Question:
    """The question of a request.

    :param target: path of the request as it was sent, still encoded, so that an id may hold any character
    :param query: what follows the ``?``
    :raises WebhookError: 422: the id, the format or the channel cannot be read
    """
    asked = dict(parse_qsl(query.decode("latin-1")))
    found = _AFTER_PATH.match(target)
    encoded = found[1].removesuffix(b"/") if found else b""
    try:
        manychat_id = _ID.validate_python(unquote_to_bytes(encoded).decode("utf-8", "replace"))
    except ValidationError as error:
        (problem, *_) = field_errors(error)
        raise _invalid("manychat_id", problem["message"]) from None
    return Question(
        manychat_id,
        _choice(AnswerFormat, "format", asked, AnswerFormat.FLAT),
        _choice(Channel, "channel", asked, Channel.MESSENGER),
    )


def _choice(choices: Any, name: str, asked: Mapping[str, str], default: Any) -> Any:
    value = asked.get(name, "").strip().lower()
    try:
        return choices(value) if value else default
    except ValueError:
        known = ", ".join(each.value for each in choices)
        raise _invalid(name, sentence("must be one of: %(choices)s", choices=known)) from None


def _invalid(field: str, message: str) -> Exception:
    error = {"field": field, "message": message}
    return of_contract(ContractError(ErrorCode.INVALID, f"{field}: {message}", [error]))


def answer(question: Question, person: Person | None, *, now: datetime, zone: tzinfo) -> dict[str, Any]:
    """The body of the 200. A person without an opportunity gets one too: ManyChat maps no other status.

    :param person: ``None`` for one without an opportunity
    :param now: with time zone
    :param zone: in which the bot's days begin: that of its key
    """
    if question.format is AnswerFormat.DYNAMIC:
        return _dynamic(question.channel, person, zone)
    decided_at, as_of = person and person.decided_at, person and person.as_of
    return {
        "status": "ok",
        "manychat_id": question.manychat_id,
        "found": person is not None,
        "stage": person and person.stage,
        "stage_id": person and person.stage_id,
        "odoo_stage": person and person.odoo_stage,
        "opportunity": person and person.status and person.status.value,
        "salesperson": person and person.salesperson,
        "medical_advisor": person and person.medical_advisor,
        "decided_at": decided_at and format_datetime(decided_at),
        "as_of": as_of and format_datetime(as_of),
        "age_seconds": max(int((now - as_of).total_seconds()), 0) if as_of else None,
    }


def _dynamic(channel: Channel, person: Person | None, zone: tzinfo) -> dict[str, Any]:
    texts = _texts(person, zone) if person and person.status in (Status.OPEN, Status.WON) else []
    content: dict[str, Any] = {"messages": [{"type": "text", "text": text} for text in texts]}
    if channel is not Channel.MESSENGER:
        content = {"type": channel.value, **content}
    return {"version": "v2", "content": content}


def _texts(person: Person, zone: tzinfo) -> list[str]:
    day = person.decided_at and person.decided_at.astimezone(zone)
    values = {
        Placeholder.STAGE.value: person.stage,
        Placeholder.SALESPERSON.value: person.salesperson,
        Placeholder.MEDICAL_ADVISOR.value: person.medical_advisor,
        Placeholder.DECIDED_ON.value: day.strftime(day_format(person.date_format)) if day else None,
    }
    return stage_text.messages(person.text or "", values)


def day_format(of_language: str | None) -> str:
    """How days are written to customers: as a language does, if that is in digits.

    Names of days and months would be in the language of the server.
    """
    return of_language if of_language and _IN_DIGITS.fullmatch(of_language) else DATE_FORMAT


class _Named(BaseModel):
    name: Label = None


def as_in_sql(name: str | None) -> str | None:
    """A name in Odoo as an opportunity's state brings it to SQL: other spaces, what is too long for it."""
    read = read_answer(_Named, {"name": name and name[:256]})
    return read.name if read else None


def name_of(advisor: str | None) -> str | None:
    """An adviser's name; ``None`` while it is only the number that the chat sent."""
    name = (advisor or "").strip()
    return name if name and not name.isdigit() else None
