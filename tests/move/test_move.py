"""The whole way on a few hundred invented people, in the order of the tests."""

import subprocess
from collections.abc import Iterator

import pytest

from .moving import Move

PEOPLE = 240


@pytest.fixture(scope="module")
def move() -> Iterator[Move]:
    moving = Move(PEOPLE)
    moving.start()
    moving.contacts_before = moving.side.contacts()  # type: ignore[attr-defined]
    moving.leads_before = moving.side.leads()  # type: ignore[attr-defined]
    yield moving
    moving.stop()


def test_nothing_works_before_a_manager_opens_a_migration(move: Move) -> None:
    for step in ("plan", "run", "verify", "rollback"):
        done = subprocess.run(
            [*move.command(step), *(["--yes"] if step in ("run", "rollback") else [])],
            cwd=move.stack.folder,
            env=move.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "No migration is open in Odoo" in done.stderr


def test_a_plan_names_each_decision_and_writes_nothing(move: Move) -> None:
    move.stack.rpc("manychat.migration", "create", {"name": "Mudanza"})
    plan = move.json("plan", code=1)
    assert {"labels", "several", "advisers-commercial", "sync-status"} <= set(plan["open"])
    labels = {each["label"]: each["nearest"] for each in plan["labels"]}
    assert labels["Comienza cotizacion"] == "Comienza Cotización"
    assert move.side.leads() == move.leads_before
    assert not any(move.sql().values())


def test_a_run_refuses_while_a_decision_is_open(move: Move) -> None:
    [row] = move.stack.rpc("manychat.stage.map", "search", [["manychat_stage_id", "=", 25]])
    move.stack.rpc("manychat.stage.alias", "create", {"name": "Comienza cotizacion", "map_id": row})
    plan = move.json("plan", code=1)
    assert "Comienza cotizacion" not in {each["label"] for each in plan["labels"]}
    move.migrate("run", "--yes", code=1)
    move.migrate("run", *move.accepting(), code=2)  # no terminal to ask on
    assert move.lines() == 0
    assert not any(move.sql().values())


def test_a_run_that_is_killed_twice_goes_on_while_people_chat(move: Move) -> None:
    arguments = ["run", "--yes", "--rate", "0", *move.accepting()]
    done = move.killed(arguments, 0)
    move.chat_a_little()
    move.killed(arguments, done)
    move.migrate(*arguments)
    move.settle()
    move.assert_moved()
    before = move.lines()
    assert "done before" in move.migrate(*arguments)  # again: nothing is left to do
    assert move.lines() == before
    move.assert_moved()


def test_no_contact_was_written(move: Move) -> None:
    assert move.side.contacts() == move.contacts_before


def test_verification_finds_all_as_expected_and_sees_what_is_not(move: Move) -> None:
    result = move.json("verify", "--sample", "3", "--seed", "1")
    assert result["faults"] == []
    assert len(result["sample"]) == 3
    assert all(table["legacy_checksum"] == table["our_checksum"] for table in result["tables"])
    person = next(each for each in move.people if each.fate == "created" and each.stage == 16)
    move.side.rows(
        "UPDATE crm_lead SET stage_id = (SELECT stage_id FROM manychat_stage_map WHERE manychat_stage_id = 17) "
        "WHERE x_manychat_id = %s RETURNING id",
        person.manychat_id,
    )
    with move.store.begin() as connection:
        connection.exec_driver_sql("UPDATE contact_states SET state = 'x' WHERE id = 1")
    wrong = move.json("verify", code=1)
    assert len(wrong["faults"]) == 2
    move.side.rows(
        "UPDATE crm_lead SET stage_id = (SELECT stage_id FROM manychat_stage_map WHERE manychat_stage_id = 16) "
        "WHERE x_manychat_id = %s RETURNING id",
        person.manychat_id,
    )


def test_a_rollback_undoes_exactly_what_nobody_used_since(move: Move) -> None:
    used = [each for each in move.people if each.fate == "created" and each.deals == []][:3]
    leads = move.side.by_person()
    for person in used:
        move.stack.rpc("crm.lead", "write", [leads[person.manychat_id][0]["id"]], {"priority": "2"})
    chatted = {
        row["manychat_id"]
        for row in move.side.rows("SELECT manychat_id FROM manychat_event WHERE migration_id IS NULL")
    }
    assert chatted
    dry = move.json("rollback", "--dry-run")
    result = move.json("rollback", "--yes")
    kept = {each["manychat_id"] for each in result["kept"]}
    assert {each["manychat_id"] for each in dry["kept"]} == kept
    assert {person.manychat_id for person in used} <= kept <= {person.manychat_id for person in used} | chatted
    assert move.side.contacts() == move.contacts_before
    now, following = move.side.leads(), move.side.by_person()
    assert following.keys() == kept | chatted
    stay = {lead["id"] for leads in following.values() for lead in leads}
    changed = {lead_id for lead_id, said in move.leads_before.items() if now.get(lead_id) != said}
    assert changed <= stay
    assert now.keys() - move.leads_before.keys() <= stay
    rows = move.sql()
    assert {row["manychat_id"] for row in rows["opportunities"]} == kept | chatted
    assert {row["manychat_id"] for row in rows["contacts"]} == kept | chatted
    again = move.json("rollback", "--yes")
    assert sum(again["opportunities"].values()) == 0
    assert {each["manychat_id"] for each in again["kept"]} == kept
