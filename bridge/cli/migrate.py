"""``python -m bridge migrate``: the move from the old system."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from .. import connect
from ..contract.payloads import OPPORTUNITY_QUEUE
from ..errors import ConfigurationError
from ..importer import mapping
from ..importer.checks import Refused
from ..legacy import plan as plans
from ..legacy import run as runs
from ..legacy import states
from ..legacy import verify as verification
from ..legacy.odoo import MigrationOdoo
from ..legacy.rollback import Rollback
from ..legacy.source import Legacy, open_legacy
from ..settings import Settings
from ..store import pauses
from ..store.engine import read
from . import migrate_report as report
from .adopt import open_origin
from .console import FAILED, MISUSED, DryRun, JsonObject, Yes, confirm, fail, load_settings, open_store, out, visible
from .parsing import timestamp

app = typer.Typer(
    no_args_is_help=True,
    help="Move from the old system: contacts to SQL only, opportunities to Odoo only. docs/move.md has the whole way.",
)

#: Messages on the queue of the opportunities from which on the migration waits for the bridges.
BACKLOG = 100

MappingFile = Annotated[Path, typer.Option("--mapping", metavar="FILE", help="The mapping, as of db adopt.")]
SourceUrl = Annotated[
    str | None, typer.Option(help="The old database. Default: BRIDGE_ADOPT_URL, else BRIDGE_DATABASE_URL.")
]
Schema = Annotated[str | None, typer.Option(help="Read this schema only.")]
Accept = Annotated[
    list[str] | None, typer.Option("--accept", metavar="NAME", help="Accept this finding of the plan as it is; repeat.")
]
Undated = Annotated[
    datetime | None, typer.Option(parser=timestamp, metavar="DATE", help="The date of states that have none.")
]


@dataclass
class _Work:
    """What every step needs: both databases, Odoo, and what the old tables say."""

    settings: Settings
    engine: sa.Engine
    odoo: MigrationOdoo
    legacy: Legacy
    states: states.LegacyStates
    now: datetime


@app.command("plan")
def plan(
    mapping_file: MappingFile,
    accept: Accept = None,
    undated: Undated = None,
    as_json: JsonObject = False,
    csv: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the lists there as CSV files.")] = None,
    source_url: SourceUrl = None,
    schema: Schema = None,
) -> None:
    """Say what will happen, and what must be decided before. Reads only.

    Exits with 1 while a decision is open, 2 if called wrongly.
    """
    with _decisions(as_json):
        work = _begin(mapping_file, source_url, schema, quiet=as_json)
        found = _plan(work, undated)
    if csv is not None:
        report.write_csv(csv, found, accept or [])
    if as_json:
        report.print_plan_json(found, accept or [])
    else:
        report.print_plan(found, accept or [])
    sys.exit(FAILED if _open_decisions(found, accept) else 0)


@app.command("run")
def run(
    mapping_file: MappingFile,
    accept: Accept = None,
    undated: Undated = None,
    rate: Annotated[float, typer.Option(min=0, help="People a second, at most; 0 for no limit.")] = 50,
    yes: Yes = False,
    source_url: SourceUrl = None,
    schema: Schema = None,
) -> None:
    """Copy contacts, states and campaigns to SQL, and create or take over the opportunities in Odoo.

    Sends no notification, and never changes a contact in Odoo. It can be stopped at any moment, or killed: run it
    again, and it goes on. It waits while live events wait, and while Odoo or SQL is down. Exits with 1 if a person's
    opportunity failed or a decision is open, 2 if called wrongly.
    """
    with _decisions(False):
        work = _begin(mapping_file, source_url, schema)
        found = _plan(work, undated)
        if names := _open_decisions(found, accept):
            report.print_plan(found, accept or [])
            fail(f"Nothing was written: decide these first, or accept them: {', '.join(names)}.", FAILED)
        total = len(work.states.people)
        confirm(f"Migrate {total:,} people, batch {found.overview['batch']}?", yes)
        migration = runs.Migration(
            work.engine,
            work.odoo,
            work.legacy,
            found,
            now=work.now,
            undated=undated,
            rate=rate,
            is_busy=_busy(work),
            waiting=lambda reason: out.print(visible(f"Waiting: {reason}"), soft_wrap=True),
        )
        out.print("Copying to SQL …")
        migration.copy()
        contacts = work.legacy.parts["contacts"].table.rows
        with report.progress("Opportunities", contacts) as advance:
            for number in migration.apply():
                advance(number)
    report.print_run(migration.report, found.overview["batch"])
    sys.exit(FAILED if migration.report.failures else 0)


@app.command("verify")
def verify(
    mapping_file: MappingFile,
    undated: Undated = None,
    accept: Accept = None,
    sample: Annotated[int, typer.Option(min=0, help="People to show side by side.")] = 20,
    seed: Annotated[int | None, typer.Option(help="The same number shows the same people.")] = None,
    as_json: JsonObject = False,
    source_url: SourceUrl = None,
    schema: Schema = None,
) -> None:
    """Compare the old system with SQL and Odoo. Reads only.

    `--accept writers` accepts that contacts were written in Odoo meanwhile. Exits with 1 if something differs, 2 if
    called wrongly.
    """
    if unknown := sorted(set(accept or []) - {verification.WRITERS}):
        fail(f"There is nothing to accept by the name {', '.join(unknown)}. There is: {verification.WRITERS}.", MISUSED)
    with _decisions(as_json):
        work = _begin(mapping_file, source_url, schema, quiet=as_json)
        found = _plan(work, undated, only_states=True)
        started = found.overview["started_at"]
        since = datetime.fromisoformat(started) if started else None
        result = verification.Verification(verification.compare_tables(work.engine, work.legacy, work.now, since))
        verification.compare_people(work.legacy, found, work.odoo, result, work.now, undated, sample, seed)
    faults = result.faults(accept or [])
    (report.print_verification_json if as_json else report.print_verification)(result, faults)
    sys.exit(FAILED if faults else 0)


@app.command("rollback")
def rollback(
    batch: Annotated[
        str | None, typer.Option(metavar="ID", help="Refuse if the open migration is another one.")
    ] = None,
    dry_run: DryRun = False,
    as_json: JsonObject = False,
    yes: Yes = False,
) -> None:
    """Undo what the open migration made and what has not been used since, in Odoo and in SQL.

    What was used since is listed and stays. It can be stopped at any moment, or killed: run it again, and it goes on.
    """
    settings = load_settings()
    engine = open_store(settings)
    odoo = MigrationOdoo(*connect.odoo_login(settings))
    overview = odoo.get_overview([], {})
    if batch not in (None, overview["batch"]):
        fail(f"The open migration is batch {overview['batch']}. In Odoo, close it, and open {batch} again.", MISUSED)
    if not dry_run:
        confirm(f"Undo the migration {overview['name']}, batch {overview['batch']}?", yes)
    undone = Rollback()
    for title, steps in (
        ("Odoo", undone.in_odoo(odoo, dry_run)),
        ("SQL", undone.in_sql(engine, overview["batch"], dry_run)),
    ):
        with report.progress(title, None, quiet=as_json) as advance:
            for number in steps:
                advance(number)
    (report.print_rollback_json if as_json else report.print_rollback)(undone, dry_run=dry_run)


@contextmanager
def _decisions(as_json: bool) -> Iterator[None]:
    """Print what the mapping or the old tables leave open, and end the process."""
    try:
        yield
    except Refused as refused:
        if as_json:
            report.print_refused_json(refused.reasons)
        else:
            for reason in refused.reasons:
                typer.echo(visible(reason), err=True)
        sys.exit(FAILED)


def _begin(mapping_file: Path, source_url: str | None, schema: str | None, *, quiet: bool = False) -> _Work:
    settings = load_settings()
    wanted = mapping.load(mapping_file)
    if wanted.contacts is None:
        raise ConfigurationError(f"{mapping_file}: [contacts] is missing: the people to migrate.")
    origin = open_origin(settings, source_url)
    engine = open_store(settings)
    odoo = MigrationOdoo(*connect.odoo_login(settings))
    odoo.get_overview([], {})  # says now that no migration is open
    now = datetime.now(timezone.utc)
    with report.progress("Reading", None, quiet=quiet) as advance:
        legacy = open_legacy(origin, engine, wanted, schema, advance)
        legacy.adoption.survey()
        found = states.gather(legacy, now)
        legacy.adoption.progress = lambda _: None
    return _Work(settings, engine, odoo, legacy, found, now)


def _plan(work: _Work, undated: datetime | None, *, only_states: bool = False) -> plans.Plan:
    if only_states:
        overview = work.odoo.get_overview(list(work.states.stages.values()), {})
        return plans.Plan(work.states, overview, plans.stage_rows(work.states, overview))
    found = plans.make(work.legacy, work.states, work.odoo, work.now, undated)
    queues = [connect.open_queue(work.settings, name) for name in plans.QUEUE_NAMES]
    plans.queues(found, queues, bool(work.odoo.get_active()))
    plans.writers(found)
    return found


def _open_decisions(found: plans.Plan, accept: list[str] | None) -> list[str]:
    known = {finding.key for finding in found.findings}
    if unknown := sorted(set(accept or []) - known):
        fail(f"There is no finding {', '.join(unknown)}. There are: {', '.join(sorted(known))}.", MISUSED)
    return list(dict.fromkeys(finding.key for finding in found.findings if finding.is_open(accept or [])))


def _busy(work: _Work) -> Callable[[], str]:
    """A function that says why the migration has to wait: live events come first."""
    queue = connect.open_queue(work.settings, OPPORTUNITY_QUEUE)

    def busy() -> str:
        depth = queue.depth()
        if depth < BACKLOG or OPPORTUNITY_QUEUE in read(work.engine, pauses.paused):
            return ""
        return f"{depth} live events are on {OPPORTUNITY_QUEUE}."

    return busy
