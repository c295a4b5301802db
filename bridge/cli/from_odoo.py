"""``python -m bridge reconcile --from-odoo``."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict

import sqlalchemy as sa
from rich.table import Table

from .. import connect
from ..settings import Settings
from ..worker.from_odoo import Difference, FromOdoo
from .console import FAILED, out, print_json, progress_bar, visible

#: Rows of the table; `--json` prints all.
SHOWN = 50


def reconcile_from_odoo(settings: Settings, engine: sa.Engine, *, dry_run: bool, as_json: bool) -> None:
    """Compare all opportunities with Odoo's, write what differs, and say how much that is."""
    settings.require("odoo_url", "odoo_database", "odoo_api_key")
    run = FromOdoo(engine, connect.open_odoo(settings), dry_run)
    counts, shown = Counter[str](), list[Difference]()
    with progress_bar() as progress:
        task = progress.add_task("Comparing", total=None)
        for page in run.pages():
            counts.update(each.found for each in page)
            shown += page[: SHOWN - len(shown)]
            if as_json:
                for each in page:
                    print_json(asdict(each))
            progress.update(task, description=f"Compared: {run.checked}")
    summary = {
        "checked": run.checked,
        "same": run.checked - counts["differs"] - counts["deleted"],
        **{name: counts[name] for name in ("differs", "deleted", "busy")},
        "past_moves": run.past_moves,
        "written": 0 if dry_run else counts["differs"] + counts["deleted"],
    }
    if as_json:
        print_json(summary)
    else:
        _print(summary, shown, dry_run=dry_run)
    if summary["busy"]:
        sys.exit(FAILED)


def _print(summary: dict[str, int], shown: list[Difference], *, dry_run: bool) -> None:
    if dry_run and shown:
        table = Table(box=None, pad_edge=False)
        for heading in ("ManyChat id", "found", "columns"):
            table.add_column(heading, overflow="fold")
        for each in shown:
            table.add_row(visible(each.manychat_id), each.found, ", ".join(each.columns))
        out.print(table)
        if (more := summary["differs"] + summary["deleted"] + summary["busy"] - len(shown)) > 0:
            out.print(f"{more} more: --json prints all.")
    differ = "differ (a decision may still be on its way)" if dry_run else "differed and are written"
    out.print(
        f"Opportunities: {summary['checked']} checked, {summary['same']} the same, "
        f"{summary['differs']} {differ}, {summary['deleted']} deleted in Odoo."
    )
    if summary["past_moves"]:
        out.print(f"History: {summary['past_moves']} moves added, which were made before Odoo recorded decisions.")
    if summary["busy"]:
        out.print(f"{summary['busy']} could not be read, because other transactions held them: run it again.")
