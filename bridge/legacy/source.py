"""The old system as the mapping file describes it, opened for reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ..importer import source
from ..importer.adoption import Adoption
from ..importer.checks import Part, resolve
from ..importer.doubles import SourceRow
from ..importer.mapping import Mapping
from ..importer.tally import Tally
from ..store.engine import read

#: The column by which the old system noted whether a contact had reached Odoo.
SYNC_STATUS = "odoo_sync_status"


@dataclass(frozen=True)
class Legacy:
    """The old database, and the import of its rows.

    :ivar parts: the mapped tables, by our names
    """

    engine: sa.Engine
    adoption: Adoption
    parts: dict[str, Part]

    def rows(self, name: str) -> Iterator[list[SourceRow]]:
        """The rows for our table of that name, page by page, one for each person or thing; none if it is not mapped."""
        if name in self.parts:
            yield from self.adoption.joined(self.parts[name])

    def all_rows(self, name: str) -> Iterator[list[SourceRow]]:
        """As :meth:`rows`, with all rows of each person."""
        if part := self.parts.get(name):
            yield from self.adoption.each(part, Tally(part.name, part.table.full_name))

    def sync_states(self) -> dict[str, dict[str, int]]:
        """How many rows have each value of ``odoo_sync_status``, by the table that has such a column."""
        found: dict[str, dict[str, int]] = {}
        for part in self.parts.values():
            if (column := part.table.column(SYNC_STATUS)) is not None:
                found[part.table.full_name] = read(self.engine, _count_values, part.table, column.name)
        return found


def open_legacy(
    origin: sa.Engine, target: sa.Engine, wanted: Mapping, schema: str | None, progress: Callable[[int], None]
) -> Legacy:
    """Compare ``wanted`` with the old database.

    :raises bridge.importer.checks.Refused: naming everything that is wrong
    """
    parts, zone = resolve(wanted, origin, source.tables(origin, schema))
    adoption = Adoption(origin, target, parts, zone, progress)
    return Legacy(origin, adoption, {part.name: part for part in parts})


def _count_values(connection: sa.Connection, table: source.Table, column: str) -> dict[str, int]:
    return {str(value): number for value, number in connection.execute(source.value_counts(table, column))}
