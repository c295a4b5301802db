"""``python -m bridge reconcile --from-odoo``."""

from __future__ import annotations

import sys
from dataclasses import asdict

import sqlalchemy as sa
from rich.table import Table

from .. import connect
from ..errors import Outage
from ..settings import Settings
from ..worker.from_odoo import Difference, FromOdoo
from .console import FAILED, complain, count_of, out, print_json, progress_bar, visible

#: Rows of the table; `--json` prints all.
SHOWN = 50
#: What may be found of an opportunity, see :class:`..worker.from_odoo.Difference`.
FOUND = ("differs", "deleted", "busy", "unreadable")


def reconcile_from_odoo(
    settings: Settings, engine: sa.Engine, *, dry_run: bool, from_start: bool, as_json: bool
) -> None:
    """Compare all opportunities with Odoo's, write what differs, and say how much that is.

    :raises bridge.errors.ConfigurationError:
    """
    settings.require("odoo_url", "odoo_database", "odoo_api_key")
    run = FromOdoo(engine, connect.open_odoo(settings), dry_run, from_start)
    if run.is_continued:
        complain(f"Going on where an earlier run was: {run.checked:,} are compared already. --from-start begins anew.")
    shown, ended = list[Difference](), ""
    with progress_bar() as progress:
        task = progress.add_task("Comparing", total=None)
        try:
            for page in run.pages():
                shown += page[: SHOWN - len(shown)]
                if as_json:
                    for each in page:
                        print_json(asdict(each))
                looked_up = f", {run.looked_up:,} of SQL looked up in Odoo" if run.looked_up else ""
                progress.update(task, description=f"Compared: {run.checked:,}{looked_up}")
        except KeyboardInterrupt:
            ended = "Interrupted"
        except Outage as outage:
            if not run.checked:
                raise
            ended = f"{outage.dependency} cannot be used ({outage})"
    counts = run.counts
    summary = {
        "checked": run.checked,
        "same": run.checked - counts["differs"] - counts["deleted"],
        **{name: counts[name] for name in FOUND},
        "past_moves": run.past_moves,
        "written": 0 if dry_run else counts["differs"] + counts["deleted"],
        "finished": run.is_finished,
    }
    if as_json:
        print_json(summary)
    else:
        _print(summary, shown, dry_run=dry_run)
    if ended:
        goes_on = "The next one begins anew" if dry_run else "The next run goes on there, within 24 hours"
        complain(f"{ended}. Opportunities compared: {run.checked:,}. {goes_on}.")
    if ended or summary["busy"] or summary["unreadable"]:
        sys.exit(FAILED)


def _print(summary: dict[str, int], shown: list[Difference], *, dry_run: bool) -> None:
    if dry_run and shown:
        table = Table(box=None, pad_edge=False)
        for heading in ("ManyChat id", "found", "columns"):
            table.add_column(heading, overflow="fold")
        for each in shown:
            table.add_row(visible(each.manychat_id), each.found, ", ".join(each.columns))
        out.print(table)
        if (more := sum(summary[name] for name in FOUND) - len(shown)) > 0:
            out.print(f"{more} more: --json prints all.")
    differ = "differ (a decision may still be on its way)" if dry_run else "differed and are written"
    out.print(
        f"Opportunities: {summary['checked']} checked, {summary['same']} the same, "
        f"{summary['differs']} {differ}, {summary['deleted']} deleted in Odoo."
    )
    if summary["past_moves"]:
        out.print(f"History: {count_of(summary['past_moves'], 'move')} added from before Odoo recorded decisions.")
    if summary["busy"]:
        out.print(f"{summary['busy']} could not be read, because other transactions held them: run it again.")
    if summary["unreadable"]:
        out.print(f"{summary['unreadable']} could not be understood: this bridge is older than the addon. Upgrade it.")
