"""``python -m bridge dlq``: look at dead letters, and have them tried again or done with."""

from __future__ import annotations

import csv
import enum
import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from .. import connect
from ..contract.fields import format_datetime
from ..contract.payloads import QUEUES, EventQueue
from ..results import description
from ..store import audit, dead_letters
from ..store.dead_letters import Filter
from ..store.engine import in_transaction
from ..worker.replay import event_of, replay
from .console import FAILED, MISUSED, confirm_bulk, count_of, fail, load_settings, out, short_name, visible
from .parsing import moment

#: Letters read at once: each may be as long as a message can be.
PAGE = 100

#: What `list` tells. Bodies and reasons are not among it: they may quote people's data.
LISTED = (
    "id",
    "event_id",
    "queue",
    "type",
    "manychat_id",
    "code",
    "attempts",
    "first_tried_at",
    "last_tried_at",
    "status",
    "replayed_at",
    "resolved_at",
    "discarded_at",
)

app = typer.Typer(no_args_is_help=True, help="Dead letters: messages that were given up, and why.")


class Form(str, enum.Enum):
    """How `list` prints."""

    table = "table"
    json = "json"
    csv = "csv"


Reason = Annotated[
    str | None, typer.Option("--reason", "--code", help="Only those with this code, e.g. unmapped_stage.")
]
OneQueue = Annotated[EventQueue | None, typer.Option("--queue", help="Only those from this queue.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Only those last tried then or later: a time (UTC), or 2h."),
]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Only those last tried before then.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Only this one, by its own id or its event's; may be given several times."),
]
Person = Annotated[str | None, typer.Option("--manychat-id", help="Only those of this person.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_(
    reason: Reason = None,
    queue: OneQueue = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    manychat_id: Person = None,
    show_all: Annotated[bool, typer.Option("--all", help="Also those replayed, resolved or discarded since.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 100,
    form: Annotated[Form, typer.Option(help="How to print them.")] = Form.table,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line; the same as --form json.")] = False,
    body: Annotated[
        bool, typer.Option("--body", help="With --json: also the body and the reason, which may hold personal data.")
    ] = False,
) -> None:
    """List dead letters, oldest first."""
    wanted = _filter(reason, queue, since, until, ids, manychat_id, statuses=() if show_all else (dead_letters.OPEN,))
    engine = _engine()
    letters = in_transaction(engine, lambda connection: dead_letters.search(connection, wanted, limit=limit))
    if as_json or form is Form.json:
        for letter in letters:
            typer.echo(json.dumps(_told(letter, body), ensure_ascii=not body))
    elif form is Form.csv:
        rows = csv.writer(sys.stdout)
        rows.writerow(LISTED)
        for letter in letters:
            rows.writerow([harmless(value) for value in _told(letter, body=False).values()])
    else:
        total = sum(in_transaction(engine, lambda connection: dead_letters.counts(connection, wanted)).values())
        _print_table(letters)
        shown = "" if total == len(letters) else f" The first {len(letters)} are shown: --limit."
        out.print(f"{count_of(total, 'dead letter')}.{shown}")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its own id, or its event's.")],
    body: Annotated[bool, typer.Option("--body", help="Also the message itself, which holds personal data.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show one dead letter: where it came from, why it was given up, when and how often it was tried."""
    wanted = _filter(ids=[letter_id], statuses=())
    letters = in_transaction(_engine(), lambda connection: dead_letters.search(connection, wanted, limit=1))
    if not letters:
        fail("There is no such dead letter.", FAILED)
    [letter] = letters
    told = {**_told(letter, body=False), "message_id": letter.message_id, "message": letter.message}
    if body:
        told["body"] = letter.body
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=True))
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in {**told, "what to do": description(letter.code)}.items():
        if value is not None and name != "body":
            grid.add_row(name.replace("_", " "), escape(visible(str(value))))
    event = event_of(letter)
    if event and event.clock_is_wrong:
        grid.add_row("clock", "Its date lay too far ahead and is not believed: it counts as of its receipt.")
    out.print(grid)
    if body:
        # The event where it is one: Base64 is nothing to read.
        text = json.dumps(event.envelope(), indent=2, ensure_ascii=False) if event else letter.body
        typer.echo(visible(text))


@app.command("replay")
def replay_(
    reason: Reason = None,
    queue: OneQueue = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    manychat_id: Person = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Put open dead letters back on their queues, to be tried afresh. Without a filter: all of them.

    Replaying an event that was applied meanwhile changes nothing. What never was an event stays: it would only fail
    again.
    """
    settings = load_settings()
    engine = connect.open_engine(settings)
    connect.require_schema(engine)
    wanted = _filter(reason, queue, since, until, ids, manychat_id)
    total = _announce(engine, wanted, "replay", dry_run=dry_run, yes=yes)
    queues = {name: connect.open_queue(settings, name) for name in QUEUES.values()} if total else {}
    sent = left = 0
    with _progress() as progress:
        for letter in progress.track(_pages(engine, wanted), total=total, description="Replaying"):
            event = event_of(letter)
            if event:
                if not dry_run:
                    replay(engine, queues[event.type.queue], letter)
                sent += 1
            else:
                left += 1
    out.print(f"{'Would replay' if dry_run else 'Replayed'} {sent}.")
    if left:
        out.print(f"Left {count_of(left, 'message')} that can be read as no event: see `dlq show`, then `dlq discard`.")


@app.command()
def discard(
    reason: Reason = None,
    queue: OneQueue = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    manychat_id: Person = None,
    every: Annotated[bool, typer.Option("--all", help="Really all open ones, if no filter is given.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Be done with open dead letters, for good: whatever brings their events again, they are not applied.

    The rows stay, marked as discarded, until `purge` removes them.
    """
    wanted = _filter(reason, queue, since, until, ids, manychat_id)
    if wanted == Filter() and not every:
        fail("Say which: give a filter, or --all.", MISUSED)
    settings = load_settings()
    engine = connect.open_engine(settings)
    connect.require_schema(engine)
    total = _announce(engine, wanted, "discard", dry_run=dry_run, yes=yes)
    if dry_run:
        out.print(f"Would discard {total}.")
        return
    done = 0
    with _progress() as progress:
        for letter in progress.track(_pages(engine, wanted), total=total, description="Discarding"):
            done += in_transaction(engine, lambda connection: _discard(connection, letter))  # noqa: B023
    out.print(f"Discarded {done}.")


def _discard(connection: sa.Connection, letter: Any) -> bool:
    if not dead_letters.discard(connection, letter):
        return False
    if letter.event_id:
        audit.discard(connection, letter.event_id)
    return True


def _filter(
    reason: str | None = None,
    queue: EventQueue | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    ids: list[str] | None = None,
    manychat_id: str | None = None,
    statuses: tuple[str, ...] = (dead_letters.OPEN,),
) -> Filter:
    own, events = [], []
    for given in ids or ():
        if re.fullmatch(r"[0-9a-f]{64}", given):
            events.append(given)
        elif re.fullmatch(r"[0-9]{1,18}", given):
            own.append(int(given))
        else:
            fail(
                f"“{visible(given)[:80]}” is no id: give a dead letter's (a number) or an event's (64 hex digits).",
                MISUSED,
            )
    return Filter(
        statuses=statuses,
        code=reason,
        queue=queue.azure_name if queue else None,
        manychat_id=manychat_id,
        ids=tuple(own),
        event_ids=tuple(events),
        since=since,
        until=until,
    )


def _engine() -> sa.Engine:
    engine = connect.open_engine(load_settings())
    connect.require_schema(engine)
    return engine


def _announce(engine: sa.Engine, wanted: Filter, verb: str, *, dry_run: bool, yes: bool) -> int:
    """Say how many letters there are, by reason, and ask; how many there are."""
    counts = in_transaction(engine, lambda connection: dead_letters.counts(connection, wanted))
    total = sum(counts.values())
    if total:
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(counts.items()))
        out.print(f"{count_of(total, 'open dead letter')}: {escape(reasons)}", soft_wrap=True)
    if not dry_run:
        confirm_bulk(f"Really {verb} {total}?", total, yes)
    return total


def _pages(engine: sa.Engine, wanted: Filter) -> Iterator[Any]:
    """The letters, read page by page; each is yielded once, whatever becomes of it meanwhile."""
    last = 0
    while letters := in_transaction(
        engine,
        lambda connection: dead_letters.search(connection, wanted, limit=PAGE, after=last),  # noqa: B023
    ):
        yield from letters
        last = letters[-1].id


def _progress() -> Progress:
    return Progress(console=out, transient=True, disable=not out.is_terminal)


def _print_table(letters: list[Any]) -> None:
    if not letters:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "last tried (UTC)", "queue", "ManyChat id", "reason", "tries", "status"):
        # 80 columns have room for all but these two in one line.
        table.add_column(heading, no_wrap=heading not in ("last tried (UTC)", "ManyChat id"), overflow="fold")
    for letter in letters:
        cells = (
            letter.id,
            f"{letter.last_tried_at:%Y-%m-%d %H:%M}",
            short_name(letter.queue),
            letter.manychat_id or "",
            letter.code,
            letter.attempts,
            letter.status,
        )
        table.add_row(*(escape(visible(str(cell))) for cell in cells))
    out.print(table)
    for code in sorted({letter.code for letter in letters}):
        out.print(escape(f"{code}: {description(code)}"), soft_wrap=True)


def _told(letter: Any, body: bool) -> dict[str, Any]:
    names = [*LISTED, "message", "body"] if body else LISTED
    values = {name: getattr(letter, name) for name in names}
    return {name: format_datetime(value) if isinstance(value, datetime) else value for name, value in values.items()}


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r\n") and value else value
