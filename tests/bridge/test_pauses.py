"""``pause`` and ``resume``: every bridge obeys, nothing is lost, and all else goes on."""

from __future__ import annotations

from bridge.contract.payloads import CONTACT_QUEUE, OPPORTUNITY_QUEUE, OUTBOUND_QUEUE, QUEUES

from .conftest import Cli, World, contact, eventually, stage

ALL = (*QUEUES.values(), OUTBOUND_QUEUE)


def test_all_bridges_stop_taking_messages_and_take_every_one_of_them_after_resume(cli: Cli, world: World) -> None:
    bridges = [world.start_bridge() for _ in range(2)]
    eventually(lambda: len(world.odoo.heartbeats) == 2)
    assert cli.start("pause").stdout.count("paused since") == len(ALL)
    for bridge in bridges:
        eventually(lambda: len(bridge.lines("queue_paused")) == len(ALL))  # noqa: B023
    events = [stage(f"MC{number}") for number in range(20)] + [contact(f"MC{number}") for number in range(20)]
    world.send(*events)
    # However long: a bridge that looked at the queue only once more would have taken all of them by now.
    fresh = world.start_bridge()
    eventually(lambda: fresh.lines("queue_paused"))
    eventually(lambda: len(world.odoo.heartbeats) == 3)
    assert world.rows("audit") == []
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 20
    assert cli.start("resume").stdout.count("not paused") == len(ALL)

    assert world.settle(*events) == ["created"] * 20 + ["stored"] * 20
    assert len(world.odoo.moves) == 20
    for bridge in [*bridges, fresh]:
        assert len(bridge.lines("queue_paused")) == len(ALL)
        assert bridge.terminate() == 0


def test_one_queue_can_be_paused_alone_and_check_says_so(cli: Cli, world: World) -> None:
    cli("pause", "--queue", "contact")
    bridge = world.start_bridge()
    waiting, applied = contact("MC1"), stage("MC2")
    eventually(lambda: bridge.lines("queue_paused"))
    world.send(waiting, applied)
    eventually(lambda: world.outcomes(applied) == ["created"])

    assert world.outcomes(waiting) == [None]
    assert f"PAUSED {CONTACT_QUEUE}" in cli("check").stdout
    assert [line["queue"] for line in bridge.lines("queue_paused")] == [CONTACT_QUEUE]
    cli("resume", "--queue", "contact")
    assert world.settle(waiting) == ["stored"]
    assert "PAUSED" not in cli("check").stdout


def test_a_batch_in_hand_is_finished(cli: Cli, world: World) -> None:
    world.odoo.troubles["MC1"] = "slow"
    event = stage("MC1")
    world.send(event)
    bridge = world.start_bridge()
    eventually(lambda: world.odoo.calls)
    cli("pause")

    eventually(lambda: world.outcomes(event) == ["created"])
    eventually(lambda: len(bridge.lines("queue_paused")) == len(ALL))
    assert bridge.terminate() == 0
    assert world.queues[OPPORTUNITY_QUEUE].depth() == 0
