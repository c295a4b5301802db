"""What people decide in Odoo reaches SQL by its own queue, once, whatever happens on the way."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

from bridge.contract.payloads import DECISION_QUEUE, OPPORTUNITY_QUEUE

from .conftest import World, eventually, stage

QUOTED = "Comienza Cotización"


def in_odoo(world: World) -> dict[str, tuple[Any, ...]]:
    """Lead and stage of each person's opportunity there."""
    return {who: (lead["id"], lead["stage"]) for who, lead in world.odoo.leads.items()}


def in_sql(world: World) -> dict[str, tuple[Any, ...]]:
    return {row.manychat_id: (row.lead_id, row.stage) for row in world.rows("opportunities")}


def test_a_decision_is_written_and_odoo_learns_that_it_is(world: World) -> None:
    event = stage("MC1")
    world.send(event)
    world.start_bridge()
    assert world.settle(event) == ["created"]
    decided = world.odoo.decide("MC1", "stage", "won", stage=QUOTED, status="won", salesperson="Laura")
    world.send(decided)

    assert world.settle(decided) == ["stored"]
    [row] = world.rows("opportunities")
    assert (row.stage, row.status, row.salesperson, row.stage_by) == (QUOTED, "won", "Laura", "person")
    assert (row.manychat_stage_id, row.manychat_stage) == (25, QUOTED)
    assert [(move.moved_by, move.stage_to) for move in world.rows("opportunity_stages")] == [
        ("chat", world.odoo.stages[16]),
        ("person", QUOTED),
    ]
    [noted] = world.rows("audit", event_id=decided.id)
    assert (noted.type, noted.lead_id, noted.stage_after) == ("decision", 1, QUOTED)
    told = eventually(lambda: [each for each in world.odoo.reports if each["event_id"] == decided.id])
    # Odoo has the event itself.
    assert [(each["state"], each["outcome"], "event" in each) for each in told] == [("done", "stored", False)]


def test_decisions_and_chat_that_cross_end_as_in_odoo(world: World) -> None:
    people = [f"MC{number}" for number in range(8)]
    first = [stage(who) for who in people]
    world.send(*first)
    for _ in range(2):
        world.start_bridge(concurrent_batches=2)
    world.settle(*first)
    sent = []
    for minute in range(1, 4):
        # Odoo applies an older chat event after a newer decision, as it does when an answer got lost.
        decided = [world.odoo.decide(who, "stage", stage=world.odoo.stages[17]) for who in people[::2]]
        moves = [stage(who, 25 if minute % 2 else 16, minute) for who in people]
        world.send(*moves, *decided, *decided)
        sent += [*moves, *decided]
    world.settle(*sent)

    assert in_sql(world) == in_odoo(world)
    assert len({move.event_id for move in world.rows("opportunity_stages")}) == len(world.rows("opportunity_stages"))


def test_an_answer_in_which_odoo_tells_of_a_decision_needs_no_second_message(world: World) -> None:
    event = stage("MC1")
    world.send(event)
    world.start_bridge()
    world.settle(event)
    # The decision itself is still on its way.
    decided = world.odoo.decide("MC1", "stage", stage=QUOTED)
    again = stage("MC1", 25, 1)
    world.send(again)

    assert world.settle(again) == ["unchanged"]
    assert world.rows("opportunities")[0].stage == QUOTED
    before = world.rows("opportunities")[0].odoo_as_of
    world.send(decided)
    world.settle(decided)
    assert world.rows("opportunities")[0].odoo_as_of == before > decided.payload.state.as_of  # type: ignore[attr-defined]


def test_an_older_addon_sends_no_states(world: World) -> None:
    world.odoo.tells_states = False
    events = [stage("MC1"), stage("MC1", 25, 1)]
    world.send(*events)
    world.start_bridge()

    assert world.settle(*events) == ["created", "moved"]
    [row] = world.rows("opportunities")
    assert (row.stage, row.lead_id, row.status, row.odoo_as_of) == (QUOTED, 1, None, None)


def test_a_state_that_cannot_be_read_does_not_fail_the_event_that_it_comes_with(world: World) -> None:
    event = stage("MC1")
    world.odoo.leads["MC1"] = {
        "id": 5,
        "stage": QUOTED,
        "order": (datetime.min.replace(tzinfo=timezone.utc),),
        "more": {"status": "asleep"},
    }
    world.send(event)
    world.start_bridge()

    assert world.settle(event) == ["moved"]
    [row] = world.rows("opportunities")
    assert (row.lead_id, row.stage, row.status) == (5, world.odoo.stages[16], None)


def test_a_bridge_for_decisions_alone_needs_no_odoo(world: World) -> None:
    event = stage("MC1")
    world.odoo.manychat_apply([event.envelope()])
    decided = world.odoo.decide("MC1", "stage", stage=QUOTED)
    world.odoo.stop()
    world.send(decided, event)
    world.start_bridge("--queue", "decision")

    eventually(lambda: world.outcomes(decided) == ["stored"])
    eventually(lambda: world.queues[DECISION_QUEUE].depth() == 0)
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 1
    assert world.rows("opportunities")[0].stage == QUOTED


def test_what_a_newer_addon_tells_is_written_as_far_as_it_is_known_and_logged_once(world: World) -> None:
    event = stage("MC1")
    world.odoo.manychat_apply([event.envelope()])
    for number in range(3):
        known = world.odoo.decide("MC1", "stage", stage=QUOTED, salesperson=f"Laura {number}").envelope()
        payload = {**known["payload"], "decided": ["stage", "snoozed"], "mood": "good"}
        content = base64.b64encode(json.dumps({**known, "payload": payload}).encode()).decode()
        world.queues[DECISION_QUEUE].send(content)
    bridge = world.start_bridge()

    eventually(lambda: [row.outcome for row in world.rows("audit", type="decision")] == ["stored"] * 3)
    [row] = world.rows("opportunities")
    assert (row.stage, row.salesperson, row.stage_by) == (QUOTED, "Laura 2", "person")
    assert {json.loads(noted.warnings)[0]["field"] for noted in world.rows("audit")} == {"decided"}
    assert world.rows("dead_letters") == []
    assert bridge.log.read_text().count("decision_partly_read") == 1
