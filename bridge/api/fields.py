"""The fields of the API's bodies and filters: the contract's own rules, and their OpenAPI schemas.

So a phone number sent as a number, a ``""`` or a date without an offset has the same meaning here and in an event.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from ..contract import fields
from ..contract.dates import MAX_CLOCK_SKEW
from ..contract.fields import MAX_INT

_NULL = {"type": "null"}


def _text(limit: int) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "maxLength": limit}, _NULL]})


def _required(value: Any) -> Any:
    if value is None:
        raise ValueError("must not be empty")
    return value


#: Text with at least one visible character.
_VISIBLE = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"[^\s\x00-\x1f\x7f]"}

ManyChatId = Annotated[
    fields.ManyChatId,
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "[1-9A-Za-z]"}),
]
#: In a change: it may be repeated, but not changed.
SameManyChatId = Annotated[fields.Phone, _text(64)]
Name = Annotated[fields.Name, _text(256)]
RequiredName = Annotated[fields.Name, AfterValidator(_required), WithJsonSchema(_VISIBLE)]
Phone = Annotated[fields.Phone, _text(64)]
Email = Annotated[fields.Email, _text(320)]
Label = Annotated[fields.Label, _text(256)]
#: At most as long as a phone number, so it has the same rule.
ShortLabel = Annotated[fields.Phone, _text(64)]
Text = Annotated[fields.Summary, _text(fields.MAX_BODY_BYTES)]
Id = Annotated[fields.Id, WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_INT}, _NULL]})]
_MOMENT = {"anyOf": [{"type": "string", "format": "date-time"}, _NULL]}
Moment = Annotated[fields.Moment, WithJsonSchema(_MOMENT)]


def _is_believed(value: datetime | None) -> datetime | None:
    # As in an event: an assignment dated 9999 would be newer than all later ones, so nothing could replace its adviser.
    if value is not None and value - datetime.now(timezone.utc) > MAX_CLOCK_SKEW:
        raise ValueError("must not be more than 24 hours in the future")
    return value


#: When something happened.
PastMoment = Annotated[
    fields.Moment,
    AfterValidator(_is_believed),
    WithJsonSchema({**_MOMENT, "description": "At most 24 hours in the future."}),
]

_LARGEST = 999_999_999_999


def _to_cents(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


#: Rounded to cents; a JSON number, which at this size is exact.
Money = Annotated[
    Annotated[Decimal, Field(ge=0, le=_LARGEST)] | None,
    AfterValidator(_to_cents),
    PlainSerializer(lambda value: None if value is None else float(value), return_type=float | None),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": _LARGEST}, _NULL]}),
]

# "?manychat_id=" is a mistake of the caller, not a request for all rows.
_PRESENT = AfterValidator(_required)
LabelFilter = Annotated[fields.Label, _PRESENT, WithJsonSchema(_VISIBLE)]
IdFilter = Annotated[fields.Id, _PRESENT, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_INT})]
MomentFilter = Annotated[fields.Moment, _PRESENT, WithJsonSchema({"type": "string", "format": "date-time"})]


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


#: An object that SQL has as JSON.
JsonObject = Annotated[dict[str, Any] | None, BeforeValidator(_from_json)]
#: The fields of an event that the contract does not know.
Extra = Annotated[JsonObject, Field(description="Fields that the contract does not know, as they were sent.")]
#: What an event's webhook warned of.
Warnings = Annotated[
    list[dict[str, str]] | None,
    BeforeValidator(_from_json),
    Field(description="What was left out, cut or not understood: `field` and `message`."),
]

#: A row's id in the address.
RowId = Annotated[int, Field(ge=1, le=MAX_INT)]
