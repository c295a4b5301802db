"""The charts of `results.json`, one file for each question and each version of Odoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .measure import OURS
from .tables import PROGRAMS

#: Inches: as wide as a page's text.
WIDTH, HEIGHT = 8.0, 3.6
#: Ours, and others: told apart without colours too.
COLOURS, HATCHES = ("#0f766e", "#d97706", "#64748b", "#a3a3a3"), ("", "//", "..", "xx")

Rows = Sequence[Mapping[str, Any]]


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the charts of all versions anew.

    :return: the files
    """
    drawn = []
    for version, run in results.items():
        for name, chart in (("webhook", _webhook), ("drain", _drain), ("cpu", _cpu), ("scaling", _scaling)):
            cases = run["cases"]
            needed = {"webhook": ["webhook"], "scaling": ["scaling"]}.get(name, ["move"])
            if not set(needed) <= set(cases):
                continue
            figure = chart(cases)
            figure.text(0.005, 0.005, f"Odoo {version}; {run['machine']}; {run['date']}", size=7, color="#555555")
            drawn.append(folder / f"{name}-{version}.png")
            figure.savefig(drawn[-1], dpi=130, metadata={"Software": None})
            plt.close(figure)
    return drawn


def _webhook(cases: Mapping[str, Any]) -> Any:
    rows = cases["webhook"]["rows"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, HEIGHT), layout="constrained")
    rates = [row for row in rows if row["unit"] == "events/s"]
    _bars(left, rates, "webhooks a second")
    p99 = [{**row, "what": row["what"].removesuffix(", p99")} for row in rows if row["what"].endswith("p99")]
    _bars(right, p99, "p99 of the answer, ms")
    right.set_yscale("log")
    left.legend(frameon=False)
    figure.suptitle("A stage change posted to a webhook")
    return _with_room(figure)


def _drain(cases: Mapping[str, Any]) -> Any:
    bars = [
        (f"{name}: {row['what']}", row)
        for name in ("move", "create", "contacts")
        if name in cases
        for row in cases[name]["rows"]
        if row["unit"] == "events/s"
    ]
    figure, place = plt.subplots(figsize=(WIDTH, HEIGHT * 1.2), layout="constrained")
    spreads = [row["spread"] for _label, row in bars]
    medians = [spread["median"] for spread in spreads]
    colours = [COLOURS[0] if row["what"] == OURS else COLOURS[2] for _label, row in bars]
    place.barh(range(len(bars)), medians, 0.75, xerr=_errors(spreads), capsize=2, color=colours)
    for y, spread in enumerate(spreads):
        place.annotate(
            f"{spread['median']:,.0f}", (spread["greatest"], y), (4, 0), textcoords="offset points", va="center", size=8
        )
    place.set_yticks(range(len(bars)), [label for label, _row in bars])
    place.invert_yaxis()
    place.set_xlabel("events a second")
    place.margins(x=0.1)
    place.spines[["top", "right"]].set_visible(False)
    place.set_title("A queue drained: ours, its peers, and the limits")
    return _with_room(figure)


def _errors(spreads: Rows) -> list[list[float]]:
    """From the median down to the least, and up to the greatest."""
    down = [spread["median"] - spread["least"] for spread in spreads]
    return [down, [spread["greatest"] - spread["median"] for spread in spreads]]


def _cpu(cases: Mapping[str, Any]) -> Any:
    figure, place = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    bars = [
        (f"{name}: {row['what']}", row["cpu_ms"])
        for name in ("move", "create", "contacts")
        if name in cases
        for row in cases[name]["rows"]
        # Of what happens inside Odoo alone only Odoo's part is known, and the queue alone does no work.
        if row["unit"] == "events/s" and row["cpu_ms"].get("postgres", 0) > 0.05
    ]
    left = [0.0] * len(bars)
    palette = ("#714b67", "#336791", "#0f766e", "#d97706", "#a3a3a3")
    for program, colour in zip((each for each in PROGRAMS if each != "load"), palette, strict=True):
        widths = [cpu.get(program, 0.0) for _label, cpu in bars]
        place.barh(range(len(bars)), widths, left=left, color=colour, label=program)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    place.set_yticks(range(len(bars)), [label for label, _cpu in bars])
    place.invert_yaxis()
    place.set_xlabel("processor time of each event, ms")
    place.spines[["top", "right"]].set_visible(False)
    place.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    place.set_title("Where the processor time goes (Azurite stands for Azure)")
    return _with_room(figure)


def _scaling(cases: Mapping[str, Any]) -> Any:
    figure, place = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    _bars(place, cases["scaling"]["rows"], "events a second")
    place.legend(frameon=False)
    place.set_title("Bridges on one queue")
    return _with_room(figure)


def _bars(place: Axes, rows: Rows, label: str) -> None:
    """Groups of bars by circumstances, a colour for each alternative, with the least and the greatest."""
    groups = list(dict.fromkeys(row["under"] for row in rows))
    kinds = list(dict.fromkeys(row["what"] for row in rows))
    width = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        mine = [row for row in rows if row["what"] == kind]
        at = [groups.index(row["under"]) + (number - (len(kinds) - 1) / 2) * width for row in mine]
        spreads = [row["spread"] for row in mine]
        place.bar(
            at, [spread["median"] for spread in spreads], width * 0.95, yerr=_errors(spreads), capsize=2,
            color=COLOURS[number], hatch=HATCHES[number], edgecolor="white", label=kind,
        )  # fmt: skip
        for x, spread in zip(at, spreads, strict=True):
            text, above = f"{spread['median']:,.0f}", (x, spread["greatest"])
            place.annotate(text, above, (0, 3), textcoords="offset points", ha="center", size=8)
    place.set_xticks(range(len(groups)), [group.replace("a bridge ", "a bridge\n") for group in groups])
    place.set_ylabel(label)
    place.margins(y=0.15)
    place.spines[["top", "right"]].set_visible(False)


def _with_room(figure: Any) -> Any:
    """Room at the bottom for where and when."""
    figure.get_layout_engine().set(rect=(0, 0.04, 1, 0.96))
    return figure
