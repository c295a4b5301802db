"""The file that says which of the user's tables and columns are which of ours."""

from __future__ import annotations

import sys
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ..errors import ConfigurationError
from ..store.schema import Moment, metadata

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Field:
    """What a row of ours takes from theirs.

    :ivar kind: "text", "integer", "number", "moment", or what their column refers to: "contact" or "channel"
    :ivar length: of a text, in UTF-16 units, as SQL Server counts; ``None`` for any
    """

    name: str
    kind: str
    about: str
    required: bool = False
    length: int | None = None


def _fields(table: str, names: MappingOf[str, str], required: tuple[str, ...] = ()) -> dict[str, Field]:
    fields = {}
    for name, about in names.items():
        column = metadata.tables[table].c.get(name)
        kind, length = _REFERENCES.get(name, ""), None
        if column is not None and not kind:
            kind, length = _kind(column)
        elif not kind:  # the two that are looked up by a name
            length = {"manychat_id": 64, "channel": 256}[name]
            kind = "text"
        fields[name] = Field(name, kind, about, name in required, length)
    return fields


_REFERENCES = {"contact_id": "contact", "channel_id": "channel"}


def _kind(column: sa.Column[Any]) -> tuple[str, int | None]:
    if isinstance(column.type, Moment):
        return "moment", None
    if isinstance(column.type, sa.Integer):
        return "integer", None
    if isinstance(column.type, sa.Numeric):
        return "number", None
    return "text", getattr(column.type, "length", None)


_MADE = "when they made the row"
#: What can be adopted, in the order in which it is written: a row comes after those that it refers to.
TABLES: dict[str, dict[str, Field]] = {
    "channels": _fields("channels", {"name": "", "description": "", "created_at": _MADE}, ("name",)),
    "advisors": _fields(
        "advisors",
        {
            "id": "the number by which events name the adviser",
            "name": "",
            "email": "",
            "phone": "",
            "role": "commercial or medical",
            "created_at": _MADE,
        },
        ("id",),
    ),
    "campaigns": _fields(
        "campaigns",
        {
            "id": "the number by which events name the campaign",
            "name": "",
            "date_start": "",
            "date_end": "",
            "budget": "",
            "status": "",
            "channel": "the channel's name",
            "channel_id": "or its key in the table that is mapped as [channels]",
            "created_at": _MADE,
        },
        ("id",),
    ),
    "contacts": _fields(
        "contacts",
        {
            "manychat_id": "who it is: the subscriber's id in ManyChat",
            "first_name": "",
            "last_name": "",
            "phone": "",
            "email": "",
            "channel": "the channel's name",
            "channel_id": "or its key in the table that is mapped as [channels]",
            "subscribed_at": "",
            "initial_state": "",
            "last_state": "",
            "created_at": _MADE,
        },
        ("manychat_id",),
    ),
    "contact_states": _fields(
        "contact_states",
        {
            "contact_id": "the contact's key in the table that is mapped as [contacts]",
            "manychat_id": "or the contact's ManyChat id",
            "state": "",
            "category": "",
            "created_at": "when the person entered the state",
        },
        ("state", "created_at"),
    ),
    "campaign_contacts": _fields(
        "campaign_contacts",
        {
            "contact_id": "the contact's key in the table that is mapped as [contacts]",
            "manychat_id": "or the contact's ManyChat id",
            "campaign_id": "the number by which events name the campaign",
            "type": "",
            "commercial_advisor_id": "the number by which events name the adviser",
            "commercial_assignment_date": "",
            "medical_advisor_id": "the number by which events name the adviser",
            "medical_assignment_date": "",
            "assigned_at": "when the contact came to the campaign",
            "last_state": "",
            "summary": "",
            "created_at": _MADE,
        },
        (),
    ),
}
#: Of two ways to name the same thing, at most one is mapped; where it must be known, exactly one.
ALTERNATIVES = {"contact_states": "contact_id", "campaign_contacts": "contact_id"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableMapping(_Strict):
    """Where the rows of one of our tables come from."""

    table: str
    #: A column that is unique and never empty: rows are read in its order, and other tables refer to it.
    key: str
    columns: dict[str, str]
    #: When they last wrote the row: of several for one person the newest wins.
    updated: str | None = None
    #: Which wins where that does not tell: the one with the lowest or the highest key.
    duplicates: Literal["first", "last"] | None = None
    #: Whether ManyChat ids that differ in nothing but capitals are one person.
    capitals: Literal["same", "different"] | None = None
    #: What to do with a value that does not fit: shorten it (leave it out, if it cannot be read), or leave out the row.
    misfits: Literal["cut", "skip"] | None = None


class Mapping(_Strict):
    """The whole file.

    :ivar timezone: of times that do not say theirs
    """

    timezone: str | None = None
    channels: TableMapping | None = None
    advisors: TableMapping | None = None
    campaigns: TableMapping | None = None
    contacts: TableMapping | None = None
    contact_states: TableMapping | None = None
    campaign_contacts: TableMapping | None = None

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError("is no time zone such as America/Bogota or UTC") from None
        return name

    def tables(self) -> dict[str, TableMapping]:
        """What is mapped, by our tables' names, in the order of :data:`TABLES`."""
        return {name: part for name in TABLES if (part := getattr(self, name)) is not None}


def load(path: Path) -> Mapping:
    """Read a mapping.

    :raises ConfigurationError: it is no such file; says where
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no file {path}. To have one written: python -m bridge db adopt --describe --mapping {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    try:
        return Mapping.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except ValidationError as error:
        lines = [
            f"{path}, {'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigurationError("\n".join(lines)) from None
