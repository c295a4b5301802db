"""What people decide in a real Odoo reaches SQL through the real queue, and the comparison of both finds nothing."""

import json
from typing import Any

from tests.world import Chat, World

from .test_pipeline import STAGES
from .test_watching import command


def of(world: World, chat: Chat) -> dict[str, Any]:
    """What SQL has of the person's opportunity."""
    rows = world.sql("SELECT * FROM opportunities WHERE manychat_id = :id", id=chat.manychat_id)
    return rows[0] if rows else {}


def moves(world: World, chat: Chat) -> list[tuple[Any, ...]]:
    rows = world.sql(
        "SELECT s.* FROM opportunity_stages s JOIN opportunities o ON o.id = s.opportunity_id"
        " WHERE o.manychat_id = :id ORDER BY s.applied_at, s.id",
        id=chat.manychat_id,
    )
    return [(row["stage_from"], row["stage_to"], row["moved_by"], row["status"]) for row in rows]


def stage_id(world: World, number: int) -> int:
    (row,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", number]], fields=["stage_id"])
    return int(row["stage_id"][0])


def differing(world: World, *chats: Chat) -> list[dict[str, Any]]:
    """What `reconcile --from-odoo --dry-run` finds of these people. It has seen all: none was busy."""
    done = command(world, "reconcile", "--from-odoo", "--dry-run", "--json")
    *found, summary = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, summary["busy"]) == (0, 0)
    return [each for each in found if each["manychat_id"] in {chat.manychat_id for chat in chats}]


def test_what_a_person_decides_is_in_sql_and_equal_to_odoo(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    assert (of(world, chat)["status"], of(world, chat)["stage"]) == ("open", STAGES[17])
    lead = chat.lead["id"]
    world.odoo("crm.lead", "write", [lead], {"stage_id": stage_id(world, 20)})
    world.eventually(lambda: of(world, chat)["stage"] == STAGES[20])
    assert of(world, chat)["stage_by"] == "person"
    assert of(world, chat)["decided_at"]
    world.odoo("crm.lead", "write", [lead], {"expected_revenue": 1234.5})
    world.eventually(lambda: of(world, chat)["expected_revenue"])
    assert float(of(world, chat)["expected_revenue"]) == 1234.5
    world.odoo("crm.lead", "action_set_lost", [lead])
    world.eventually(lambda: of(world, chat)["status"] == "lost")
    world.odoo("crm.lead", "action_unarchive", [lead])
    world.eventually(lambda: of(world, chat)["status"] == "open")
    world.odoo("crm.lead", "write", [lead], {"stage_id": stage_id(world, 26)})
    world.eventually(lambda: of(world, chat)["status"] == "won")

    assert moves(world, chat) == [
        (None, STAGES[17], "chat", "open"),
        (STAGES[17], STAGES[20], "person", "open"),
        (STAGES[20], None, "person", "lost"),
        (None, STAGES[20], "person", "open"),
        (STAGES[20], STAGES[26], "person", "won"),
    ]
    assert differing(world, chat) == []


def test_a_merged_and_a_deleted_opportunity_are_so_in_sql(world: World) -> None:
    ana, beto = world.chat(), world.chat()
    world.settled(ana.enters(17), beto.enters(21))
    both = [ana.lead["id"], beto.lead["id"]]
    action = world.odoo("crm.merge.opportunity", "create", {"opportunity_ids": [(6, 0, both)]})
    world.odoo("crm.merge.opportunity", "action_merge", [action])
    survivor = ana.lead["id"]
    world.eventually(lambda: {of(world, each)["lead_id"] for each in (ana, beto)} == {survivor})
    assert sorted(of(world, each)["merged_into"] or 0 for each in (ana, beto)) == [0, survivor]
    assert differing(world, ana, beto) == []
    world.odoo("crm.lead", "unlink", [survivor])
    world.eventually(lambda: {of(world, each)["status"] for each in (ana, beto)} == {"deleted"})
    assert differing(world, ana, beto) == []


def test_what_changes_opportunities_without_a_write_to_them_is_in_sql(world: World) -> None:
    ana, beto = world.chat(), world.chat()
    world.settled(ana.enters(17), beto.enters(21))
    stage = world.odoo("crm.stage", "create", {"name": "Etapa de prueba"})
    team = world.odoo("crm.team", "create", {"name": "Equipo de prueba"})
    world.odoo("crm.lead", "write", [ana.lead["id"]], {"stage_id": stage, "team_id": team})
    world.odoo("crm.stage", "write", [stage], {"is_won": True})
    world.eventually(lambda: of(world, ana)["status"] == "won")
    world.odoo("crm.stage", "write", [stage], {"is_won": False})
    world.eventually(lambda: of(world, ana)["status"] == "open")
    assert moves(world, ana)[-2:] == [
        ("Etapa de prueba", "Etapa de prueba", "person", status) for status in ("won", "open")
    ]
    world.odoo("crm.team", "unlink", [team])
    world.eventually(lambda: of(world, ana)["team"] is None)
    assert differing(world, ana, beto) == []

    both = [ana.lead["id"], beto.lead["id"]]
    action = world.odoo("crm.merge.opportunity", "create", {"opportunity_ids": [(6, 0, both)]})
    world.odoo("crm.merge.opportunity", "action_merge", [action])
    world.eventually(lambda: any(of(world, each)["merged_into"] for each in (ana, beto)))
    (second,) = (each for each in (ana, beto) if of(world, each)["merged_into"])
    world.odoo("crm.lead", "write", [of(world, second)["lead_id"]], {"x_manychat_id": False})
    world.eventually(lambda: of(world, second)["merged_into"] is None)
    assert differing(world, ana, beto) == []


def test_a_comparison_gives_sql_what_it_lacks_and_deletes_nothing_that_odoo_has(world: World, chat: Chat) -> None:
    world.settled(chat.enters(17))
    with world._store.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE opportunities SET stage = 'lost on the way', status = NULL, odoo_as_of = NULL"
            f" WHERE manychat_id = '{chat.manychat_id}'"
        )
    assert [each["found"] for each in differing(world, chat)] == ["differs"]
    command(world, "reconcile", "--from-odoo")
    assert (of(world, chat)["stage"], of(world, chat)["status"]) == (STAGES[17], "open")
    assert differing(world, chat) == []


