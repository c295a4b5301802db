"""What must be known and decided before a migration. Nothing is written, anywhere."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..contract.errors import ContractError
from ..contract.event import decode
from ..contract.fields import normalize_label
from ..contract.payloads import DEAD_LETTER_QUEUE, QUEUES
from ..queue import PAGE, Queue
from .odoo import MigrationOdoo
from .source import Legacy
from .states import LegacyStates, begun_at

#: People in one call to Odoo.
PEOPLE = 1000
#: Examples of each finding.
SHOWN = 5
#: How alike a label must be to a known one to be named beside it: difflib's ratio.
ALIKE = 0.6


@dataclass(frozen=True)
class Finding:
    """One thing that a plan found.

    :ivar key: by which it is accepted
    :ivar count: how many rows, people or messages it is about
    :ivar advice: what to do, if it must be decided; else empty
    :ivar is_final: nothing but that can be done: it cannot be accepted
    """

    key: str
    title: str
    count: int
    examples: tuple[str, ...] = ()
    advice: str = ""
    is_final: bool = False

    def is_open(self, accepted: Sequence[str]) -> bool:
        """Whether the operator has to decide it."""
        return bool(self.advice and self.count) and (self.is_final or self.key not in accepted)


@dataclass
class Plan:
    """What was found.

    :ivar overview: what Odoo says, see ``manychat.migration.get_overview``
    :ivar rows: by the key of a stage: its row in Odoo's stage map, in the order of the map; 0 if it has none
    :ivar undated: people whose state has no date
    :ivar labels: of each stage without a row: label, people, people whose newest state it is, and the nearest label
    :ivar people: of each person whose opportunities ask for a decision: ManyChat id, and the ids of the opportunities
    """

    states: LegacyStates
    overview: dict[str, Any]
    rows: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    labels: list[tuple[str, int, int, str]] = field(default_factory=list)
    people: list[tuple[str, list[int]]] = field(default_factory=list)
    undated: int = 0

    def add(self, *finding: Any, **more: Any) -> None:
        self.findings.append(Finding(*finding, **more))


def make(legacy: Legacy, states: LegacyStates, odoo: MigrationOdoo, now: datetime, undated: datetime | None) -> Plan:
    """Ask Odoo about the people, stages and advisers of the old system.

    :param undated: date of states that have none, if the operator gave one
    """
    overview = odoo.get_overview(list(states.stages.values()), {r: sorted(ids) for r, ids in states.advisers.items()})
    plan = Plan(states, overview)
    plan.rows = stage_rows(states, overview)
    _stages(plan)
    _labels(plan)
    _advisers(plan)
    _sync_states(plan, legacy)
    _dates(plan, legacy, now, undated)
    _contacts(plan, odoo)
    return plan


def stage_rows(states: LegacyStates, overview: dict[str, Any]) -> dict[str, int]:
    """The id of the row in Odoo's stage map of each stage; 0 if it has none."""
    return {key: row or 0 for key, row in zip(states.stages, overview["mapped"], strict=True)}


def _stages(plan: Plan) -> None:
    missing, moved, doubled = [], [], []
    for stage in plan.overview["stages"]:
        name = f"{stage['number']} {stage['expected']}"
        if not stage["mapped_to"]:
            missing.append(f"{name}: not in the stage map")
        elif stage["mapped_to"] not in stage["same_name"]:
            moved.append(f"{name}: mapped to “{stage['mapped_name']}” (stage {stage['mapped_to']})")
        if len(stage["same_name"]) > 1:
            doubled.append(f"{name}: stages {', '.join(map(str, stage['same_name']))}")
    where = "CRM ▸ Configuration ▸ ManyChat ▸ Stage Map"
    advice = f"Check {where}: each ManyChat stage must stand beside the pipeline stage that it means."
    plan.add("stages-missing", "Stages of your table that Odoo does not map", len(missing), tuple(missing), advice)
    plan.add("stages-renamed", "Stages of your table under another name", len(moved), tuple(moved), advice)
    advice = f"Choose the one that people use in {where}; merge or rename the other one in Odoo."
    plan.add("stages-doubled", "Stages that Odoo has more than once", len(doubled), tuple(doubled), advice)


