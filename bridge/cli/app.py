"""The command line: ``python -m bridge --help``."""

from __future__ import annotations

import enum
import signal
import sys
import threading
from datetime import datetime, timedelta, timezone
from types import FrameType
from typing import Annotated, NoReturn

import structlog
import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from sqlalchemy.engine import make_url

from .. import __version__, connect
from ..circuit_breaker import Dependency
from ..contract.errors import ContractError
from ..contract.payloads import DEAD_LETTER_QUEUE, QUEUES, EventQueue, EventType
from ..contract.strict_json import parse_json
from ..errors import ConfigurationError, OdooRefused, Outage
from ..settings import secret
from ..store import migrate, pauses, retention
from ..store.engine import in_transaction
from ..worker import process
from ..worker.handlers import HANDLERS
from ..worker.reconcile import REPAIRED, Case, Reconcile, grace
from . import check as checks
from . import dlq, key
from .adopt import adopt
from .console import FAILED, MISUSED, count_of, fail, load_settings, out, visible
from .erase import erase as erase_person
from .parsing import age
from .purge import purge as purge_settled
from .send import guess_type
from .send import send as send_to_webhook
from .status import status
from .trace import trace

log = structlog.get_logger()

app = typer.Typer(
    name="python -m bridge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Carries ManyChat events from Azure Storage Queues to SQL and to the Odoo CRM pipeline. "
    "Settings come from the environment or a .env file; .env.example documents them.",
)
db = typer.Typer(no_args_is_help=True, help="The database's tables.")
app.add_typer(dlq.app, name="dlq")
app.add_typer(key.app, name="key")
app.add_typer(db, name="db")
db.command()(adopt)
app.command()(status)
app.command()(trace)


class DatabaseKind(str, enum.Enum):
    """The databases that there is SQL for."""

    mssql = "mssql"
    postgresql = "postgresql"
    sqlite = "sqlite"


Queues = Annotated[
    list[EventQueue] | None,
    typer.Option("--queue", help="Only this queue; give it several times for several. Default: all."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def main() -> NoReturn:
    """Run the command line, and end the process: expected errors as one line, without a traceback."""
    try:
        app(prog_name="python -m bridge")
    except ConfigurationError as error:
        fail(str(error), MISUSED)
    except Outage as outage:
        fail(f"{outage.dependency} cannot be used: {outage}. Run `python -m bridge check` for advice.", FAILED)
    except OdooRefused as refused:
        # Its message may quote people's data.
        fail(f"Odoo refused it ({refused.name}): its log says why.", FAILED)
    sys.exit(0)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def _bridge(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    queue: Queues = None,
) -> None:
    """Work: take events off the queues until stopped (Ctrl-C or SIGTERM, which finish what is in hand).

    Run as many of these as the load needs, on one machine or many. If SQL, Odoo or the queue is down it waits, and
    goes on by itself.
    """
    names = [each.value for each in queue or list(EventQueue)]
    sys.exit(process.run(load_settings(), list(dict.fromkeys(names)), _stop_on_signals()))


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Where to listen. Default: BRIDGE_API_HOST, else loopback.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: BRIDGE_API_PORT, else 8000.")] = None,
) -> None:
    """Serve the standby webhooks and the REST API until stopped; /docs describes them. Keys: `python -m bridge key`."""
    try:
        from ..api.serve import serve
    except ModuleNotFoundError as error:
        fail(f"The API needs {error.name}: pip install 'miasalud-bridge[worker,api]'", MISUSED)
    settings = load_settings()
    serve(settings, host or settings.api_host, port or settings.api_port)


@app.command()
def check() -> None:
    """Try the queue, the database and Odoo, and say what to do about those that fail.

    Exits with 1 if any of them fails.
    """
    settings = load_settings()
    failed = False
    for finding in checks.check(settings):
        failed |= not finding.ok
        mark = "[green]ok    [/]" if finding.ok else "[red]FAILED[/]"
        advice = f" → {finding.advice}" if finding.advice else ""
        # soft_wrap: one finding is one line, also for grep.
        out.print(f"{mark} {finding.dependency:<5}  {finding.tried}: {finding.answer}{advice}", soft_wrap=True)
    if failed:
        sys.exit(FAILED)


@app.command()
def send(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="FILE", help="A file with one payload as JSON; - for standard input."),
    ],
    event_type: Annotated[
        EventType | None, typer.Option("--type", help="What the payload is. Default: what its fields say.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where the webhooks are. Default: BRIDGE_WEBHOOK_URL, else BRIDGE_ODOO_URL.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The X-API-KEY. Default: BRIDGE_WEBHOOK_KEY.")] = None,
) -> None:
    """Post a payload to the webhook, as ManyChat would, and print the answer.

    Exits with 1 if the webhook does not accept it.
    """
    settings = load_settings()
    body = file.read()
    kind = event_type or _guess(body)
    url = url or settings.webhook_url or settings.odoo_url
    if not url:
        settings.require("webhook_url")
    if not key:
        settings.require("webhook_key")
        key = secret(settings.webhook_key)
    answer = send_to_webhook(str(url), key, kind, body)
    print(f"HTTP {answer.status}", file=sys.stderr)
    print(answer.body)
    if not answer.accepted:
        sys.exit(FAILED)


