"""A sales manager changes the stage map: swaps rows, adds one, archives one in use, says what an alias means."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage

expect.set_options(timeout=PATIENCE * 1000)

ALIASES = "miasalud_crm.manychat_stage_alias_action"
ADVISERS = "miasalud_crm.manychat_advisor_action"
MAP = "miasalud_crm.manychat_stage_map_action"
FIELDS = ["name", "manychat_stage_id", "stage_id", "sequence", "active"]
QUESTION = ".modal .modal-body .text-prewrap"


@pytest.fixture(autouse=True)
def rows(world: World) -> Iterator[list[dict[str, Any]]]:
    """The rows of the map, which are the same again after the test."""
    before = world.odoo("manychat.stage.map", "search_read", [], fields=FIELDS)
    yield before
    everything = [["active", "in", [True, False]]]
    known = [row["id"] for row in before]
    new = world.odoo("manychat.stage.map", "search", [*everything, ["id", "not in", known]])
    world.odoo("manychat.stage.map", "unlink", new)
    archived = world.odoo("manychat.stage.map", "search", [["active", "=", False], ["id", "in", known]])
    world.odoo("manychat.stage.map", "write", archived, {"active": True})
    columns = [".id", "name", "manychat_stage_id", "stage_id/.id", "sequence"]
    lines = [
        [
            str(value)
            for value in (row["id"], row["name"], row["manychat_stage_id"], row["stage_id"][0], row["sequence"])
        ]
        for row in before
    ]
    result = world.odoo("manychat.stage.map", "load", columns, lines)
    assert not result["messages"], result


@pytest.fixture
def unknown(chat: Chat, world: World) -> str:
    """The label of a stage that has arrived, that nobody has mapped, and for which an event waits."""
    label = f"Etapa {chat.manychat_id}"
    assert world.settled(chat.enters(label)) == ["dead_lettered"]
    return label


def values(world: World, row: dict[str, Any], name: str) -> Any:
    (found,) = world.odoo("manychat.stage.map", "read", [row["id"]], [name])
    return found[name]


def choose(odoo: OdooPage, within: str, text: str) -> None:
    odoo.page.locator(f"{within} [name=stage_id] input").fill(text)
    odoo.page.locator(".o-autocomplete--dropdown-item a", has_text=text).first.click()


def test_rows_swap_their_stages_in_the_list_and_three_rotate(
    odoo: OdooPage, world: World, rows: list[dict[str, Any]]
) -> None:
    first, second, third = rows[:3]
    stages = [row["stage_id"][1] for row in rows[:3]]
    odoo.open(MAP)
    for number, stage in ((1, stages[1]), (2, stages[2])):
        odoo.click(f".o_data_row:nth-child({number}) td[name=stage_id]")
        choose(odoo, ".o_selected_row", stage)
        odoo.page.locator(".o_list_button_save:visible").first.click()
        expect(odoo.page.locator(QUESTION)).to_contain_text(stage)
        odoo.click(".modal footer .btn-primary")
        odoo.settle()
    found = [values(world, row, "stage_id")[1] for row in (first, second, third)]
    assert found == [stages[1], stages[2], stages[0]]
    # The list shows it without a reload: the row that gave its stage away too.
    for number, stage in enumerate(found, 1):
        expect(odoo.page.locator(f".o_data_row:nth-child({number}) td[name=stage_id]")).to_have_text(stage)


def test_labels_and_numbers_swap_in_the_form_on_a_phone(
    sign_in: SignIn, world: World, rows: list[dict[str, Any]]
) -> None:
    first, second = rows[:2]
    odoo = sign_in(phone=True)
    odoo.open(MAP, record=first["id"])
    odoo.field("name").locator("input, textarea").first.fill(second["name"])
    odoo.field("manychat_stage_id").locator("input").fill(str(second["manychat_stage_id"]))
    odoo.page.locator(".o_form_button_save:visible").first.click()
    expect(odoo.page.locator(QUESTION)).to_contain_text(second["name"])
    odoo.click(".modal footer .btn-primary")
    odoo.settle()
    assert values(world, second, "name") == first["name"]
    assert values(world, second, "manychat_stage_id") == first["manychat_stage_id"]
    assert values(world, first, "name") == second["name"]


def test_a_swap_that_is_declined_changes_nothing(odoo: OdooPage, world: World, rows: list[dict[str, Any]]) -> None:
    odoo.open(MAP, record=rows[0]["id"])
    odoo.field("manychat_stage_id").locator("input").fill(str(rows[1]["manychat_stage_id"]))
    odoo.page.locator(".o_form_button_save:visible").first.click()
    odoo.click(".modal footer .btn-secondary")
    odoo.click(".o_form_button_cancel")
    assert values(world, rows[0], "manychat_stage_id") == rows[0]["manychat_stage_id"]
    assert values(world, rows[1], "manychat_stage_id") == rows[1]["manychat_stage_id"]


def test_a_row_and_a_stage_made_in_the_list_come_last(odoo: OdooPage, world: World, rows: list[dict[str, Any]]) -> None:
    odoo.open(MAP)
    odoo.click(".o_list_button_add:visible")
    odoo.page.locator(".o_selected_row [name=name] input, .o_selected_row [name=name] textarea").first.fill(
        "Fila nueva"
    )
    odoo.page.locator(".o_selected_row [name=stage_id] input").fill("Etapa nueva")
    odoo.click(".o_m2o_dropdown_option_create_edit a")
    if odoo.page.locator(".modal").count() > 1:  # Odoo 19 warns of “won” in each new stage
        odoo.page.locator(".modal").last.locator("footer .btn-primary").click()
        odoo.settle()
    odoo.click(".modal .o_form_button_save")
    odoo.page.locator(".o_list_button_save:visible").first.click()
    odoo.settle()
    names = [row["name"] for row in world.odoo("manychat.stage.map", "search_read", [], fields=["name"])]
    assert names == [*[row["name"] for row in rows], "Fila nueva"]
    (stage,) = world.odoo("crm.stage", "search", [["name", "=", "Etapa nueva"]])
    assert world.odoo("crm.stage", "search", [])[-1] == stage
    # It has no number, which is not 0.
    expect(odoo.page.locator(".o_data_row:last-child td[name=manychat_stage_id]")).to_have_text("")
    world.odoo("manychat.stage.map", "unlink", world.odoo("manychat.stage.map", "search", [["stage_id", "=", stage]]))
    world.odoo("crm.stage", "unlink", [stage])


def test_archiving_a_row_in_use_says_what_will_wait_and_asks(
    odoo: OdooPage, world: World, chat: Chat, rows: list[dict[str, Any]]
) -> None:
    row = rows[3]
    world.settled(chat.enters(row["manychat_stage_id"]))
    odoo.open(MAP, record=row["id"])
    for item in ("fa-trash-o", "oi-archive"):
        odoo.click(".o_cp_action_menus .fa-cog")
        odoo.page.locator(f".o_menu_item:has(.{item})").click()
        expect(odoo.page.locator(QUESTION)).to_contain_text(f"{row['name']}:")
        odoo.click(".modal footer .btn-secondary")
    # In the list, too.
    odoo.open(MAP)
    odoo.page.locator(".o_data_row:nth-child(4) .o_list_record_selector input").click()
    odoo.click(".o_cp_action_menus .fa-cog")
    odoo.page.locator(".o_menu_item:has(.oi-archive)").click()
    expect(odoo.page.locator(QUESTION)).to_contain_text(f"{row['name']}:")
    odoo.click(".modal footer .btn-primary")
    assert not values(world, row, "active")


def test_an_alias_shows_who_waits_and_is_answered_by_its_button(
    odoo: OdooPage, world: World, chat: Chat, unknown: str
) -> None:
    odoo.open(ALIASES)
    row = odoo.page.locator(".o_data_row", has_text=unknown)
    expect(row.locator("td[name=waiting_names]")).not_to_have_text("")
    expect(row.locator("td[name=waiting_since]")).not_to_have_text("")
    expect(row.locator("td[name=manychat_stage_id]")).to_have_text("")
    row.locator(".o_manychat_choose").click()
    odoo.page.locator(".o_selected_row [name=map_id] input").fill("Retornó en AC")
    odoo.page.locator(".o-autocomplete--dropdown-item a", has_text="Retornó en AC").first.click()
    odoo.click(".o_list_button_save")
    world.eventually(lambda: world.odoo("crm.lead", "search_count", [["x_manychat_id", "=", chat.manychat_id]]))
    assert chat.stage == "Retornó en AC"


def test_an_alias_is_answered_on_a_phone(sign_in: SignIn, world: World, chat: Chat, unknown: str) -> None:
    odoo = sign_in(phone=True)
    odoo.open(ALIASES)
    card = odoo.page.locator(".o_kanban_record", has_text=unknown)
    card.locator(".o_manychat_choose").click()
    odoo.settle()
    assert odoo.field("waiting_names").inner_text()
    assert odoo.overflow() == 0


def test_an_adviser_takes_the_name_of_the_user_who_is_chosen(odoo: OdooPage, world: World) -> None:
    adviser = world.odoo("manychat.advisor", "create", {"external_id": 98765})
    try:
        odoo.open(ADVISERS, record=adviser)
        odoo.field("user_id").locator("input").fill("Mara")
        odoo.page.locator(".o-autocomplete--dropdown-item a", has_text="Mara Mando").first.click()
        expect(odoo.field("name").locator("input")).to_have_value("Mara Mando")
        odoo.click(".o_form_button_save")
        (saved,) = world.odoo("manychat.advisor", "read", [adviser], ["name"])
        assert saved["name"] == "Mara Mando"
    finally:
        world.odoo("manychat.advisor", "unlink", [adviser])
