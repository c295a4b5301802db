"""A person in Odoo and the chat, moving the same opportunity at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

from tests.logs import Logs
from tests.world import Chat, World

MOVES = 15
#: ManyChat's numbers: the chat goes round in the first ones, the person in the others, and both are in one.
CHATS, PERSONS = (17, 18, 19), (19, 20, 21)
APPLIED = {"moved", "updated", "unchanged", "stale"}


def test_a_person_and_the_chat_move_one_opportunity_at_once(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    lead_id = chat.lead["id"]
    deadlocks, logs = _deadlocks(world), Logs(world.stack)

    def person_moves(stage_id: int) -> None:
        # Odoo repeats what a conflict broke off, as it does for anybody's click.
        world.odoo("crm.lead", "write", [lead_id], {"stage_id": stage_id})

    def chat_moves(stage: int) -> str:
        return chat.enters(stage, (datetime.now(timezone.utc) - chat.began) / timedelta(minutes=1))

    with ThreadPoolExecutor(4) as at_once:
        # Two of each, so that people also meet people, and the bridge finds several events of the person in a batch.
        stages = _pipeline_stages(world)
        people = [at_once.submit(person_moves, stages[PERSONS[n % 3]]) for n in range(MOVES)]
        events = [at_once.submit(chat_moves, CHATS[n % 3]) for n in range(MOVES)]
        mixed = [future for pair in zip(people, events, strict=True) for future in pair]
        assert [future.exception() for future in mixed] == [None] * len(mixed)
        outcomes = world.settled(*dict.fromkeys(future.result() for future in events))

    assert set(outcomes) <= APPLIED
    assert _deadlocks(world) == deadlocks
    assert logs.trouble() == []
    stays = _stays(world, lead_id)
    assert len(stays) > MOVES // 3  # they did meet
    for stay, following in pairwise(stays):
        assert stay["next_stage_id"] == following["stage_id"] != stay["stage_id"]
        assert following["previous_stage_id"] == stay["stage_id"]
        assert stay["entered_at"] <= stay["left_at"] <= following["entered_at"]
    assert (stays[-1]["left_at"], stays[-1]["stage_id"]) == (False, chat.lead["stage_id"])
    # The chatter and the history were written apart, and tell of the same moves in the same order.
    told = [stay["stage_id"][1] for stay in stays]
    assert chat.stage_changes == list(pairwise(told))


def _pipeline_stages(world: World) -> dict[int, int]:
    rows = world.odoo("manychat.stage.map", "search_read", [], fields=["manychat_stage_id", "stage_id"])
    return {row["manychat_stage_id"]: row["stage_id"][0] for row in rows}


def _stays(world: World, lead_id: int) -> list[dict[str, Any]]:
    fields = ["stage_id", "previous_stage_id", "next_stage_id", "entered_at", "left_at"]
    return world.odoo("manychat.stage.history", "search_read", [["lead_id", "=", lead_id]], fields=fields, order="id")


def _deadlocks(world: World) -> int:
    with world.stack.odoo.cluster.connect("postgres") as connection:
        statement = "SELECT deadlocks FROM pg_stat_database WHERE datname = %s"
        return connection.execute(statement, [world.stack.database]).fetchone()[0]