def _labels(plan: Plan) -> None:
    known = {normalize_label(row["label"]): row["label"] for row in plan.overview["map"]}
    for key, (people, newest) in plan.states.unmapped(plan.rows).items():
        near = difflib.get_close_matches(key, known, n=1, cutoff=ALIKE)
        number, label = plan.states.stages[key]
        plan.labels.append((label or str(number), people, newest, known[near[0]] if near else ""))
    examples = [
        f"“{label}”: {people} people, newest of {newest}{f'; perhaps “{near}”' if near else ''}"
        for label, people, newest, near in plan.labels
    ]
    advice = (
        "In Odoo, CRM ▸ Configuration ▸ ManyChat ▸ Stage Aliases: press New, write the label, choose the stage it "
        "stands for. A label that is no stage of the pipeline stays out: --accept labels."
    )
    plan.add("labels", "Labels that stand for no stage", len(plan.labels), tuple(examples), advice)
    nothing = sum(plan.states.newest(person, plan.rows) is None for person in plan.states.people)
    plan.add("people-without-stage", "People without any mapped state: they get no opportunity", nothing)


def _advisers(plan: Plan) -> None:
    for role, numbers in plan.overview["advisers"].items():
        advice = ""
        if role == "commercial":
            advice = (
                "In Odoo, CRM ▸ Configuration ▸ ManyChat ▸ Advisers: enter each with their Odoo user, or their "
                "opportunities have no salesperson."
            )
        title = f"{role.capitalize()} advisers without an Odoo user"
        plan.add(f"advisers-{role}", title, len(numbers), tuple(map(str, numbers)), advice)


def _sync_states(plan: Plan, legacy: Legacy) -> None:
    for table, counts in legacy.sync_states().items():
        waiting = {value: number for value, number in counts.items() if value not in ("success", "None")}
        advice = (
            "The old program would still write these to Odoo's contacts. Stop it (odoo_sync_worker) before you "
            "migrate. The people themselves are moved like all others."
        )
        examples = tuple(f"{value}: {number:,}" for value, number in sorted(counts.items()))
        plan.add("sync-status", f"Rows of {table} that never reached Odoo", sum(waiting.values()), examples, advice)


def _dates(plan: Plan, legacy: Legacy, now: datetime, undated: datetime | None) -> None:
    plan.add("future-dates", "Dates in the future, which are not believed", plan.states.in_future)
    without = []
    for rows in legacy.rows("contacts"):
        for row in rows:
            candidate = plan.states.newest(row.values["manychat_id"], plan.rows)
            if candidate and candidate.at is None and begun_at(row, now, undated) is None:
                without.append(row.values["manychat_id"])
    plan.undated = len(without)
    advice = (
        "Give the date that their states count from: --undated 2025-01-01. Everything dated later wins over them. "
        "With --accept undated they get no opportunity."
    )
    plan.add("undated", "People whose state has no date", len(without), tuple(without[:SHOWN]), advice)


def _contacts(plan: Plan, odoo: MigrationOdoo) -> None:
    contacts = plan.overview["contacts"]
    advice = (
        "Odoo cannot look up that field, because it is computed or of another type: the opportunities of these people "
        "would not be taken over. In Odoo, make x_manychat_id of Contact a stored text field, and restart Odoo. "
        "Otherwise --accept contacts-field: each person gets a new opportunity."
    )
    is_unreadable = bool(plan.overview.get("contacts_unreadable"))
    plan.add(
        "contacts-field", "Contacts have a field x_manychat_id that cannot be read", int(is_unreadable), (), advice
    )
    counts: Counter[str] = Counter()
    closed: list[str] = []
    for people in pages(list(plan.states.people)):
        found = odoo.get_people(people)
        for manychat_id in people:
            _person(plan, counts, closed, manychat_id, found.get(manychat_id))
    if contacts:
        plan.add("contacts", "People whom Odoo has as contacts", contacts["people"])
        unknown = contacts["people"] - counts["contacts"]
        plan.add("contacts-unknown", "… of whom the old tables know no state", max(unknown, 0))
        plan.add(
            "contacts-doubled", "… who have several contacts: their opportunities count together", contacts["doubled"]
        )
        plan.add(
            "contacts-archived",
            "… whose contacts are archived: their opportunities count as well",
            contacts["archived"],
        )
        plan.add("companies", "… whose contact is a company: only its own opportunities count", counts["companies"])
    plan.add("followed", "People whose opportunity has their ManyChat id already", counts["followed"])
    plan.add("taken-over", "People whose open opportunity will be taken over", counts["open"])
    plan.add("leads", "… of type Lead, which becomes an opportunity", counts["leads"])
    advice = (
        "Merge them in Odoo, or accept that the newest open one is taken over and the others are listed under CRM ▸ "
        "Configuration ▸ ManyChat ▸ ManyChat IDs: --accept several."
    )
    examples = tuple(f"{person}: opportunities {', '.join(map(str, ids))}" for person, ids in plan.people[:SHOWN])
    plan.add("several", "People with several open opportunities", len(plan.people), examples, advice)
    plan.add("closed", "People whose opportunities are all closed: they get a new one unless closed since", len(closed))


