"""The command line: ``python -m bridge --help``."""

from __future__ import annotations

import enum
import json
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from . import __version__, log, worker
from . import check as checks
from . import settings as configuration
from .events import ContractError, EventType, parse_json
from .outage import Outage
from .replay import replay
from .settings import ConfigurationError, Settings, secret
from .store import dead_letters, migrate
from .store.engine import in_transaction
from .webhook import guess_type
from .webhook import send as send_to_webhook

#: Exit codes: something failed; it is not set up, or called, rightly.
FAILED = 1
MISUSED = 2

app = typer.Typer(
    name="python -m bridge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Carries ManyChat events from Azure Storage Queues to SQL and to the Odoo CRM pipeline. "
    "Settings come from the environment or a .env file; .env.example documents them.",
)
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: messages that were given up, and why.")
db = typer.Typer(no_args_is_help=True, help="The database's tables.")
app.add_typer(dlq, name="dlq")
app.add_typer(db, name="db")

out = Console()


class QueueName(str, enum.Enum):
    """The queues by their short names."""

    contact = "contact"
    campaign = "campaign"
    opportunity = "opportunity"


class TypeName(str, enum.Enum):
    """The events' types, as in the envelope."""

    contact = "contact"
    campaign_assignment = "campaign_assignment"
    campaign_contact = "campaign_contact"
    opportunity = "opportunity"


Reason = Annotated[str | None, typer.Option("--reason", help="Only those with this code, e.g. unmapped_stage.")]
OneQueue = Annotated[QueueName | None, typer.Option("--queue", help="Only those from this queue.")]


def main() -> NoReturn:
    """Run the command line, and end the process: expected errors as one line, without a traceback."""
    try:
        app(prog_name="python -m bridge")
    except ConfigurationError as error:
        _fail(str(error), MISUSED)
    except Outage as outage:
        _fail(f"{outage.dependency} cannot be used: {outage}. Run `python -m bridge check` for advice.", FAILED)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)


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


def _settings() -> Settings:
    settings = configuration.load()
    log.configure(settings.log_format, settings.log_level)
    return settings


@app.command()
def run(
    queue: Annotated[
        list[QueueName] | None,
        typer.Option("--queue", help="Consume only this queue; give it several times for several. Default: all."),
    ] = None,
) -> None:
    """Work: take events off the queues until stopped (Ctrl-C or SIGTERM, which finish what is in hand).

    Run as many of these as the load needs, on one machine or many. If SQL, Odoo or the queue is down it waits, and
    goes on by itself.
    """
    names = [each.value for each in queue or list(QueueName)]
    sys.exit(worker.run(_settings(), list(dict.fromkeys(names))))


@app.command()
def check() -> None:
    """Try the queue, the database and Odoo, and say what to do about those that fail.

    Exits with 1 if any of them fails.
    """
    settings = _settings()
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
        TypeName | None, typer.Option("--type", help="What the payload is. Default: what its fields say.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where the webhooks are. Default: BRIDGE_WEBHOOK_URL, else BRIDGE_ODOO_URL.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The X-API-KEY. Default: BRIDGE_WEBHOOK_KEY.")] = None,
) -> None:
    """Post a payload to the webhook, as ManyChat would, and print the answer.

    Exits with 1 if the webhook does not accept it.
    """
    settings = _settings()
    body = file.read()
    kind = EventType(event_type.value) if event_type else _guess(body)
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
        _fail(f"{error.message} Give --type to send it nonetheless.", MISUSED)
    if guessed is None:
        _fail("The payload's fields do not say what it is: give --type.", MISUSED)
    return guessed


@dlq.command("list")
def dlq_list(
    reason: Reason = None,
    queue: OneQueue = None,
    show_all: Annotated[bool, typer.Option("--all", help="Also those replayed or resolved since.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the message's body.")] = False,
) -> None:
    """List dead letters, oldest first."""
    letters = _search(_settings(), reason=reason, queue=queue, show_all=show_all, limit=limit)
    if as_json:
        for letter in letters:
            print(json.dumps(letter._asdict(), default=str, ensure_ascii=False))
        return
    table = Table("id", "last tried (UTC)", "queue", "ManyChat id", "reason", "tries", "status", "message")
    for letter in letters:
        tried = f"{letter.last_tried_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            str(letter.id),
            tried,
            letter.queue,
            letter.manychat_id or "",
            letter.code,
            str(letter.attempts),
            letter.status,
            letter.message[:200],
        )
    out.print(table)
    out.print(f"{len(letters)} dead letter{'' if len(letters) == 1 else 's'}.")


@dlq.command("replay")
def dlq_replay(
    reason: Reason = None,
    queue: OneQueue = None,
    ids: Annotated[list[int] | None, typer.Option("--id", help="Only this one; may be given several times.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
) -> None:
    """Put open dead letters back on their queues, to be tried afresh. Without a filter: all of them.

    Replaying an event that was applied meanwhile changes nothing.
    """
    settings = _settings()
    letters = _search(settings, reason=reason, queue=queue, ids=ids or [])
    if dry_run:
        out.print(f"Would replay {len(letters)}: {', '.join(str(letter.id) for letter in letters) or 'none'}.")
        return
    if letters:
        engine = worker.open_engine(settings)
        queues = {name: worker.open_queue(settings, name) for name in {letter.queue for letter in letters}}
        with Progress(console=out, transient=True) as progress:
            for letter in progress.track(letters, description="Replaying"):
                replay(engine, queues[letter.queue], letter)
    out.print(f"Replayed {len(letters)}.")


def _search(
    settings: Settings,
    *,
    reason: str | None,
    queue: QueueName | None,
    show_all: bool = False,
    limit: int | None = None,
    ids: list[int] | None = None,
) -> list[Any]:
    engine = worker.open_engine(settings)
    worker.require_schema(engine)
    return in_transaction(
        engine,
        lambda connection: dead_letters.search(
            connection,
            statuses=() if show_all else (dead_letters.OPEN,),
            code=reason,
            queue=worker.QUEUES[queue.value] if queue else None,
            ids=ids or (),
            limit=limit,
        ),
    )


@db.command("upgrade")
def db_upgrade() -> None:
    """Create the tables, or bring them up to this version. Does nothing if they are."""
    engine = worker.open_engine(_settings())
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
    engine = worker.open_engine(_settings())
    if not yes:
        typer.confirm(f"Go back to {revision}, deleting what it has no place for?", abort=True)
    migrate.downgrade(engine, revision)
    out.print(f"The tables are at revision {migrate.current(engine) or 'none'}.")


@db.command("sql")
def db_sql() -> None:
    """Print the SQL that `db upgrade` would run on an empty database of this kind, for a DBA to read."""
    print(migrate.sql(worker.open_engine(_settings()).dialect.name))


@db.command("current")
def db_current() -> None:
    """Show the tables' revision, and the one that this version needs. Exits with 1 if they differ."""
    current = migrate.current(worker.open_engine(_settings()))
    out.print(f"database: {current or 'no tables'}; needed: {migrate.head()}")
    if current != migrate.head():
        sys.exit(FAILED)
