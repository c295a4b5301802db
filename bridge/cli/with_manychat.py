"""``python -m bridge reconcile --with-manychat``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from rich.table import Table

from .. import connect
from ..contract.fields import format_datetime
from ..contract.payloads import OPPORTUNITY_QUEUE
from ..errors import ConfigurationError, ManyChatStopped, Outage
from ..settings import Settings
from ..signals import interrupted_by_signals
from ..store import manychat_slots, manychat_writes, odoo_settings
from ..store.engine import read
from ..store.people import STAGE_TEXTS
from ..worker.write_back.comparison import Difference, Options, WithManyChat
from ..worker.write_back.pace import PacedManyChat
from ..worker.write_back.verdict import Found
from .console import FAILED, complain, count_of, out, print_json, progress_bar, visible

#: Rows of the table; `--json` prints all.
SHOWN = 50
#: Types of custom fields that can hold a stage.
_TYPES = ("text", "number")
#: What each finding means, for the summary.
_MEANING = {
    Found.PUSH_LOST: "a bot set another stage, and its push was lost",
    Found.DISPUTED: "the same, and a user of Odoo decided since: the decision stays",
    Found.NO_OPPORTUNITY: "a stage in ManyChat, and no opportunity",
    Found.NOT_WRITTEN: "the opportunity moved on, and ManyChat does not show it",
    Found.NOT_APPLIED: "the push came and is a dead letter: see `dlq list`",
    Found.UNKNOWN_STAGE: "a stage that the stage map does not have, also not as an alias",
    Found.UNDECIDED: "another stage, and SQL does not know which one is newer",
    Found.UNMAPPED: "the opportunity's stage is not in the stage map",
    Found.ON_ITS_WAY: "an event or a write is on its way: run it again",
    Found.UNKNOWN_PERSON: "ManyChat does not know the person",
    Found.REFUSED: "ManyChat gave no answer about the person",
}


def reconcile_with_manychat(
    settings: Settings, engine: sa.Engine, chosen: dict[str, Any], *, stage_field: str, from_start: bool, as_json: bool
) -> None:
    """Ask ManyChat for all people whom SQL knows, compare the stage, and say what differs.

    :param chosen: of :class:`Options`, without the field
    :param stage_field: name or id of a custom field; empty: the one that is chosen in Odoo
    :raises ConfigurationError:
    """
    client, stop = connect.open_manychat(settings), threading.Event()
    paced = PacedManyChat(client, engine, settings.manychat_calls_per_second, stop)
    if not read(engine, odoo_settings.get, STAGE_TEXTS):
        raise ConfigurationError(
            "SQL does not have the stage map yet. Odoo sends it with each heartbeat: start a bridge, and try again in "
            "a minute."
        )
    with interrupted_by_signals():
        options = Options(_field_id(engine, paced, stage_field), **chosen)
        queue = connect.open_queue(settings, OPPORTUNITY_QUEUE) if options.repair else None
        if queue and (waiting := queue.depth()):
            complain(f"{count_of(waiting, 'event')} may be on the queue still: their people count as lost pushes.")
        run = WithManyChat(engine, paced, queue, options, stop, from_start)
        _announce(run, settings.manychat_calls_per_second)
        _compare(run, as_json=as_json)


def _field_id(engine: sa.Engine, manychat: PacedManyChat, wanted: str) -> int:
    """The id of the custom field with the stage.

    :raises ConfigurationError: there is none, or it cannot be one
    """
    fields = manychat.call(manychat.client.get_fields)
    if wanted:
        found = [each for each in fields if wanted in (str(each.get("id")), each.get("name"))]
        found = found or [each for each in fields if wanted.casefold() == str(each.get("name")).casefold()]
    else:
        rules = read(engine, manychat_writes.rules)
        target = rules.stage_field or rules.stage_id_field
        if target is None:
            raise ConfigurationError(
                "Which custom field of ManyChat has the stage? Name it by --stage-field, or choose it in Odoo under "
                "CRM ▸ Configuration ▸ ManyChat ▸ Tell ManyChat, which may stay off."
            )
        wanted, found = target.name, [each for each in fields if str(each.get("id")) == str(target.id)]
    if len(found) != 1:
        names = ", ".join(sorted(visible(str(each.get("name"))) for each in fields if each.get("type") in _TYPES))
        raise ConfigurationError(
            f"ManyChat has {'several custom fields' if found else 'no custom field'} “{visible(wanted)}”. "
            f"It has: {names}."
        )
    if found[0].get("type") not in _TYPES:
        raise ConfigurationError(
            f"The custom field “{visible(wanted)}” has no stage: its type is neither text nor number."
        )
    return int(found[0]["id"])


def _announce(run: WithManyChat, per_second: float) -> None:
    begins = "Going on where an earlier run was. " if run.is_continued else ""
    minutes = run.total / per_second / 60
    takes = f"about {minutes:.0f} minutes" if minutes >= 2 else "a few minutes at most"
    people = "1 person" if run.total == 1 else f"{run.total:,} people"
    complain(f"{begins}{people} to ask for, at {per_second:g} calls a second with all bridges: {takes}.")


def _compare(run: WithManyChat, *, as_json: bool) -> None:
    shown, began, ended = list[Difference](), time.monotonic(), ""
    with progress_bar() as progress:
        task = progress.add_task("Asking ManyChat", total=run.total)

        def on_asked(asked: int) -> None:
            rate = asked / max(time.monotonic() - began, 0.001)
            progress.update(task, completed=asked, description=f"Asked: {asked:,} of {run.total:,}, {rate:.1f}/s")

        try:
            for page in run.pages(on_asked):
                shown += page[: SHOWN - len(shown)]
                if as_json:
                    for each in page:
                        # What ManyChat shows is text from outside.
                        print_json(asdict(each), ascii_only=True)
        except KeyboardInterrupt:
            ended = "Interrupted"
        except ManyChatStopped:
            pause = read(run.engine, manychat_slots.paused)
            ended = f"ManyChat takes no calls until {format_datetime(pause.until)[:16]} (UTC)" if pause else "Stopped"
        except Outage as outage:
            ended = f"{outage.dependency} cannot be used ({outage})"
    checked = sum(run.counts.values())
    summary = {
        "checked": checked,
        **{found.value: run.counts.get(found, 0) for found in Found},
        "finished": run.is_finished,
    }
    if as_json:
        print_json(summary)
    else:
        _print(run, summary, shown)
    if ended:
        complain(f"{ended}. People compared: {checked:,}. The next run goes on there.")
    if ended or run.counts.get(Found.REFUSED):
        sys.exit(FAILED)


def _print(run: WithManyChat, summary: dict[str, Any], shown: Sequence[Difference]) -> None:
    if shown:
        table = Table(box=None, pad_edge=False)
        headings = ["ManyChat id", "found", "ManyChat", "opportunity", "known until"]
        for heading in [*headings, "repair"] if run.options.repair else headings:
            table.add_column(heading, overflow="fold")
        for each in shown:
            cells = [
                each.manychat_id,
                each.found,
                each.manychat[:60],
                each.opportunity,
                each.since[:16].replace("T", " "),
            ]
            table.add_row(*(visible(cell) for cell in ([*cells, each.repair] if run.options.repair else cells)))
        out.print(table)
    different = summary["checked"] - summary[Found.SAME]
    out.print(f"People: {summary['checked']:,} compared, {summary[Found.SAME]:,} the same.")
    for found, meaning in _MEANING.items():
        if number := summary[found]:
            out.print(f"{number:>7,} {found}: {meaning}.", soft_wrap=True)
    if different > len(shown):
        out.print(f"{different - len(shown):,} more: --json prints all.")
    if summary[Found.NOT_WRITTEN] and not run.writes():
        out.print("Tell ManyChat is off, or writes into another field: what users decide does not reach this one.")
    if not run.options.repair and any(summary[found] for found in (Found.PUSH_LOST, Found.DISPUTED, Found.NOT_WRITTEN)):
        out.print("Nothing was changed: --repair puts it right.")
    if run.options.repair and not run.options.create and summary[Found.NO_OPPORTUNITY]:
        out.print("--create makes the missing opportunities, too.")
    if not run.is_finished and run.total == run.asked:
        out.print("More people are left: the next run goes on there.")
