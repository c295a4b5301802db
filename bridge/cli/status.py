"""``python -m bridge status``: how everything is doing, on a terminal, once or for as long as somebody watches."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..monitoring import health
from .console import FAILED, load_settings, out, short_name, visible

#: Seconds that one look may take.
TIMEOUT = 5.0


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, as /api/v1/reports/health; with --watch one a line.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks of --watch.")] = 2.0,
) -> None:
    """Show depths, rates, lag, dead letters, dependencies, bridges and pauses.

    Exits with 0 if all is well, with 1 if it is not (something is unavailable or not set up, no bridge is alive, an
    event has waited for more than five minutes). A pause or an open dead letter alone is no reason for 1. Looks only;
    changes nothing.
    """
    looking = health.open_watch(load_settings())

    def look() -> dict[str, Any]:
        return health.report(looking.look(TIMEOUT))

    if not watch:
        seen = look()
        if as_json:
            typer.echo(json.dumps(seen, indent=2, ensure_ascii=False))
        else:
            out.print(view(seen))
        sys.exit(0 if seen["status"] == "ok" else FAILED)
    try:
        if as_json:
            while True:
                typer.echo(json.dumps(look(), ensure_ascii=False))
                time.sleep(every)
        foot = Text(f"\nEvery {every:g} s. Ctrl-C ends it.", style="dim")
        with Live(Group(view(look()), foot), console=out, auto_refresh=False, screen=out.is_terminal) as live:
            while True:
                time.sleep(every)
                live.update(Group(view(look()), foot), refresh=True)
    except KeyboardInterrupt:
        sys.exit(0)


def view(seen: dict[str, Any]) -> RenderableType:
    """The report as somebody reads it; fits a terminal of 80 columns."""
    colour = "green" if seen["status"] == "ok" else "red"
    moment = seen["checked_at"][:19].replace("T", " ")
    parts: list[RenderableType] = [
        Text.from_markup(f"[bold]MiaSalud bridge {seen['version']}[/]  {moment} UTC  [{colour}]{seen['status']}[/]")
    ]
    parts += [Text(f"✗ {visible(problem)}", style="red") for problem in seen["problems"]]
    parts += [Text(f"! {visible(notice)}", style="yellow") for notice in seen["notices"]]
    parts += ["", _dependencies(seen), "", _paths(seen)]
    if by_reason := seen["dead_letters"]["by_reason"]:
        parts += ["", _dead_letters(by_reason)]
    elif by_reason is not None:  # it is None while nobody can tell
        parts += ["", "No open dead letters."]
    return Group(*parts)


def _dependencies(seen: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for name, told in seen["dependencies"].items():
        ok = told["status"] == "ok"
        about = {
            "queue": "",
            "sql": f"{told.get('dialect', '')} revision {told.get('revision') or 'none: `run` makes the tables'}",
            "odoo": f"Odoo {told.get('version', '')}",
        }[name]
        table.add_row(
            {"queue": "queue", "sql": "SQL", "odoo": "Odoo"}[name],
            f"[green]{told['status']}[/]" if ok else f"[red]{told['status']}[/]",
            f"{told['ms']:.0f} ms",
            escape(visible(about if ok else told["reason"])),
        )
    bridges = seen["bridges"]
    if bridges is None:
        table.add_row("bridges", "[red]unknown[/]", "", "Odoo, which knows them, does not answer")
    else:
        names = ", ".join(f"{bridge['name']} ({duration(bridge['seconds'])} ago)" for bridge in bridges)
        alive = f"[{'green' if bridges else 'red'}]{len(bridges)} alive[/]"
        table.add_row("bridges", alive, "", escape(visible(names)))
    return table


def _paths(seen: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("queue", no_wrap=True)
    for heading in ("waiting", "oldest", "lag", "per min", "median", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for path in seen["paths"]:
        latency = path["latency_seconds"] or {"p50": None, "p95": None}
        table.add_row(
            short_name(path["queue"]),
            _number(path["depth"]),
            duration(path["oldest_message_seconds"]),
            duration(path["lag_seconds"]),
            _number(path["events_per_minute"]),
            duration(latency["p50"]),
            duration(latency["p95"]),
            "[yellow]PAUSED[/]" if path["paused_since"] else "",
        )
    return table


def _dead_letters(by_reason: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("dead letters", no_wrap=True)
    table.add_column("open", justify="right", no_wrap=True)
    table.add_column("what to do")
    for reason, count, about in health.meanings(by_reason):
        table.add_row(escape(visible(reason)), str(count), escape(about))
    return table


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min``, ``2.5 h``, ``4 d``; – for none, or unknown."""
    if not seconds:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
