"""``python -m bridge dlq``: list and show dead letters, replay or discard them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table

from .. import connect
from ..contract.errors import ContractError
from ..contract.event import Event, decode
from ..contract.fields import format_datetime
from ..contract.outcomes import ErrorCode
from ..contract.payloads import QUEUES, EventQueue
from ..queue import Queue
from ..results import description
from ..store import audit, dead_letters, history
from ..store.dead_letters import Filter
from ..store.engine import in_transaction
from ..store.rows import DeadLetterRow
from . import event_ids
from .console import (
    FAILED,
    MISUSED,
    DryRun,
    JsonLines,
    JsonObject,
    Yes,
    confirm,
    confirm_bulk,
    count_of,
    did_you_mean,
    fail,
    load_settings,
    open_store,
    out,
    print_json,
    progress_bar,
    short_name,
    visible,
)
from .parsing import MOST_ROWS, past, timestamp

#: Letters read at once: each may be as long as a message.
PAGE = 100

#: Fields that `list` shows. Bodies and reasons may quote personal data.
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

app = typer.Typer(no_args_is_help=True, help="Dead letters: messages that the bridge gave up, and why.")


Reason = Annotated[
    str | None, typer.Option("--reason", "--code", help="Only those with this code, e.g. unmapped_stage.")
]
OneQueue = Annotated[EventQueue | None, typer.Option("--queue", help="Only those from this queue.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=past, metavar="TIME", help="Only those last tried then or later: a time (UTC), or 2h."),
]
Until = Annotated[
    datetime | None, typer.Option(parser=timestamp, metavar="TIME", help="Only those last tried before then.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="Only this one, by its own id, or the beginning of its event's; may be repeated."),
]
Person = Annotated[str | None, typer.Option("--manychat-id", help="Only those of this person.")]


@app.command("list")
def list_(
    reason: Reason = None,
    queue: OneQueue = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    manychat_id: Person = None,
    show_all: Annotated[bool, typer.Option("--all", help="Also those replayed, resolved or discarded since.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="At most this many.")] = 100,
    as_json: JsonLines = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV for a spreadsheet.")] = False,
    body: Annotated[
        bool, typer.Option("--body", help="With --json: also the body and the reason, which may hold personal data.")
    ] = False,
) -> None:
    """List dead letters, oldest first."""
    engine = open_store(load_settings())
    statuses = () if show_all else (dead_letters.OPEN,)
    wanted = _filter(engine, reason, queue, since, until, ids, manychat_id, statuses=statuses)
    letters = in_transaction(engine, dead_letters.search, wanted, limit=limit)
    if as_json:
        for letter in letters:
            print_json(_fields(letter, body), ascii_only=not body)
    elif as_csv:
        rows = csv.writer(sys.stdout)
        rows.writerow(LISTED)
        for letter in letters:
            rows.writerow([harmless(value) for value in _fields(letter, body=False).values()])
    else:
        total = sum(in_transaction(engine, dead_letters.counts, wanted).values())
        _print_table(letters)
        shown = "" if total == len(letters) else f" The first {len(letters)} are shown: --limit."
        out.print(f"{count_of(total, 'dead letter')}.{shown}")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its own id, or the beginning of its event's.")],
    body: Annotated[bool, typer.Option("--body", help="Also the message itself, which holds personal data.")] = False,
    as_json: JsonObject = False,
) -> None:
    """Show one dead letter: its origin, why it was given up, when and how often it was tried."""
    engine = open_store(load_settings())
    wanted = _filter(engine, ids=[letter_id], statuses=())
    [letter] = in_transaction(engine, dead_letters.search, wanted, limit=1)
    fields = {**_fields(letter, body=False), "message_id": letter.message_id, "message": letter.message}
    if as_json:
        print_json({**fields, "body": letter.body} if body else fields, ascii_only=True)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in {**fields, "what to do": description(letter.code)}.items():
        if value is not None:
            grid.add_row(name.replace("_", " "), visible(str(value)))
    event = event_of(letter)
    if event and event.clock_is_wrong:
        grid.add_row("clock", "Its date lies too far ahead: the event is ordered by its receipt.")
    out.print(grid)
    if body:
        # The event if it is one, since an operator cannot read Base64.
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
    """Put open dead letters back on their queues, for new attempts. Without a filter: all of them.

    The replay of an event that was applied meanwhile changes nothing. A message that is not an event stays, because it
    would only fail again.
    """
    settings = load_settings()
    engine = open_store(settings)
    wanted = _filter(engine, reason, queue, since, until, ids, manychat_id)
    total = _announce(engine, wanted)
    if not dry_run:
        confirm_bulk(f"Really replay {total}?", total, yes)
    queues = {name: connect.open_queue(settings, name) for name in QUEUES.values()} if total else {}
    sent = left = 0
    with progress_bar() as progress:
        for letter in progress.track(_pages(engine, wanted), total=total, description="Replaying"):
            event = event_of(letter)
            if event:
                if not dry_run:
                    replay_letter(engine, queues[event.type.queue], letter)
                sent += 1
            else:
                left += 1
    out.print(f"{'Would replay' if dry_run else 'Replayed'} {sent}.")
    if left:
        out.print(
            f"Left {count_of(left, 'message')} that cannot be read as events: see `dlq show`, then `dlq discard`."
        )


@app.command()
def discard(
    reason: Reason = None,
    queue: OneQueue = None,
    since: Since = None,
    until: Until = None,
    ids: Ids = None,
    manychat_id: Person = None,
    every: Annotated[bool, typer.Option("--all", help="All open ones, if there is no filter.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Close open dead letters for good: their events are not applied, even if they come again.

    The rows stay, marked as discarded, until `purge` removes them.
    """
    engine = open_store(load_settings())
    wanted = _filter(engine, reason, queue, since, until, ids, manychat_id)
    if wanted == Filter() and not every:
        fail("Give a filter, or --all.", MISUSED)
    total = _announce(engine, wanted)
    if dry_run:
        out.print(f"Would discard {total}.")
        return
    if total:
        confirm(f"Discard {count_of(total, 'dead letter')} for good?", yes)
    done = 0
    with progress_bar() as progress:
        for letter in progress.track(_pages(engine, wanted), total=total, description="Discarding"):
            done += in_transaction(engine, _discard, letter)
    out.print(f"Discarded {done}.")


