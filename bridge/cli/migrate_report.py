"""What the steps of ``python -m bridge migrate`` print: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Column as Heading
from rich.table import Table as Grid

from ..legacy.plan import Finding, Plan
from ..legacy.rollback import Rollback
from ..legacy.run import Report
from ..legacy.verify import NEWER, RIGHT, Person, TableCheck, Verification
from .console import MISUSED, count_of, fail, out, print_json, progress_bar, visible

#: Rows between two lines of progress where there is no terminal: so many, or a twentieth.
EVERY = 10_000
#: Failures and examples in a list for people.
SHOWN = 10


@contextmanager
def progress(title: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    done, every = 0, max(total // 20, 1) if total else EVERY
    with progress_bar() as bar:
        task = bar.add_task(title, total=total)

        def advance(number: int) -> None:
            nonlocal done
            before, done = done, done + number
            bar.advance(task, number)
            if not quiet and not out.is_terminal and before // every != done // every:
                out.print(f"{title}: {done:,}{f' of {total:,}' if total else ''}")

        yield advance


def print_plan(plan: Plan, accepted: Sequence[str]) -> None:
    """Print the findings, and what must be decided."""
    grid = Grid(title=f"Migration {plan.overview['name']}, batch {plan.overview['batch']}", title_justify="left")
    for heading in (Heading("found", overflow="fold"), Heading("", justify="right"), "", Heading("name", no_wrap=True)):
        grid.add_column(heading.header if isinstance(heading, Heading) else heading,
                        justify=getattr(heading, "justify", "left"), overflow="fold",
                        no_wrap=bool(getattr(heading, "no_wrap", False)))  # fmt: skip
    for finding in plan.findings:
        if finding.count or not finding.advice:
            grid.add_row(visible(finding.title), f"{finding.count:,}", _mark(finding, accepted), finding.key)
    out.print(grid)
    open_ones = [finding for finding in plan.findings if finding.is_open(accepted)]
    for finding in open_ones:
        out.print(f"\nDecide {finding.key}: {visible(finding.title)}: {finding.count:,}", soft_wrap=True)
        for example in finding.examples[:SHOWN]:
            out.print(f"  {visible(example)}", soft_wrap=True)
        if len(finding.examples) > SHOWN:
            out.print(f"  … and {len(finding.examples) - SHOWN} more: --csv FOLDER has all")
        out.print(f"  {finding.advice}", soft_wrap=True)
    number = len({finding.key for finding in open_ones})
    out.print(f"\n{count_of(number, 'decision')} open." if number else "\nNothing is left to decide.")


def _mark(finding: Finding, accepted: Sequence[str]) -> str:
    if finding.is_open(accepted):
        return "decide"
    return "accepted" if finding.count and finding.advice else ""


def print_plan_json(plan: Plan, accepted: Sequence[str]) -> None:
    """Print the plan as one object."""
    print_json(
        {
            "batch": plan.overview["batch"],
            "findings": [{**asdict(each), "open": each.is_open(accepted)} for each in plan.findings],
            "labels": [dict(zip(LABELS, each, strict=True)) for each in plan.labels],
            "several": [{"manychat_id": person, "lead_ids": ids} for person, ids in plan.people],
            "stages": plan.overview["stages"],
            "open": sorted({each.key for each in plan.findings if each.is_open(accepted)}),
        }
    )


def print_refused_json(reasons: Sequence[str]) -> None:
    """Print what the mapping leaves open, as one object."""
    print_json({"open": ["mapping"], "mapping": list(reasons)})


STAGES = ("number", "label", "expected", "mapped_to", "mapped_name", "stage_of_that_id", "same_name")
LABELS = ("label", "people", "newest_of", "nearest")


def write_csv(folder: Path, plan: Plan, accepted: Sequence[str]) -> None:
    """Write the lists of the plan into files of ``folder``."""
    files: dict[str, tuple[Sequence[str], list[Sequence[Any]]]] = {
        "findings.csv": (
            ("name", "found", "count", "open", "advice"),
            [(each.key, each.title, each.count, each.is_open(accepted), each.advice) for each in plan.findings],
        ),
        "labels.csv": (LABELS, list(plan.labels)),
        "several.csv": (("manychat_id", "lead_ids"), [(who, " ".join(map(str, ids))) for who, ids in plan.people]),
        "stages.csv": (
            STAGES,
            [[each.get(name) for name in STAGES] for each in plan.overview["stages"]],
        ),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (headings, rows) in files.items():
            # Spreadsheets take a file without this mark for Latin-1.
            with (folder / name).open("w", encoding="utf-8-sig", newline="") as file:
                csv.writer(file).writerows([headings, *([_cell(each) for each in row] for row in rows)])
    except OSError as error:
        fail(f"{folder} cannot be written: {error.strerror}", MISUSED)


def _cell(value: Any) -> Any:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def print_run(report: Report, batch: str) -> None:
    """Print what a run did."""
    grid = Grid("", Heading("rows", justify="right"), title=f"Batch {batch}", title_justify="left")
    for tally in report.tallies:
        grid.add_row(f"SQL: {tally.name}, new or filled", f"{tally.new + tally.filled:,}")
    for outcome, number in sorted(report.outcomes.items()):
        if number:
            grid.add_row(f"opportunities: {outcome}", f"{number:,}")
    grid.add_row("opportunities: failed", f"{len(report.failures):,}")
    out.print(grid)
    for manychat_id, reason in list(report.failures.items())[:SHOWN]:
        out.print(visible(f"{manychat_id}: {reason}"), soft_wrap=True)
    out.print(
        "Compare now: python -m bridge migrate verify. To undo: python -m bridge migrate rollback.", soft_wrap=True
    )


def print_verification(result: Verification, faults: Sequence[str]) -> None:
    """Print what a comparison found."""
    grid = Grid(title="The old tables and SQL", title_justify="left")
    for number, heading in enumerate(("", "old", "same", "newer", "missing", "differ", "checksums")):
        grid.add_column(heading, justify="right" if number else "left")
    for table in result.tables:
        numbers = (table.legacy, table.same, table.newer, table.missing, table.different)
        grid.add_row(table.name, *(f"{number:,}" for number in numbers), _checksums(table))
    out.print(grid)
    grid = Grid(title="People by stage", title_justify="left")
    for number, heading in enumerate(("stage", "expected", "there", "moved since", "wrong")):
        grid.add_column(heading, justify="right" if number else "left")
    for stage, counts in result.stages.items():
        wrong = counts["expected"] - counts[RIGHT] - counts[NEWER]
        grid.add_row(
            visible(stage), *(f"{number:,}" for number in (counts["expected"], counts[RIGHT], counts[NEWER], wrong))
        )
    out.print(grid)
    if result.sample:
        out.print(_people("A sample", result.sample))
    if result.wrong:
        out.print(_people("Not as expected", result.wrong))
    if result.beside:
        out.print(f"People with another open opportunity too: {result.beside:,}", soft_wrap=True)
    for writer in result.writers:
        out.print(visible(f"{writer['user']} wrote {writer['partners']:,} contacts since, last {writer['last'][:19]}Z"))
    for fault in faults:
        out.print(visible(f"✗ {fault}"), soft_wrap=True)
    out.print("Something differs." if faults else "All is as expected.")


def _checksums(table: TableCheck) -> str:
    same = table.legacy_checksum == table.our_checksum
    return f"{table.our_checksum:016x}" if same else f"{table.legacy_checksum:016x} ≠ {table.our_checksum:016x}"


def _people(title: str, people: Sequence[Person]) -> Grid:
    grid = Grid("ManyChat id", "old state", "of", "in Odoo", "lead", "", title=title, title_justify="left")
    for each in people:
        cells = (each.manychat_id, each.stage, f"{each.at:%Y-%m-%d %H:%M}", each.found, str(each.lead_id or "–"))
        grid.add_row(*(visible(cell) for cell in cells), "✓" if each.verdict == RIGHT else each.verdict)
    return grid


def print_verification_json(result: Verification, faults: Sequence[str]) -> None:
    """Print what a comparison found, as one object."""
    tables = [
        {
            **asdict(table),
            "legacy_checksum": f"{table.legacy_checksum:016x}",
            "our_checksum": f"{table.our_checksum:016x}",
        }
        for table in result.tables
    ]
    people = {
        name: [{**asdict(each), "at": each.at.isoformat()} for each in getattr(result, name)]
        for name in ("sample", "wrong")
    }
    print_json(
        {
            "faults": list(faults),
            "tables": tables,
            "stages": {stage: dict(counts) for stage, counts in result.stages.items()},
            "verdicts": dict(result.verdicts),
            "beside": result.beside,
            "writers": result.writers,
            **people,
        }
    )


def print_rollback(undone: Rollback, *, dry_run: bool) -> None:
    """Print what was undone, and what stays."""
    title = "Would be undone" if dry_run else "Undone"
    grid = Grid(
        "", Heading("undone", justify="right"), Heading("kept", justify="right"), title=title, title_justify="left"
    )
    for made, number in undone.opportunities.items():
        grid.add_row(f"opportunities: {made.replace('_', ' ')}", f"{number:,}", "")
    grid.add_row("opportunities used since", "", f"{len(undone.kept):,}")
    for table in sorted(undone.rows.keys() | undone.rows_kept.keys()):
        grid.add_row(f"SQL: {table}", f"{undone.rows[table]:,}", f"{undone.rows_kept[table]:,}")
    out.print(grid)
    for each in undone.kept[:SHOWN]:
        line = f"Kept: opportunity {each['lead_id']}, ManyChat id {each['manychat_id']}: {each['reason']}"
        out.print(visible(line), soft_wrap=True)
    if len(undone.kept) > SHOWN:
        out.print("All of them are in Odoo, in the migration's list.")


def print_rollback_json(undone: Rollback, *, dry_run: bool) -> None:
    """Print what was undone, and what stays, as one object."""
    print_json(
        {
            "dry_run": dry_run,
            "opportunities": dict(undone.opportunities),
            "kept": undone.kept,
            "rows": dict(undone.rows),
            "rows_kept": dict(undone.rows_kept),
        }
    )
