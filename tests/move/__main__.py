"""The move on many invented people, with its figures: `make move CONTACTS=10000`."""

import argparse
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from .moving import Move

console = Console()


def main(contacts: int) -> None:
    move, figures = Move(contacts), []

    def timed(what: str, step: Callable[[], Any]) -> Any:
        console.print(f"{what} …")
        began = time.monotonic()
        result = step()
        figures.append((what, f"{time.monotonic() - began:.1f}"))
        return result

    timed("making both systems", move.start)
    try:
        before, leads = move.side.contacts(), move.side.leads()
        move.open()
        plan = timed("plan", lambda: move.json("plan", code=1))
        console.print("open decisions:", ", ".join(plan["open"]))
        figures += [(each["title"], f"{each['count']:,}") for each in plan["findings"] if each["count"]]
        run = ["run", "--yes", "--rate", "0", *move.accepting()]
        done = timed("run, killed", lambda: move.killed(run, contacts // 10))
        figures.append(("opportunities at the first kill", f"{done:,}"))
        done = timed("run again, killed", lambda: move.killed(run, done + contacts // 4))
        figures.append(("opportunities at the second kill", f"{done:,}"))
        chatted = move.chat_a_little()
        figures.append(("people who chat meanwhile", f"{len(chatted):,}"))
        console.print(timed("run again, to its end", lambda: move.migrate(*run)))
        move.settle()
        timed("comparing each person with what must be", move.assert_moved)
        timed("run again, nothing to do", lambda: move.migrate(*run))
        console.print(timed("verify", lambda: move.migrate("verify", "--seed", "1")))
        assert move.side.contacts() == before
        result = timed("rollback", lambda: move.json("rollback", "--yes"))
        figures += [(f"undone: {made}", f"{number:,}") for made, number in result["opportunities"].items()]
        figures.append(("kept, because they were used since", f"{len(result['kept']):,}"))
        assert move.side.contacts() == before
        now, stay = move.side.leads(), {each["lead_id"] for each in result["kept"]}
        following = {lead["id"] for found in move.side.by_person().values() for lead in found}
        changed = {lead_id for lead_id, said in leads.items() if now.get(lead_id) != said}
        assert changed | (now.keys() - leads.keys()) <= stay | following, "something was not undone"
        figures.append(("contacts in Odoo, all as they were", f"{len(before):,}"))
    finally:
        move.stop()
    table = Table("", "seconds or number", title=f"{contacts:,} people", title_justify="left")
    for row in figures:
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--contacts", type=int, default=10_000)
    main(parser.parse_args().contacts)