def _guess(body: bytes) -> EventType:
    try:
        guessed = guess_type(parse_json(body))
    except ContractError as error:
        fail(f"{error.message} Give --type to send it nonetheless.", MISUSED)
    if guessed is None:
        fail("The payload's fields do not say what it is: give --type.", MISUSED)
    return guessed


@app.command()
def pause(queue: Queues = None) -> None:
    """Have all bridges take no more messages until `resume`. They finish what they have in hand; nothing is lost.

    They obey within about a second.
    """
    _switch(queue, pause=True)


@app.command()
def resume(queue: Queues = None) -> None:
    """Have all bridges take messages again."""
    _switch(queue, pause=False)


def _switch(queue: list[EventQueue] | None, *, pause: bool) -> None:
    engine = connect.open_engine(load_settings())
    connect.require_schema(engine)
    names = sorted({each.azure_name for each in queue or list(EventQueue)})
    change = pauses.pause if pause else pauses.resume
    in_transaction(engine, lambda connection: change(connection, names))
    paused = in_transaction(engine, pauses.paused)
    for name in QUEUES.values():
        state = f"paused since {paused[name]:%Y-%m-%d %H:%M:%S} UTC" if name in paused else "not paused"
        out.print(f"{name}: {state}", soft_wrap=True)


@app.command()
def reconcile(
    queue: Queues = None,
    older_than: Annotated[
        timedelta | None,
        typer.Option(parser=age, metavar="AGE", help="Only what nobody has tried for this long. Default: ~7 minutes."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Find events that were left unfinished and opportunities that SQL has not seen reach Odoo, and finish each, or
    say why not.

    `run` does the same every BRIDGE_RECONCILE_INTERVAL seconds. Never reverts what a person decided in Odoo since.
    """
    settings = load_settings()
    names = [each.value for each in queue or list(EventQueue)]
    engine = connect.open_engine(settings)
    connect.require_schema(engine)
    queues = {name: connect.open_queue(settings, QUEUES[name]) for name in dict.fromkeys(names)}
    dead_letter_queue = connect.open_queue(settings, DEAD_LETTER_QUEUE)
    dead_letter_queue.create()
    odoo = connect.open_odoo(settings) if any(HANDLERS[QUEUES[name]].needs_odoo for name in queues) else None
    handlers = process.make_handlers(
        engine, queues, Dependency("SQL", lambda: None), Dependency("queue", lambda: None), odoo
    )
    cases = list(
        Reconcile(
            engine,
            {handler.queue.name: handler for handler in handlers},
            dead_letter_queue,
            max_attempts=settings.max_attempts,
            cutoff=datetime.now(timezone.utc)
            - (grace(settings.visibility_timeout) if older_than is None else older_than),
            dry_run=dry_run,
        ).cases()
    )
    if cases:
        _print_cases(cases)
    repaired = sum(case.result == REPAIRED for case in cases)
    out.print(f"{count_of(len(cases), 'case')}" + ("." if dry_run else f", {repaired} repaired."))


def _print_cases(cases: list[Case]) -> None:
    table = Table("ManyChat id", "event", "found", "result", "why")
    for case in cases:
        cells = (case.manychat_id, case.event_id[:12], case.found, case.result, case.about)
        table.add_row(*(escape(visible(cell)) for cell in cells))
    out.print(table)


@app.command()
def erase(
    manychat_id: Annotated[str, typer.Option("--manychat-id", help="Whom.")],
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove a person from SQL and from Odoo's event log, and say what is left for somebody to decide."""
    manychat_id = manychat_id.strip()
    if not manychat_id:
        fail("Say whom: --manychat-id.", MISUSED)
    settings = load_settings()
    engine = connect.open_engine(settings)
    connect.require_schema(engine)
    odoo = connect.open_odoo(settings)
    queues = (
        [connect.open_queue(settings, name) for name in QUEUES.values()] if settings.queue_connection_string else []
    )
    if not dry_run and not yes:
        typer.confirm("Remove this person for good?", abort=True)
    erased = erase_person(engine, odoo, queues, manychat_id, dry_run=dry_run)
    out.print("Would be removed:" if dry_run else "Removed:")
    for kind, number in erased.sql.items():
        out.print(f"  SQL: {kind} {number}")
    if erased.events is None:
        out.print("  Odoo: the payloads in its event log, and refused requests (not asked in a dry run)")
    else:
        out.print(f"  Odoo: event payloads {erased.events}, refused requests {erased.rejections}")
    out.print("Left:")
    leads = ", ".join(str(lead_id) for lead_id in erased.lead_ids) or "none" if not dry_run else "not asked"
    out.print(f"  Odoo: the opportunity itself, for a person to decide (crm.lead {leads})", soft_wrap=True)
    out.print("  SQL: audit rows without payload or name, which guard against applying an event twice", soft_wrap=True)
    if erased.unreadable:
        letters = count_of(erased.unreadable, "dead letter")
        out.print(f"  SQL: {letters} that can be read as no event and name nobody: see `dlq show`", soft_wrap=True)
    if erased.waiting != 0:
        waiting = count_of(erased.waiting, "message") if erased.waiting else "unknown how many messages"
        out.print(
            f"  Queues: {waiting}, which may speak of this person and would bring them back. Erase again once the "
            "queues are empty.",
            soft_wrap=True,
        )


@app.command()
def purge(
    older_than: Annotated[
        timedelta, typer.Option(parser=age, metavar="AGE", help="How long settled things are kept, e.g. 90d.")
    ],
    rows: Annotated[
        bool, typer.Option("--rows", help="Delete audit rows too, and not only empty their payloads.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove what has been settled for long: payloads in the audit, and dead letters resolved or discarded.

    Never anything unfinished or open. What is known of people stays until they are erased.
    """
    engine = connect.open_engine(load_settings())
    connect.require_schema(engine)
    before = datetime.now(timezone.utc) - older_than
    due = in_transaction(engine, lambda connection: retention.due(connection, before))
    del due["audit payloads" if rows else "audit rows"]
    told = ", ".join(f"{kind} {number}" for kind, number in due.items())
    if dry_run:
        out.print(f"Would purge: {told}.")
        return
    total = sum(due.values())
    if total and not yes:
        typer.confirm(f"Purge for good: {told}?", abort=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Purging", total=total)
        done = purge_settled(engine, before, rows=rows, progress=lambda count: progress.advance(task, count))
    out.print(f"Purged: {', '.join(f'{kind} {number}' for kind, number in done.items())}.")


@db.command("upgrade")
def db_upgrade() -> None:
    """Create the tables, or bring them up to this version. Does nothing if they are."""
    engine = connect.open_engine(load_settings())
    before = migrate.current(engine)
    migrate.upgrade(engine)
    if before == migrate.head():
        out.print(f"The tables are at revision {before} already.")
    else:
        out.print(f"Brought the tables from {f'revision {before}' if before else 'none'} to revision {migrate.head()}.")


@db.command("downgrade")
def db_downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; base for none.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the tables back to an earlier revision. What that revision has no place for is deleted."""
    engine = connect.open_engine(load_settings())
    if not yes:
        typer.confirm(f"Go back to {revision}, deleting what it has no place for?", abort=True)
    migrate.downgrade(engine, revision)
    out.print(f"The tables are at revision {migrate.current(engine) or 'none'}.")


@db.command("sql")
def db_sql(
    revisions: Annotated[
        str, typer.Argument(help="Up to which revision, starting from none; or FROM:TO, as in 0002:head.")
    ] = "head",
    kind: Annotated[
        DatabaseKind | None, typer.Option("--for", help="The kind of database. Default: that of BRIDGE_DATABASE_URL.")
    ] = None,
) -> None:
    """Print the SQL that `db upgrade` would run, for a DBA to read. Connects to nothing."""
    settings = load_settings()
    dialect = kind.value if kind else make_url(secret(settings.database_url)).get_backend_name()
    try:
        print(migrate.sql(dialect, revisions, settings.database_schema))
    except ValueError as error:
        fail(str(error), MISUSED)


@db.command("current")
def db_current() -> None:
    """Show the tables' revision, and the one that this version needs. Exits with 1 if they differ."""
    current = migrate.current(connect.open_engine(load_settings()))
    out.print(f"database: {current or 'no tables'}; needed: {migrate.head()}")
    if current != migrate.head():
        sys.exit(FAILED)
