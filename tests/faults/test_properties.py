"""Any interleaving of events, repetitions, lost answers and people's moves, against a model of ten lines.

Real Odoo, called as the bridge calls it. hypothesis chooses what happens, and shows the shortest history that fails.
"""

import itertools
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.contract.event import Event, accept
from bridge.contract.payloads import EventType
from bridge.odoo import Odoo

from .system import System

_histories = itertools.count(1)
#: Minutes from the beginning: most events lie in the past, where people's moves come after all of them.
MINUTES = st.sampled_from([-50, -40, -40, -30, -20, -10, 300, 600, 60 * 24 * 30, None])
STAGES = st.integers(16, 20)


class Model:
    """The truth in ten lines: what is newest stands; a person's decision is newer than all they could see."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.newest: dict[str, tuple[tuple[datetime, datetime, str], int]] = {}
        self.moves: dict[str, int] = {}

    def apply(self, event: Event, stage: int) -> None:
        person = event.manychat_id
        if event.id not in self.known and (person not in self.newest or event.order > self.newest[person][0]):
            self.moves[person] = self.moves.get(person, -1) + (self.stage(person) != stage)
            self.newest[person] = (event.order, stage)
        self.known.add(event.id)

    def decide(self, person: str, stage: int, now: datetime) -> None:
        if self.stage(person) != stage:
            self.newest[person] = (max((now, now, ""), self.newest[person][0]), stage)

    def stage(self, person: str) -> int | None:
        return self.newest[person][1] if person in self.newest else None


class Histories(RuleBasedStateMachine):
    """Two people; events are made first, and delivered in any order, in any company, any number of times."""

    system: System
    odoo: Odoo
    stages: dict[int, int]  # ManyChat's number → Odoo's id

    @initialize()
    def begin(self) -> None:
        number = f"{time.time_ns()}-{next(_histories)}"
        self.people = [f"MC-PROP-{number}-{name}" for name in ("ana", "beto")]
        self.began = datetime.now(timezone.utc)
        self.model = Model()
        self.events: list[Event] = []
        self.delivered: list[Event] = []
        self.answered: dict[str, str] = {}

    @rule(who=st.integers(0, 1), stage=STAGES, minute=MINUTES, delay=st.integers(0, 3))
    def happens(self, who: int, stage: int, minute: int | None, delay: int) -> None:
        """A conversation enters a stage; the webhook takes it in, not necessarily in order."""
        state: dict[str, Any] = {"stage_id": stage}
        if minute is not None:
            state["date"] = (self.began + timedelta(minutes=minute)).isoformat()
        payload = {"manychat_id": self.people[who], "first_name": "Prueba", "state": state}
        # An hour ago, so that nothing that counts as of its receipt is close to what people do now.
        received_at = self.began - timedelta(hours=1) + timedelta(seconds=delay)
        self.events.append(accept(EventType.OPPORTUNITY, payload, received_at=received_at, source="odoo"))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), lost=st.booleans())
    def are_delivered(self, data: st.DataObject, lost: bool) -> None:
        """In one batch: new ones and old ones, some of them twice. The answer may get lost on its way."""
        self._deliver(data.draw(st.lists(st.sampled_from(self.events), min_size=1, max_size=6)), lost)

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def are_replayed(self, data: st.DataObject) -> None:
        """Everything from the beginning, in any order: a bridge that forgot everything."""
        self._deliver(data.draw(st.permutations(self.delivered)), lost=False)

    @precondition(lambda self: self.model.newest)
    @rule(data=st.data(), stage=STAGES)
    def is_moved_by_a_person(self, data: st.DataObject, stage: int) -> None:
        person = data.draw(st.sampled_from(sorted(self.model.newest)))
        self.system.rpc("crm.lead", "write", [self._lead(person)["id"]], {"stage_id": self.stages[stage]})
        self.model.decide(person, stage, datetime.now(timezone.utc))

    @invariant()
    def each_person_has_one_opportunity_in_the_right_stage(self) -> None:
        for person in self.people if hasattr(self, "model") else []:
            stage = self.model.stage(person)
            if stage is not None:
                assert self._lead(person)["stage_id"][0] == self.stages[stage], person

    def teardown(self) -> None:
        """History has a line for each move by the chat, and not one more."""
        for person, moves in self.model.moves.items() if hasattr(self, "model") else []:
            domain = [
                ["mail_message_id.model", "=", "crm.lead"],
                ["mail_message_id.res_id", "=", self._lead(person)["id"]],
                ["field_id.name", "=", "stage_id"],
                ["create_uid.login", "=", "manychat_bridge"],
            ]
            assert self.system.rpc("mail.tracking.value", "search_count", domain) == moves, person

    def _deliver(self, events: list[Event], lost: bool) -> None:
        results = self.odoo.apply([event.envelope() for event in events])
        for event in sorted(events, key=lambda each: each.order):  # as a batch is applied
            self.model.apply(event, event.payload.state.stage_id)  # type: ignore[attr-defined]
        self.delivered += [event for event in events if event not in self.delivered]
        if lost:
            return
        for result in results:
            assert result["status"] not in ("error", "retry"), result
            # The first answer is the answer for ever.
            assert result["status"] == self.answered.setdefault(result["event_id"], result["status"])

    def _lead(self, person: str) -> dict[str, Any]:
        domain = [["x_manychat_id", "=", person], ["active", "in", [True, False]]]
        (lead,) = self.system.rpc("crm.lead", "search_read", domain, fields=["stage_id"])
        return lead


@pytest.mark.timeout(600)
def test_whatever_happens_in_whatever_order_the_newest_stands(system: System) -> None:
    rows = system.rpc("manychat.stage.map", "search_read", [], fields=["manychat_stage_id", "stage_id"])
    Histories.system = system
    Histories.stages = {row["manychat_stage_id"]: row["stage_id"][0] for row in rows}
    Histories.odoo = Odoo(system.odoo_url, system.database, "manychat_bridge", system.bridge_key)
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=60,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
