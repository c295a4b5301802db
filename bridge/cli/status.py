"""``python -m bridge status``: the health report on a terminal, once or repeatedly."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..monitoring import health
from ..signals import interrupted_by_signals
from .console import FAILED, load_settings, out, print_json, short_name, visible
from .parsing import pause

#: Seconds that the checks may take.
TIMEOUT = 5.0
#: Odoo names no more bridges that do not run.
MOST_ENDED = 100
#: Bridges that the terminal shows, the others as a number; `--json` has all.
SHOWN = 5


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat, until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, as /api/v1/reports/health; with --watch one a line.")
    ] = False,
    every: Annotated[
        float, typer.Option(parser=pause, metavar="SECONDS", help="Between two reports of --watch.")
    ] = 2.0,
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
            _print(report)
        sys.exit(0 if report["status"] == "ok" else FAILED)
    with contextlib.suppress(KeyboardInterrupt), interrupted_by_signals():
        _watch(get_report, every, as_json=as_json)


def _watch(get_report: Callable[[], dict[str, Any]], every: float, *, as_json: bool) -> None:
    """Print report after report; on a terminal each in the place of the one before."""
    if as_json or not out.is_terminal:
        while True:
            if as_json:
                print_json(get_report())
            else:
                _print(get_report())
                out.print("")
            time.sleep(every)
    foot = Text(f"\nEvery {every:g} s. Ctrl-C ends it.", style="dim")
    with Live(Group(view(get_report()), foot), console=out, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every)
            live.update(Group(view(get_report()), foot), refresh=True)


def _print(report: dict[str, Any]) -> None:
    # For a program that reads it, such as grep, a sentence is one line.
    out.print(view(report), soft_wrap=not out.is_terminal)


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
    parts += ["", _dependencies(report), "", *_bridges(report), "", _paths(report)]
    if report["manychat"]:  # None: SQL is down
        parts.append(Text(f"to ManyChat: {_to_manychat(report['manychat'])}"))
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
    return table


def _one_line(text: str) -> Text:
    """``text``, cut where the terminal ends."""
    return Text(visible(text), no_wrap=True, overflow="ellipsis")


def _bridges(report: dict[str, Any]) -> Iterator[RenderableType]:
    bridges, ended = report["bridges"], report.get("ended_bridges") or []
    if bridges is None:
        yield Text("bridges: unknown. Odoo, which knows them, does not answer.", style="red")
        return
    stuck = sum(bool(bridge.get("stuck")) for bridge in bridges)
    moving = len(bridges) - stuck
    numbers = [f"{moving} alive", *([f"{stuck} standing still"] if stuck else [])]
    yield Text(f"bridges: {', '.join(numbers)}", style="green" if moving and not stuck else "red")
    if bridges:
        # The one in trouble first, then the newest.
        listed = sorted(bridges, key=lambda bridge: (not bridge.get("stuck"), bridge["seconds"]))
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(overflow="fold", ratio=1)
        for _ in range(2):
            table.add_column(no_wrap=True)
        for bridge in listed[:SHOWN]:
            seen = "STANDS STILL" if bridge.get("stuck") else f"seen {health.words(bridge['seconds'])} ago"
            table.add_row(visible(bridge["name"]), visible(str(bridge.get("version") or "")), seen)
        yield Padding(table, (0, 0, 0, 2), expand=False)
        if rest := listed[SHOWN:]:
            longest = health.words(max(bridge["seconds"] for bridge in rest))
            yield f"  {len(rest)} more, each seen within the last {longest}"
    if ended:
        yield Text(f"  {_ended(ended)}", style="dim")


def _ended(ended: Sequence[dict[str, Any]]) -> str:
    """Those that do not run any more, in a sentence: stopped ones, and those that may have been killed."""
    parts = []
    for stopped, what in ((True, "stopped"), (False, "silent")):
        if some := [bridge["seconds"] for bridge in ended if bool(bridge["stopped"]) is stopped]:
            parts.append(f"{len(some)} {what}, last seen {health.words(min(some))} ago")
    return f"{len(ended)}{' or more' if len(ended) >= MOST_ENDED else ''} not running: {'; '.join(parts)}"


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


def _to_manychat(manychat: dict[str, Any]) -> str:
    """What goes back to ManyChat, in a line."""
    if not manychat["enabled"]:
        return "off in Odoo"
    count, since = manychat["waiting"], duration(manychat["waiting_seconds"])
    waits = f"{count} waiting, the first for {since}" if count else "nothing waits"
    return f"{waits}; {manychat['refused']} refused{'; PAUSED' if manychat['paused_since'] else ''}"


def _dead_letters(by_reason: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("dead letters", no_wrap=True)
    table.add_column("open", justify="right", no_wrap=True)
    table.add_column("what to do")
    for reason, count, about in health.meanings(by_reason):
        table.add_row(visible(reason), str(count), about)
    return table


def _number(value: float | None) -> str:
    """``12.5``, ``9999``, ``12k`` or ``1.2M``: five characters at most, below a billion."""
    if value is None:
        return "?"
    for limit, divisor, unit in ((9_999.5, 1, ""), (999_500, 1_000, "k")):
        if value < limit:
            return f"{value / divisor:.0f}{unit}" if unit or value >= 999.95 else f"{value:g}"
    return f"{value / 1_000_000:.1f}M" if value < 99_950_000 else f"{value / 1_000_000:.0f}M"


def duration(seconds: float | None) -> str:
    """The time in short words; – for 0 or unknown."""
    return health.words(seconds) if seconds else "–"