def _person(
    plan: Plan, counts: Counter[str], closed: list[str], manychat_id: str, person: dict[str, Any] | None
) -> None:
    if person is None:
        return
    counts["contacts"] += bool(person["contacts"])
    counts["companies"] += bool(person["companies"])
    if person["lead_id"]:
        counts["followed"] += 1
    elif person["open"] or person["leads"]:
        counts["open"] += 1
        counts["leads"] += not person["open"]
        if len(person["open"]) > 1:
            plan.people.append((manychat_id, person["open"]))
    elif person["closed"]:
        closed.append(manychat_id)


def queues(plan: Plan, queues: Sequence[Queue], has_bridges: bool) -> None:
    """Look at what waits on the queues that the old programs shared.

    :param has_bridges: whether bridges are running, which take messages too
    """
    bare, received, waiting, letters = 0, 0, 0, 0
    for queue in queues:
        depth, seen = queue.depth(), queue.peek(PAGE)
        if queue.name == DEAD_LETTER_QUEUE:
            letters = depth
            continue
        waiting += depth
        bare += sum(_is_bare(message.content, queue.name, message.inserted_at) for message in seen)
        # While no bridge runs, another program has what was taken before, or is hidden now.
        received += sum(message.dequeue_count > 0 for message in seen) + (depth - len(seen) if depth <= PAGE else 0)
    plan.add("waiting", "Messages on the queues: bridges apply them in the order of their dates", waiting)
    plan.add("bare-payloads", "… in the old form (of the first 32 of each queue): bridges read it", bare)
    advice = (
        f"Old dead letters are on {DEAD_LETTER_QUEUE}. Look at them, send again what is still needed "
        "(python -m bridge send), and empty the queue: --accept dead-letters."
    )
    plan.add("dead-letters", "Messages on the dead-letter queue", letters, (), advice)
    if not has_bridges and received:
        _alive(plan, "messages were taken from the queues, or are hidden now, while no bridge runs", received)


def writers(plan: Plan) -> None:
    """Evidence that the old program still writes contacts in Odoo."""
    for writer in plan.overview["writers"]:
        _alive(plan, f"user {writer['user']} wrote them in Odoo, last at {writer['last'][:19]}Z", writer["partners"])


def _alive(plan: Plan, evidence: str, count: int) -> None:
    advice = (
        "Stop the old workers (contact_processor, campaign_processor, odoo_sync_worker). If it was not them, or they "
        "run in parallel on purpose: --accept old-workers."
    )
    title = "Old workers may be alive: contacts with a ManyChat id were written in the last two days"
    if "queues" in evidence:
        title = "Old workers may be alive: another program takes messages"
    plan.add("old-workers", title, count, (evidence,), advice)


def _is_bare(content: str, queue: str, inserted_at: datetime) -> bool:
    try:
        return decode(content, queue=queue, inserted_at=inserted_at).source == "queue"
    except ContractError:
        return False


def pages(manychat_ids: Sequence[str], size: int = PEOPLE) -> Iterator[list[str]]:
    """``manychat_ids`` in lists of at most ``size``."""
    for start in range(0, len(manychat_ids), size):
        yield list(manychat_ids[start : start + size])


#: Names of the queues that a plan looks at.
QUEUE_NAMES = (*QUEUES.values(), DEAD_LETTER_QUEUE)
