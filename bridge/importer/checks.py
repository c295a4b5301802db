"""Comparison of a mapping file with the database: missing tables and columns, and types that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ..store.schema import metadata
from . import source
from .fields import ALTERNATIVES, TABLES, Field
from .mapping import Mapping, TableMapping
from .source import Column, Table

#: The kinds of columns from which a field of ours can be read. A text can hold anything, so its values decide.
_READABLE = {
    "text": {"text", "integer", "number", "other"},
    "integer": {"integer", "number", "text"},
    "number": {"integer", "number", "text"},
    "moment": {"moment", "time", "date", "text"},
}


#: The kinds in words, for messages.
_NAMES = {"text": "a text", "integer": "a whole number", "number": "a number", "moment": "a date or time"}


class Refused(Exception):
    """The import cannot run like this.

    :ivar reasons: each says what is wrong and what to do
    """

    def __init__(self, reasons: Sequence[str]):
        super().__init__("\n".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True)
class Part:
    """One of our tables, with the table and columns of the user's from which it is filled.

    :ivar name: of our table
    :ivar target: our table
    :ivar table: the user's table
    :ivar key: the user's column that identifies a row
    :ivar columns: the user's columns, by our fields
    :ivar updated: the user's column that says which row is newer
    """

    name: str
    target: sa.Table
    options: TableMapping
    table: Table
    key: str
    columns: dict[str, Column]
    updated: Column | None

    def fields(self) -> list[tuple[Field, Column]]:
        """Our fields with the user's columns, in the order of reading."""
        return [(TABLES[self.name][name], column) for name, column in self.columns.items()]


def resolve(mapping: Mapping, engine: sa.Engine, found: Sequence[Table]) -> tuple[list[Part], tzinfo]:
    """Find the tables and columns that ``mapping`` names.

    :param found: the tables of the user's database
    :return: the tables in the order of writing, and the zone of times without a time zone
    :raises Refused: naming everything that is wrong
    """
    parts: list[Part] = []
    reasons: list[str] = []
    for name, options in mapping.tables().items():
        table = _table(options.table, found)
        if table is None:
            reasons.append(f"[{name}] there is no table {options.table}. `--describe` lists the tables.")
            continue
        faults = list(_faults(name, options, table, mapping))
        if not faults and (fault := source.key_faults(engine, table, options.key)):
            faults.append(
                f"[{name}] key: {options.key} does not identify rows of {table.full_name}: {fault}. Name a column "
                "that is unique and never NULL, or a view with ROW_NUMBER."
            )
        reasons += faults
        if not faults:
            parts.append(_part(name, options, table))
    if not mapping.tables():
        reasons.append("The mapping names no table.")
    if reasons:
        raise Refused(reasons)
    return parts, ZoneInfo(mapping.timezone) if mapping.timezone else timezone.utc


def _part(name: str, options: TableMapping, table: Table) -> Part:
    columns = {ours: column for ours, theirs in options.columns.items() if (column := table.column(theirs))}
    key = table.column(options.key)
    assert key is not None
    updated = table.column(options.updated) if options.updated else None
    return Part(name, metadata.tables[name], options, table, key.name, columns, updated)


def _table(name: str, found: Sequence[Table]) -> Table | None:
    for spelling in (lambda text: text, str.casefold):
        wanted = spelling(name)
        exact = [table for table in found if spelling(table.full_name) == wanted]
        bare = [table for table in found if spelling(table.name) == wanted]
        if len(matches := exact or bare) == 1:
            return matches[0]
    return None


def _faults(name: str, options: TableMapping, table: Table, mapping: Mapping) -> Iterator[str]:
    fields = TABLES[name]
    for what, theirs in (("key", options.key), ("updated", options.updated), *options.columns.items()):
        if theirs is not None and table.column(theirs) is None:
            names = ", ".join(column.name for column in table.columns)
            yield f"[{name}] {what}: {table.full_name} has no column {theirs}. It has: {names}."
    for ours in options.columns.keys() - fields.keys():
        yield f"[{name}] there is no field {ours}. The fields are: {', '.join(fields)}."
    for field in fields.values():
        if field.required and field.name not in options.columns:
            yield f"[{name}] {field.name} is needed: {field.about or 'name the column'}."
    yield from _reference_faults(name, options, mapping)
    yield from _unreadable(name, options, table)

    updated = table.column(options.updated) if options.updated else None
    moments = [("updated", updated)] if updated else []
    for ours, theirs in options.columns.items():
        kind = fields[ours].kind if ours in fields else "contact"
        column = table.column(theirs)
        if column and kind in _READABLE and column.kind not in _READABLE[kind]:
            yield f"[{name}] {ours}: {table.full_name}.{theirs} is {column.type}, not {_NAMES[kind]}."
        elif column and kind == "moment":
            moments.append((ours, column))
    for ours, column in moments:
        if column.kind not in _READABLE["moment"]:
            yield f"[{name}] {ours}: {table.full_name}.{column.name} is {column.type}, not {_NAMES['moment']}."
        elif column.kind != "moment" and mapping.timezone is None:
            yield (
                f"[{name}] {ours}: {table.full_name}.{column.name} has no time zone. At the top of the mapping, write "
                'the zone that your old program used: timezone = "America/Bogota", or "UTC".'
            )


def _unreadable(name: str, options: TableMapping, table: Table) -> Iterator[str]:
    for theirs in sorted({options.key, options.updated or options.key, *options.columns.values()}):
        column = table.column(theirs)
        if column and column.kind == "unreadable":
            yield (
                f"[{name}] the driver cannot read {table.full_name}.{theirs} ({column.type}). Make a view that casts "
                "it to a text or a number, and map the view."
            )


def _reference_faults(name: str, options: TableMapping, mapping: Mapping) -> Iterator[str]:
    given = options.columns.keys()
    if options.roles and name != "advisors":
        yield f"[{name}] roles: only [advisors] has roles."
    if name in ALTERNATIVES and len({"contact_id", "manychat_id"} & given) != 1:
        yield f"[{name}] name either contact_id or manychat_id: the contact of the row."
    if {"channel", "channel_id"} <= given:
        yield f"[{name}] name either channel or channel_id, not both."
    if "contact_id" in given and mapping.contacts is None:
        yield f"[{name}] contact_id refers to [contacts], which is not mapped. Map it, or name manychat_id instead."
    if "channel_id" in given and mapping.channels is None:
        yield f"[{name}] channel_id refers to [channels], which is not mapped. Map it, or name channel instead."
