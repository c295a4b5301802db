"""docs/performance.md, from the figures of the newest `make bench`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results.json"

_HEAD = """\
# Performance

<!-- Written by `make generate` from bench/results.json, which `make bench` writes. -->

`make bench` makes a system for itself, measures the product beside its peers, and deletes the system. The product and
its peers run in turns, and the figures are medians of several rounds. A run counts only if every event was applied
once and every opportunity is in the right stage. `make bench CASE=move` runs one case, `make bench ODOO=19.0` uses
Odoo 19.

**Compare figures of one run only.** Odoo, PostgreSQL, Azurite, the bridge and the sender of the load share the
processors of one machine, so the ratios count. The absolute figures say little about another machine. Azurite,
Microsoft's emulator, stands for Azure's queues. It takes processor time that a real system does not spend, and it
handles a few hundred messages a second at most.

The peers:

- **Odoo's automation**: a webhook of Odoo's own automation rules, in the same database, for the same opportunities. It
  moves the opportunity before it answers.
- **the document's worker**: receives one message, searches by RPC, writes by RPC, inserts one row into SQL, deletes the
  message.
- **inside Odoo**: a script in Odoo's shell moves the opportunities and writes their history in batches. It has no
  queue, no SQL, no RPC, and it informs no follower.
- **receive and delete**: takes the messages and does nothing with them.
- **the limit**: the lower one of the last two.
"""
_CHARTS = {
    "webhook": "Webhooks: events a second and the 99th percentile of the answer",
    "drain": "Queues drained: events a second",
    "cpu": "Processor time of one event by program",
    "scaling": "One, two and four bridges on one queue",
}
_NOTES = """
## What the figures leave out

- The network: all programs are on one machine.
- Azure SQL: the bridge's tables are in PostgreSQL here.
- OCA's `queue_job` publishes 91 s for 5,000 jobs, on another machine, with other work in each job. The case `burst`
  can only be put beside it.
- The price of an idle bridge is its requests at 0.004 US dollars for 10,000, the list price of a general purpose v2
  account with local redundancy in the US ([prices](https://azure.microsoft.com/pricing/details/storage/queues/)). Other
  regions and redundancies have other prices.

`bench/NOTES.md` in the repository says what each step towards these figures gained.
"""


def page() -> str:
    results: Mapping[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    parts = [_HEAD]
    for version, run in sorted(results.items()):
        parts.append("\n".join(_version(version, run)))
    return "\n".join(parts) + _NOTES


def _version(version: str, run: Mapping[str, Any]) -> Iterator[str]:
    yield f"## Odoo {version}\n"
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    yield f"{run['machine']}. {versions}.\n"
    yield "| case | figure | measured | spread | wanted | met |"
    yield "|---|---|---:|---:|---:|---|"
    for name, case in run["cases"].items():
        for target in case["targets"]:
            spread = target["spread"]
            yield (
                f"| {name} | {target['what']} | {tables.number(spread['median'])} {target['unit']} "
                f"| {tables.spread(spread)} | {tables.wanted(target)} | {'yes' if target['met'] else '**no**'} |"
            )
    yield ""
    for name, what in _CHARTS.items():
        chart = ROOT / "bench" / f"{name}-{version}.png"
        if chart.exists():
            yield f"![{what}](../bench/{chart.name})\n"
    yield "| case | | | measured | spread | processor time of each event, ms |"
    yield "|---|---|---|---:|---:|---|"
    for name, case in run["cases"].items():
        for row in case["rows"]:
            cpu = ", ".join(
                f"{program} {tables.number(row['cpu_ms'][program])}"
                for program in tables.PROGRAMS
                if row["cpu_ms"].get(program, 0) >= 0.005
            )
            measured = f"{tables.number(row['spread']['median'])} {row['unit']}"
            yield f"| {name} | {row['under']} | {row['what']} | {measured} | {tables.spread(row['spread'])} | {cpu} |"
    yield ""
    dates = sorted({f"{case['date']} ({case['commit']})" for case in run["cases"].values()})
    yield f"Measured on {', '.join(dates)}.\n"
