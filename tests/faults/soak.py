"""`make soak MINUTES=10`: break the running system for that long, let it settle, and say what came of it.

FAULT_SEED repeats a run: the same events and the same faults in the same order.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.manychat_stand_in import LIMIT

from .kinds import KINDS, SLOW, DidNotHappen
from .system import System
from .traffic import Ledger, Traffic
from .truth import Truth, Verdict

#: Seconds between two faults: most of the time something is broken, and something always gets through.
PAUSE = (0.2, 2.0)
#: Seconds in which everything must have come to its end once nothing is broken any more: the bridges' probes come up to
#: 30 s apart, Odoo's relay looks once a minute, and takes back what a killed relay had claimed after two.
SETTLING = 300
#: The same if the queue has lost messages: they are missed when no bridge can be at work on them any more.
SETTLING_AFTER_LOSS = 900


@dataclass
class Report:
    """What happened in a run."""

    seed: int
    ledger: Ledger
    faults: Counter[str] = field(default_factory=Counter)
    did_not_happen: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0
    largest_backlog: int = 0


def choose_seed() -> int:
    return int(os.environ.get("FAULT_SEED") or random.randrange(10**6))


def run(
    system: System, seed: int, seconds: float, kinds: list[str] | None = None, bots: int = 4, least: int = 1
) -> Report:
    """Let traffic flow and inject faults for so long; then let everything settle, and examine it.

    :param kinds: names in ``KINDS``; all of them if none are named
    :param least: kinds of faults that happen, however long it takes on a busy machine
    """
    started = time.monotonic()
    traffic = Traffic(system, seed, bots=bots)
    report = Report(seed, traffic.ledger)
    truth = Truth(system)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch_backlog, args=[truth, traffic, report, ended])
    kinds = kinds or list(KINDS)
    _say(f"seed {seed}, {seconds:.0f} s, {len(kinds)} kinds of faults")
    traffic.start()
    watcher.start()
    try:
        time.sleep(2)
        chooser = random.Random(f"{seed}/faults")
        for name in _in_turn(chooser, kinds):
            if time.monotonic() - started > seconds and len(report.faults) >= least:
                break
            _inject(name, system, traffic, chooser, report)
            time.sleep(chooser.uniform(*PAUSE))
        _say("settling")
        system.ensure_up()
    finally:
        traffic.stop()
        ended.set()
        watcher.join()
    settling = SETTLING_AFTER_LOSS if traffic.ledger.queue_kills else SETTLING
    if not system.wait_until(lambda: _calm(truth), settling):
        report.verdict.other.append(f"not settled after {settling} s")
    unsettled = report.verdict.other
    report.verdict = truth.examine(traffic.ledger)
    report.verdict.other += unsettled
    report.seconds = time.monotonic() - started
    truth.close()
    for line in [*report.verdict.problems, *report.verdict.stories]:
        _say(line)
    _say("settled and examined")
    return report


def table(report: Report) -> Table:
    verdict, ledger = report.verdict, report.ledger
    shown = Table(title=f"Soak, seed {report.seed}, {report.seconds / 60:.1f} min", title_justify="left")
    shown.add_column("")
    shown.add_column("", justify="right")
    for name, count in sorted(report.faults.items()):
        shown.add_row(name, str(count))
    shown.add_row(f"faults of {len(report.faults)} kinds", str(report.faults.total()), style="bold", end_section=True)
    shown.add_row("events sent", str(ledger.sent))
    shown.add_row("sent again by the bots, after an error or on purpose", str(ledger.repeated))
    shown.add_row("accepted, each counted once", str(len(ledger.accepted)))
    shown.add_row("taken by the standby", str(verdict.standby))
    shown.add_row("lost by the killed queue, and sent again by Odoo", str(verdict.missed))
    shown.add_row("taken in, though the bot was cut off before it heard so", str(verdict.unheard))
    applied = {name: count for name, count in verdict.outcomes.items() if name != "dead_lettered"}
    shown.add_row("applied", str(sum(applied.values())))
    for name, count in sorted(applied.items()):
        shown.add_row(f"  {name}", str(count))
    for code, count in sorted(verdict.dead.items()):
        shown.add_row(f"dead-lettered: {code}", str(count))
    shown.add_row("opportunities", str(verdict.opportunities))
    shown.add_row("largest backlog", str(report.largest_backlog), end_section=True)
    shown.add_row("moves by users in Odoo's chatter", str(verdict.moves))
    for name, count in sorted(verdict.decisions.items()):
        shown.add_row(f"decided in Odoo: {name}", str(count))
    for name, count in sorted(verdict.manychat.items()):
        shown.add_row(f"ManyChat: {name}", str(count))
    shown.add_row("ManyChat: changes that bots sent back", str(ledger.echoes))
    shown.add_row("ManyChat: customers' events taken for these", str(verdict.mistaken))
    shown.add_row(f"ManyChat: most calls in one second, of {LIMIT}", str(verdict.most_calls), end_section=True)
    for name, found in verdict.named.items():
        shown.add_row(name, str(len(found)), style="bold red" if found else "bold")
    return shown


def _inject(name: str, system: System, traffic: Traffic, chooser: random.Random, report: Report) -> None:
    # Each fault draws from a generator of its own, so that how one goes does not change what the next ones are.
    own = random.Random(chooser.random())
    began = time.monotonic()
    try:
        KINDS[name](system, traffic, own)
    except DidNotHappen:
        report.did_not_happen[name] += 1
        _say(f"{name}: its moment did not come")
    else:
        report.faults[name] += 1
        _say(f"{name} ({time.monotonic() - began:.1f} s)")


def _in_turn(chooser: random.Random, names: list[str]) -> Iterator[str]:
    """Round after round in random order: each slow kind once, the others twice, or waiting would be most of a run."""
    while True:
        round_of = [name for name in names for _ in range(1 if name in SLOW else 2)]
        yield from chooser.sample(round_of, len(round_of))


def _watch_backlog(truth: Truth, traffic: Traffic, report: Report, ended: threading.Event) -> None:
    while not ended.wait(1):
        backlog = truth.backlog_of(traffic.ledger)
        report.largest_backlog = max(report.largest_backlog, backlog)
        traffic.hold_back(backlog)


def _calm(truth: Truth) -> bool:
    # Twice: what the first look finds at rest may be just changing hands.
    return truth.has_settled() and truth.has_settled()


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", nargs="*", choices=list(KINDS), help="kinds of faults")
    options = parser.parse_args()
    with System().fresh() as system:
        report = run(system, choose_seed(), options.minutes * 60, options.only)
    Console().print(table(report))
    return 1 if report.verdict.problems else 0


if __name__ == "__main__":
    sys.exit(main())