def _discard(connection: sa.Connection, letter: DeadLetterRow) -> bool:
    if not dead_letters.discard(connection, letter):
        return False
    if letter.event_id:
        audit.discard(connection, letter.event_id)
    return True


def _filter(
    engine: sa.Engine,
    reason: str | None = None,
    queue: EventQueue | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    ids: list[str] | None = None,
    manychat_id: str | None = None,
    statuses: tuple[str, ...] = (dead_letters.OPEN,),
) -> Filter:
    """The criteria as the operator gave them. One that cannot be meant, such as a misspelt reason, ends the command."""
    if since and until and since >= until:
        fail("--since must be before --until: no dead letter can be between them.", MISUSED)
    if manychat_id is not None and not (manychat_id := manychat_id.strip()):
        fail("Give the ManyChat id of a person: --manychat-id.", MISUSED)
    if reason is not None:
        _require_reason(engine, reason)
    return Filter(
        statuses=statuses,
        code=reason,
        queue=queue.azure_name if queue else None,
        manychat_id=manychat_id,
        ids=_resolve(engine, ids, statuses) if ids else (),
        since=since,
        until=until,
    )


def _require_reason(engine: sa.Engine, reason: str) -> None:
    known = {str(code.value) for code in ErrorCode} | in_transaction(engine, dead_letters.counts, Filter()).keys()
    if reason in known or in_transaction(engine, dead_letters.counts, Filter(statuses=(), code=reason)):
        return
    fail(
        f"No dead letter has the reason “{visible(reason)[:80]}”. {did_you_mean(reason, known)}"
        f"The reasons are: {', '.join(sorted(known))}.",
        MISUSED,
    )


