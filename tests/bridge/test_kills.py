"""SIGKILL at any instant, and several bridges at once: nothing lost, nothing doubled, nothing out of order."""

from __future__ import annotations

import random
import time

from bridge.store import audit
from bridge.store.engine import in_transaction

from .conftest import World, contact, eventually, stage

STAGES = (16, 17, 25)


def check_against_the_truth(world: World, events: list) -> None:  # type: ignore[type-arg]
    """Every event accounted for once, every opportunity in the stage of its newest event, in Odoo and in SQL."""
    rows = world.rows("audit")
    assert sorted(row.event_id for row in rows) == sorted(event.id for event in events)
    assert world.rows("dead_letters") == []
    newest = {event.manychat_id: event for event in sorted(events, key=lambda event: event.order)}
    names = {event.manychat_id: world.odoo.stages[event.payload.state.stage_id] for event in newest.values()}
    assert {manychat_id: lead["stage"] for manychat_id, lead in world.odoo.leads.items()} == names
    opportunities = world.rows("opportunities")
    assert {row.manychat_id: row.stage for row in opportunities} == names
    assert {row.odoo_sync_status for row in opportunities} == {"success"}
    # One history row for each move that Odoo made, no more, no fewer.
    assert len(world.rows("opportunity_stages")) == len(world.odoo.moves)


def test_two_bridges_at_once(world: World) -> None:
    chooser = random.Random(1)
    events = [
        stage(f"MC{number % 12}", chooser.choice(STAGES), minute=number % 60, channel=str(number))
        for number in range(120)
    ]
    shuffled = events[:]
    chooser.shuffle(shuffled)
    for _ in range(2):
        world.start_bridge(batch_size=8)
    world.send(*shuffled)
    world.settle(*events)

    check_against_the_truth(world, events)
    assert all(bridge.terminate() == 0 for bridge in world.bridges)


def test_bridges_killed_again_and_again_while_events_flow(world: World) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chooser = random.Random(seed)
    events = []
    for number in range(60):
        event = stage(f"MC{number % 6}", chooser.choice(STAGES), minute=number % 60, channel=str(number))
        events.append(event)
    for start in range(0, 60, 15):
        world.send(*events[start : start + 15])
        bridge = world.start_bridge(visibility_timeout=2, batch_size=4, max_attempts=20)
        eventually(lambda: bridge.lines("event_applied"), "the bridge works")  # noqa: B023
        time.sleep(chooser.uniform(0, 0.2))
        bridge.kill()
    world.start_bridge(visibility_timeout=2)
    world.settle(*events)

    check_against_the_truth(world, events)


def test_killed_while_odoo_works_its_answer_lost(world: World) -> None:
    world.odoo.troubles["MC1"] = "slow"
    event = stage("MC1")
    world.send(event)
    bridge = world.start_bridge(visibility_timeout=2)
    eventually(lambda: world.odoo.calls)
    bridge.kill()
    assert [(row.attempts, row.attempt_in_progress, row.outcome) for row in world.rows("audit")] == [(1, True, None)]
    eventually(lambda: world.odoo.moves, "Odoo commits, and answers nobody")
    world.odoo.troubles.clear()
    world.start_bridge(visibility_timeout=2)

    assert world.settle(event) == ["created"]
    check_against_the_truth(world, [event])


def test_killed_after_the_commit_and_before_the_delete(world: World) -> None:
    # What such a kill leaves behind is a finished event whose message is still there.
    event = contact()
    world.send(event)
    world.start_bridge()
    world.settle(event)
    world.send(event)
    eventually(lambda: world.bridges[0].lines("event_duplicate"))
    world.settle(event)

    assert len(world.rows("audit")) == len(world.rows("contact_states")) == 1


def test_an_event_that_was_in_hand_when_a_bridge_died_is_tried_alone(world: World) -> None:
    suspect, *others = [stage(f"MC{number}") for number in range(6)]
    taken = [audit.ReceivedEvent(suspect, suspect.type.queue, None)]
    in_transaction(world.engine, audit.begin, taken)
    world.send(suspect, *others)
    world.start_bridge()
    world.settle(suspect, *others)

    assert [len(call) for call in world.odoo.calls if suspect.id in call] == [1]
    assert [row.attempts for row in world.rows("audit", event_id=suspect.id)] == [2]


def test_an_event_that_kills_the_bridge_each_time_is_given_up(world: World) -> None:
    killer, neighbour = stage("MC1"), stage("MC2")
    world.odoo.troubles["MC1"] = "slow"
    world.send(killer)
    for attempt in (1, 2):
        bridge = world.start_bridge(visibility_timeout=2, max_attempts=2)
        eventually(lambda attempt=attempt: len(world.odoo.calls) == attempt, "the event is in hand")
        bridge.kill()
    world.send(neighbour)
    world.start_bridge(visibility_timeout=2, max_attempts=2)

    assert world.settle(killer, neighbour) == ["dead_lettered", "created"]
    [letter] = world.rows("dead_letters")
    assert (letter.code, letter.attempts) == ("crashed", 2)
    assert len([call for call in world.odoo.calls if killer.id in call]) == 2
