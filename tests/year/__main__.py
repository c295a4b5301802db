"""`make year EVENTS=9000000`: fill a system with so many events, and show what all costs beside an empty one."""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from . import fill
from .actions import Actions
from .events import PER_HOUR
from .system import YearStack
from .tables import run, sizes

#: Events of the systems beside the full one: those of an hour; and of a week, all of which some lists have to read.
BESIDE = {"empty": PER_HOUR, "week": 7 * 24 * PER_HOUR}
FULL = "full"
#: Days: while the systems are measured, nothing is deleted.
KEPT = "4000"
#: What is allowed: such a part more than beside.
LIMIT = 1.2
#: Rounds that are not counted: caches fill.
WARM_UP = 3
RETENTION = "miasalud_crm.event_retention_days"


def prepare(name: str, events: int) -> YearStack:
    """A running system with that many events; one that was filled before is used again."""
    stack = YearStack(name)
    stack.odoo.cluster.start()
    stack.start()
    with stack.superuser(stack.database) as connection:
        [(there,)] = run(connection, "SELECT count(*) FROM (SELECT FROM manychat_event LIMIT %s) AS first", events)
    if there < events:
        if there:
            stack.remove()
            stack.start()
        stack.rpc("ir.config_parameter", "set_param", RETENTION, KEPT)
        fill.send_template(stack)
        fill.fill(stack, events)
    return stack


def measure(stacks: Sequence[YearStack], rounds: int, only: str) -> dict[str, list[list[float]]]:
    """Milliseconds of each action in each round, by system; the systems take turns."""
    names, calls = [], []
    for stack in stacks:
        each = dict(Actions(stack).all())
        names, calls = list(each), [*calls, list(each.values())]
    times: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in stacks])
    for position, name in enumerate(names):
        if only not in name:
            continue
        for turn in range(rounds + WARM_UP):
            for offset in range(len(stacks)):
                system = (offset + turn) % len(stacks)
                began = time.perf_counter()
                calls[system][position]()
                if turn >= WARM_UP:
                    times[name][system].append(1000 * (time.perf_counter() - began))
        print(name, *(f"{statistics.median(each):.1f}" for each in times[name]), sep="\t", flush=True)
    return times


def table_of(times: dict[str, list[list[float]]]) -> Table:
    """Medians; and how often the best of the full system is that of the others, which a busy machine disturbs least."""
    table = Table(title="Median milliseconds, and ratios of the best", title_justify="left")
    table.add_column("")
    for name in (*BESIDE, FULL, *(f"{FULL}/{beside}" for beside in BESIDE)):
        table.add_column(name, justify="right")
    for name, systems in times.items():
        empty, week, full = (min(each) for each in systems)
        style = "" if full <= LIMIT * empty else "yellow" if full <= LIMIT * week else "red"
        medians = (f"{statistics.median(each):.1f}" for each in systems)
        table.add_row(name, *medians, f"{full / empty:.2f}", f"{full / week:.2f}", style=style)
    return table


def table_of_sizes(stack: YearStack) -> Table:
    table = Table(title="Disk of a year", title_justify="left")
    for heading in ("table", "rows", "MB", "MB of indices", "bytes a row"):
        table.add_column(heading, justify="right" if heading != "table" else "left")
    for database, tables in ((stack.database, fill.IN_ODOO), (stack.store_database, fill.IN_SQL)):
        with stack.superuser(database) as connection:
            for name, rows, data, indices in sizes(connection, tables):
                one = f"{(data + indices) / rows:.0f}" if rows else ""
                table.add_row(name, f"{rows:,}", f"{data / 1e6:,.0f}", f"{indices / 1e6:,.0f}", one)
            [(whole,)] = run(connection, "SELECT pg_database_size(current_database())")
            table.add_row(f"database of {database}", "", f"{whole / 1e6:,.0f}", "", "", end_section=True)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="only actions whose names have this in them")
    parser.add_argument("--keep", action="store_true", help="leave the systems running for the next run")
    options = parser.parse_args()
    stacks = [prepare(name, count) for name, count in (*BESIDE.items(), (FULL, options.events))]
    try:
        console = Console(width=100)
        console.print(table_of(measure(stacks, options.rounds, options.only)))
        console.print(table_of_sizes(stacks[-1]))
    finally:
        for stack in stacks:
            if not options.keep:
                stack.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
