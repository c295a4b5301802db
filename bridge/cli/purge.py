"""``python -m bridge purge``: remove what was settled long ago."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Annotated

import sqlalchemy as sa
import typer

from ..store import retention
from ..store.engine import in_transaction, read
from .console import DryRun, Yes, confirm, is_terminal, load_settings, open_store, out, progress_bar
from .parsing import duration


def purge(
    older_than: Annotated[
        timedelta, typer.Option(parser=duration, metavar="AGE", help="Remove what was settled longer ago, e.g. 90d.")
    ],
    rows: Annotated[
        bool, typer.Option("--rows", help="Delete audit rows too, and not only empty their payloads.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Remove what was settled long ago: payloads in the audit, dead letters resolved or discarded, refusal counts.

    What was noted of calls to ManyChat goes too, a week later at least. Unfinished events and open dead letters stay.
    So do contacts and opportunities, until `erase` removes a person. A timer runs it with
    `--yes`. What is interrupted is continued by the next call.
    """
    engine = open_store(load_settings())
    before = datetime.now(timezone.utc) - older_than
    # SQLite's bridges go on writing meanwhile.
    due = read(engine, retention.due, before)
    del due["audit payloads" if rows else "audit rows"]
    counts = ", ".join(f"{kind} {number}" for kind, number in due.items())
    if dry_run:
        out.print(f"Would purge: {counts}.")
        return
    total = sum(due.values())
    # Also while nothing is due: a timer without --yes must fail on its first day, not on its ninetieth.
    if total or not is_terminal():
        confirm(f"Purge for good: {counts}?", yes)
    with progress_bar() as progress:
        task = progress.add_task("Purging", total=total)
        done = remove_settled(engine, before, rows=rows, progress=lambda count: progress.advance(task, count))
    out.print(f"Purged: {', '.join(f'{kind} {number}' for kind, number in done.items())}.")


def remove_settled(
    engine: sa.Engine, before: datetime, *, rows: bool, progress: Callable[[int], object]
) -> dict[str, int]:
    """Remove what was settled before then. If it is killed, the next call goes on from there.

    Each step is a short transaction, and the pause after it as long as the step: the bridges get half of the time of a
    database that lets in one writer at a time.

    :param rows: delete the audit rows too, and not only empty their payloads
    :param progress: called with the number of rows done since the last call
    :return: number of rows of each kind
    :raises bridge.errors.Outage: SQL is down
    """
    audit = ("audit rows", retention.delete_rows) if rows else ("audit payloads", retention.empty_payloads)
    letters = [("dead letters", remove) for remove in (retention.delete_resolved, retention.delete_discarded)]
    done: dict[str, int] = {}
    calls = [("calls to ManyChat", remove) for remove in (retention.delete_flows, retention.delete_echoes)]
    for kind, remove in (audit, *letters, ("refusal counts", retention.delete_refusals), *calls):
        done.setdefault(kind, 0)
        part, began = retention.START, time.monotonic()
        while (part := in_transaction(engine, remove, before, part)).count:
            done[kind] += part.count
            progress(part.count)
            time.sleep(time.monotonic() - began)
            began = time.monotonic()
    return done
