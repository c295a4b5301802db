"""``reconcile --from-odoo`` makes SQL's opportunities what Odoo's are, whatever was before."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
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


def run(world: World, *, dry_run: bool = False, from_start: bool = False) -> list[Difference]:
    return [each for page in FromOdoo(world.engine, connect(world), dry_run, from_start).pages() for each in page]


def interrupted(world: World, pages: int = 2) -> None:
    """A run that ended after that many pages."""
    left = FromOdoo(world.engine, connect(world)).pages()
    for _ in range(pages):
        next(left)
    left.close()
    world.odoo.asked_for_states.clear()


def begins_at(world: World) -> int:
    """After whom the last run began."""
    return int(world.odoo.asked_for_states[0]["after"])


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
    interrupted(world)

    again = FromOdoo(world.engine, connect(world))
    assert again.is_continued
    assert [each.manychat_id for page in again.pages() for each in page] == ["MC3"]
    # The summary is that of the whole.
    assert (again.checked, again.counts["differs"], again.is_finished) == (3, 3, True)
    assert [call["after"] for call in world.odoo.asked_for_states if call["manychat_ids"] is None] == [2, 3]
    assert in_sql(world) == in_odoo(world)
    world.odoo.asked_for_states.clear()
    run(world)
    assert world.odoo.asked_for_states[0]["after"] == 0


def test_what_was_interrupted_long_ago_or_in_another_odoo_begins_anew(world: World, monkeypatch: Any) -> None:
    """A backup of SQL may bring such a position back. What lies before it would never be compared."""
    monkeypatch.setattr(from_odoo, "PAGE", 1)
    people(world, "MC1", "MC2", "MC3")
    interrupted(world)
    monkeypatch.setattr(from_odoo, "KEPT", timedelta(0))
    run(world)
    assert begins_at(world) == 0

    monkeypatch.setattr(from_odoo, "KEPT", timedelta(hours=24))
    for change in ({"of": {"url": "https://old.example", "database": DATABASE}}, {"begun": None}, {"of": None}):
        interrupted(world)
        position = in_transaction(world.engine, odoo_settings.get, from_odoo.POSITION)
        in_transaction(world.engine, odoo_settings.take_over, {from_odoo.POSITION: position | change})
        run(world)
        assert begins_at(world) == 0
    # What an earlier release left.
    in_transaction(world.engine, odoo_settings.take_over, {from_odoo.POSITION: {"step": "odoo", "after": 2}})
    world.odoo.asked_for_states.clear()
    run(world)
    assert begins_at(world) == 0
    interrupted(world)
    run(world, from_start=True)
    assert begins_at(world) == 0


def test_runs_side_by_side_leave_nothing_out(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(from_odoo, "PAGE", 1)
    names = [f"MC{number}" for number in range(8)]
    people(world, *names)
    with ThreadPoolExecutor(3) as pool:
        found = [each for done in [pool.submit(run, world) for _ in range(3)] for each in done.result()]

    assert {each.manychat_id for each in found} == {*names}
    assert in_sql(world) == in_odoo(world)
    assert run(world, dry_run=True) == []
    assert in_transaction(world.engine, odoo_settings.get, from_odoo.POSITION) is None


def test_an_odoo_without_any_opportunity_is_taken_for_the_wrong_one(world: World, cli: Cli) -> None:
    people(world, "MC1", "MC2")
    run(world)
    before, leads = world.rows("opportunities"), dict(world.odoo.leads)
    world.odoo.leads.clear()

    for options in ([], ["--dry-run"]):
        refused = cli("reconcile", "--from-odoo", *options)
        assert refused.returncode == 2
        assert f"The database {DATABASE} of Odoo has no opportunity of any conversation" in words(refused.stderr)
        assert "Nothing was changed." in words(refused.stderr)
    assert world.rows("opportunities") == before
    # One that is there, and all others are really gone.
    world.odoo.leads["MC1"] = leads["MC1"]
    assert [(each.manychat_id, each.found) for each in run(world)] == [("MC2", "deleted")]


def test_an_odoo_and_a_sql_without_any_opportunity_are_the_same(world: World, cli: Cli) -> None:
    done = cli("reconcile", "--from-odoo")
    assert (done.returncode, "0 checked, 0 the same" in words(done.stdout)) == (0, True), done.stderr


def test_a_decision_that_comes_while_a_page_is_written_stays_a_persons(world: World, monkeypatch: Any) -> None:
    people(world, "MC1")
    world.odoo.decide("MC1", "stage", stage=QUOTED)
    decided = world.odoo.decide("MC1", "stage", stage=world.odoo.stages[17])
    write = from_odoo.opportunity_differences.write

    def after_a_decision(connection: sa.Connection, states: Any, now: Any) -> None:
        # Committed by another bridge after this page was compared: here within this transaction.
        opportunity_states.apply_decisions(connection, [decided], now)
        write(connection, states, now)

    old = connect(world).get_states(manychat_ids=["MC1"]).states["MC1"]
    old = old.model_copy(update={"as_of": decided.payload.state.as_of - timedelta(seconds=1), "stage": QUOTED})  # type: ignore[attr-defined]
    monkeypatch.setattr(from_odoo.opportunity_differences, "write", after_a_decision)
    adopt = from_odoo.opportunity_differences.adopt
    compared = in_transaction(world.engine, adopt, {"MC1": old}, decided.received_at)
    assert {"stage", "stage_id"} <= {*compared["MC1"]}

    [row] = world.rows("opportunities")
    assert (row.stage, row.stage_by) == (world.odoo.stages[17], "person")


def test_an_operator_sees_that_a_run_was_interrupted_and_that_the_next_one_goes_on(
    world: World, monkeypatch: Any, cli: Cli
) -> None:
    monkeypatch.setattr(from_odoo, "PAGE", 1)
    people(world, "MC1", "MC2", "MC3")
    interrupted(world, pages=1)

    done = cli("reconcile", "--from-odoo")
    assert "Going on where an earlier run was: 1 are compared already." in words(done.stderr)
    assert "3 checked, 0 the same, 3 differed and are written" in words(done.stdout)
    wrong = cli("reconcile", "--from-start")
    assert (wrong.returncode, "--from-start goes with --from-odoo or --with-manychat." in words(wrong.stderr)) == (
        2,
        True,
    )


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
    event, _other = people(world, "MC1", "MC2")
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
    assert lines[-1] == {
        "checked": 2,
        "same": 0,
        "differs": 1,
        "deleted": 1,
        "busy": 0,
        "unreadable": 0,
        "past_moves": 0,
        "written": 2,
        "finished": True,
    }
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


def test_one_whose_state_this_bridge_cannot_read_is_not_taken_for_deleted(world: World, cli: Cli) -> None:
    people(world, "MC1")
    run(world)
    # Of an addon that is newer than the bridge.
    world.odoo.leads["MC1"]["more"] = {"status": "on hold"}

    assert run(world) == [Difference("MC1", "differs", ["status"])]
    assert [row.status for row in world.rows("opportunities")] == [None]
    world.odoo.leads["MC1"]["more"] = {"as_of": "soon"}
    assert run(world) == [Difference("MC1", "unreadable", [])]
    said = cli("reconcile", "--from-odoo")
    assert said.returncode == 1
    assert "1 could not be understood: this bridge is older than the addon. Upgrade it." in words(said.stdout)
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
    assert "History: 1 move added" in words(cli("reconcile", "--from-odoo").stdout)
    assert json.loads(cli("reconcile", "--from-odoo", "--json").stdout.splitlines()[-1])["past_moves"] == 0
