"""`make bench`: measure the product beside its peers, print the table, draw the charts, write `bench/results.json`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.local.paths import STATE

from . import people, results, tables
from .case import SHORT, Bench, Sizes
from .cases import CASES
from .system import BenchStack


def main() -> int:
    options = _parser().parse_args()
    chosen = _chosen(options.cases)
    sizes = _sizes(options)
    console = Console(width=120)
    # A stop from outside ends it as Ctrl-C does: nothing of it goes on running.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        with _alone(), contextlib.ExitStack() as also, BenchStack().fresh() as stack:
            about = results.about(stack)
            people.make_template(stack)
            began = time.monotonic()
            cases = _measure(Bench(stack, sizes, console, also, {}), chosen)
            # Before the systems are deleted: whatever may go wrong there, the figures are kept.
            file = options.results or (None if options.short else results.FILE)
            _report(console, about, cases, file)
            console.print(f"{time.monotonic() - began:.0f} s on {about['machine']}; compare figures of one run only.")
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    return 1 if any("error" in case for case in cases.values()) else 0


def _report(console: Console, about: dict[str, Any], cases: dict[str, dict[str, Any]], file: Path | None) -> None:
    """Print the tables, and write what succeeded to ``file`` with the charts beside it."""
    good = {name: case for name, case in cases.items() if "error" not in case}
    for name, case in good.items():
        console.print(tables.figures(name, case))
    console.print(tables.targets(cases))
    if good and file:
        results.write(results.merged(results.read(file), about["odoo"], {**about, "cases": good}), file)
        from . import charts  # what draws takes a second to load

        charts.draw(results.read(file), file.parent)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two at once would delete each other's system."""
    with (STATE / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("Another `make bench` runs in this checkout.")
        yield


def _measure(bench: Bench, chosen: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The results by case; of one that failed, the ``error``."""
    cases: dict[str, dict[str, Any]] = {}
    for name in chosen:
        began = time.monotonic()
        bench.say(f"[bold]{name}[/]")
        try:
            cases[name] = CASES[name](bench).as_json()
        except Exception as error:  # the other cases have their say
            traceback.print_exc()
            cases[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
        bench.say(f"[dim]{name}: {time.monotonic() - began:.0f} s[/]")
    return cases


def _parser() -> argparse.ArgumentParser:
    cases = "\n".join(
        f"  {name:<9} {(sys.modules[run.__module__].__doc__ or '').splitlines()[0]}" for name, run in CASES.items()
    )
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=f"{__doc__}\n\nThe cases:\n{cases}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", default="", help="CASE=: some of them, with commas between; all if left out")
    parser.add_argument("--rounds", type=int, default=0, help="ROUNDS=: how often each alternative runs (2)")
    parser.add_argument("--short", action="store_true", help="SHORT=1: small, to try something; writes no results")
    parser.add_argument("--results", type=Path, help="the file to write to; the charts lie beside it")
    return parser


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = SHORT if options.short else Sizes()
    return dataclasses.replace(sizes, rounds=options.rounds) if options.rounds else sizes


def _chosen(names: str) -> list[str]:
    chosen = [name.strip() for name in names.split(",") if name.strip()] or list(CASES)
    if unknown := set(chosen) - set(CASES):
        sys.exit(f"No such case: {', '.join(sorted(unknown))}. There are: {', '.join(CASES)}.")
    return [name for name in CASES if name in chosen]


if __name__ == "__main__":
    sys.exit(main())
