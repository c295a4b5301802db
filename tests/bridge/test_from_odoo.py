"""``reconcile --from-odoo`` makes SQL's opportunities what Odoo's are, whatever was before."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.contract.event import Event
from bridge.errors import OdooUnavailable
from bridge.odoo import Odoo
from bridge.store import odoo_settings, opportunities, opportunity_states, schema
from bridge.store.engine import in_transaction
from bridge.worker import from_odoo
from bridge.worker.from_odoo import Difference, FromOdoo
from bridge.worker.handlers import decision, opportunity

from .conftest import Cli, World, stage
from .odoo_stand_in import DATABASE, KEY, LOGIN

QUOTED = "Comienza Cotización"


def connect(world: World) -> Odoo:
    return Odoo(world.odoo.url, DATABASE, LOGIN, KEY)


def run(world: World, *, dry_run: bool = False) -> list[Difference]:
    return [each for page in FromOdoo(world.engine, connect(world), dry_run).pages() for each in page]


def people(world: World, *names: str) -> list[Event]:
    """Persons whose opportunity is in Odoo, and in SQL as an older bridge left it."""
    world.odoo.tells_states = False
    events = [stage(name) for name in names]
    opportunity.handle(world.engine, connect(world), events)
    world.odoo.tells_states = True
    return events


def in_odoo(world: World) -> dict[str, tuple[Any, ...]]:
    return {
        who: (lead["id"], lead["stage"], lead.get("more", {}).get("status", "open"))
        for who, lead in world.odoo.leads.items()
    }


def in_sql(world: World) -> dict[str, tuple[Any, ...]]:
    rows = world.rows("opportunities")
    return {row.manychat_id: (row.lead_id, row.stage, row.status) for row in rows if row.status != "deleted"}


def words(printed: str) -> str:
    return " ".join(printed.split())


def test_what_happened_before_there_were_decisions_is_made_up_for(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(from_odoo, "PAGE", 2)
    people(world, "MC1", "MC2", "MC3", "MC4", "MC5")
    world.odoo.decide("MC1", "stage", stage=QUOTED)
    world.odoo.decide("MC2", "lost", status="lost", lost_reason="Precio")
    world.odoo.decide("MC4", "deleted")
    world.odoo.decide("MC5", "merged", lead_id=1, merged_into=1)
    # One that SQL does not know.
    world.odoo.manychat_apply([stage("MC6").envelope()])

    found = run(world, dry_run=True)
    assert {row.status for row in world.rows("opportunities")} == {None}
    assert in_transaction(world.engine, odoo_settings.get, from_odoo.POSITION) is None
    assert run(world) == found
    assert {each.manychat_id: each.found for each in found} == {
        **dict.fromkeys(("MC1", "MC2", "MC3", "MC5", "MC6"), "differs"),
        "MC4": "deleted",
    }
    lead_ids = {**in_odoo(world), "MC5": (1, *in_odoo(world)["MC5"][1:])}
    assert in_sql(world) == lead_ids
    assert {row.manychat_id: row.merged_into for row in world.rows("opportunities") if row.merged_into} == {"MC5": 1}
    # Nobody knows who moved it; the chat's own stay the chat's.
    assert {row.manychat_id: row.stage_by for row in world.rows("opportunities", status="open")} == {
        **dict.fromkeys(("MC3", "MC5"), "chat"),
        "MC1": None,
        "MC6": None,
    }
    before = world.rows("opportunities")
    assert run(world) == run(world, dry_run=True) == []
    assert world.rows("opportunities") == before


def test_a_run_that_was_interrupted_goes_on_where_it_was(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(from_odoo, "PAGE", 1)
    people(world, "MC1", "MC2", "MC3")
    pages = FromOdoo(world.engine, connect(world)).pages()
    next(pages)
    next(pages)
    pages.close()
    world.odoo.asked_for_states.clear()

    assert [each.manychat_id for each in run(world)] == ["MC3"]
    assert [call["after"] for call in world.odoo.asked_for_states if call["manychat_ids"] is None] == [2, 3]
    assert in_sql(world) == in_odoo(world)
    world.odoo.asked_for_states.clear()
    run(world)
    assert world.odoo.asked_for_states[0]["after"] == 0


def test_an_odoo_that_goes_away_in_between_loses_nothing(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(from_odoo, "PAGE", 1)
    people(world, "MC1", "MC2")
    pages = FromOdoo(world.engine, connect(world)).pages()
    next(pages)
    world.odoo.stop()
    with pytest.raises(OdooUnavailable):
        next(pages)
    world.odoo.start()
    run(world)

    assert in_sql(world) == in_odoo(world)


def test_opportunities_that_another_transaction_holds_are_asked_for_again(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(from_odoo, "BUSY_PAUSE", 0)
    people(world, "MC1", "MC2")
    world.odoo.busy = {"MC2"}
    assert {each.found for each in run(world)} == {"differs"}
    assert in_sql(world) == in_odoo(world)

    world.odoo.decide("MC2", "stage", stage=QUOTED)
    ask = world.odoo.manychat_get_states

    def always_busy(**arguments: Any) -> Any:
        world.odoo.busy = {"MC2"}
        return ask(**arguments)

    monkeypatch.setattr(world.odoo, "manychat_get_states", always_busy)
    # Nothing is known of it, and it is not taken for deleted.
    assert run(world) == [Difference("MC2", "busy", [])]
    assert in_sql(world)["MC2"][2] == "open"


def test_a_decision_that_overtakes_the_back_fill_stays(world: World) -> None:
    people(world, "MC1", "MC2")
    run(world)
    # Read by Odoo before the decision, and written after it.
    old = connect(world).get_states(manychat_ids=["MC1"]).states["MC1"]
    decided = world.odoo.decide("MC1", "stage", "won", stage=QUOTED, status="won")
    decision.handle(world.engine, [decided])
    in_transaction(world.engine, opportunity_states.write, [("MC1", old)], decided.received_at)

    assert in_sql(world) == in_odoo(world)
    assert world.rows("opportunities")[0].stage_by == "person"


def test_one_that_came_back_while_the_deleted_were_looked_up_is_not_deleted(world: World, monkeypatch: Any) -> None:
    [event] = people(world, "MC1")
    lead = world.odoo.leads.pop("MC1")
    mark = from_odoo.opportunity_differences.mark_deleted

    def return_before(connection: sa.Connection, gone: Any, now: Any) -> None:
        world.odoo.leads["MC1"] = lead
        state = connect(world).get_states(manychat_ids=["MC1"]).states["MC1"]
        opportunity_states.write(connection, [("MC1", state)], now)
        mark(connection, gone, now)

    monkeypatch.setattr(from_odoo.opportunity_differences, "mark_deleted", return_before)
    run(world)

    assert in_sql(world) == in_odoo(world)
    assert world.rows("opportunities")[0].event_id == event.id


def test_one_that_is_not_in_odoo_yet_is_not_deleted_there(world: World) -> None:
    in_transaction(world.engine, opportunities.record, [stage("MC1")])

    assert run(world) == []
    [row] = world.rows("opportunities")
    assert (row.odoo_sync_status, row.status) == ("pending", None)


def test_an_operator_sees_what_differs_before_it_is_written(cli: Cli, world: World) -> None:
    people(world, "MC1", "MC2")
    run(world)
    world.odoo.decide("MC1", "stage", stage=QUOTED)
    world.odoo.decide("MC2", "deleted")

    looked = cli("reconcile", "--from-odoo", "--dry-run")
    assert looked.returncode == 0, looked.stderr
    columns = "stage, stage_id, decided_at, manychat_stage_id, manychat_stage"
    assert f"MC1 differs {columns} MC2 deleted status" in words(looked.stdout)
    summary = "2 checked, 0 the same, 1 differ (a decision may still be on its way), 1 deleted in Odoo."
    assert summary in words(looked.stdout)
    lines = [json.loads(line) for line in cli("reconcile", "--from-odoo", "--json").stdout.splitlines()]
    assert [line["found"] for line in lines[:-1]] == ["differs", "deleted"]
    assert lines[-1] == {"checked": 2, "same": 0, "differs": 1, "deleted": 1, "busy": 0, "past_moves": 0, "written": 2}
    again = cli("reconcile", "--from-odoo")
    assert "1 checked, 1 the same, 0 differed and are written, 0 deleted in Odoo." in words(again.stdout)
    assert in_sql(world) == in_odoo(world)


def test_an_older_addon_and_options_that_do_not_fit_are_refused_in_words(cli: Cli, world: World) -> None:
    world.odoo.tells_states = False
    old = cli("reconcile", "--from-odoo")
    assert (old.returncode, "too old" in old.stderr) == (1, True), old.stderr
    both = cli("reconcile", "--from-odoo", "--queue", "contact")
    assert (both.returncode, "--from-odoo goes with" in both.stderr) == (2, True)
    assert world.rows(schema.odoo_settings.name) == []


def test_one_whose_state_this_bridge_cannot_read_is_not_taken_for_deleted(world: World) -> None:
    people(world, "MC1")
    run(world)
    # Of an addon that is newer than the bridge.
    world.odoo.leads["MC1"]["more"] = {"status": "on hold"}

    assert run(world) == [Difference("MC1", "differs", ["status"])]
    assert [row.status for row in world.rows("opportunities")] == [None]
    world.odoo.leads["MC1"]["more"] = {"as_of": "soon"}
    assert run(world) == []
    assert [row.status for row in world.rows("opportunities")] == [None]


def past_move(key: str, before: str | None, after: str | None, day: int, **more: Any) -> dict[str, Any]:
    return {
        "manychat_id": "MC1",
        "lead_id": 1,
        "key": key,
        "stage_from": before,
        "stage_to": after,
        "moment": f"2025-01-{day:02}T08:00:00.000000Z",
        "moved_by": "person",
        "user_id": 9,
        "event_id": None,
        "status": "open",
        **more,
    }


def test_users_moves_from_before_decisions_are_added_to_the_history_once(world: World) -> None:
    [event] = people(world, "MC1")
    [chats] = world.rows("opportunity_stages")
    world.odoo.past_moves = [
        past_move("1-1", None, "Nuevo", 1),
        past_move("1-2", "Nuevo", None, 2, moved_by="other", user_id=None, status="lost"),
        past_move("2-1", None, "Cita", 3, moved_by="wizard", status="asleep"),
        past_move("2-2", "x" * 300, "Nuevo", 3),  # in the same second
        past_move("3-1", "Cita", QUOTED, 4, moved_by="chat", event_id=event.id),
        past_move("4-1", None, "Nuevo", 1, manychat_id="MC-unknown"),
        {"manychat_id": "MC1", "key": "of a newer addon"},
    ]
    run(world, dry_run=True)
    assert world.rows("opportunity_stages") == [chats]
    done = FromOdoo(world.engine, connect(world))
    list(done.pages())

    assert done.past_moves == 4
    rows = sorted(world.rows("opportunity_stages"), key=lambda row: row.event_at)
    assert [(row.stage_from, row.stage_to, row.moved_by, row.user_id, row.status) for row in rows] == [
        (None, "Nuevo", "person", 9, "open"),
        ("Nuevo", None, "other", None, "lost"),
        (None, "Cita", "other", 9, None),
        ("x" * 256, "Nuevo", "person", 9, "open"),
        (chats.stage_from, chats.stage_to, "chat", None, chats.status),
    ]
    # The latest move is the chat's still.
    assert [row.stage_by for row in world.rows("opportunities")] == ["chat"]
    # Analysts load by this: it is new for them.
    assert min(row.applied_at for row in rows) >= chats.applied_at
    before = world.rows("opportunity_stages")
    again = FromOdoo(world.engine, connect(world))
    list(again.pages())
    assert (again.past_moves, world.rows("opportunity_stages")) == (0, before)


def test_the_command_says_how_many_moves_it_added(world: World, cli: Cli) -> None:
    people(world, "MC1")
    world.odoo.past_moves = [past_move("1-1", None, "Nuevo", 1)]
    assert "History: 1 moves added" in words(cli("reconcile", "--from-odoo").stdout)
    assert json.loads(cli("reconcile", "--from-odoo", "--json").stdout.splitlines()[-1])["past_moves"] == 0
