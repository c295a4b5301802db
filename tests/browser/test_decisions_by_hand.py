"""What people do with opportunities every day, while write-back is on: it works as ever, and each decision is in the
event log with its author and in words."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.world import Chat, World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .test_lost_leads import press

expect.set_options(timeout=PATIENCE * 1000)
#: Who signs in.
MANAGER = "Mara Mando"
#: So wide that neighbouring columns of the pipeline are within the window.
WIDE = {"width": 3600, "height": 1000}


@pytest.fixture(autouse=True)
def switched_on(world: World) -> Iterator[None]:
    record = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "write", record, {"enabled": True})
    yield
    world.odoo("manychat.write.back", "write", record, {"enabled": False})


@pytest.fixture
def odoo(sign_in: SignIn) -> OdooPage:
    page = sign_in("manager")
    page.page.set_viewport_size(WIDE)
    return page


@pytest.fixture
def hers(world: World, odoo: OdooPage) -> list[Chat]:
    """Two opportunities of the manager, alone in her pipeline; their conversations are in stage 16."""
    (manager,) = world.odoo("res.users", "search", [["login", "=", "manager-es_419"]])
    earlier = world.odoo("crm.lead", "search", [["user_id", "=", manager], ["active", "in", [True, False]]])
    world.odoo("crm.lead", "write", earlier, {"user_id": False})
    chats = [world.chat(), world.chat()]
    world.settled(*(chat.enters(16) for chat in chats))
    for chat in chats:
        world.odoo("crm.lead", "write", [chat.lead["id"]], {"user_id": manager, "name": f"Cliente {chat.manychat_id}"})
        world.eventually(lambda chat=chat: any("Salesperson" in text for text, _by in decisions(world, chat)))
    return chats


def decisions(world: World, chat: Chat) -> list[tuple[str, str]]:
    """What was decided about this person and by whom, the latest first."""
    domain = [["type", "=", "decision"], ["manychat_id", "=", chat.manychat_id]]
    rows = world.odoo("manychat.event", "search_read", domain, fields=["decision_text", "decided_by"], order="id desc")
    return [(row["decision_text"], row["decided_by"]) for row in rows]


def newest(world: World, chat: Chat, before: int) -> tuple[str, str]:
    """The one decision that came after the first ``before``."""

    def look() -> list[tuple[str, str]]:
        found = decisions(world, chat)
        return found[: len(found) - before]

    found = world.eventually(look)
    assert len(found) == 1, found
    return found[0]


def select(odoo: OdooPage, *chats: Chat) -> None:
    """Tick these rows of the manager's list."""
    odoo.page.goto(odoo.odoo_url + "/odoo/crm?view_type=list", wait_until="commit")
    odoo.settle()
    for chat in chats:
        row(odoo, chat).locator(".o_list_record_selector input").check()
    odoo.settle()


def row(odoo: OdooPage, chat: Chat) -> Locator:
    return odoo.page.locator(".o_data_row", has_text=chat.manychat_id)


def menu_action(odoo: OdooPage, name: str) -> None:
    """An entry of the menu *Actions* above the ticked rows."""
    odoo.click(".o_cp_action_menus .dropdown-toggle:has(.fa-cog)")
    odoo.page.locator(".o-dropdown--menu .o_menu_item, .o-dropdown--menu .dropdown-item", has_text=name).first.click()
    odoo.settle()


def test_a_dragged_card(odoo: OdooPage, world: World, hers: list[Chat]) -> None:
    chat, before = hers[0], len(decisions(world, hers[0]))
    (target,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 17]], fields=["stage_id"])
    odoo.go("/odoo/crm")
    card = odoo.page.locator(".o_kanban_record", has_text=chat.manychat_id)
    column = odoo.page.locator(f".o_kanban_group[data-id]:has(.o_column_title:has-text('{target['stage_id'][1]}'))")
    card.hover()
    odoo.page.mouse.down()
    box: Any = column.bounding_box()
    for step in (0.2, 0.5):
        odoo.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * step, steps=8)
    odoo.page.mouse.up()
    odoo.settle()
    text, who = newest(world, chat, before)
    assert text.startswith("Stage: ")
    assert f"→ {target['stage_id'][1]}" in text
    assert who == MANAGER


def test_many_rows_of_the_list_edited_at_once(odoo: OdooPage, world: World, hers: list[Chat]) -> None:
    before = [len(decisions(world, chat)) for chat in hers]
    select(odoo, *hers)
    row(odoo, hers[0]).locator("td[name=expected_revenue]").click()
    cell = odoo.page.locator(".o_selected_row td[name=expected_revenue] input")
    cell.fill("4321")
    cell.press("Enter")
    odoo.click(".modal footer .btn-primary")
    for chat, known in zip(hers, before, strict=True):
        text, who = newest(world, chat, known)
        assert re.search(r"Expected revenue: .*4,321\.00", text)
        assert who == MANAGER


