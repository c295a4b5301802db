"""The mapping file: which of the user's tables and columns become which of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ..errors import ConfigurationError
from .fields import TABLES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableMapping(_Strict):
    """The source of the rows of one of our tables."""

    table: str
    #: A column that is unique and never NULL. Rows are read in its order, and other tables refer to it.
    key: str
    columns: dict[str, str]
    #: When the row was last written. Of several rows for one person the newest wins.
    updated: str | None = None
    #: Which row wins if ``updated`` does not decide: the one with the lowest or with the highest key.
    duplicates: Literal["first", "last"] | None = None
    #: Whether ManyChat ids that differ only in capitals are the same person.
    capitals: Literal["same", "different"] | None = None
    #: For a value that does not fit: cut it (leave it out, if it cannot be read), or skip the row.
    misfits: Literal["cut", "skip"] | None = None
    #: Of ``[advisors]``: what the old system's own words for a role mean.
    roles: dict[str, Literal["commercial", "medical"]] = {}


class Mapping(_Strict):
    """The whole file.

    :ivar timezone: of times without a time zone
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
                raise ValueError("is not a time zone such as America/Bogota or UTC") from None
        return name

    def tables(self) -> dict[str, TableMapping]:
        """The mapped tables, by our names, in the order of :data:`.fields.TABLES`."""
        return {name: part for name in TABLES if (part := getattr(self, name)) is not None}


def load(path: Path) -> Mapping:
    """Read a mapping file.

    :raises ConfigurationError: missing, or not a mapping; the message says where
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no file {path}. To write a first one: python -m bridge db adopt --describe --mapping {path}"
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
