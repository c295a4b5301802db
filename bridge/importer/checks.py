"""A mapping, held against the database: what is there, what is missing, what cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ..store.schema import metadata
from . import source
from .mapping import ALTERNATIVES, TABLES, Field, Mapping, TableMapping
from .source import Column, Table

#: From which kinds of theirs a value of ours can be read. A text holds anything, so its values tell.
_READABLE = {
    "text": {"text", "integer", "number", "other"},
    "integer": {"integer", "number", "text"},
    "number": {"integer", "number", "text"},
    "moment": {"moment", "time", "date", "text"},
}


class Refused(Exception):
    """Nothing can be adopted like this.

    :ivar reasons: each a sentence that says what to do
    """

    def __init__(self, reasons: Sequence[str]):
        super().__init__("\n".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True)
class Part:
    """One table of ours and where its rows come from, all of which is there.

    :ivar columns: their columns by our fields
    :ivar updated: their column that tells which row is newer
    """

    name: str
    target: sa.Table
    options: TableMapping
    table: Table
    key: str
    columns: dict[str, Column]
    updated: Column | None

    def fields(self) -> list[tuple[Field, Column]]:
        """Our fields with their columns, in the order in which they are read."""
        return [(TABLES[self.name][name], column) for name, column in self.columns.items()]


def resolve(mapping: Mapping, engine: sa.Engine, found: Sequence[Table]) -> tuple[list[Part], tzinfo]:
    """
    :param found: the tables that there are
    :return: what to read, in the order in which to write it; and the zone of times that do not say theirs
    :raises Refused: saying everything that is wrong
    """
    parts: list[Part] = []
    reasons: list[str] = []
    for name, options in mapping.tables().items():
        table = _table(options.table, found)
        if table is None:
            reasons.append(f"[{name}] there is no table {options.table}. `--describe` shows those that there are.")
            continue
        faults = list(_faults(name, options, table, mapping))
        if not faults and (fault := source.key_faults(engine, table, options.key)):
            faults.append(
                f"[{name}] key: rows of {table.full_name} cannot be told apart by {options.key}: {fault}. Name "
                "a column that is unique and never NULL, or a view with ROW_NUMBER."
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
            there = ", ".join(column.name for column in table.columns)
            yield f"[{name}] {what}: {table.full_name} has no column {theirs}. It has: {there}."
    for ours in options.columns.keys() - fields.keys():
        yield f"[{name}] there is nothing called {ours} here. There is: {', '.join(fields)}."
    for field in fields.values():
        if field.required and field.name not in options.columns:
            yield f"[{name}] {field.name} is needed: {field.about or 'name the column'}."
    yield from _reference_faults(name, options, mapping)

    updated = table.column(options.updated) if options.updated else None
    moments = [("updated", updated)] if updated else []
    for ours, theirs in options.columns.items():
        kind = fields[ours].kind if ours in fields else "contact"
        column = table.column(theirs)
        if column and kind in _READABLE and column.kind not in _READABLE[kind]:
            yield f"[{name}] {ours}: {table.full_name}.{theirs} is {column.type}, which is no {kind}."
        elif column and kind == "moment":
            moments.append((ours, column))
    for ours, column in moments:
        if column.kind not in _READABLE["moment"]:
            yield f"[{name}] {ours}: {table.full_name}.{column.name} is {column.type}, which is no moment."
        elif column.kind != "moment" and mapping.timezone is None:
            yield (
                f"[{name}] {ours}: {table.full_name}.{column.name} does not say its time zone. Write at the top of the "
                'mapping in which your old program wrote it: timezone = "America/Bogota", or "UTC".'
            )


def _reference_faults(name: str, options: TableMapping, mapping: Mapping) -> Iterator[str]:
    given = options.columns.keys()
    if name in ALTERNATIVES and len({"contact_id", "manychat_id"} & given) != 1:
        yield f"[{name}] name either contact_id or manychat_id: whose the row is."
    if {"channel", "channel_id"} <= given:
        yield f"[{name}] name either channel or channel_id, not both."
    if "contact_id" in given and mapping.contacts is None:
        yield f"[{name}] contact_id refers to [contacts], which is not mapped. Map it, or give manychat_id instead."
    if "channel_id" in given and mapping.channels is None:
        yield f"[{name}] channel_id refers to [channels], which is not mapped. Map it, or give channel, a name."
