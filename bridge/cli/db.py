"""``python -m bridge db``: the tables of the database."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from .. import connect
from ..store import migrate, reader_role
from .adopt import adopt
from .console import FAILED, MISUSED, Yes, confirm, count_of, fail, load_settings, out

app = typer.Typer(no_args_is_help=True, help="The tables of the database.")
app.command()(adopt)


class DatabaseKind(str, enum.Enum):
    """The databases that `db sql` writes for."""

    mssql = "mssql"
    postgresql = "postgresql"
    sqlite = "sqlite"


class Role(str, enum.Enum):
    """The roles that `db sql` writes."""

    reader = "reader"
    personal_reader = "personal-reader"


@app.command("upgrade")
def upgrade() -> None:
    """Create the tables, or bring them up to this version."""
    engine = connect.open_engine(load_settings())
    before = migrate.current(engine)
    migrate.upgrade(engine)
    if migrate.is_later(before):
        out.print(
            f"The tables are at revision {before}, of a later release. This version needs {migrate.head()} and can use "
            "them. Nothing was changed."
        )
    elif before == migrate.head():
        out.print(f"The tables are already at revision {before}.")
    else:
        out.print(f"Brought the tables from {f'revision {before}' if before else 'none'} to revision {migrate.head()}.")


@app.command("downgrade")
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; base for none.")],
    yes: Yes = False,
) -> None:
    """Downgrade the tables to an earlier revision. Data that this revision has no place for is deleted.

    The keys of the API are kept aside, and are back after `db upgrade`; only `base` deletes them too.
    """
    engine = connect.open_engine(load_settings())
    present = migrate.current(engine)
    if revision == present:
        out.print(f"The tables are already at revision {revision}.")
        return
    migrate.require_earlier(present, revision)
    lost = migrate.losses(engine, revision)
    if revision != migrate.BASE:
        kept = lost.pop("rows of api_keys", 0)
        lost = {what: number for what, number in lost.items() if not what.startswith("values of api_keys.")}
        if kept:
            out.print(f"Kept aside until `db upgrade`: {count_of(kept, 'key')} of the API.")
    out.print("Would be deleted for good:" if lost else "No data would be deleted.")
    for what, number in lost.items():
        out.print(f"  {number:,} {what}")
    confirm(f"Take the tables from revision {present} back to {revision}?", yes)
    migrate.downgrade(engine, revision)
    out.print(f"The tables are at revision {migrate.current(engine) or 'none'}.")


@app.command("sql")
def sql(
    revisions: Annotated[
        str, typer.Argument(help="Up to which revision, starting from none; or FROM:TO, as in 0002:head.")
    ] = "head",
    kind: Annotated[
        DatabaseKind | None, typer.Option("--for", help="The kind of database. Default: that of BRIDGE_DATABASE_URL.")
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(
            help="Print the SQL of a role that only reads instead. A personal-reader reads personal data too."
        ),
    ] = None,
) -> None:
    """Print the SQL that `db upgrade` would run, for a DBA to read. Connects to nothing."""
    settings = load_settings()
    dialect = kind.value if kind else connect.database_url(settings).get_backend_name()
    try:
        if role:
            typer.echo(reader_role.script(dialect, f"miasalud_{role.name}", settings.database_schema))
            return
        typer.echo(migrate.sql(dialect, revisions, settings.database_schema))
    except ValueError as error:
        fail(str(error), MISUSED)


@app.command("current")
def current() -> None:
    """Show the tables' revision, and the one that this version needs. Exits with 1 if the tables are older."""
    current = migrate.current(connect.open_engine(load_settings()))
    out.print(f"database: {current or 'no tables'}; needed: {migrate.head()}")
    if current != migrate.head() and not migrate.is_later(current):
        fail("Run: python -m bridge db upgrade", FAILED)