def test_moves_from_before_decisions_are_added_to_the_history_once(world: World, chat: Chat) -> None:
    """SQL forgets what users did, and Odoo takes it for what was done before decisions were recorded."""
    world.settled(chat.enters(17))
    lead = chat.lead["id"]
    world.odoo("crm.lead", "write", [lead], {"stage_id": stage_id(world, 20)})
    world.odoo("crm.lead", "action_set_lost", [lead])
    world.odoo("crm.lead", "action_unarchive", [lead])
    world.odoo("crm.lead", "write", [lead], {"stage_id": stage_id(world, 26)})
    world.eventually(lambda: len(moves(world, chat)) == 5)
    whole = [(start, end, by if end else "other", status) for start, end, by, status in moves(world, chat)]
    with world._store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM opportunity_stages WHERE moved_by <> 'chat'")
    parameter = "miasalud_crm.decisions_since"
    since = world.odoo("ir.config_parameter", "get_param", parameter)
    assert since
    command(world, "reconcile", "--from-odoo")
    assert len(moves(world, chat)) == 1  # they were decisions
    world.odoo("ir.config_parameter", "set_param", parameter, "2100-01-01 00:00:00")
    try:
        for _ in range(2):
            command(world, "reconcile", "--from-odoo")
            by_moment = world.sql(
                "SELECT s.* FROM opportunity_stages s JOIN opportunities o ON o.id = s.opportunity_id"
                " WHERE o.manychat_id = :id ORDER BY s.event_at, s.id",
                id=chat.manychat_id,
            )
            found = [(row["stage_from"], row["stage_to"], row["moved_by"], row["status"]) for row in by_moment]
            assert found == whole
    finally:
        world.odoo("ir.config_parameter", "set_param", parameter, since)
