"""``python -m bridge reconcile``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table

from .. import connect
from ..circuit_breaker import CircuitBreaker
from ..contract.payloads import DEAD_LETTER_QUEUE, OPPORTUNITY_QUEUE, QUEUES
from ..queue import require_rights
from ..settings import Settings
from ..worker.handlers import make_handlers, needs_odoo
from ..worker.reconcile import Reconcile, grace
from ..worker.repair import REPAIRED, Repair
from ..worker.restored import reapply_in_odoo, record_again_in_sql
from .console import (
    MISUSED,
    DryRun,
    JsonLines,
    count_of,
    fail,
    load_settings,
    open_store,
    out,
    print_json,
    progress_bar,
    visible,
)
from .from_odoo import reconcile_from_odoo
from .parsing import MOST_ROWS, duration_or_none, past
from .queues import Queues, queue_names
from .with_manychat import reconcile_with_manychat

_OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration_or_none,
        metavar="AGE",
        help="Only what was last tried longer ago than this. 0s: all. Default: ~7 minutes; 1m with --with-manychat.",
    ),
]
_OdooRestored = Annotated[
    datetime | None,
    typer.Option(
        "--odoo-restored-to",
        parser=past,
        metavar="TIME",
        help="Odoo was restored from a backup of this time (UTC): apply the events again that came since.",
    ),
]
_SqlRestored = Annotated[
    datetime | None,
    typer.Option(
        "--sql-restored-to",
        parser=past,
        metavar="TIME",
        help="SQL was restored from a backup of this time (UTC): record the events again that Odoo has since.",
    ),
]

_FromOdoo = Annotated[
    bool,
    typer.Option(
        "--from-odoo",
        help="Compare all opportunities with Odoo's, and write what differs. An interrupted run goes on where it was.",
    ),
]

_WITH_MANYCHAT = "With --with-manychat"
_WithManyChat = Annotated[
    bool,
    typer.Option(
        "--with-manychat",
        help="Ask ManyChat for each person, and compare the stage: finds pushes that ManyChat sent into nothing. "
        "Changes nothing without --repair. An interrupted run goes on where it was.",
        rich_help_panel=_WITH_MANYCHAT,
    ),
]
_Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Put lost pushes on the queue as events, and have what ManyChat does not show written again. A newer "
        "decision of an Odoo user stays.",
        rich_help_panel=_WITH_MANYCHAT,
    ),
]
_Create = Annotated[
    bool,
    typer.Option(
        "--create",
        help="With --repair: also create the opportunities of people who have a stage in ManyChat and none in Odoo.",
        rich_help_panel=_WITH_MANYCHAT,
    ),
]
_StageField = Annotated[
    str,
    typer.Option(
        metavar="NAME|ID",
        help="The custom field with the stage. Default: the one chosen in Odoo under Tell ManyChat.",
        rich_help_panel=_WITH_MANYCHAT,
    ),
]
_Since = Annotated[
    datetime | None,
    typer.Option(
        parser=past,
        metavar="TIME",
        help="Only people of whom SQL has something new since then: faster, and misses the others.",
        rich_help_panel=_WITH_MANYCHAT,
    ),
]
_Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_ROWS,
        help="Ask for so many people; the next run goes on after them.",
        rich_help_panel=_WITH_MANYCHAT,
    ),
]
_FromStart = Annotated[
    bool,
    typer.Option("--from-start", help="Forget where an interrupted run was.", rich_help_panel=_WITH_MANYCHAT),
]
#: What is younger counts as being on its way, if the operator does not say otherwise.
_MANYCHAT_AGE = timedelta(minutes=1)


def reconcile(
    queue: Queues = None,
    older_than: _OlderThan = None,
    odoo_restored: _OdooRestored = None,
    sql_restored: _SqlRestored = None,
    from_odoo: _FromOdoo = False,
    dry_run: DryRun = False,
    as_json: JsonLines = False,
    with_manychat: _WithManyChat = False,
    repair: _Repair = False,
    create: _Create = False,
    stage_field: _StageField = "",
    since: _Since = None,
    limit: _Limit = None,
    from_start: _FromStart = False,
) -> None:
    """Find unfinished events, and opportunities that SQL shows as not in Odoo; finish each, or say why not.

    `run` does the same every BRIDGE_RECONCILE_INTERVAL seconds. It never reverts a later decision of an Odoo user.
    """
    restored = odoo_restored or sql_restored
    of_manychat = bool(repair or create or stage_field or since or limit or from_start)
    if misuse := _misuse(
        {
            "After a restore, each event is applied again, and --dry-run cannot say what that changes.": (
                dry_run and restored
            ),
            "--from-odoo goes with --dry-run and --json only.": (
                from_odoo and (queue or older_than is not None or restored)
            ),
            "--with-manychat goes with --older-than, --dry-run, --json and its own options only.": (
                with_manychat and (queue or from_odoo or restored)
            ),
            "--repair, --create, --stage-field, --since, --limit and --from-start go with --with-manychat.": (
                of_manychat and not with_manychat
            ),
            "--repair changes what --dry-run only shows: give one of them.": repair and dry_run,
            "--create goes with --repair.": create and not repair,
        }
    ):
        fail(misuse, MISUSED)
    settings = load_settings()
    engine = open_store(settings)
    if with_manychat:
        age = _MANYCHAT_AGE if older_than is None else older_than
        chosen = {"repair": repair, "create": create, "older_than": age, "since": since, "limit": limit}
        reconcile_with_manychat(
            settings, engine, chosen, stage_field=stage_field, from_start=from_start, as_json=as_json
        )
        return
    if from_odoo:
        reconcile_from_odoo(settings, engine, dry_run=dry_run, as_json=as_json)
        return
    age = grace(settings.visibility_timeout) if older_than is None else older_than
    backups = (odoo_restored, sql_restored)
    _finish(settings, engine, queue, backups, age, dry_run=dry_run, as_json=as_json)


def _misuse(rules: Mapping[str, object]) -> str:
    """The first sentence whose case is there; empty if none is."""
    return next((sentence for sentence, is_so in rules.items() if is_so), "")


def _finish(
    settings: Settings,
    engine: sa.Engine,
    queue: Queues,
    backups: tuple[datetime | None, datetime | None],
    age: timedelta,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Finish what was left unfinished.

    :param backups: from which Odoo and SQL were restored
    :param age: only what was last tried longer ago than this
    """
    odoo_restored, sql_restored = backups
    queues = {name: connect.open_queue(settings, QUEUES[name]) for name in queue_names(queue)}
    dead_letter_queue = connect.open_queue(settings, DEAD_LETTER_QUEUE)
    require_rights(dead_letter_queue, "add")
    has_odoo = settings.odoo_url and settings.odoo_database and settings.odoo_api_key
    odoo = connect.open_odoo(settings) if has_odoo or any(needs_odoo(name) for name in queues) else None
    # This process waits for no dependency: an outage ends it.
    handlers = make_handlers(
        engine, queues, CircuitBreaker("SQL", lambda: None), CircuitBreaker("queue", lambda: None), odoo
    )
    by_queue = {handler.queue.name: handler for handler in handlers}
    if sql_restored:
        if odoo is None:
            settings.require("odoo_url", "odoo_database", "odoo_api_key")
        assert odoo is not None
        _report_all(record_again_in_sql(engine, by_queue, odoo, sql_restored), as_json)
    if odoo_restored:
        if OPPORTUNITY_QUEUE not in by_queue:
            fail("Only opportunities are in Odoo: leave --queue out, or name opportunity.", MISUSED)
        _report_all(reapply_in_odoo(engine, by_queue, odoo_restored), as_json)
    repairs = list(
        Reconcile(
            engine,
            by_queue,
            dead_letter_queue,
            odoo,
            max_attempts=settings.max_attempts,
            cutoff=datetime.now(timezone.utc) - age,
            dry_run=dry_run,
        ).repairs()
    )
    if as_json:
        for repair in repairs:
            print_json(asdict(repair))
        return
    if repairs:
        _print_table(repairs)
    repaired = sum(repair.result == REPAIRED for repair in repairs)
    out.print(f"{count_of(len(repairs), 'case')}" + ("." if dry_run else f", {repaired} repaired."))


def _report_all(repairs: Iterable[Repair], as_json: bool) -> None:
    """Show the progress of a repair of many events, then those that failed, and the total."""
    total, failed = 0, []
    with progress_bar() as progress:
        task = progress.add_task("Applying again", total=None)
        for repair in repairs:
            total += 1
            if repair.result != REPAIRED:
                failed.append(repair)
            if as_json:
                print_json(asdict(repair))
            progress.update(task, description=f"Applied again: {total}")
    if as_json:
        return
    if failed:
        _print_table(failed)
    out.print(f"{count_of(total, 'event')} applied again, {len(failed)} of them failed.")


def _print_table(repairs: Sequence[Repair]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("ManyChat id", "event", "found", "result", "reason"):
        # `trace` takes the id as it stands here.
        table.add_column(heading, no_wrap=heading == "event", overflow="fold")
    for repair in repairs:
        cells = (repair.manychat_id, repair.event_id[:12], repair.found, repair.result, repair.reason)
        table.add_row(*(visible(cell) for cell in cells))
    out.print(table)