def test_lost_with_a_reason_and_restored(odoo: OdooPage, world: World, hers: list[Chat]) -> None:
    chat, before = hers[0], len(decisions(world, hers[0]))
    reason = world.odoo("crm.lost.reason", "create", {"name": f"Muy caro {chat.manychat_id}"})
    odoo.go(f"/odoo/crm/{chat.lead['id']}")
    odoo.click("button:has-text('Perdido')")
    if odoo.field("lost_reason_id").locator("input").count():  # 18
        odoo.field("lost_reason_id").locator("input").fill(f"Muy caro {chat.manychat_id}")
        odoo.page.locator(".o-autocomplete--dropdown-item", has_text="Muy caro").first.click()
    else:
        odoo.field("lost_reason_id").get_by_text(f"Muy caro {chat.manychat_id}", exact=True).click()
    odoo.click(".modal button[name=action_lost_reason_apply]")
    text, who = newest(world, chat, before)
    assert text.startswith(f"Lost: Muy caro {chat.manychat_id}")
    assert who == MANAGER
    odoo.click("button[name=toggle_active]:visible, button[name=action_restore]:visible")
    text, who = newest(world, chat, before + 1)
    assert "Restored" in text
    assert who == MANAGER
    world.odoo("crm.lost.reason", "unlink", [reason])


def test_won_from_the_form(odoo: OdooPage, world: World, hers: list[Chat]) -> None:
    chat, before = hers[0], len(decisions(world, hers[0]))
    odoo.go(f"/odoo/crm/{chat.lead['id']}")
    odoo.click("button[name=action_set_won_rainbowman]")
    text, who = newest(world, chat, before)
    assert "Won" in text
    assert who == MANAGER


def test_the_merge_wizard(odoo: OdooPage, world: World, hers: list[Chat]) -> None:
    before = [len(decisions(world, chat)) for chat in hers]
    select(odoo, *hers)
    menu_action(odoo, "Fusionar")
    odoo.click(".modal button[name=action_merge]")
    found = world.eventually(
        lambda: [
            each
            for chat, known in zip(hers, before, strict=True)
            for each in decisions(world, chat)[: len(decisions(world, chat)) - known]
            if "Merged" in each[0]
        ]
    )
    assert [who for _text, who in found] == [MANAGER]
    assert hers[0].lead["id"] == hers[1].lead["id"]


def test_a_file_uploaded_by_odoos_import(odoo: OdooPage, world: World, hers: list[Chat], tmp_path: Path) -> None:
    before = [len(decisions(world, chat)) for chat in hers]
    leads = [chat.lead["id"] for chat in hers]
    names = world.odoo("crm.lead", "export_data", leads, ["id"])["datas"]
    file = tmp_path / "oportunidades.csv"
    file.write_text("id,expected_revenue\n" + "".join(f"{name},777\n" for (name,) in names))
    odoo.go("/odoo/crm?view_type=list")
    odoo.click(".o_cp_action_menus .dropdown-toggle:has(.fa-cog)")
    odoo.page.locator(".o-dropdown--menu .dropdown-item", has_text="Importar registros").first.click()
    # Odoo's page of the import has not the marks by which a page is known to be at rest.
    odoo.page.locator(".o_import_action").wait_for()
    odoo.page.locator("input[type=file]").first.set_input_files(file)
    odoo.page.locator(".o_control_panel button.btn:text-is('Importar')").click()
    odoo.page.locator(".o_import_action").wait_for(state="detached")
    for chat, known in zip(hers, before, strict=True):
        text, who = newest(world, chat, known)
        assert re.search(r"Expected revenue: .*777\.00", text)
        assert who == f"Import by {MANAGER}"


def test_a_lead_is_converted_by_the_wizard(odoo: OdooPage, world: World, hers: list[Chat]) -> None:
    chat, before = hers[0], len(decisions(world, hers[0]))
    world.odoo("crm.lead", "write", [chat.lead["id"]], {"type": "lead", "user_id": False})
    assert newest(world, chat, before)[0] == "Salesperson: none"
    odoo.go(f"/odoo/crm/{chat.lead['id']}")
    odoo.click("button:has-text('Convertir a oportunidad')")
    odoo.field("user_id").locator("input").fill(MANAGER)
    odoo.page.locator(".o-autocomplete--dropdown-item", has_text=MANAGER).first.click()
    odoo.settle()
    odoo.click(".modal button[name=action_apply]")
    assert world.odoo("crm.lead", "read", [chat.lead["id"]], ["type"])[0]["type"] == "opportunity"
    text, who = newest(world, chat, before + 1)
    assert f"Salesperson: {MANAGER}" in text
    assert who == MANAGER


def test_moved_and_won_on_a_telephone(sign_in: SignIn, world: World, hers: list[Chat]) -> None:
    moved, won = hers
    before = [len(decisions(world, chat)) for chat in hers]
    phone = sign_in("manager", phone=True)
    (target,) = world.odoo("manychat.stage.map", "search_read", [["manychat_stage_id", "=", 17]], fields=["stage_id"])
    stage = target["stage_id"][1]
    # Odoo moves no cards by touch: a telephone has the menu of stages above the form.
    phone.go(f"/odoo/crm/{moved.lead['id']}")
    phone.page.locator(".o_form_statusbar [name=stage_id] button:visible").first.tap()
    phone.page.locator(".o-dropdown--menu .dropdown-item", has_text=stage).first.tap()
    phone.settle()
    text, who = newest(world, moved, before[0])
    assert text.startswith("Stage: ")
    assert f"→ {stage}" in text
    assert who == MANAGER
    phone.go(f"/odoo/crm/{won.lead['id']}")
    press(phone, "action_set_won_rainbowman")
    text, who = newest(world, won, before[1])
    assert "Won" in text
    assert who == MANAGER
