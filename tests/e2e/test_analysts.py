"""The views for analysts count what Odoo's own funnel counts."""

from __future__ import annotations

from typing import Any

from tests.world import World

VIEW = """
    SELECT stage, count(DISTINCT lead_id) AS entered,
           count(DISTINCT CASE WHEN left_at IS NULL THEN lead_id END) AS in_stage,
           count(DISTINCT CASE WHEN left_at IS NOT NULL THEN lead_id END) AS gone,
           count(DISTINCT CASE WHEN ended_by = 'lost' THEN lead_id END) AS lost
      FROM v_stage_periods WHERE lead_id IN ({}) GROUP BY stage
"""


def odoos(world: World, leads: list[int]) -> dict[str, tuple[int, int, int, int]]:
    measures = ["entered:count_distinct", "in_stage:count_distinct", "left:count_distinct", "lost:count_distinct"]
    groups: list[dict[str, Any]] = world.odoo(
        "manychat.funnel", "read_group", [["lead_id", "in", leads]], measures, ["stage_id"]
    )
    return {
        group["stage_id"][1]: (group["entered"], group["in_stage"], group["left"], group["lost"]) for group in groups
    }


def views(world: World, leads: list[int]) -> dict[str, tuple[int, int, int, int]]:
    rows = world.sql(VIEW.format(", ".join(map(str, leads))))
    return {row["stage"]: (row["entered"], row["in_stage"], row["gone"], row["lost"]) for row in rows}


def test_the_views_count_what_odoos_funnel_counts(world: World) -> None:
    leads = []
    for path in ([17], [17, 19], [17, 19, 17], [16, 26], [19, 20, 21]):
        chat = world.chat()
        for minute, stage in enumerate(path):
            world.settled(chat.enters(stage, minute))
        leads.append(chat.lead["id"])

    assert views(world, leads) == odoos(world, leads)
    assert sum(row[0] for row in views(world, leads).values()) == 10


def test_a_lost_one_that_the_chat_restores_in_its_stage_begins_another_stay(world: World) -> None:
    chat = world.chat()
    world.settled(chat.enters(17))
    lead_id = chat.lead["id"]
    world.odoo("crm.lead", "action_set_lost", [lead_id])
    world.eventually(lambda: [each[3] for each in views(world, [lead_id]).values()] == [1])
    world.settled(chat.enters(17, 61))

    stays = world.sql(f"SELECT ended_by, is_estimated FROM v_stage_periods WHERE lead_id = {lead_id} ORDER BY move_id")
    assert [(stay["ended_by"], stay["is_estimated"]) for stay in stays] == [("lost", 0), (None, 0)]
    assert views(world, [lead_id]) == odoos(world, [lead_id])


def test_what_people_decide_counts_in_the_views_as_in_odoos_funnel(world: World) -> None:
    lost, restored, moved = (world.chat() for _ in range(3))
    for chat in (lost, restored, moved):
        world.settled(chat.enters(17))
        world.settled(chat.enters(19, 1))
    leads = [chat.lead["id"] for chat in (lost, restored, moved)]
    (row,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 26]], fields=["stage_id"])
    world.odoo("crm.lead", "action_set_lost", leads[:2])
    world.odoo("crm.lead", "action_unarchive", leads[1:2])
    world.odoo("crm.lead", "write", leads[2:], {"stage_id": row["stage_id"][0]})

    world.eventually(lambda: views(world, leads) == odoos(world, leads))
    assert sum(each[3] for each in views(world, leads).values()) == 2
