"""``python -m bridge db adopt``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Column as Heading
from rich.table import Table as Grid

from .. import connect
from ..errors import BadDatabaseOptions, BadDatabaseUrl, ConfigurationError
from ..importer import guesses, mapping, source
from ..importer.adoption import Adoption
from ..importer.checks import Refused, resolve
from ..importer.source import Table
from ..importer.tally import RowSample, Tally
from ..settings import Settings, secret, variable
from ..store import migrate
from .console import FAILED, MISUSED, fail, load_settings, out, progress_bar, visible


def adopt(
    mapping_file: Annotated[
        Path | None,
        typer.Option("--mapping", metavar="FILE", help="The mapping from your tables and columns to the bridge's."),
    ] = None,
    describe: Annotated[
        bool,
        typer.Option("--describe", help="Show your tables; with --mapping FILE, write a first mapping to correct."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only show what would be done, and what prevents it.")] = False,
    source_url: Annotated[
        str | None,
        typer.Option(help="The database to read. Default: BRIDGE_ADOPT_URL, else BRIDGE_DATABASE_URL."),
    ] = None,
    schema: Annotated[str | None, typer.Option(help="Read this schema only.")] = None,
) -> None:
    """Copy contacts, their states and campaigns from your existing tables.

    1. `--describe --mapping FILE` writes a first mapping. Correct it. 2. `--mapping FILE --check` changes nothing. 3.
    `--mapping FILE` copies. Your tables are only read. A second run copies the rows that have come since then. It never
    overwrites data that the bridge wrote itself. Exits with 1 if it cannot copy, 2 if called wrongly.
    """
    settings = load_settings()
    origin = open_origin(settings, source_url)
    if describe or mapping_file is None:
        _describe(origin, schema, mapping_file)
        return
    wanted = mapping.load(mapping_file)
    target = connect.open_engine(settings)
    if not check or target.dialect.name != "sqlite":
        connect.require_schema(target)
    elif (current := migrate.current(target)) != migrate.head() and not migrate.is_later(current):
        raise ConfigurationError("The bridge's database has no tables yet. Run: python -m bridge db upgrade")
    try:
        parts, zone = resolve(wanted, origin, source.tables(origin, schema))
        with progress_bar() as progress:
            task = progress.add_task("Checking", total=None)
            adoption = Adoption(origin, target, parts, zone, lambda count: progress.advance(task, count))
            progress.update(task, total=adoption.rows())
            adoption.survey()
            progress.update(task, description="Counting" if check else "Copying")
            tallies = list(adoption.run(dry_run=check))
        _report(tallies, check=check)
    except Refused as refused:
        for reason in refused.reasons:
            typer.echo(visible(reason), err=True)
        sys.exit(FAILED)


def open_origin(settings: Settings, url: str | None) -> sa.Engine:
    """The database to read: of the option, of ``BRIDGE_ADOPT_URL``, or the bridge's own."""
    name, options = "--source-url", {}
    if url is None and settings.adopt_url is not None:
        name, url = variable("adopt_url"), secret(settings.adopt_url)
    if url is None:
        settings.require("database_url")
        name, url, options = variable("database_url"), secret(settings.database_url), settings.database_options
    try:
        return source.open_source(url, options)
    except BadDatabaseUrl as error:
        raise ConfigurationError(f"{name}: {error}") from None
    except BadDatabaseOptions as error:
        raise ConfigurationError(f"{variable('database_options')}: {error}") from None


def _describe(origin: sa.Engine, schema: str | None, file: Path | None) -> None:
    found = source.tables(origin, schema)
    if not found:
        fail("The database has no tables except those of the system and of the bridge.", FAILED)
    for table in found:
        out.print(_grid(table))
    if file is None:
        return
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(guesses.first_mapping(found))
    except FileExistsError:
        fail(f"{file} exists already and was not changed. Name another file.", MISUSED)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}", MISUSED)
    out.print(f"Wrote {file}. Correct it, then: python -m bridge db adopt --mapping {file} --check", soft_wrap=True)


def _grid(table: Table) -> Grid:
    title = f"{table.full_name} · {table.rows:,} rows"
    grid = Grid("column", "type", "NULL", "key", title=visible(title), title_justify="left", width=80)
    for column in table.columns:
        keys = ["key"] if column.name in table.key else []
        keys += [f"→ {column.refers_to}"] if column.refers_to else []
        cells = (column.name, column.type, "yes" if column.nullable else "", " ".join(keys))
        grid.add_row(*(visible(cell) for cell in cells))
    return grid


def _report(tallies: list[Tally], *, check: bool) -> None:
    # The mapping uses these names, so they are never cut.
    name = Heading("", no_wrap=True)
    grid = Grid(
        name,
        Heading("read from", overflow="fold"),
        title="Would be written" if check else "Written",
        title_justify="left",
    )
    for heading in ("found", "new", "filled", "there", "left out"):
        grid.add_column(heading, justify="right")
    for tally in tallies:
        left_out = sum(sample.count for sample in tally.skipped.values())
        numbers = (tally.found, tally.new, tally.filled, tally.same, left_out)
        grid.add_row(tally.name, visible(tally.source), *(f"{number:,}" for number in numbers))
    out.print(grid)
    for tally in tallies:
        for verb, reasons in (("left out", tally.skipped), ("cut or left empty", tally.changed)):
            for reason, sample in reasons.items():
                line = f"{tally.name}: {sample.count:,} {verb}: {reason} {_keys(sample)}"
                out.print(visible(line), soft_wrap=True)


def _keys(sample: RowSample) -> str:
    return f"({', '.join(str(key) for key in sample.keys)}{' …' if sample.count > len(sample.keys) else ''})"
