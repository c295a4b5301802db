"""The results for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

#: Programs in the order of an event's way.
PROGRAMS = ("odoo", "postgres", "bridge", "worker", "azurite", "load")


def number(value: float) -> str:
    """As many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(of: Mapping[str, float]) -> str:
    return f"{number(of['least'])}–{number(of['greatest'])}"


def wanted(target: Mapping[str, Any]) -> str:
    return f"{'≥' if target['at_least'] else '≤'} {number(target['limit'])}"


def figures(name: str, case: Mapping[str, Any]) -> Table:
    """All figures of a case."""
    table = Table(title=f"{name}: {case['title']}", title_justify="left")
    has_several = any(row["under"] for row in case["rows"])
    for _ in range(1 + has_several):
        table.add_column("")
    for heading in ("median", "spread", "unit"):
        table.add_column(heading, justify="right")
    programs = [each for each in PROGRAMS if any(each in row["cpu_ms"] for row in case["rows"])]
    for program in programs:
        table.add_column(f"{program}\nms/event", justify="right", style="dim")
    for row in case["rows"]:
        cpu = [number(row["cpu_ms"][each]) if each in row["cpu_ms"] else "" for each in programs]
        names = [row["under"], row["what"]] if has_several else [row["what"]]
        table.add_row(*names, number(row["spread"]["median"]), spread(row["spread"]), row["unit"], *cpu)
    return table


def targets(cases: Mapping[str, Mapping[str, Any]]) -> Table:
    """What is wanted of all cases, and whether it is so."""
    table = Table(title="What is wanted", title_justify="left")
    for heading in ("case", "figure"):
        table.add_column(heading)
    for heading in ("median", "spread", "wanted", "met"):
        table.add_column(heading, justify="right")
    for name, case in cases.items():
        if "error" in case:
            table.add_row(name, case["error"], "", "", "", "✗", style="red")
        for target in case.get("targets", []):
            median = f"{number(target['spread']['median'])} {target['unit']}"
            style = "" if target["met"] else "yellow"
            met = "yes" if target["met"] else "no"
            table.add_row(name, target["what"], median, spread(target["spread"]), wanted(target), met, style=style)
    return table
