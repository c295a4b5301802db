"""``python -m bridge status``: the health report on a terminal, once or repeatedly."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..monitoring import health
from .console import FAILED, load_settings, out, print_json, short_name, visible

#: Seconds that the checks may take.
TIMEOUT = 5.0


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat, until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, as /api/v1/reports/health; with --watch one a line.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two reports of --watch.")] = 2.0,
) -> None:
    """Show depths, rates, lag, dead letters, dependencies, bridges and pauses.

    Exits with 1 if there is a problem: a dependency is unavailable or not set up, no bridge is alive or one stands
    still, a queue cannot deliver a message, or an event has waited for more than five minutes. A pause or an open dead
    letter is no problem. Changes nothing: a row that it writes, to see whether SQL can be written, is deleted at once.
    """
    checks = health.open_checks(load_settings())

    def get_report() -> dict[str, Any]:
        return health.report(checks.run(TIMEOUT))

    if not watch:
        report = get_report()
        if as_json:
            print_json(report, indent=2)
        else:
            out.print(view(report))
        sys.exit(0 if report["status"] == "ok" else FAILED)
    try:
        if as_json:
            while True:
                print_json(get_report())
                time.sleep(every)
        foot = Text(f"\nEvery {every:g} s. Ctrl-C ends it.", style="dim")
        with Live(Group(view(get_report()), foot), console=out, auto_refresh=False, screen=out.is_terminal) as live:
            while True:
                time.sleep(every)
                live.update(Group(view(get_report()), foot), refresh=True)
    except KeyboardInterrupt:
        sys.exit(0)


def view(report: dict[str, Any]) -> RenderableType:
    """The report for a terminal of 80 columns."""
    colour = "green" if report["status"] == "ok" else "red"
    checked_at = report["checked_at"][:19].replace("T", " ")
    parts: list[RenderableType] = [
        Text.from_markup(
            f"[bold]MiaSalud bridge {report['version']}[/]  {checked_at} UTC  [{colour}]{report['status']}[/]"
        )
    ]
    parts += [Text(f"✗ {visible(problem)}", style="red") for problem in report["problems"]]
    parts += [Text(f"! {visible(notice)}", style="yellow") for notice in report["notices"]]
    parts += ["", _dependencies(report), "", _paths(report)]
    if by_reason := report["dead_letters"]["by_reason"]:
        parts += ["", _dead_letters(by_reason)]
    elif by_reason is not None:  # None: SQL is down
        parts += ["", "No open dead letters."]
    return Group(*parts)


def _dependencies(report: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    # Only a column that may wrap gives way. Its cells then do not wrap: see `_one_line`.
    table.add_column()
    for name, dependency in report["dependencies"].items():
        ok = dependency["status"] == "ok"
        revision = dependency.get("revision") or "none: `run` makes the tables"
        about = {
            "queue": "",
            "sql": f"{dependency.get('dialect', '')} revision {revision}",
            "odoo": f"Odoo {dependency.get('version', '')}",
        }[name]
        table.add_row(
            {"queue": "queue", "sql": "SQL", "odoo": "Odoo"}[name],
            Text(dependency["status"], style="green" if ok else "red"),
            f"{dependency['ms']:.0f} ms",
            _one_line(about if ok else dependency["reason"]),
        )
    bridges = report["bridges"]
    if bridges is None:
        table.add_row("bridges", Text("unknown", style="red"), "", "Odoo, which knows them, does not answer")
    else:
        moving = [bridge for bridge in bridges if not bridge.get("stuck")]
        names = ", ".join(f"{bridge['name']} ({duration(bridge['seconds'])} ago)" for bridge in moving)
        alive = Text(f"{len(moving)} alive", style="green" if moving else "red")
        table.add_row("bridges", alive, "", _one_line(names))
    return table


def _one_line(text: str) -> Text:
    """``text``, cut where the terminal ends."""
    return Text(visible(text), no_wrap=True, overflow="ellipsis")


def _paths(report: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("queue", no_wrap=True)
    for heading in ("msgs", "held", "oldest", "lag", "per min", "median", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for path in report["paths"]:
        latency = path["latency_seconds"] or {"p50": None, "p95": None}
        table.add_row(
            short_name(path["queue"]),
            _number(path["depth"]),
            _number(path["invisible"]),
            duration(path["oldest_message_seconds"]),
            duration(path["lag_seconds"]),
            _number(path["events_per_minute"]),
            duration(latency["p50"]),
            duration(latency["p95"]),
            Text("PAUSED" if path["paused_since"] else "", style="yellow"),
        )
    return table


def _dead_letters(by_reason: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("dead letters", no_wrap=True)
    table.add_column("open", justify="right", no_wrap=True)
    table.add_column("what to do")
    for reason, count, about in health.meanings(by_reason):
        table.add_row(visible(reason), str(count), about)
    return table


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min``, ``5 h`` or ``4 d``; – for 0 or unknown."""
    if not seconds:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
