"""What goes back to ManyChat, as administrators choose it, and what salespeople see when ManyChat refuses it.

ManyChat itself is a stand-in; Odoo asks it over real HTTP.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.manychat_stand_in import ACCOUNT, ManyChatStandIn, asked_by_odoo
from tests.pictures import invented
from tests.world import World

from .conftest import SignIn
from .odoo_page import PATIENCE, OdooPage
from .people import LANGUAGES
from .test_lost_leads import press

ACTION = "miasalud_crm.manychat_write_back_action"
CHOICES = (
    "stage_field_id",
    "stage_id_field_id",
    "salesperson_field_id",
    "status_field_id",
    "won_tag_id",
    "lost_tag_id",
)
#: As tall and wide as what a finger hits (CSS pixels).
FINGER = 40
CHOSEN = {"stage_field_id": "etapa", "salesperson_field_id": "asesor", "won_tag_id": "ganado"}
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
def manychat(world: World) -> Iterator[ManyChatStandIn]:
    with asked_by_odoo(world.stack) as stand_in:
        yield stand_in
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "write", [record], {"enabled": False, **dict.fromkeys(CHOICES, False)})


def choose(odoo: OdooPage, name: str, text: str) -> None:
    odoo.field(name).locator("input").fill(text)
    odoo.page.locator(".o-autocomplete--dropdown-item", has_text=text).first.click()
    odoo.settle()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_an_administrator_tests_refreshes_and_switches_it_on(
    sign_in: SignIn, world: World, manychat: ManyChatStandIn, phone: bool
) -> None:
    odoo = sign_in("administrator", phone=phone)
    odoo.open(ACTION)
    assert odoo.overflow() == 0
    press(odoo, "action_test")
    expect(odoo.page.locator(".o_notification")).to_contain_text(f"“{ACCOUNT}”")
    press(odoo, "action_refresh")
    expect(odoo.page.locator(".o_notification").last).to_contain_text("4")
    if not phone:  # there the choice opens in a dialog of its own
        for name, item in CHOSEN.items():
            choose(odoo, name, item)
        odoo.click(".o_form_button_save")
        (settings,) = world.odoo("manychat.write.back", "search_read", [], fields=[*CHOSEN, "enabled"])
        assert {name: settings[name][1] for name in CHOSEN} == CHOSEN
        assert not settings["enabled"]
    manychat.troubles.append((200, {"status": "error", "message": "Wrong token"}))
    press(odoo, "action_test")
    expect(odoo.page.locator(".o_notification").last).to_contain_text("Wrong token")


def test_an_administrator_chooses_the_flow_of_a_stage(sign_in: SignIn, world: World, manychat: ManyChatStandIn) -> None:
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "action_refresh", [record])
    (stage,) = world.odoo("manychat.stage.map", "search", [["manychat_stage_id", "=", 17]])
    odoo = sign_in("administrator")
    odoo.open(ACTION)
    odoo.click("button:has([name=flow_count])")
    label = world.odoo("manychat.stage.map", "read", [stage], ["name"])[0]["name"]
    odoo.page.locator(".o_data_row", has_text=label).locator("td[name=flow_id]").click()
    cell = odoo.page.locator(".o_selected_row [name=flow_id] input")
    cell.fill("Seguimiento")
    odoo.page.locator(".o-autocomplete--dropdown-item", has_text="Seguimiento").first.click()
    odoo.click(".o_list_button_save:visible")
    flow = world.odoo("manychat.stage.map", "read", [stage], ["flow_id"])[0]["flow_id"]
    world.odoo("manychat.stage.map", "write", [stage], {"flow_id": False})
    assert flow[1] == "Seguimiento"


def test_while_it_is_on_and_the_bridge_cannot_write_the_page_warns(
    sign_in: SignIn, world: World, manychat: ManyChatStandIn
) -> None:
    (record,) = world.odoo("manychat.write.back", "search", [])
    odoo = sign_in("administrator")
    odoo.open(ACTION)
    warning = odoo.page.locator(".alert-warning", has_text="BRIDGE_MANYCHAT_API_TOKEN")
    expect(odoo.page.locator(".o_manychat_off")).to_be_visible()
    expect(warning).to_be_hidden()
    world.odoo("manychat.write.back", "write", [record], {"enabled": True})
    odoo.open(ACTION)
    expect(warning).to_be_visible()
    expect(odoo.page.locator(".o_manychat_off")).to_be_hidden()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_field_that_has_another_type_now_is_named(
    sign_in: SignIn, world: World, manychat: ManyChatStandIn, phone: bool
) -> None:
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "action_refresh", [record])
    (item,) = world.odoo("manychat.account.item", "search", [["name", "=", "etapa"]])
    world.odoo("manychat.write.back", "write", [record], {"stage_field_id": item})
    manychat.types = {11: "date"}
    odoo = sign_in("administrator", phone=phone)
    odoo.open(ACTION)
    press(odoo, "action_refresh")
    expect(odoo.page.locator(".alert-warning", has_text="“etapa”")).to_be_visible()
    assert odoo.overflow() == 0


def test_a_finger_finds_the_switch(sign_in: SignIn, world: World, manychat: ManyChatStandIn) -> None:
    odoo = sign_in("administrator", phone=True)
    odoo.open(ACTION)
    switch = odoo.page.locator(".o_field_widget[name=enabled] .o_boolean_toggle")
    box: Any = switch.bounding_box()
    assert min(box["width"], box["height"]) >= FINGER
    switch.tap(position={"x": box["width"] - 3, "y": box["height"] - 3})
    world.eventually(lambda: world.odoo("manychat.write.back", "search", [["enabled", "=", True]]))


def test_a_sales_manager_sees_it_and_changes_nothing(sign_in: SignIn) -> None:
    odoo = sign_in("manager")
    odoo.open(ACTION)
    expect(odoo.field("enabled")).to_be_visible()
    expect(odoo.page.locator("button[name=action_test]")).to_have_count(0)
    expect(odoo.field("stage_field_id").locator("input")).to_have_count(0)
    expect(odoo.page.locator(".alert-info")).to_have_count(0)


def test_one_click_switches_it_off_and_the_chatter_says_who(
    sign_in: SignIn, world: World, manychat: ManyChatStandIn
) -> None:
    (record,) = world.odoo("manychat.write.back", "search", [])
    world.odoo("manychat.write.back", "write", [record], {"enabled": True})
    odoo = sign_in("administrator")
    odoo.open(ACTION)
    odoo.click(".o_field_widget[name=enabled] input")
    world.eventually(lambda: world.odoo("manychat.write.back", "search", [["enabled", "=", False]]))
    expect(odoo.page.locator(".o-mail-Message").first).to_contain_text("Ada Administra")


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_what_manychat_refused_is_listed_with_the_reason_and_marked_as_seen(
    sign_in: SignIn, world: World, phone: bool
) -> None:
    chat = world.chat()
    world.settled(chat.enters(25))
    invented.refusal(world, chat.manychat_id)
    odoo = sign_in("manager", phone=phone)
    odoo.open("miasalud_crm.crm_lead_unsent_action")
    row = odoo.page.locator(".o_data_row, .o_kanban_record:not(.o_kanban_ghost)").filter(has_text="WhatsApp").first
    expect(row).to_be_visible()
    assert odoo.overflow() == 0
    before = world.odoo("crm.lead", "search_count", [["manychat_unsent", "=", True]])
    row.locator("button[name=action_manychat_unsent_seen]").click()
    world.eventually(lambda: world.odoo("crm.lead", "search_count", [["manychat_unsent", "=", True]]) == before - 1)


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_the_card_of_the_pipeline_has_a_mark(sign_in: SignIn, world: World, phone: bool) -> None:
    refused, other = world.chat(), world.chat()
    world.settled(refused.enters(16), other.enters(16))
    odoo = sign_in("salesperson", phone=phone)  # she exists from then on
    (vera,) = world.odoo("res.users", "search", [["login", "=", "salesperson-es_419"]])
    for chat in (refused, other):
        world.odoo("crm.lead", "write", [chat.lead["id"]], {"user_id": vera, "name": chat.manychat_id})
    invented.refusal(world, refused.manychat_id)
    odoo.go("/odoo/crm")
    mark = ".o_manychat_refused"
    expect(odoo.page.locator(".o_kanban_record", has_text=refused.manychat_id).locator(mark)).to_be_visible()
    expect(odoo.page.locator(".o_kanban_record", has_text=other.manychat_id).locator(mark)).to_have_count(0)
    assert odoo.overflow() == 0


@pytest.mark.parametrize("language", LANGUAGES, indirect=True)
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_an_opportunity_shows_the_refusal_until_it_is_seen(sign_in: SignIn, world: World, phone: bool) -> None:
    chat = world.chat()
    world.settled(chat.enters(25))
    invented.refusal(world, chat.manychat_id)
    odoo = sign_in("manager", phone=phone)
    odoo.go(f"/odoo/crm/{chat.lead['id']}")
    bar = odoo.page.locator(".o_manychat_unsent")
    expect(bar).to_be_visible()
    expect(bar).to_contain_text("WhatsApp")
    assert odoo.overflow() == 0
    odoo.click(".o_manychat_unsent button[name=action_manychat_unsent_seen]")
    expect(bar).to_be_hidden()
    expect(odoo.page.locator(".o-mail-Message", has_text="WhatsApp")).to_have_count(1)
