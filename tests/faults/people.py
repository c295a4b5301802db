"""Those who work in Odoo while the system is being broken: each act is a call of Odoo's own, as a browser makes it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

import requests

from .system import System

#: What they do, and how often. Only a manager may delete.
WEIGHTS = {"move": 60, "win": 8, "lose": 10, "restore": 9, "assign": 8, "merge": 4, "delete": 3}
#: Seconds between two acts of one of them.
PAUSE = (0.5, 2.5)
#: How many of the last people who wrote are worked on.
RECENT = 200


@dataclass(frozen=True)
class Act:
    """A user's attempt to do something. Without an answer nobody knows whether it was done."""

    kind: str
    login: str
    lead_ids: tuple[int, ...]
    began: datetime
    ended: datetime
    answered: bool


@dataclass
class People:
    """All users of :data:`.system.USERS` at work.

    :ivar known: people who wrote, who may be worked on
    """

    system: System
    stop: threading.Event
    known: Sequence[str]
    acts: list[Act] = field(default_factory=list)
    _stages: list[int] = field(default_factory=list)
    _reasons: list[int] = field(default_factory=list)

    def work(self, chooser: random.Random, login: str) -> None:
        """One of them, until ``stop`` is set."""
        kinds = [kind for kind in WEIGHTS if kind != "delete" or login == "gerente"]
        weights = [WEIGHTS[kind] for kind in kinds]
        while not self.stop.wait(chooser.uniform(*PAUSE)):
            (kind,) = chooser.choices(kinds, weights)
            own = random.Random(chooser.random())
            try:
                self._stages = self._stages or self.system.rpc("crm.stage", "search", [])
                self._reasons = self._reasons or self.system.rpc("crm.lost.reason", "search", [])
                if self.known and (chosen := self._choose(own, kind)):
                    self._do(own, kind, login, chosen)
            except (requests.RequestException, RuntimeError, ValueError):
                pass  # Odoo is down

    def counts(self) -> Counter[str]:
        return Counter(act.kind for act in self.acts if act.answered)

    def _choose(self, chooser: random.Random, kind: str) -> list[int]:
        """The opportunities for one act."""
        if kind == "restore":
            domain = [["x_manychat_id", "in", self.known[-RECENT:]], ["active", "=", False]]
            lost = self.system.rpc("crm.lead", "search", domain)
            return [chooser.choice(lost)] if lost else []
        wanted = [chooser.choice(self.known[-RECENT:]) for _ in range(2 if kind == "merge" else 1)]
        found = self.system.rpc("crm.lead", "search", [["x_manychat_id", "in", wanted]])
        return found if kind != "merge" or len(found) == 2 else []

    def _do(self, chooser: random.Random, kind: str, login: str, lead_ids: list[int]) -> None:
        began, answered = datetime.now(timezone.utc), False
        try:
            _ACTS[kind](self, chooser, lead_ids, login)
            answered = True
        finally:
            self.acts.append(Act(kind, login, tuple(lead_ids), began, datetime.now(timezone.utc), answered))

    # --- Acts

    def _move(self, chooser: random.Random, lead_ids: list[int], login: str) -> None:
        self.system.act_as(login, "crm.lead", "write", lead_ids, {"stage_id": chooser.choice(self._stages)})

    def _win(self, _chooser: random.Random, lead_ids: list[int], login: str) -> None:
        self.system.act_as(login, "crm.lead", "action_set_won_rainbowman", lead_ids)

    def _lose(self, chooser: random.Random, lead_ids: list[int], login: str) -> None:
        reason = chooser.choice([False, *self._reasons])
        self.system.act_as(login, "crm.lead", "action_set_lost", lead_ids, lost_reason_id=reason)

    def _restore(self, _chooser: random.Random, lead_ids: list[int], login: str) -> None:
        self.system.act_as(login, "crm.lead", "action_unarchive", lead_ids)

    def _assign(self, chooser: random.Random, lead_ids: list[int], login: str) -> None:
        values = {"user_id": chooser.choice([False, *self.system.users.values()])}
        if chooser.random() < 0.3:
            values = {"expected_revenue": chooser.randint(1, 99) * 12.5}
        self.system.act_as(login, "crm.lead", "write", lead_ids, values)

    def _merge(self, _chooser: random.Random, lead_ids: list[int], login: str) -> None:
        values = {"opportunity_ids": [(6, 0, lead_ids)]}
        wizard = self.system.act_as(login, "crm.merge.opportunity", "create", values)
        self.system.act_as(login, "crm.merge.opportunity", "action_merge", [wizard])

    def _delete(self, _chooser: random.Random, lead_ids: list[int], login: str) -> None:
        self.system.act_as(login, "crm.lead", "unlink", lead_ids)


_ACTS: dict[str, Callable[[People, random.Random, list[int], str], None]] = {
    "move": People._move,
    "win": People._win,
    "lose": People._lose,
    "restore": People._restore,
    "assign": People._assign,
    "merge": People._merge,
    "delete": People._delete,
}