def _resolve(engine: sa.Engine, given: Sequence[str], statuses: tuple[str, ...]) -> tuple[int, ...]:
    """The letters' own ids. Each of ``given`` must mean exactly one letter of these statuses."""
    found: list[int] = []
    for text in given:
        wanted = text.strip().lower()
        if not re.fullmatch(rf"[0-9]{{1,18}}|[0-9a-f]{{{event_ids.SHORTEST},{event_ids.WHOLE}}}", wanted):
            fail(
                f"“{visible(text)[:80]}” is no id: give a dead letter's (a number), or at least {event_ids.SHORTEST} "
                "digits of its event's.",
                MISUSED,
            )
        letters = in_transaction(engine, _letters_named, wanted)
        if not letters:
            fail(f"There is no dead letter {wanted}: see `dlq list --all`. Nothing was changed.", FAILED)
        if len(letters) > 1:
            listed = "".join(f"\n  {letter_id}  {event_id}" for letter_id, event_id, _ in letters)
            fail(f"{wanted} means several dead letters. Give a whole id:{listed}", FAILED)
        [(letter_id, _, status)] = letters
        if statuses and status not in statuses:
            fail(f"Dead letter {letter_id} is {status}, and not open any more. Nothing was changed.", FAILED)
        found.append(letter_id)
    return tuple(found)


def _letters_named(connection: sa.Connection, wanted: str) -> list[tuple[int, str, str]]:
    """Id, event id and status of the letters with this id, or whose event's id begins so."""
    own = [int(wanted)] if re.fullmatch("[0-9]{1,18}", wanted) else []
    is_beginning = len(wanted) >= event_ids.SHORTEST
    events = history.dead_lettered_with_prefix(connection, wanted) if is_beginning else []
    return sorted(set(dead_letters.statuses(connection, own, events)))


def _announce(engine: sa.Engine, wanted: Filter) -> int:
    """Print the number of letters by reason; the total."""
    counts = in_transaction(engine, dead_letters.counts, wanted)
    total = sum(counts.values())
    if total:
        reasons = ", ".join(f"{code} {number}" for code, number in sorted(counts.items()))
        out.print(f"{count_of(total, 'open dead letter')}: {reasons}", soft_wrap=True)
    return total


def _pages(engine: sa.Engine, wanted: Filter) -> Iterator[DeadLetterRow]:
    """The letters, read page by page. Each is yielded once, even if it changes meanwhile."""
    last = 0
    while letters := in_transaction(engine, dead_letters.search, wanted, limit=PAGE, after=last):
        yield from letters
        last = letters[-1].id


def _print_table(letters: Sequence[DeadLetterRow]) -> None:
    if not letters:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "last tried (UTC)", "queue", "ManyChat id", "reason", "tries", "status"):
        # On 80 columns, all columns but these two fit in one line.
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
        table.add_row(*(visible(str(cell)) for cell in cells))
    out.print(table)
    for code in sorted({letter.code for letter in letters}):
        out.print(f"{code}: {description(code)}", soft_wrap=True)


def _fields(letter: DeadLetterRow, body: bool) -> dict[str, Any]:
    names = [*LISTED, "message", "body"] if body else LISTED
    values = {name: getattr(letter, name) for name in names}
    return {name: format_datetime(value) if isinstance(value, datetime) else value for name, value in values.items()}


def harmless(value: Any) -> Any:
    """A cell that a spreadsheet does not read as a formula: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r\n") and value else value


def event_of(letter: DeadLetterRow) -> Event | None:
    """The event in ``letter``; ``None`` if it (still) is not an event, so that a replay would fail again."""
    at = letter.enqueued_at or letter.first_tried_at
    try:
        return decode(letter.body, queue=letter.queue, inserted_at=at)
    except ContractError as error:
        own_queue = error.queue  # of a bare payload that was on the queue of another type
    try:
        return decode(letter.body, queue=own_queue, inserted_at=at) if own_queue else None
    except ContractError:
        return None


def replay_letter(engine: sa.Engine, queue: Queue, letter: DeadLetterRow) -> None:
    """Put the event in ``letter`` on ``queue``, and record it.

    If this is killed in between, the event may be sent twice. That is harmless: it has one id, and is applied once.

    :param queue: the queue of the event's type, also for an event that came by another queue
    :raises bridge.errors.Outage: the queue or SQL is down
    """
    event = event_of(letter)
    assert event is not None
    # Not the original body: the id of a bare payload without a date depends on when its message was enqueued.
    queue.send(event.encode())
    in_transaction(engine, dead_letters.mark_replayed, letter, event)
